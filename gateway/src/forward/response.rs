//! What became of an exchange's answer, as far as its outcome needs to know.

use super::relay::Ending;
use super::upstream::AnswerError;
use crate::capture::journal::Down;
use crate::wire::sink::SendError;
use crate::wire::source::Source;

/// How the answer went.
#[derive(Debug)]
pub(super) enum Response {
    /// A final head came and its body was relayed; how that ended.
    Sent(Ending),
    /// No final head came.
    None(AnswerError),
    /// The client was gone before the final head was sent.
    ClientGone(SendError),
    /// The connection has changed protocol; both directions are raw from here.
    Switched(Switched),
    /// The journal takes nothing any more.
    Down(Down),
}

/// The upstream's side of a connection that has changed protocol.
#[derive(Debug)]
pub(super) struct Switched {
    /// What the upstream sends.
    pub source: Source,
    /// Whether it is WebSocket now.
    pub websocket: bool,
}
