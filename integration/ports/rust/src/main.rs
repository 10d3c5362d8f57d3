//! Sends back what it is sent, with ASCII a-z in upper case: `port-rust PORT`.
//!
//! The modules are pure and decide; this file asks the kernel, through mio. mio is edge-triggered:
//! who stops before a call would block is told nothing more, and has to ask again (`reregister`).

mod connection;
mod outcome;
mod token;
mod upper;
#[cfg(test)]
mod vectors;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll};
use rustix::{io::ioctl_fionread, net::sockopt::set_socket_oobinline};
use signal_hook::consts::{SIGINT, SIGTERM};

use connection::{Connection, Want};
use outcome::Outcome;
use token::{Slot, Token, LISTENER, STOP};

const BUFFER: usize = 64 * 1024;
const TURNS: usize = 16; // of one client, and accepts, before the others have theirs
const RETRY: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);

struct Client {
    stream: TcpStream,
    token: Token,
    life: Connection,
    interest: Interest,
    answer: Vec<u8>, // the last `life.pending` bytes of it are still to be sent
}

struct Server {
    poll: Poll,
    listener: Option<TcpListener>, // none once it was told to stop
    stop: UnixStream,
    slots: Vec<(Slot, Option<Client>)>,
    scratch: Box<[u8]>,
    accept_failed: bool, // no event tells that descriptors came back: try again in time
    end: Option<Instant>,
}

impl Server {
    fn new(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
        poll.registry().register(&mut listener, LISTENER.into(), Interest::READABLE)?;
        let (mut stop, signal) = UnixStream::pair()?;
        for number in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(number, signal.as_fd().try_clone_to_owned()?)?;
        }
        poll.registry().register(&mut stop, STOP.into(), Interest::READABLE)?;
        // Who reads our output may be gone: that is no reason to end.
        let _ = writeln!(io::stdout(), "listening on {}", listener.local_addr()?);
        Ok(Server {
            poll,
            listener: Some(listener),
            stop,
            slots: Vec::new(),
            scratch: vec![0; BUFFER].into(),
            accept_failed: false,
            end: None,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while self.listener.is_some() || self.slots.iter().any(|(slot, _)| slot.live) {
            let wait = self.end.map(|end| end.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait.or(self.accept_failed.then_some(RETRY))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            // An event only says whom to look after; what is then done follows from the state.
            for event in &events {
                match Token::from(event.token()) {
                    LISTENER => self.accept(TURNS)?,
                    STOP => self.drain()?,
                    token => self.serve(token),
                }
            }
            if self.accept_failed {
                self.accept(TURNS)?;
            }
            if self.end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
        }
        Ok(())
    }

    fn accept(&mut self, max: usize) -> io::Result<()> {
        let Some(mut listener) = self.listener.take() else { return Ok(()) };
        self.accept_failed = false;
        let mut again = true;
        for _ in 0..max {
            match listener.accept() {
                Ok((stream, _)) => self.welcome(stream),
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => (),
                    ErrorKind::WouldBlock => again = false,
                    _ => (self.accept_failed, again) = (true, false),
                },
            }
            if !again {
                break;
            }
        }
        if again {
            self.poll.registry().reregister(&mut listener, LISTENER.into(), Interest::READABLE)?;
        }
        self.listener = Some(listener);
        Ok(())
    }

    fn welcome(&mut self, mut stream: TcpStream) {
        let number = stream.as_raw_fd() as usize;
        if number >= self.slots.len() {
            self.slots.resize_with(number + 1, Default::default);
        }
        let (slot, client) = &mut self.slots[number];
        let token = slot.issue(number as u32);
        let _ = stream.set_nodelay(true); // these fail only for a client that is gone already,
        let _ = set_socket_oobinline(&stream, true); // and the first read will tell
        let interest = Interest::READABLE;
        match self.poll.registry().register(&mut stream, token.into(), interest) {
            Ok(()) => {
                let (life, answer) = (Connection::open(), Vec::new());
                *client = Some(Client { stream, token, life, interest, answer });
            }
            Err(_) => slot.release(),
        }
    }

    fn serve(&mut self, token: Token) {
        let Some((slot, place)) = self.slots.get_mut(token.slot as usize) else { return };
        let Some(client) = place.as_mut().filter(|_| slot.holds(token)) else { return };
        let mut blocked = false;
        for _ in 0..TURNS {
            blocked = client.advance(&mut self.scratch) == Outcome::WouldBlock;
            if blocked || client.life.wants() == Want::Close {
                break;
            }
        }
        // Here, and nowhere else, a connection ends: the stream closes as it is dropped.
        let registered = client.register(self.poll.registry(), blocked).is_ok();
        if client.life.wants() == Want::Close || !registered {
            let _ = self.poll.registry().deregister(&mut client.stream);
            *place = None;
            slot.release();
        }
    }

    /// Told to stop: accept whom the backlog holds, answer what the kernel has, then FIN.
    fn drain(&mut self) -> io::Result<()> {
        self.poll.registry().deregister(&mut self.stop)?;
        self.accept(usize::MAX)?;
        self.listener = None;
        self.accept_failed = false;
        self.end = Some(Instant::now() + DRAIN);
        for number in 0..self.slots.len() {
            if let Some(client) = &mut self.slots[number].1 {
                // Exact only as urgent data is in line.
                client.life.stop(ioctl_fionread(&client.stream).unwrap_or(0) as usize);
                let token = client.token;
                self.serve(token);
            }
        }
        Ok(())
    }
}

impl Client {
    /// Does what the connection wants, once.
    fn advance(&mut self, scratch: &mut [u8]) -> Outcome {
        match self.life.wants() {
            Want::Read => {
                let asked = self.life.receive_max(scratch.len());
                let outcome = Outcome::of_receive(self.stream.read(&mut scratch[..asked]), asked);
                self.life.received(outcome);
                self.answer = scratch[..self.life.pending].to_vec();
                upper::upper(&mut self.answer);
                outcome
            }
            Want::Write => {
                let rest = &self.answer[self.answer.len() - self.life.pending..];
                let outcome = Outcome::of_send(self.stream.write(rest), rest.len());
                self.life.sent(outcome);
                outcome
            }
            Want::Shutdown => {
                match self.stream.shutdown(Shutdown::Write) {
                    Ok(()) => self.life.shut(),
                    Err(_) => self.life.lose(),
                }
                Outcome::Interrupted // nothing was moved, and there is more to do
            }
            Want::Close => Outcome::Reset,
        }
    }

    /// Tells the poller what the connection waits for, if that changed or it was not seen to block.
    fn register(&mut self, registry: &mio::Registry, blocked: bool) -> io::Result<()> {
        let interest = match self.life.wants() {
            Want::Read => Interest::READABLE,
            _ => Interest::WRITABLE,
        };
        if blocked && interest == self.interest {
            return Ok(());
        }
        self.interest = interest;
        registry.reregister(&mut self.stream, self.token.into(), interest)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = match arguments.as_slice() {
        [port] => port.parse().ok(),
        _ => None,
    };
    let Some(port) = port else {
        eprintln!("port-rust: expected one argument, a port from 0 to 65535");
        std::process::exit(2);
    };
    if let Err(error) = Server::new(port).and_then(|mut server| server.run()) {
        eprintln!("port-rust: cannot serve on port {port}: {error}");
        std::process::exit(1);
    }
}
