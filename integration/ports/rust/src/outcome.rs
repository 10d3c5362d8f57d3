//! What a call on a socket came to. The close is detected here, and only here: no hint of the
//! poller says that a client is gone, a read of 0 bytes does.

use std::io::{self, ErrorKind};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Moved(usize),
    WouldBlock,
    Interrupted, // not the same: there may be more to do at once
    End,         // the client's FIN, and all it sent before is read
    Reset,       // the connection is gone: RST came, or a write met one that was gone already
    Failed,
}

impl Outcome {
    /// Of a read into `asked` bytes. One of nothing into nothing is no end.
    pub fn of_receive(result: io::Result<usize>, asked: usize) -> Self {
        let of_nothing = if asked > 0 { Outcome::End } else { Outcome::WouldBlock };
        Self::of(result, asked, of_nothing)
    }

    /// Of a write of `asked` bytes.
    pub fn of_send(result: io::Result<usize>, asked: usize) -> Self {
        Self::of(result, asked, Outcome::WouldBlock)
    }

    fn of(result: io::Result<usize>, asked: usize, of_nothing: Self) -> Self {
        match result {
            Ok(0) => of_nothing,
            Ok(count) if count <= asked => Outcome::Moved(count),
            Ok(_) => Outcome::Failed,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Outcome::WouldBlock,
                ErrorKind::Interrupted => Outcome::Interrupted,
                ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => Outcome::Reset,
                _ => Outcome::Failed,
            },
        }
    }
}
