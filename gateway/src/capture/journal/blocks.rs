//! A file whose whole blocks are written past the system's cache.
//!
//! Comes in: bytes and where they go. Those that are whole blocks, in memory and in the file, go from
//! the buffer to the disk (`O_DIRECT`): a copy into the cache costs several times what the disk
//! does, most of all where the cache has to find memory for it. All else, and all of it where
//! the file system refuses, goes through the cache. What is durable is the same: only what was synced,
//! which covers both.

use std::fs::{File as StdFile, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::disk::File;
use super::format::{BLOCK, BLOCK_U64};

/// One file, open twice.
pub(super) struct Blocks {
    file: StdFile,
    direct: Option<Box<dyn File>>,
    /// The file system took no direct write, of whatever alignment it would want.
    refused: AtomicBool,
}

impl Blocks {
    /// Opens the file at `path` as `options` say, and directly if that can be.
    pub(super) fn open(options: &OpenOptions, path: &Path) -> io::Result<Self> {
        let file = options.open(path)?;
        let mut options = options.clone();
        let direct: Option<Box<dyn File>> =
            match options.custom_flags(OFlags::DIRECT.bits().cast_signed()).open(path) {
                Ok(direct) => Some(Box::new(direct)),
                Err(error) if not_here(&error) => None,
                Err(error) => return Err(error),
            };
        Ok(Self { file, direct, refused: AtomicBool::new(false) })
    }
}

impl File for Blocks {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct
            && are_blocks(bytes, offset)
            && !self.refused.load(Ordering::Relaxed)
        {
            match direct.write_at(bytes, offset) {
                // Also the rest of what was taken in part only: the cache then says what is wrong.
                Err(error) if not_here(&error) => self.refused.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        self.file.write_all_at(bytes, offset)
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        self.file.reserve(length)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        File::read_at(&self.file, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        // Of the file, not of the descriptor: what went past the cache is made durable by it as well.
        self.file.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        File::length(&self.file)
    }
}

fn are_blocks(bytes: &[u8], offset: u64) -> bool {
    bytes.as_ptr().addr().is_multiple_of(BLOCK)
        && bytes.len().is_multiple_of(BLOCK)
        && offset.is_multiple_of(BLOCK_U64)
}

/// How file systems say that they know nothing of it, or not in such blocks.
fn not_here(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that takes no write.
    struct Failing(Errno);

    impl File for Failing {
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Err(self.0.into())
        }

        fn reserve(&self, _: u64) -> io::Result<bool> {
            Ok(false)
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }

        fn length(&self) -> io::Result<u64> {
            Ok(0)
        }
    }

    #[test]
    fn blocks_and_odd_pieces_are_all_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let blocks = Blocks::open(&options, &path).expect("it opens");
        let memory: Vec<u8> = (0..=250).cycle().take(5 * BLOCK).collect();
        let start = memory.as_ptr().align_offset(BLOCK);
        let whole = &memory[start..start + 2 * BLOCK];
        assert!(are_blocks(whole, BLOCK_U64));
        let odd = &memory[start + 1..start + 1 + BLOCK];
        assert!(!are_blocks(odd, 0) && !are_blocks(whole, 1) && !are_blocks(&whole[1..], 0));
        // Read through the cache before and after: what lies in it gives way to what is written.
        let mut read = vec![0; BLOCK];
        blocks.write_at(odd, 0).expect("a piece is written");
        assert_eq!(File::read_at(&blocks, &mut read, 0).expect("it is read"), BLOCK);
        assert_eq!(read, odd);
        blocks.write_at(whole, 0).expect("blocks are written");
        blocks.write_at(odd, 2 * BLOCK_U64).expect("a piece is written");
        blocks.sync().expect("it is synced");
        let found = std::fs::read(&path).expect("it is read");
        assert!(found == [whole, odd].concat());
    }

    #[test]
    fn what_is_refused_goes_through_the_cache() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, b"").expect("a file");
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let mut blocks = Blocks::open(&options, &path).expect("it opens");
        let memory = vec![7; 3 * BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        let whole = &memory[start..start + BLOCK];
        // Whatever else is wrong with a direct write is told.
        blocks.direct = Some(Box::new(Failing(Errno::IO)));
        assert!(blocks.write_at(whole, 0).is_err());
        // As where a disk's blocks are larger than ours.
        blocks.direct = Some(Box::new(Failing(Errno::INVAL)));
        blocks.write_at(whole, 0).expect("it is written all the same");
        assert!(blocks.refused.load(Ordering::Relaxed));
        assert!(std::fs::read(&path).expect("it is read") == whole);
    }
}
