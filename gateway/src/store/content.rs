//! Contents: the bytes of one segment each, found by a keyed tag, compressed if that helps.
//!
//! The tag is BLAKE3 keyed with the store's own key, so the index tells nobody who lacks that key
//! which texts were seen.

use rusqlite::{Connection, OptionalExtension as _, params};
use zstd::bulk::{Compressor, Decompressor};

use super::error::{Fault, Outcome};

/// A segment longer than this is refused: one segment is held in memory at a time.
pub(super) const LONGEST: u64 = 64 * 1024 * 1024;
/// zstd's fastest regular level: compaction competes with traffic for the processor.
const LEVEL: i32 = 1;
/// Shorter contents save less room than making a frame's tables costs in time.
const WORTH_COMPRESSING: usize = 512;

const RAW: i64 = 0;
const ZSTD: i64 = 1;

/// What the tags are keyed with, and the tools for one content after another.
pub(super) struct Contents {
    key: [u8; 32],
    compressor: Compressor<'static>,
    packed: Vec<u8>,
}

/// Where a content was found or put.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) content: i64,
    pub(super) tag: [u8; 32],
    /// The body that last began with this segment.
    pub(super) opens: Option<i64>,
    /// The bytes it newly takes, or `None` if it was there already.
    pub(super) added: Option<u64>,
}

impl Contents {
    pub(super) fn new(key: &[u8; 32]) -> std::io::Result<Self> {
        Ok(Self { key: *key, compressor: Compressor::new(LEVEL)?, packed: Vec::new() })
    }

    /// A value by which a wrong store key is noticed.
    pub(super) fn key_check(&self) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, b"sealtap store key check").as_bytes()
    }

    /// Finds the content `bytes`, or puts it with one listing.
    pub(super) fn place(&mut self, connection: &Connection, bytes: &[u8]) -> Outcome<Placed> {
        let tag = *blake3::keyed_hash(&self.key, bytes).as_bytes();
        let found = connection
            .prepare_cached("SELECT content, opens FROM segment WHERE tag = ?")?
            .query_row(params![tag], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((content, opens)) = found {
            return Ok(Placed { content, tag, opens, added: None });
        }
        let (form, packed) = self.pack(bytes);
        let added = u64::try_from(packed.len()).ok();
        connection
            .prepare_cached("INSERT INTO content(form, bytes) VALUES (?, ?)")?
            .execute(params![form, packed])?;
        let content = connection.last_insert_rowid();
        connection
            .prepare_cached("INSERT INTO segment(tag, content, lists) VALUES (?, ?, 1)")?
            .execute(params![tag, content])?;
        Ok(Placed { content, tag, opens: None, added })
    }

    fn pack<'a>(&'a mut self, bytes: &'a [u8]) -> (i64, &'a [u8]) {
        if bytes.len() < WORTH_COMPRESSING {
            return (RAW, bytes);
        }
        self.packed.clear();
        // Room for less than the input only: what does not shrink fails and is kept raw.
        self.packed.reserve_exact(zstd::zstd_safe::compress_bound(bytes.len()));
        match self.compressor.compress_to_buffer(bytes, &mut self.packed) {
            Ok(length) if length < bytes.len() => (ZSTD, &self.packed),
            _ => (RAW, bytes),
        }
    }
}

/// Counts one more recipe that lists the content with this tag.
pub(super) fn listed_again(connection: &Connection, tag: &[u8; 32]) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE segment SET lists = lists + 1 WHERE tag = ?")?
        .execute(params![tag])?;
    Ok(())
}

/// Remembers that the body at `place` is the latest to begin with the content with this tag.
pub(super) fn opened_by(connection: &Connection, tag: &[u8; 32], place: i64) -> Outcome<()> {
    connection
        .prepare_cached("UPDATE segment SET opens = ? WHERE tag = ?")?
        .execute(params![place, tag])?;
    Ok(())
}

/// Reads contents back, one at a time.
pub(super) struct Unpacker {
    decompressor: Decompressor<'static>,
    plain: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: Decompressor::new()?, plain: Vec::new() })
    }

    /// The bytes of the content in row `content`, which must be `length` long.
    ///
    /// The database is free again when this returns.
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        content: i64,
        length: u64,
    ) -> Outcome<&[u8]> {
        let damaged = |what: &str| Fault::Corrupt(format!("content row {content} {what}"));
        let expected = usize::try_from(length).ok().filter(|_| length <= LONGEST);
        let expected = expected.ok_or_else(|| damaged("is listed with an impossible length"))?;
        let mut statement =
            connection.prepare_cached("SELECT form, bytes FROM content WHERE key = ?")?;
        let mut rows = statement.query(params![content])?;
        let row = rows.next()?.ok_or_else(|| damaged("is missing"))?;
        let form: i64 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(|_| damaged("holds no bytes"))?;
        self.plain.clear();
        match form {
            RAW => self.plain.extend_from_slice(bytes),
            ZSTD => {
                self.plain.reserve_exact(expected);
                self.decompressor
                    .decompress_to_buffer(bytes, &mut self.plain)
                    .map_err(|error| damaged(&format!("does not decompress: {error}")))?;
            }
            _ => return Err(damaged("has an unknown form")),
        }
        if self.plain.len() == expected {
            Ok(&self.plain)
        } else {
            Err(damaged("has another length than its recipe says"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::super::tests::fixture::{noise_bytes, text_bytes};
    use super::*;

    #[test]
    fn contents_of_every_length_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let connection = schema::open_writer(directory.path()).unwrap();
        let mut contents = Contents::new(&[1; 32]).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        for length in [1, 511, 512, 513, 65_536, 4 << 20, 9 << 20] {
            for bytes in [text_bytes(1, length), noise_bytes(1, length), vec![0; length]] {
                let placed = contents.place(&connection, &bytes).unwrap();
                let again = contents.place(&connection, &bytes).unwrap();
                assert_eq!((again.content, again.added), (placed.content, None));
                let wanted = u64::try_from(length).unwrap();
                assert!(placed.added.unwrap() <= wanted);
                let back = unpacker.read(&connection, placed.content, wanted).unwrap();
                assert!(back == bytes, "{length} bytes");
                assert!(unpacker.read(&connection, placed.content, wanted + 1).is_err());
            }
        }
    }
}
