//! WebSocket sessions (RFC 6455): frames followed through raw bytes, and the index of messages.
//!
//! In: what one side sends after the upgrade, cut anywhere. Out: where each message lies, its
//! payload as it passes, and the unit that an exchange's leaf binds as `websocket-messages`. Nothing
//! here buffers a payload, unmasks or inflates it, and nothing fails: bytes that are no frames are
//! followed no more and count as raw.

mod index;
mod walker;

#[cfg(test)]
mod tests;

pub use index::{EXTENSION, Entry, Indexer, LISTED, MessageIndex, Side};
pub use walker::{Message, Opcode, Payload, Step, Walker};
