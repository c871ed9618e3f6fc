//! The records of an exchange, as they stand in the journal.
//!
//! `Opened` comes first, then what happened in the order it happened, `Closed` last. A crash may
//! cut the sequence anywhere; `seal` reads what is left the same way as when all is there. Bodies
//! travel as raw bytes behind their offset, everything else as postcard.

use std::borrow::Cow;

use sealtap_common::leaf::ClosedReason;
use sealtap_common::unit::Ingress;
use serde::{Deserialize, Serialize};

/// The journal's record kinds that belong to exchanges.
pub mod kind {
    /// An exchange begins: [`super::Opened`].
    pub const OPENED: u8 = 1;
    /// The upstream connection it uses: [`super::Connected`].
    pub const CONNECTED: u8 = 2;
    /// Body bytes of the request: offset, then the bytes.
    pub const REQUEST_DATA: u8 = 3;
    /// Body bytes of the response: offset, then the bytes.
    pub const RESPONSE_DATA: u8 = 4;
    /// How the request ended: [`super::Ended`].
    pub const REQUEST_ENDED: u8 = 5;
    /// How the response ended: [`super::Ended`].
    pub const RESPONSE_ENDED: u8 = 6;
    /// An interim answer: the JSON of its head.
    pub const INTERIM: u8 = 7;
    /// The final answer's head: [`super::Answered`].
    pub const ANSWERED: u8 = 8;
    /// The exchange is over: [`super::Closed`].
    pub const CLOSED: u8 = 9;
    /// The request's head: [`super::Requested`].
    pub const REQUESTED: u8 = 11;
    /// When bytes of a session's request came that end a message: [`super::Marked`].
    pub const REQUEST_MARK: u8 = 12;
    /// When bytes of a session's response came that end a message: [`super::Marked`].
    pub const RESPONSE_MARK: u8 = 13;
    /// What passed through a tunnel that is not captured, so far: [`super::Tunnelled`].
    pub const TUNNELLED: u8 = 14;
    /// A run is over: its id, and why ([`super::run_ended`]).
    pub const RUN_ENDED: u8 = 10;
    /// A run took over the name of one that is over: both ids ([`super::run_opened`]).
    pub const RUN_OPENED: u8 = 20;
    /// What the kernel said: a leaf, whose boot and time are set when it is sealed.
    pub const COVERAGE: u8 = 21;
    /// A connection that the kernel led here came: [`super::super::connection::Began`].
    pub const CONNECTION_BEGAN: u8 = 22;
    /// Who made it: [`super::super::connection::Learned`].
    pub const CONNECTION_LEARNED: u8 = 23;
    /// It is over: [`super::super::connection::Over`].
    pub const CONNECTION_OVER: u8 = 24;
    /// Something went around: [`super::super::connection::WentAround`].
    pub const WENT_AROUND: u8 = 25;
    /// Names were asked for: [`super::super::connection::NamesAsked`].
    pub const NAMES_ASKED: u8 = 26;
}

/// The direction of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

impl Direction {
    /// The word for it: `request` or `response`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// How a body is cut into segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dialect {
    /// Fixed pieces.
    Bytes,
    /// At event boundaries of `text/event-stream`.
    EventStream,
}

/// Independent random keys, one for each thing that may be disclosed or erased by itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct ExchangeKeys {
    /// For the request's head.
    pub request_head: [u8; 32],
    /// For the request's body.
    pub request_body: [u8; 32],
    /// For the request's trailers.
    pub request_trailers: [u8; 32],
    /// For interim answers.
    pub interim: [u8; 32],
    /// For the response's head.
    pub response_head: [u8; 32],
    /// For the response's body.
    pub response_body: [u8; 32],
    /// For the response's trailers.
    pub response_trailers: [u8; 32],
    /// For the context.
    pub context: [u8; 32],
}

/// The first record of an exchange, written under the lock that gives it its number.
#[derive(Clone, Serialize, Deserialize)]
pub struct Opened<'a> {
    /// The exchange's random id.
    pub id: [u8; 16],
    /// When its request head was complete, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// The keys of everything in it.
    pub keys: ExchangeKeys,
    /// The run it belongs to.
    pub run: [u8; 16],
    /// How the run was delimited: `path`, `header`, `traceparent` or `connection`.
    #[serde(borrow)]
    pub run_by: Cow<'a, str>,
    /// The name the app gave the run.
    #[serde(borrow)]
    pub run_name: Option<Cow<'a, str>>,
    /// The client's address.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// The upstream's name in the route table.
    #[serde(borrow)]
    pub upstream_name: Option<Cow<'a, str>>,
    /// The upstream's URL.
    #[serde(borrow)]
    pub upstream_url: Option<Cow<'a, str>>,
    /// Whether message ends wait for the disk.
    pub strict: bool,
}

/// The request's head, once it is known how it will be forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested<'a> {
    /// How the request's body will be cut.
    pub dialect: Dialect,
    /// The committed unit of the request head.
    #[serde(borrow)]
    pub head: Cow<'a, serde_bytes::Bytes>,
}

/// The connection to the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected<'a> {
    /// The address it was made to.
    #[serde(borrow)]
    pub address: Cow<'a, str>,
    /// Version and protocol of TLS, where there is any.
    #[serde(borrow)]
    pub tls: Option<Cow<'a, str>>,
}

