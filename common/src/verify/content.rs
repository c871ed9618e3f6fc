//! Content against its commitment: for whoever holds a key and the bytes.

use crate::commit::{
    Body, BodyKey, BodyRoot, PIECE, TilingError, Tuple, Unit, UnitKind, commit, unit,
};
use crate::leaf::{Dialect, Prefix};

/// Why bytes are not what a leaf commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The bytes are not as many as the leaf says.
    #[error("{found} bytes, the leaf says {expected}")]
    Length {
        /// Bytes according to the leaf.
        expected: u64,
        /// Bytes at hand.
        found: u64,
    },
    /// The segments do not tile the body.
    #[error(transparent)]
    Tiling(#[from] TilingError),
    /// A segment's place, kind or length is not what the dialect's rules give.
    #[error("segment {0} is not cut as the dialect says")]
    Cut(u32),
    /// A segment's bytes do not open its commitment.
    #[error("the bytes of segment {0} are not those that were sealed")]
    Segment(u32),
    /// Everything fits together, but not with the leaf.
    #[error("the segments lead to another root than the leaf's")]
    Root,
}

/// Checks a unit's bytes against its leaf.
///
/// # Errors
/// [`ContentError`] says what does not fit.
pub fn check_unit(
    sealed: &Unit,
    kind: UnitKind,
    key: &BodyKey,
    bytes: &[u8],
) -> Result<(), ContentError> {
    let found = length(bytes);
    if found != sealed.length {
        return Err(ContentError::Length { expected: sealed.length, found });
    }
    if unit(key, kind, bytes).root == sealed.root { Ok(()) } else { Err(ContentError::Root) }
}

/// Checks a body's bytes and tuples against its leaf.
///
/// # Errors
/// [`ContentError`] says what does not fit, and at which segment.
pub fn check_body(
    sealed: &Body,
    key: &BodyKey,
    tuples: &[Tuple],
    bytes: &[u8],
) -> Result<(), ContentError> {
    let found = length(bytes);
    if found != sealed.length {
        return Err(ContentError::Length { expected: sealed.length, found });
    }
    let mut root = BodyRoot::new();
    let mut rest = bytes;
    for tuple in tuples {
        root.push_tuple(tuple)?;
        if !cut_as_said(sealed, tuple) {
            return Err(ContentError::Cut(tuple.index));
        }
        let (segment, after) = usize::try_from(tuple.length)
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(ContentError::Segment(tuple.index))?;
        if commit(&key.salt(tuple.index), segment) != tuple.commitment {
            return Err(ContentError::Segment(tuple.index));
        }
        rest = after;
    }
    if root.finish(sealed.dialect) == *sealed { Ok(()) } else { Err(ContentError::Root) }
}

/// Checks that a body begins with what a progress leaf said of it: by its tuples, and with the key
/// and the bytes also behind the last segment that was closed then.
///
/// # Errors
/// [`ContentError`] says what does not fit.
pub fn check_prefix(
    prefix: &Prefix,
    tuples: &[Tuple],
    opened: Option<(&BodyKey, &[u8])>,
) -> Result<(), ContentError> {
    let mut root = BodyRoot::new();
    let closed = usize::try_from(prefix.segments).ok().and_then(|count| tuples.get(..count));
    for tuple in closed.ok_or(ContentError::Root)? {
        root.push_tuple(tuple)?;
    }
    if root.root() != prefix.root || root.length() > prefix.length {
        return Err(ContentError::Root);
    }
    let Some((key, bytes)) = opened else { return Ok(()) };
    let range = usize::try_from(root.length()).ok().zip(usize::try_from(prefix.length).ok());
    let tail = range.and_then(|(from, to)| bytes.get(from..to));
    let tail =
        tail.ok_or(ContentError::Length { expected: prefix.length, found: length(bytes) })?;
    let expected = (!tail.is_empty()).then(|| commit(&key.tail_salt(prefix.length), tail));
    if prefix.tail == expected { Ok(()) } else { Err(ContentError::Segment(prefix.segments)) }
}

/// Fixed pieces have one length; how many events make a group is the gateway's choice.
pub(crate) fn cut_as_said(sealed: &Body, tuple: &Tuple) -> bool {
    match (sealed.dialect, UnitKind::from_number(tuple.kind)) {
        (Dialect::Bytes, Some(UnitKind::Bytes)) => {
            tuple.length == sealed.length.saturating_sub(tuple.offset).min(PIECE)
        }
        (Dialect::EventStream, Some(UnitKind::Bytes)) => tuple.length == PIECE,
        (Dialect::EventStream, Some(UnitKind::EventGroup)) => tuple.length <= PIECE,
        _ => false,
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
