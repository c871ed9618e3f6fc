//! Room: what the journal leaves free on its disk for those who empty it.
//!
//! Comes in: how many files hold records, and what the store still has to fold. Goes out: whether
//! one more file may be taken. The log and the store usually share the journal's disk, and no file
//! of the journal goes back before they have written what is in it. So a file is taken only while
//! enough stays free to seal and store every file there is, that one included; ARCHITECTURE.md has
//! the sum. Two are taken regardless: the first of a boot, without which nothing could be stored at
//! all, and that for the end of what was accepted, when the journal closes.

use std::io;

use super::Journal;

/// Bytes left free for each byte of the files that hold records: it is stored once, is in the
/// store's write-ahead log meanwhile, may be carried over, and has its leaf.
const SHARE: u64 = 4;
/// Left free besides: directories, tiles, pages of the store's indexes.
const LEAST: u64 = 4 * 1024 * 1024;

/// Whether `available` bytes are enough to take `takes` of them for the last of `files` files of
/// `size` bytes, while `unfolded` bytes of the store's write-ahead log wait for their place.
pub(super) fn check(
    available: u64,
    takes: u64,
    files: u64,
    size: u64,
    unfolded: u64,
) -> io::Result<()> {
    let kept = files.saturating_mul(size).saturating_mul(SHARE);
    let kept = kept.saturating_add(LEAST).saturating_add(unfolded);
    if available >= kept.saturating_add(takes) {
        return Ok(());
    }
    // Without figures: it is said once, not whenever one of them changes.
    let full =
        "what space is left is kept for the log and the store; free some, it goes on by itself";
    Err(io::Error::new(io::ErrorKind::StorageFull, full))
}

impl Journal {
    /// Leaves `bytes` more free than the journal's own files ask for: what the store has written and
    /// not yet brought to its place.
    pub fn leave_room(&self, bytes: u64) {
        self.owner.spares().leave_room(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1024 * 1024;

    #[test]
    fn a_file_is_taken_only_while_all_can_be_stored() {
        let enough = 3 * SIZE * SHARE + LEAST;
        assert!(check(enough, 0, 3, SIZE, 0).is_ok());
        for (available, takes, files, unfolded) in
            [(enough - 1, 0, 3, 0), (enough, 1, 3, 0), (enough, 0, 4, 0), (enough, 0, 3, 1)]
        {
            let full = check(available, takes, files, SIZE, unfolded).expect_err("too little");
            assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn a_disk_that_does_not_say_has_room() {
        assert!(check(u64::MAX, SIZE, u64::MAX, SIZE, u64::MAX).is_ok());
    }
}
