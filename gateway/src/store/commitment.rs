//! Commitments made anew, from bytes that were read back.

use sealtap_common::commit::{self, Body, BodyKey, BodyRoot, Dialect, TilingError, Tuple, Unit};

use sealtap_common::leaf::Prefix;

use super::sealed::{Segment, Slot};

/// A body's commitments, segment after segment.
pub(super) struct Recommitment {
    key: BodyKey,
    root: BodyRoot,
}

impl Recommitment {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key: BodyKey::new(key), root: BodyRoot::new() }
    }

    /// Takes the next segment; it must begin where the one before ended.
    pub(super) fn take(&mut self, segment: Segment, bytes: &[u8]) -> Result<(), TilingError> {
        let index = self.root.next_index();
        let commitment = commit::commit(&self.key.salt(index), bytes);
        let Segment { offset, length, kind } = segment;
        self.root.push_tuple(&Tuple { index, offset, length, kind, commitment })
    }

    /// Whether the body begins as a progress leaf says, where `next` are the bytes of the segment
    /// that is to be taken next, and as many were taken as were closed then.
    pub(super) fn continues(&self, prefix: &Prefix, next: Option<&[u8]>) -> bool {
        let behind = prefix.length.checked_sub(self.root.length());
        let tail = behind.and_then(|behind| usize::try_from(behind).ok());
        let tail = tail.and_then(|tail| next.unwrap_or_default().get(..tail));
        let Some(tail) = tail.filter(|_| self.root.root() == prefix.root) else { return false };
        let salt = self.key.tail_salt(prefix.length);
        prefix.tail == (!tail.is_empty()).then(|| commit::commit(&salt, tail))
    }

    /// The body as a leaf binds it.
    pub(super) fn finish(self, dialect: Dialect) -> Body {
        self.root.finish(dialect)
    }
}

/// A unit as a leaf binds it.
pub(super) fn unit(slot: Slot, key: [u8; 32], bytes: &[u8]) -> Unit {
    commit::unit(&BodyKey::new(key), slot.kind(), bytes)
}
