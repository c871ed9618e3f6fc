//! What `seal` hands to `store`: one sealed exchange, its keys, and where its bytes are.

use std::io;

use sealtap_common::commit::{Body, Dialect, Unit, UnitKind};
use sealtap_common::leaf::Exchange;
use sealtap_common::tree::Hash;
use sealtap_common::websocket::EXTENSION;

pub use crate::capture::journal::Extent;
use crate::capture::journal::Extents;
pub use crate::capture::record::Direction;

/// Where payload bytes are read back from.
pub trait ExtentSource {
    /// Appends the bytes of `extent` to `into`, exactly `extent.length` of them.
    ///
    /// The store asks for each extent of a body whole, once, and in their order.
    ///
    /// # Errors
    ///
    /// Whatever stops the read; fewer bytes than asked for is `UnexpectedEof`.
    fn read(&mut self, extent: Extent, into: &mut Vec<u8>) -> io::Result<()>;
}

impl ExtentSource for Extents {
    fn read(&mut self, extent: Extent, into: &mut Vec<u8>) -> io::Result<()> {
        self.read_part(extent, into).map_err(io::Error::other)
    }
}

impl Direction {
    /// The body that a leaf binds for this direction.
    pub(crate) fn bound_by(self, leaf: &Exchange) -> Option<&Body> {
        match self {
            Self::Request => Some(&leaf.request.body),
            Self::Response => leaf.response.as_ref().map(|response| &response.body),
        }
    }

    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Request => 0,
            Self::Response => 1,
        }
    }

    pub(crate) fn from_code(code: u64) -> Self {
        if code & 1 == 0 { Self::Request } else { Self::Response }
    }
}

/// Which unit of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The request's head.
    RequestHead,
    /// The request's trailers.
    RequestTrailers,
    /// The final response's head.
    ResponseHead,
    /// The response's trailers.
    ResponseTrailers,
    /// The interim (1xx) answers.
    Interim,
    /// Client, ingress, run name and upstream.
    Context,
    /// The index of a WebSocket session's messages.
    Messages,
}

/// What a leaf says of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    root: Hash,
    /// An extension binds the root alone, which covers the length.
    length: Option<u64>,
}

impl Bound {
    /// Whether this is the unit that was made of its bytes and key.
    pub(crate) fn is(self, made: &Unit) -> bool {
        self.root == made.root && self.length.is_none_or(|length| length == made.length)
    }
}

impl Slot {
    /// Every slot, in the order of its code.
    pub const ALL: [Self; 7] = [
        Self::RequestHead,
        Self::RequestTrailers,
        Self::ResponseHead,
        Self::ResponseTrailers,
        Self::Interim,
        Self::Context,
        Self::Messages,
    ];

    /// The words for it, as findings and errors print them.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestHead => "request head",
            Self::RequestTrailers => "request trailers",
            Self::ResponseHead => "response head",
            Self::ResponseTrailers => "response trailers",
            Self::Interim => "interim answers",
            Self::Context => "context",
            Self::Messages => "message index",
        }
    }

    /// The kind its commitment carries.
    pub(crate) fn kind(self) -> UnitKind {
        match self {
            Self::RequestHead => UnitKind::RequestHead,
            Self::ResponseHead => UnitKind::ResponseHead,
            Self::RequestTrailers | Self::ResponseTrailers => UnitKind::Trailers,
            Self::Interim => UnitKind::Interim,
            Self::Context => UnitKind::Context,
            Self::Messages => UnitKind::Messages,
        }
    }

    /// The unit that a leaf binds for this slot.
    pub(crate) fn bound_by(self, leaf: &Exchange) -> Option<Bound> {
        let response = leaf.response.as_ref();
        let unit = match self {
            Self::RequestHead => leaf.request.head.as_ref(),
            Self::RequestTrailers => leaf.request.trailers.as_ref(),
            Self::ResponseHead => response?.head.as_ref(),
            Self::ResponseTrailers => response?.trailers.as_ref(),
            Self::Interim => response?.interim.as_ref(),
            Self::Context => Some(&leaf.context),
            Self::Messages => {
                let root = *leaf.ext.get(EXTENSION)?;
                return Some(Bound { root, length: None });
            }
        };
        unit.map(|unit| Bound { root: unit.root, length: Some(unit.length) })
    }

    pub(crate) fn code(self) -> u64 {
        match self {
            Self::RequestHead => 0,
            Self::RequestTrailers => 1,
            Self::ResponseHead => 2,
            Self::ResponseTrailers => 3,
            Self::Interim => 4,
            Self::Context => 5,
            Self::Messages => 6,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.code() == code)
    }
}

/// One head, trailers, interim answers or context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedUnit {
    /// Which unit of the exchange.
    pub slot: Slot,
    /// The key of its commitment.
    pub key: [u8; 32],
    /// The bytes that were committed.
    pub bytes: Vec<u8>,
}

/// A byte range of a body, as it was cut and committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the body, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never 0.
    pub length: u64,
    /// The unit kind of its commitment.
    pub kind: u16,
}

/// One direction's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBody {
    /// Which way it went.
    pub direction: Direction,
    /// The key of its commitments.
    pub key: [u8; 32],
    /// How it was cut.
    pub dialect: Dialect,
    /// The segments, in order; they tile the body.
    pub segments: Vec<Segment>,
    /// Where its bytes are in the journal, in order.
    pub extents: Vec<Extent>,
}

/// One exchange whose leaf is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedExchange {
    /// The index of its leaf in the log.
    pub leaf_index: u64,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// The boot of the gateway that captured it.
    pub boot: [u8; 16],
    /// Its number within that boot.
    pub number: u64,
    /// Its id.
    pub id: [u8; 16],
    /// The journal file that its first record is in.
    pub first_file: u64,
    /// Its units, each slot at most once.
    pub units: Vec<SealedUnit>,
    /// Its bodies, each direction at most once.
    pub bodies: Vec<SealedBody>,
    /// From the request's first byte to the response's, in nanoseconds.
    pub ttfb_ns: Option<u64>,
    /// From the request's first byte to the exchange's end, in nanoseconds.
    pub duration_ns: u64,
    /// About how much memory it takes until it is stored, in bytes.
    pub weight: u64,
}

impl SealedExchange {
    /// The bytes of its bodies.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        // The segments tile a body, so the last one says where it ends.
        let end = |body: &SealedBody| {
            body.segments.last().map_or(0, |last| last.offset.saturating_add(last.length))
        };
        self.bodies.iter().map(end).sum()
    }
}