/// The head of the final answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered<'a> {
    /// When it was complete, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Where the gateway answers for itself: the registered outcome and error code, so that a
    /// crash after the answer does not make it look like an upstream's.
    #[serde(borrow)]
    pub by_gateway: Option<(Cow<'a, str>, Cow<'a, str>)>,
    /// Whether the connection became a WebSocket.
    pub websocket: bool,
    /// How the response's body will be cut.
    pub dialect: Dialect,
    /// The committed unit of the response head.
    #[serde(borrow)]
    pub head: Cow<'a, serde_bytes::Bytes>,
}

/// In front of the data that ends at least one message of a WebSocket: when it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The offset in the body behind that data.
    pub end: u64,
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
}

/// How one body ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended<'a> {
    /// The registered code (`end` in FORMAT.md).
    #[serde(borrow)]
    pub end: Cow<'a, str>,
    /// Whether all that arrived also left.
    pub same: bool,
    /// The committed unit of the trailers, where there were any.
    #[serde(borrow)]
    pub trailers: Option<Cow<'a, serde_bytes::Bytes>>,
}

/// The end of an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed<'a> {
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The registered outcome.
    #[serde(borrow)]
    pub outcome: Cow<'a, str>,
    /// The registered error code, where something went wrong.
    #[serde(borrow)]
    pub error: Option<Cow<'a, str>>,
}

/// How much passed through a tunnel that is not captured; what is recorded last counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnelled<'a> {
    /// Bytes from the client that were passed on.
    pub from_client: u64,
    /// Bytes that were passed on to the client.
    pub to_client: u64,
    /// The registered reason why it was not captured.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// The TLS alert with which the client refused the gateway's certificate.
    pub alert: Option<u8>,
}

/// How an exchange came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// By which way.
    pub ingress: Ingress,
    /// Over which connection, where the kernel led that here.
    pub connection: Option<[u8; 16]>,
}

/// The payload of [`kind::OPENED`]: the record, behind it how the traffic came, where that is not by
/// reverse mode, and behind a zero byte the connection, where that has an id.
#[must_use]
pub fn opening(opened: &Opened<'_>, came: Came) -> Vec<u8> {
    let Came { ingress, connection } = came;
    // Serialising to memory fails only where a length is unknown, which no record has.
    let mut bytes = postcard::to_extend(opened, Vec::with_capacity(512)).unwrap_or_default();
    if ingress != Ingress::Reverse {
        bytes.extend_from_slice(ingress.as_str().as_bytes());
    }
    if let Some(connection) = connection {
        bytes.push(0);
        bytes.extend_from_slice(&connection);
    }
    bytes
}

/// Reads the payload of [`kind::OPENED`].
#[must_use]
pub fn opened(payload: &[u8]) -> Option<(Opened<'_>, Came)> {
    let (opened, came) = postcard::take_from_bytes::<Opened<'_>>(payload).ok()?;
    let end = came.iter().position(|byte| *byte == 0).unwrap_or(came.len());
    let (word, connection) = came.split_at_checked(end)?;
    let ingress = match word {
        [] => Ingress::Reverse,
        word => Ingress::parse(std::str::from_utf8(word).ok()?)?,
    };
    let connection = match connection.split_first() {
        Some((_, id)) => Some(id.try_into().ok()?),
        None => None,
    };
    Some((opened, Came { ingress, connection }))
}

/// Splits the payload of a data record into the body offset and the bytes.
#[must_use]
pub fn split_data(payload: &[u8]) -> Option<(u64, &[u8])> {
    let (offset, bytes) = payload.split_first_chunk::<DATA_PREFIX>()?;
    Some((u64::from_le_bytes(*offset), bytes))
}

/// Bytes in front of the body bytes in a data record: the offset.
pub const DATA_PREFIX: usize = 8;

/// The payload of [`kind::RUN_ENDED`].
#[must_use]
pub fn ending(run: &[u8; 16], reason: ClosedReason) -> Vec<u8> {
    [run.as_slice(), reason.as_str().as_bytes()].concat()
}

/// Reads the payload of [`kind::RUN_ENDED`]; an id alone is that of a connection.
#[must_use]
pub fn run_ended(payload: &[u8]) -> Option<([u8; 16], ClosedReason)> {
    let (run, reason) = payload.split_first_chunk::<16>()?;
    let reason = match reason {
        [] => ClosedReason::ConnectionEnded,
        word => ClosedReason::parse(std::str::from_utf8(word).ok()?)?,
    };
    Some((*run, reason))
}

/// Reads the payload of [`kind::RUN_OPENED`]: the run that begins, and the one that had its name.
#[must_use]
pub fn run_opened(payload: &[u8]) -> Option<([u8; 16], [u8; 16])> {
    let (run, previous) = payload.split_first_chunk::<16>()?;
    Some((*run, previous.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_runs_are_read_back() {
        for reason in ClosedReason::ALL {
            assert_eq!(run_ended(&ending(&[7; 16], *reason)), Some(([7; 16], *reason)));
        }
        assert_eq!(run_ended(&[7; 16]), Some(([7; 16], ClosedReason::ConnectionEnded)));
        assert_eq!(run_ended(&[7; 15]), None);
        assert_eq!(run_ended(&[7; 17]), None);
        assert_eq!(run_opened(&[7; 32]), Some(([7; 16], [7; 16])));
        assert_eq!(run_opened(&[7; 31]), None);
    }
}
