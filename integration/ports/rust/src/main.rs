//! Echoes bytes with ASCII a-z in upper case: `port-rust PORT`.
//!
//! The first half decides without system calls; `vectors.rs` compares it with the reference.
//! The second half calls the kernel through mio, which is edge-triggered: it reports nothing more
//! unless a call would block. So each turn is short, and ends by registering again.

#[cfg(test)]
mod vectors;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixStream};
use mio::{Events, Interest, Poll, Token};
use rustix::io::{ioctl_fionread, Errno};
use rustix::net::sockopt::set_socket_oobinline;
use signal_hook::consts::{SIGINT, SIGTERM};

const BUFFER: usize = 64 * 1024;
const ACCEPTS: usize = 16; // before others get their turn
const RETRY: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);

/// The service: bytes, not text.
fn upper(bytes: &mut [u8]) {
    bytes.make_ascii_uppercase();
}

/// The result of a call on a socket.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Moved(usize),
    NotYet, // it would block or was interrupted: try again
    End,    // the client's FIN, and all it sent before is read
    Lost,   // RST, a write after the end, or another failure
}

impl Outcome {
    /// Here the close is detected, and only here: no hint of the poller is used.
    /// A read of 0 bytes that had room (`of_nothing` is its `End`) is one, or an error of a call.
    fn of(result: io::Result<usize>, of_nothing: Outcome) -> Outcome {
        match result.map_err(|error| error.kind()) {
            Ok(0) => of_nothing,
            Ok(count) => Outcome::Moved(count),
            Err(ErrorKind::WouldBlock | ErrorKind::Interrupted) => Outcome::NotYet,
            Err(_) => Outcome::Lost,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    Stopping { owed: usize }, // after the stop signal: bytes that had arrived and are unread
    Lingering,                // our FIN is sent: read on, because unread bytes cause RST
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    Read { max: usize },
    Write,
    Shutdown,
    Close,
}

/// The life of a connection. Its state determines the one event that it waits for, so nothing is
/// read while output is pending: memory is bounded, and a FIN cannot overtake output.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Connection {
    state: State,
    pending: usize, // bytes received and not yet sent
}

impl Connection {
    fn wants(&self) -> Want {
        match self.state {
            State::Done => Want::Close,
            _ if self.pending > 0 => Want::Write,
            State::Stopping { owed: 0 } => Want::Shutdown,
            State::Stopping { owed } => Want::Read { max: owed.min(BUFFER) },
            State::Open | State::Lingering => Want::Read { max: BUFFER },
        }
    }

