//! Which bytes of a WebSocket wait for the disk.

/// What is held back until it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The last byte of every message.
    EveryMessage,
    /// The last byte of Close.
    Close,
}

/// Follows one direction of a WebSocket.
#[derive(Debug)]
pub struct Walker {
    holds: Holds,
}

impl Walker {
    /// A walker at the first byte after the 101.
    #[must_use]
    pub fn new(holds: Holds) -> Self {
        Self { holds }
    }

    /// How many bytes of `payload`, which comes next, may go before the rest is on disk; `None`
    /// where all may.
    pub fn hold(&mut self, _payload: &[u8]) -> Option<usize> {
        let _ = self.holds;
        None
    }
}
