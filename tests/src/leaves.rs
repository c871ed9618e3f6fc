//! Leaves: what a published log holds, read without the code of the product's verifier.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::gate::poll;

/// Leaves of a whole tile (C2SP tlog-tiles).
const TILE: u64 = 256;

/// All leaves of the log whose checkpoint is there, in their order.
///
/// # Panics
/// If one is missing, or is no JSON.
pub fn all(log: &Path) -> Vec<Value> {
    let leaves = bytes(log).into_iter();
    leaves.map(|leaf| serde_json::from_slice(&leaf).expect("a leaf is JSON")).collect()
}

/// The same as the log has them. A gateway may write it meanwhile.
///
/// # Panics
/// If one is missing.
pub fn bytes(log: &Path) -> Vec<Vec<u8>> {
    // The tile that a checkpoint ends in goes as soon as a wider one is signed: a later look finds that.
    poll("a checkpoint whose tiles are all there", || match read(log) {
        Ok(leaves) => Some(leaves),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{} cannot be read: {error}", log.display()),
    })
}

/// Reads of each tile the part that the checkpoint ends in, or all of it: each leaf once.
fn read(log: &Path) -> io::Result<Vec<Vec<u8>>> {
    let checkpoint = fs::read_to_string(log.join("checkpoint"))?;
    let size = checkpoint.lines().nth(1).and_then(|line| line.parse::<u64>().ok());
    let size = size.expect("a checkpoint has a size");
    let mut leaves = Vec::new();
    for tile in 0..size.div_ceil(TILE) {
        let width = (size - tile * TILE).min(TILE);
        let bytes = fs::read(place(log, tile, width))?;
        let mut rest = bytes.as_slice();
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (leaf, after) = after.split_at(u16::from_be_bytes(*length).into());
            leaves.push(leaf.to_vec());
            rest = after;
        }
    }
    assert_eq!(u64::try_from(leaves.len()), Ok(size), "the tiles have what the checkpoint says");
    Ok(leaves)
}

/// Where the entries of a tile are: three digits a folder, an `x` before all but the last.
fn place(log: &Path, tile: u64, width: u64) -> PathBuf {
    let mut path = format!("{:03}", tile % 1000);
    let mut above = tile / 1000;
    while above > 0 {
        path = format!("x{:03}/{path}", above % 1000);
        above /= 1000;
    }
    let entries = log.join("tile/entries");
    match width {
        TILE => entries.join(path),
        width => entries.join(format!("{path}.p/{width}")),
    }
}