    /// Takes the result of the call that it waited for. Here the close is decided.
    fn tried(&mut self, outcome: Outcome) {
        match (outcome, self.wants(), &mut self.state) {
            (Outcome::NotYet, ..) => (),
            (Outcome::End | Outcome::Lost, _, state) => *state = State::Done,
            (Outcome::Moved(count), Want::Write, _) => self.pending -= count,
            (Outcome::Moved(_), Want::Shutdown, state) => *state = State::Lingering,
            (Outcome::Moved(_), _, State::Lingering | State::Done) => (), // too late for an answer
            (Outcome::Moved(count), _, State::Open) => self.pending = count,
            (Outcome::Moved(count), _, State::Stopping { owed }) => {
                (*owed, self.pending) = (*owed - count, count);
            }
        }
    }
}

/// The connection of an event: a token is the number of a slot and, above it, a generation. So an
/// event for a closed connection is dropped, even if its slot is in use again.
fn next_guest(Token(last): Token) -> Token {
    let generation = ((last >> 32) as u32).checked_add(1).unwrap_or(1); // 0 is never issued
    Token((generation as usize) << 32 | last as u32 as usize)
}

const LISTENER: Token = Token(0); // of no connection
const STOP: Token = Token(1);

struct Client {
    stream: TcpStream,
    life: Connection,
    answer: Vec<u8>, // pending output
}

impl Client {
    /// Makes the call that the connection waits for, once.
    fn advance(&mut self, scratch: &mut [u8]) {
        let outcome = match self.life.wants() {
            Want::Read { max } => {
                let result = self.stream.read(&mut scratch[..max]);
                if let Ok(count) = result {
                    self.answer = scratch[..count].to_vec();
                    upper(&mut self.answer);
                }
                Outcome::of(result, Outcome::End)
            }
            Want::Write => {
                let result = self.stream.write(&self.answer);
                if let Ok(count) = result {
                    self.answer = self.answer.split_off(count); // no memory while idle
                }
                Outcome::of(result, Outcome::NotYet)
            }
            Want::Shutdown => {
                let result = self.stream.shutdown(Shutdown::Write);
                Outcome::of(result.map(|()| 1), Outcome::NotYet) // a FIN counts for a byte
            }
            Want::Close => return,
        };
        self.life.tried(outcome);
    }
}

struct Server {
    poll: Poll,
    listener: Option<TcpListener>, // none after the stop signal
    stop: UnixStream,
    slots: Vec<(Token, Option<Client>)>, // by descriptor
    paused: bool, // accept failed, and no event reports free descriptors: try again later
    end: Option<Instant>,
}

impl Server {
    fn new(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (mut stop, signal) = UnixStream::pair()?;
        for number in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(number, signal.as_fd().try_clone_to_owned()?)?;
        }
        poll.registry().register(&mut stop, STOP, Interest::READABLE)?;
        // Last: whoever can connect is served, even if the stop signal comes at once.
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        // Not println!, which panics if standard output is closed.
        let _ = writeln!(io::stdout(), "listening on {}", listener.local_addr()?);
        Ok(Server { poll, listener: Some(listener), stop, slots: vec![], paused: false, end: None })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; BUFFER]; // one for all connections
        while self.listener.is_some() || self.slots.iter().any(|(_, guest)| guest.is_some()) {
            let left = self.end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            match self.poll.poll(&mut events, left.or(self.paused.then_some(RETRY))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(ACCEPTS)?,
                    STOP => self.drain()?,
                    token => self.serve(token, &mut scratch),
                }
            }
            if self.paused {
                self.accept(ACCEPTS)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, max: usize) -> io::Result<()> {
        let Some(mut listener) = self.listener.take() else { return Ok(()) };
        self.paused = false;
        for _ in 0..max {
            match listener.accept().map_err(|error| Errno::from_io_error(&error)) {
                Ok((stream, _)) => self.welcome(stream),
                Err(Some(Errno::INTR | Errno::CONNABORTED | Errno::PROTO)) => (),
                Err(errno) => {
                    self.paused = errno != Some(Errno::AGAIN); // trying at once would spin
                    break;
                }
            }
        }
        if !self.paused {
            self.poll.registry().reregister(&mut listener, LISTENER, Interest::READABLE)?;
        }
        self.listener = Some(listener);
        Ok(())
    }

    fn welcome(&mut self, mut stream: TcpStream) {
        let number = stream.as_raw_fd() as usize;
        self.slots.extend((self.slots.len()..=number).map(|new| (Token(new), None)));
        let (token, guest) = &mut self.slots[number];
        *token = next_guest(*token);
        let _ = stream.set_nodelay(true); // these fail only if the client is gone,
        let _ = set_socket_oobinline(&stream, true); // and the first read reports it
        if self.poll.registry().register(&mut stream, *token, Interest::READABLE).is_ok() {
            let life = Connection { state: State::Open, pending: 0 };
            *guest = Some(Client { stream, life, answer: Vec::new() });
        }
    }

    /// An event only selects a connection: its state determines the call.
    fn serve(&mut self, token: Token, scratch: &mut [u8]) {
        let (current, guest) = &mut self.slots[token.0 as u32 as usize];
        let Some(client) = guest.as_mut().filter(|_| *current == token) else { return };
        client.advance(scratch);
        client.advance(scratch); // the answer is sent in the same turn
        let reads = matches!(client.life.wants(), Want::Read { .. });
        let interest = if reads { Interest::READABLE } else { Interest::WRITABLE };
        let asked = self.poll.registry().reregister(&mut client.stream, token, interest);
        if client.life.wants() == Want::Close || asked.is_err() {
            let _ = self.poll.registry().deregister(&mut client.stream);
            *guest = None; // drops the stream: the only place that closes a connection
        }
    }

    /// The stop: accept the backlog, answer what has arrived, then FIN.
    fn drain(&mut self) -> io::Result<()> {
        self.poll.registry().deregister(&mut self.stop)?;
        self.accept(usize::MAX)?;
        (self.listener, self.paused) = (None, false);
        self.end = Some(Instant::now() + DRAIN);
        for (token, guest) in &mut self.slots {
            let Some(client) = guest else { continue };
            // Exact because urgent data is in line.
            let owed = ioctl_fionread(&client.stream).unwrap_or(0) as usize;
            client.life.state = State::Stopping { owed };
            let _ = self.poll.registry().reregister(&mut client.stream, *token, Interest::WRITABLE);
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(Ok(port)), None) = (words.next().map(|word| word.parse()), words.next()) else {
        eprintln!("port-rust: expected one argument, a port from 0 to 65535");
        std::process::exit(2);
    };
    Server::new(port)?.run()
}
