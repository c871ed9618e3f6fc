//! What the fuzz targets share: bytes cut into pieces, and the one assertion they all make.

use std::fmt::Debug;

/// The first byte of `data` says how long the pieces are into which the rest is cut.
pub fn cut(data: &[u8]) -> Option<(&[u8], usize)> {
    let (first, rest) = data.split_first()?;
    Some((rest, usize::from(*first % 64) + 1))
}

/// Two readings of the same bytes agree.
///
/// # Panics
/// If they do not.
#[track_caller]
pub fn same<T: PartialEq + Debug>(one: &T, other: &T) {
    assert_eq!(one, other, "the same bytes were read in two ways");
}
