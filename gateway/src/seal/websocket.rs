//! The index of a WebSocket session's messages, while the session's records are read.
//!
//! In: the bytes of both directions in their order, and the marks that say when they came. Out: the
//! unit that the exchange's leaf binds. The key is that of the response's trailers: a session has
//! none, so it is used for nothing else, and the same records always give the same commitment.

use sealtap_common::websocket::{Indexer, MessageIndex};

use super::message::Message;
use crate::capture::journal::RecordRef;
use crate::capture::record::Marked;

/// Follows both directions from here on; the 101 was complete at `answered_us`.
pub(super) fn begin(answered_us: u64, request: &mut Message, response: &mut Message) {
    for message in [request, response] {
        message.index = Some(Box::new(Indexer::since(answered_us)));
    }
}

/// Takes a mark of one direction.
pub(super) fn mark(message: &mut Message, record: &RecordRef<'_>) {
    if let Some(index) = &mut message.index
        && let Ok(Marked { end, at_us }) = postcard::from_bytes(record.payload)
    {
        index.mark(end, at_us);
    }
}

/// The index as a unit, if the exchange became a session.
pub(super) fn unit(request: &mut Message, response: &mut Message) -> Option<Vec<u8>> {
    let (request, response) = (request.index.take()?, response.index.take()?);
    Some(MessageIndex { request: request.finish(), response: response.finish() }.encode())
}
