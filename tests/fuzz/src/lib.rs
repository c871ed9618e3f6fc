//! What the fuzz targets share: keys of the vectors, bytes cut into pieces, a head found in pieces, and the
//! one assertion they all make.

use std::fmt::Debug;
use std::path::PathBuf;

use sealtap::wire::http1::{HeadError, HeadScanner, MAX_HEAD};
use sealtap_common::bundle::{ArchiveError, Reader};

/// The key that signed the vectors' log.
pub const LOG_KEY: &str =
    "sealtap.example/vectors+7f5ff85c+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

/// The key that signed the vectors' run record.
pub const RUN_RECORD_KEY: &str =
    "sealtap.example/vectors/run-record+eaa214b4+ASmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X";

/// The key of the vectors' witness.
pub const WITNESS_KEY: &str =
    "witness.example/w+d467e222+BHm1Vi6P5lT5QHixEuipi6eQH4U65pW+1+DjkQutBJZk";

/// A file or folder that is published with the format.
pub fn vectors(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../common/vectors")).join(name)
}

/// The files of an archive, in their order.
///
/// # Errors
/// It is not one.
pub fn entries(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.peek()?.cloned() {
        let content = reader.content(1 << 20)?;
        same(&(content.len() as u64), &entry.size);
        entries.push((entry.name, content));
    }
    Ok(entries)
}

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

/// Where the head in `bytes` starts and ends, if one does; as one piece and as many it is the same.
///
/// # Panics
/// If they differ.
pub fn head(bytes: &[u8], piece: usize, scanner: fn() -> HeadScanner) -> Option<(usize, usize)> {
    let mut whole = scanner();
    let found = whole.scan(bytes);
    let mut pieces = scanner();
    let (mut fed, mut again): (_, Result<_, HeadError>) = (0, Ok(None));
    while fed < bytes.len() && matches!(again, Ok(None)) {
        fed = bytes.len().min(fed + piece);
        again = pieces.scan(&bytes[..fed]);
    }
    same(&found, &again);
    let end = found.ok().flatten()?;
    assert!(end <= MAX_HEAD);
    Some((whole.leading(), end))
}
