//! Which bytes of a WebSocket wait for the disk.
//!
//! The last byte of each client message, and of Close in either direction, must not leave before
//! it is on disk. All of a read is captured at once, so one wait covers every message in it: what
//! stands before the first held byte goes, the rest follows the wait.

use sealtap_common::websocket::{Opcode, Walker};

/// What is held back until it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// The last byte of every message.
    EveryMessage,
    /// The last byte of Close.
    Close,
}

/// What a read of one direction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// How many of its bytes may go before it is on disk; `None` where all may.
    pub goes: Option<usize>,
    /// Whether a message ends in it.
    pub ends_message: bool,
}

/// Follows one direction of a WebSocket.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Holds,
    walker: Walker,
}

impl Hold {
    /// At the first byte after the 101.
    #[must_use]
    pub(super) fn new(holds: Holds) -> Self {
        Self { holds, walker: Walker::new() }
    }

    /// Follows `payload`, which comes next.
    pub(super) fn read(&mut self, payload: &[u8]) -> Read {
        let mut read = Read { goes: None, ends_message: false };
        let mut at = 0;
        while let Some(rest) = payload.get(at..).filter(|rest| !rest.is_empty()) {
            let step = self.walker.next(rest);
            at += step.used;
            let Some(message) = step.message else { continue };
            read.ends_message = true;
            if self.holds == Holds::EveryMessage || message.opcode == Opcode::Close {
                read.goes = read.goes.or(Some(at.saturating_sub(1)));
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unmasked text frame "hi", then a close frame without a reason.
    const FRAMES: &[u8] = &[0x81, 2, b'h', b'i', 0x88, 0];

    #[test]
    fn the_last_byte_of_the_first_message_is_held() {
        assert_eq!(Hold::new(Holds::EveryMessage).read(FRAMES).goes, Some(3));
    }

    #[test]
    fn only_close_is_held_from_the_upstream() {
        assert_eq!(Hold::new(Holds::Close).read(FRAMES).goes, Some(5));
        assert_eq!(Hold::new(Holds::Close).read(&FRAMES[..4]).goes, None);
    }

    #[test]
    fn a_message_that_ends_in_a_later_read_is_held_there() {
        let mut hold = Hold::new(Holds::EveryMessage);
        assert_eq!(hold.read(&FRAMES[..3]).goes, None);
        assert_eq!(hold.read(&FRAMES[3..4]).goes, Some(0));
    }
}
