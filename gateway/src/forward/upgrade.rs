//! After a change of protocol: its raw bytes, in both directions.
//!
//! Each client message of a WebSocket, and either side's Close, is released only when it is on
//! disk; everything else goes on at once. One side's FIN is passed on as a half-close.

use std::pin::pin;

use sealtap_common::leaf::{End, ErrorCode, Outcome};

use super::hold::{Hold, Holds};
use super::relay::{Course, Ending, relay};
use super::respond::Responding;
use super::response::Switched;
use super::upstream::Incoming;
use super::{Forwarded, Rest, Summary};
use crate::capture::Recorder;
use crate::capture::record::Direction;
use crate::wire::http1::{BodyDecoder, ResponseFraming};
use crate::wire::sink::{ByteSink, Framing, Sink};
use crate::wire::source::{ByteSource, Source};

/// A connection pair that has changed protocol.
pub(super) struct Tunnel {
    /// The exchange's record.
    pub recorder: Recorder,
    /// The client's side, as the source of the (empty) request body.
    pub body: Source,
    /// The client's side, as the place of the answer.
    pub response: Responding,
    /// The upstream's side, as the sink of the request.
    pub sink: Option<Sink>,
    /// What holds the upstream's stream, where it is one of HTTP/2.
    pub held: Incoming,
    /// The upstream's side, as the source of the answer.
    pub switched: Option<Switched>,
    /// For the operator's view.
    pub summary: Summary,
}

/// Relays until both directions have ended.
pub(super) async fn tunnel(tunnel: Tunnel) -> Forwarded {
    let Tunnel { recorder, body, mut response, sink, held, switched, mut summary } = tunnel;
    let (Some(sink), Some(switched)) = (sink, switched) else {
        // Only what was asked can switch.
        return Forwarded { rest: Rest::Closed, summary };
    };
    let mut from_client = match body {
        Source::Http1(body) => {
            let (reader, carry) = body.into_parts();
            let raw = BodyDecoder::new(ResponseFraming::Upgraded);
            Source::Http1(ByteSource::new(reader, carry, raw))
        }
        // The data of an HTTP/2 stream are the other protocol's bytes (RFC 8441 section 5).
        body @ Source::Http2(_) => body,
    };
    let mut to_upstream = match sink {
        Sink::Http1(sink) => {
            Sink::Http1(ByteSink::new(sink.into_writer(), Vec::new(), Framing::Raw))
        }
        sink @ Sink::Http2(_) => sink,
    };
    let mut from_upstream = switched.source;
    let (mut up, mut down) = (None, None);
    if let Some(to_client) = &mut response.sink {
        let held = |holds| switched.websocket.then(|| Hold::new(holds));
        let course = |direction, holds| Course {
            direction,
            recorder: &recorder,
            filter: None,
            patience: None,
            hold: held(holds),
            first: None,
        };
        let upward = relay(
            course(Direction::Request, Holds::EveryMessage),
            &mut from_client,
            &mut to_upstream,
        );
        let downward =
            relay(course(Direction::Response, Holds::Close), &mut from_upstream, to_client);
        let (mut upward, mut downward) = (pin!(upward), pin!(downward));
        while up.is_none() || down.is_none() {
            let ending = tokio::select! {
                ending = &mut upward, if up.is_none() => up.insert(ending),
                ending = &mut downward, if down.is_none() => down.insert(ending),
            };
            // A FIN ends one direction; anything worse ends both.
            if !matches!(ending, Ending::Complete) {
                break;
            }
        }
    }
    drop(held);
    let (outcome, error) = verdict(up.as_ref(), down.as_ref());
    let end = |ending: Option<&Ending>| match (ending, outcome) {
        (Some(Ending::Complete), _) => None,
        (_, Outcome::ClientCancelled) => Some(End::ClientCancelled),
        (_, Outcome::Interrupted) => Some(End::Interrupted),
        _ => Some(End::UpstreamFailed),
    };
    for (direction, ending) in [(Direction::Request, &up), (Direction::Response, &down)] {
        if let Some(end) = end(ending.as_ref()) {
            let _ = recorder.ended(direction, end, ending.is_none(), None);
        }
    }
    if outcome != Outcome::Complete {
        // As a connection's reset is said over HTTP/2 (RFC 8441 section 5).
        to_upstream.cut(Some(h2::Reason::CANCEL)).await;
        response.cut(Some(h2::Reason::CANCEL)).await;
    }
    summary.close(&recorder, &response, outcome, error);
    let (rest, _) = response.into_rest(from_client, false);
    summary.recorded = recorder.closed(outcome, error).is_ok();
    Forwarded { rest, summary }
}

fn verdict(up: Option<&Ending>, down: Option<&Ending>) -> (Outcome, Option<ErrorCode>) {
    match (up, down) {
        (Some(Ending::Down(_)), _) | (_, Some(Ending::Down(_))) => {
            (Outcome::Interrupted, Some(ErrorCode::JournalFailed))
        }
        (Some(Ending::Complete), Some(Ending::Complete)) => (Outcome::Complete, None),
        // The client sent no more, or took no more.
        (Some(Ending::Cut(_)), _) | (_, Some(Ending::Unsent(_))) => {
            (Outcome::ClientCancelled, None)
        }
        _ => (Outcome::UpstreamFailed, Some(ErrorCode::UpstreamClosed)),
    }
}
