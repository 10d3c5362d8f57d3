//! An echo server as tutorials write it: it seems to work with `nc`. Do not copy it: the failures
//! are listed in `expected-failures`, by the numbers of the mistakes below.

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const SERVER: Token = Token(0);

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?;
    let mut server = TcpListener::bind(format!("127.0.0.1:{port}").parse()?)?;
    println!("listening on {}", server.local_addr()?);

    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut server, SERVER, Interest::READABLE)?;
    let mut events = Events::with_capacity(128);
    let mut clients: HashMap<Token, TcpStream> = HashMap::new();
    let mut next = 1;
    let mut buffer = [0; 4096]; // (1) one buffer for one chunk

    loop {
        poll.poll(&mut events, None)?; // (2) EINTR ends the server
        for event in &events {
            if event.token() == SERVER {
                loop {
                    match server.accept() {
                        Ok((mut stream, address)) => {
                            println!("{address} connected"); // (3) panics if stdout is closed
                            let token = Token(next);
                            next += 1;
                            poll.registry()
                                .register(&mut stream, token, Interest::READABLE)?;
                            clients.insert(token, stream);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()), // (4) one failed accept ends it
                    }
                }
            } else if let Some(stream) = clients.get_mut(&event.token()) {
                let mut size = 0;
                let mut closed = event.is_read_closed(); // (5) a hint is taken for the end
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => {
                            closed = true;
                            break;
                        }
                        Ok(count) => size = count, // (6) the last chunk only
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()), // (7) one reset ends it
                    }
                }
                if size > 0 && !closed {
                    let text = std::str::from_utf8(&buffer[..size]).unwrap(); // (8) bytes, not text
                    stream.write_all(text.to_uppercase().as_bytes())?; // (9) would block: ends it
                }
                if closed {
                    clients.remove(&event.token());
                }
            }
        }
    } // (10) the stop signal ends it at once
}
