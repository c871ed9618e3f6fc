//! A body as a sequence of segments that tile it, bound by one Merkle root.

use super::{BodyKey, PIECE, commit};
use crate::tree::{EMPTY_ROOT, Frontier, Hash, leaf_hash};
use crate::words::words;

/// What a segment holds, as the gateway asserts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// A fixed piece of a body (64 KiB, the last one shorter).
    Bytes,
    /// A request head.
    RequestHead,
    /// A response head.
    ResponseHead,
    /// Trailers of a request or a response.
    Trailers,
    /// Interim (1xx) answers.
    Interim,
    /// The context of an exchange: who, where to, which run.
    Context,
    /// Whole events of an event stream.
    EventGroup,
    /// The index of a WebSocket session's messages.
    Messages,
    /// Who made a connection, or went around.
    Maker,
    /// Names that were asked for.
    Questions,
}

impl UnitKind {
    /// Every kind of this version, in order of its number.
    pub const ALL: [Self; 10] = [
        Self::Bytes,
        Self::RequestHead,
        Self::ResponseHead,
        Self::Trailers,
        Self::Interim,
        Self::Context,
        Self::EventGroup,
        Self::Messages,
        Self::Maker,
        Self::Questions,
    ];

    /// The registered number.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Bytes => 0,
            Self::RequestHead => 1,
            Self::ResponseHead => 2,
            Self::Trailers => 3,
            Self::Interim => 4,
            Self::Context => 5,
            Self::EventGroup => 6,
            Self::Messages => 7,
            Self::Maker => 8,
            Self::Questions => 9,
        }
    }

    /// The kind with this number, unless it is reserved.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

words! {
    /// How a body is cut into segments; the text carries the version of the rules.
    Dialect {
        /// Fixed pieces of 64 KiB, the last one shorter.
        Bytes = "bytes/1",
        /// Event streams, cut where events end.
        EventStream = "event-stream/1",
    }
}

/// One segment: its place in the body, its kind, the commitment to its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Position among the body's segments.
    pub index: u32,
    /// First byte in the body.
    pub offset: u64,
    /// Bytes; never zero.
    pub length: u64,
    /// The kind's number; kept raw so that tuples with reserved kinds still give their root.
    pub kind: u16,
    /// The salted commitment.
    pub commitment: Hash,
}

impl Tuple {
    /// The 55 bytes that are the Merkle leaf of this segment.
    #[must_use]
    pub fn encode(&self) -> [u8; 55] {
        let mut out = [0; 55];
        let fields = [1_u8]
            .into_iter()
            .chain(self.index.to_be_bytes())
            .chain(self.offset.to_be_bytes())
            .chain(self.length.to_be_bytes())
            .chain(self.kind.to_be_bytes())
            .chain(self.commitment);
        for (to, from) in out.iter_mut().zip(fields) {
            *to = from;
        }
        out
    }

    /// Reads the 55 bytes of a segment's Merkle leaf; `None` for any version but 1.
    #[must_use]
    pub fn decode(bytes: &[u8; 55]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk::<1>()?;
        let (index, rest) = rest.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (kind, commitment) = rest.split_first_chunk::<2>()?;
        (*version == [1]).then_some(Self {
            index: u32::from_be_bytes(*index),
            offset: u64::from_be_bytes(*offset),
            length: u64::from_be_bytes(*length),
            kind: u16::from_be_bytes(*kind),
            commitment: commitment.try_into().ok()?,
        })
    }
}

/// Why segments do not tile a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilingError {
    /// The segment is not the next one.
    #[error("segment {found} came where segment {expected} belongs")]
    Index {
        /// Next index.
        expected: u32,
        /// Index found.
        found: u32,
    },
    /// The segment leaves a hole or overlaps the one before.
    #[error("segment {index} starts at byte {found}, the one before ends at {expected}")]
    Offset {
        /// Index of the segment.
        index: u32,
        /// Where the segments so far end.
        expected: u64,
        /// Where this one says it starts.
        found: u64,
    },
    /// The segment has no bytes.
    #[error("segment {0} is empty")]
    Empty(u32),
    /// More segments or bytes than the numbers of the format can count.
    #[error("the body has more segments or bytes than the format can count")]
    Overflow,
}

/// A body as a log leaf names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Body {
    /// How it was cut.
    pub dialect: Dialect,
    /// Bytes of the whole body.
    pub length: u64,
    /// Merkle root over the segment tuples.
    pub root: Hash,
    /// Number of segments.
    pub segments: u32,
}

impl Body {
    /// Whether length, segments and root can belong together under the dialect's way of cutting.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let segments = u64::from(self.segments);
        match (self.dialect, self.length) {
            (_, 0) => segments == 0 && self.root == EMPTY_ROOT,
            (Dialect::Bytes, length) => segments == length.div_ceil(PIECE),
            (Dialect::EventStream, length) => (length.div_ceil(PIECE)..=length).contains(&segments),
        }
    }
}

/// A committed unit as a log leaf names it: one segment under a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Bytes of the unit; never zero.
    pub length: u64,
    /// Merkle root over its single tuple.
    pub root: Hash,
}

/// Builds a body's root from its segments in order. Holds a few hashes, never the tuples.
#[derive(Debug, Clone, Default)]
pub struct BodyRoot {
    tree: Frontier,
    next: u32,
    length: u64,
}

impl BodyRoot {
    /// A body without segments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The index that the next segment will have; its salt depends on it.
    #[must_use]
    pub const fn next_index(&self) -> u32 {
        self.next
    }

    /// Appends the segment that starts where the last one ended, and gives its tuple.
    ///
    /// # Errors
    /// [`TilingError::Empty`] or [`TilingError::Overflow`]; the body is then unchanged.
    pub fn push(
        &mut self,
        length: u64,
        kind: UnitKind,
        commitment: Hash,
    ) -> Result<Tuple, TilingError> {
        let (index, offset) = (self.next, self.length);
        let tuple = Tuple { index, offset, length, kind: kind.number(), commitment };
        self.push_tuple(&tuple)?;
        Ok(tuple)
    }

    /// Appends a given tuple after checking that it continues the tiling.
    ///
    /// # Errors
    /// [`TilingError`] names the first thing wrong; the body is then unchanged.
    pub fn push_tuple(&mut self, tuple: &Tuple) -> Result<(), TilingError> {
        if tuple.index != self.next {
            return Err(TilingError::Index { expected: self.next, found: tuple.index });
        }
        if tuple.offset != self.length {
            let (index, expected, found) = (tuple.index, self.length, tuple.offset);
            return Err(TilingError::Offset { index, expected, found });
        }
        if tuple.length == 0 {
            return Err(TilingError::Empty(tuple.index));
        }
        let length = self.length.checked_add(tuple.length).ok_or(TilingError::Overflow)?;
        self.next = self.next.checked_add(1).ok_or(TilingError::Overflow)?;
        self.length = length;
        self.tree.push(leaf_hash(&tuple.encode()));
        Ok(())
    }

    /// Bytes of the segments so far.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The root over the segments so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The body as a leaf names it.
    #[must_use]
    pub fn finish(&self, dialect: Dialect) -> Body {
        Body { dialect, length: self.length, root: self.tree.root(), segments: self.next }
    }
}

/// Commits to a unit (head, trailers, interim answers, context) held in one piece.
#[must_use]
pub fn unit(key: &BodyKey, kind: UnitKind, bytes: &[u8]) -> Unit {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let commitment = commit(&key.salt(0), bytes);
    let tuple = Tuple { index: 0, offset: 0, length, kind: kind.number(), commitment };
    Unit { length, root: leaf_hash(&tuple.encode()) }
}
