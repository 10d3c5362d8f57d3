//! Sends back what it is sent, with ASCII a-z in upper case: `port-rust PORT`.
//!
//! The first half decides and calls nobody; its tests hold it against the reference (`vectors.rs`).
//! The second half asks the kernel, through mio, which is edge-triggered: it says nothing more to
//! who stops before a call would block. So each turn is short, and ends by asking again.

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
const ACCEPTS: usize = 16; // before the others have their turn
const RETRY: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);

/// The service. Bytes, not text: from 0x80 on nothing is a letter here.
fn upper(bytes: &mut [u8]) {
    bytes.make_ascii_uppercase();
}

/// What a call on a socket came to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Moved(usize),
    NotYet, // it would block, or was interrupted: to be tried again
    End,    // the client's FIN, and all it sent before is read
    Lost,   // RST came, or a write met a connection that was gone, or worse
}

impl Outcome {
    /// Here the close is detected, and only here: no hint of the poller says that a client is gone.
    /// A read of 0 bytes does (one that had room: `of_nothing` is its `End`), or a call's error.
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
    Stopping { owed: usize }, // told to stop: so much had arrived and is not read yet
    Lingering,                // our FIN is sent: read on, or what comes makes the kernel send RST
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Want {
    Read { max: usize },
    Write,
    Shutdown,
    Close,
}

/// The life of a connection. From its state follows the one thing that it wants next, so nothing is
/// read while something is to be written: memory is bounded, and a FIN cannot overtake output.
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

    /// What it wanted was tried, and came to this. Here the close is decided.
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

/// Who an event is for: a token is the number of a slot and, above it, which of its guests. So an
/// event for a connection that is closed reaches nobody, though the slot has a new guest by then.
fn next_guest(Token(last): Token) -> Token {
    let generation = ((last >> 32) as u32).checked_add(1).unwrap_or(1); // 0 is never issued
    Token((generation as usize) << 32 | last as u32 as usize)
}

const LISTENER: Token = Token(0); // no guest's
const STOP: Token = Token(1);

struct Client {
    stream: TcpStream,
    life: Connection,
    answer: Vec<u8>, // what is still to be sent
}

impl Client {
    /// Tries what the connection wants, once.
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
                    self.answer = self.answer.split_off(count); // idle, it takes no memory
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
    listener: Option<TcpListener>, // none once it was told to stop
    stop: UnixStream,
    slots: Vec<(Token, Option<Client>)>, // by descriptor
    paused: bool, // accepting failed. No event tells that descriptors came back: try again in time
    end: Option<Instant>,
}

impl Server {
    fn new(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port).into())?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (mut stop, signal) = UnixStream::pair()?;
        for number in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(number, signal.as_fd().try_clone_to_owned()?)?;
        }
        poll.registry().register(&mut stop, STOP, Interest::READABLE)?;
        // Not println!, which panics: that nobody reads our output is no reason to end.
        let _ = writeln!(io::stdout(), "listening on {}", listener.local_addr()?);
        Ok(Server { poll, listener: Some(listener), stop, slots: vec![], paused: false, end: None })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; BUFFER]; // one for all: who has his answer needs none
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
                    self.paused = errno != Some(Errno::AGAIN); // asking at once would spin
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
        let _ = stream.set_nodelay(true); // these fail only for a client that is gone already,
        let _ = set_socket_oobinline(&stream, true); // and the first read will tell
        if self.poll.registry().register(&mut stream, *token, Interest::READABLE).is_ok() {
            let life = Connection { state: State::Open, pending: 0 };
            *guest = Some(Client { stream, life, answer: Vec::new() });
        }
    }

    /// An event only says whom to look after: what is then done follows from the state.
    fn serve(&mut self, token: Token, scratch: &mut [u8]) {
        let (current, guest) = &mut self.slots[token.0 as u32 as usize];
        let Some(client) = guest.as_mut().filter(|_| *current == token) else { return };
        client.advance(scratch);
        client.advance(scratch); // what was read is answered in the same turn
        let reads = matches!(client.life.wants(), Want::Read { .. });
        let interest = if reads { Interest::READABLE } else { Interest::WRITABLE };
        let asked = self.poll.registry().reregister(&mut client.stream, token, interest);
        if client.life.wants() == Want::Close || asked.is_err() {
            let _ = self.poll.registry().deregister(&mut client.stream);
            *guest = None; // and its stream closes: here, and nowhere else, a connection ends
        }
    }

    /// Told to stop: accept whom the backlog holds, answer what the kernel has, then FIN.
    fn drain(&mut self) -> io::Result<()> {
        self.poll.registry().deregister(&mut self.stop)?;
        self.accept(usize::MAX)?;
        (self.listener, self.paused) = (None, false);
        self.end = Some(Instant::now() + DRAIN);
        for (token, guest) in &mut self.slots {
            let Some(client) = guest else { continue };
            // Exact only as urgent data is in line.
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
