//! Who an event is for.

/// A slot and its generation: an event for a closed connection reaches nobody, though the slot has
/// a new one by then. The slot is the descriptor's number, which the kernel allots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    pub slot: u32,
    pub generation: u32,
}

/// Generation 0 is never issued: these are for the server's own descriptors.
pub const LISTENER: Token = Token { slot: 0, generation: 0 };
pub const STOP: Token = Token { slot: 1, generation: 0 };

/// What a slot remembers, whoever is in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    pub generation: u32,
    pub live: bool,
}

impl Slot {
    pub fn issue(&mut self, number: u32) -> Token {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.live = true;
        Token { slot: number, generation: self.generation }
    }

    pub fn release(&mut self) {
        self.live = false;
    }

    pub fn holds(&self, token: Token) -> bool {
        self.live && self.generation == token.generation
    }
}

/// As what the poller carries for us.
impl From<Token> for mio::Token {
    fn from(token: Token) -> Self {
        mio::Token((token.generation as usize) << 32 | token.slot as usize)
    }
}

impl From<mio::Token> for Token {
    fn from(packed: mio::Token) -> Self {
        Token { slot: packed.0 as u32, generation: (packed.0 >> 32) as u32 }
    }
}
