//! A batch of records, as the reader beside the writer and the reader of files both get it.

use std::sync::Arc;

use super::buffer::{Buffer, Pool};
use super::format::{BATCH_HEADER, Fields, RECORD_HEADER};

/// Records that are on disk, in the order they were appended.
pub struct Batch {
    /// The boot of the gateway that wrote them.
    pub boot: [u8; 16],
    /// The journal file they are in.
    pub file: u64,
    /// The batch's own sequence, consecutive over files and boots.
    pub sequence: u64,
    /// Where in the file the first record starts.
    from: u64,
    bytes: Bytes,
}

enum Bytes {
    /// Lent by the writer; goes back when the batch is dropped.
    Lent(Option<Buffer>, Arc<Pool>),
    /// Read from a file: the records alone.
    Read(Vec<u8>),
    /// Carried over: each record with the place it had.
    Carried(Vec<u8>),
}

/// One record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// What it is; see [`super::FIRST_OWN_KIND`].
    pub kind: u8,
    /// The exchange it belongs to.
    pub number: u64,
    /// Its bytes.
    pub payload: &'a [u8],
    /// Where these bytes are in the journal.
    pub at: Extent,
}

/// Where the payload of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Sequence of the journal file.
    pub file: u64,
    /// Where in the file the payload starts.
    pub offset: u64,
    /// Bytes of payload.
    pub length: u32,
}

impl Batch {
    pub(super) fn lent(
        boot: [u8; 16],
        file: u64,
        sequence: u64,
        offset: u64,
        buffer: Buffer,
        pool: Arc<Pool>,
    ) -> Self {
        let bytes = Bytes::Lent(Some(buffer), pool);
        Self { boot, file, sequence, from: after_header(offset), bytes }
    }

    pub(super) fn read(
        boot: [u8; 16],
        file: u64,
        sequence: u64,
        offset: u64,
        payload: Vec<u8>,
    ) -> Self {
        let bytes = Bytes::Read(payload);
        Self { boot, file, sequence, from: after_header(offset), bytes }
    }

    pub(super) fn carried(boot: [u8; 16], file: u64, sequence: u64, records: Vec<u8>) -> Self {
        Self { boot, file, sequence, from: 0, bytes: Bytes::Carried(records) }
    }

    /// The records, in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        let (rest, carried) = match &self.bytes {
            Bytes::Lent(buffer, _) => {
                (buffer.as_ref().map(Buffer::payload).unwrap_or_default(), false)
            }
            Bytes::Read(payload) => (payload.as_slice(), false),
            Bytes::Carried(records) => (records.as_slice(), true),
        };
        Records { rest, file: self.file, offset: self.from, carried }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Bytes::Lent(buffer, pool) = &mut self.bytes
            && let Some(buffer) = buffer.take()
        {
            pool.give_back(buffer);
        }
    }
}

fn after_header(offset: u64) -> u64 {
    offset.saturating_add(u64::try_from(BATCH_HEADER).unwrap_or_default())
}

/// How many records `payload` holds, or `None` when it does not consist of whole records.
pub(super) fn count(payload: &[u8]) -> Option<u32> {
    let mut records = Records { rest: payload, file: 0, offset: 0, carried: false };
    let count = u32::try_from(records.by_ref().count()).ok()?;
    records.rest.is_empty().then_some(count)
}

struct Records<'a> {
    rest: &'a [u8],
    file: u64,
    offset: u64,
    /// Each record tells its own place.
    carried: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        let mut fields = Fields(self.rest);
        let place = if self.carried { Some(fields.u64()?) } else { None };
        let length = fields.u32()?;
        let kind = fields.u8()?;
        let number = fields.u64()?;
        let payload = fields.slice(usize::try_from(length).ok()?)?;
        let after = self.offset.saturating_add(u64::try_from(RECORD_HEADER).unwrap_or_default());
        let offset = place.unwrap_or(after);
        self.rest = fields.0;
        self.offset = offset.saturating_add(u64::from(length));
        Some(RecordRef { kind, number, payload, at: Extent { file: self.file, offset, length } })
    }
}
