//! The life of a connection. From its state follows the one thing that it wants next, so nothing is
//! read while something is to be written: memory is bounded, and a FIN cannot overtake output.

use crate::outcome::Outcome;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    Open,
    /// The server was told to stop: so much had arrived and is not read yet.
    Stopping {
        owed: usize,
    },
    /// Our FIN is sent: read on, or what comes makes the kernel send RST.
    Lingering,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Want {
    Read,
    Write,
    Shutdown,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connection {
    pub state: State,
    pub pending: usize, // bytes received and not yet sent
}

impl Connection {
    pub fn open() -> Self {
        Connection { state: State::Open, pending: 0 }
    }

    pub fn wants(&self) -> Want {
        match self.state {
            State::Done => Want::Close,
            _ if self.pending > 0 => Want::Write,
            State::Stopping { owed: 0 } => Want::Shutdown,
            _ => Want::Read,
        }
    }

    /// How much to read at most.
    pub fn receive_max(&self, capacity: usize) -> usize {
        match self.state {
            State::Stopping { owed } => capacity.min(owed),
            _ => capacity,
        }
    }

    /// After a read, which it wanted.
    pub fn received(&mut self, outcome: Outcome) {
        match (outcome, &mut self.state) {
            (Outcome::Moved(_), State::Lingering) => (), // no answer is possible any more
            (Outcome::Moved(count), state) => {
                if let State::Stopping { owed } = state {
                    *owed -= count;
                }
                self.pending = count;
            }
            (Outcome::WouldBlock | Outcome::Interrupted, _) => (),
            (Outcome::End | Outcome::Reset | Outcome::Failed, state) => *state = State::Done,
        }
    }

    /// After a write, which it wanted.
    pub fn sent(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Moved(count) => self.pending -= count,
            Outcome::WouldBlock | Outcome::Interrupted => (),
            Outcome::End | Outcome::Reset | Outcome::Failed => self.lose(),
        }
    }

    /// The server was told to stop, with `unread` bytes in the kernel.
    pub fn stop(&mut self, unread: usize) {
        self.state = State::Stopping { owed: unread };
    }

    /// Our FIN is sent.
    pub fn shut(&mut self) {
        self.state = State::Lingering;
    }

    pub fn lose(&mut self) {
        self.state = State::Done;
    }
}
