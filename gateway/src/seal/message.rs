//! One direction of an exchange, put together from its records.

use sealtap_common::commit::{Body, Dialect};
use sealtap_common::leaf::End;
use sealtap_common::websocket::Indexer;

use super::cutter::Cutter;
use super::sealed::{Direction, SealedBody};
use crate::capture::journal::{Extent, RecordRef};
use crate::capture::record::{self, Ended};

/// One direction while it is under way.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) cutter: Cutter,
    pub(super) dialect: Dialect,
    pub(super) key: [u8; 32],
    pub(super) length: u64,
    pub(super) extents: Vec<Extent>,
    pub(super) head: Option<Vec<u8>>,
    pub(super) trailers: Option<Vec<u8>>,
    pub(super) ended: Option<(End, bool)>,
    /// The journal file that says so.
    pub(super) ended_in: Option<u64>,
    /// The messages in it, once it belongs to a WebSocket.
    pub(super) index: Option<Box<Indexer>>,
}

impl Message {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            cutter: Cutter::new(key, Dialect::Bytes),
            dialect: Dialect::Bytes,
            key,
            length: 0,
            extents: Vec::new(),
            head: None,
            trailers: None,
            ended: None,
            ended_in: None,
            index: None,
        }
    }

    pub(super) fn begin(&mut self, dialect: record::Dialect, head: &[u8]) {
        self.head = Some(head.to_vec());
        if self.length == 0 {
            self.dialect = match dialect {
                record::Dialect::Bytes => Dialect::Bytes,
                record::Dialect::EventStream => Dialect::EventStream,
            };
            self.cutter = Cutter::new(self.key, self.dialect);
        }
    }

    pub(super) fn data(&mut self, record: &RecordRef<'_>) {
        let Some((offset, bytes)) = record::split_data(record.payload) else { return };
        // After a hole, which only a failed journal leaves, the prefix is all there is.
        if offset != self.length || bytes.is_empty() {
            return;
        }
        self.length += u64::try_from(bytes.len()).unwrap_or_default();
        self.cutter.push(bytes);
        if let Some(index) = &mut self.index {
            index.push(bytes);
        }
        let prefix = record::DATA_PREFIX;
        let mut at = record.at;
        at.offset += u64::try_from(prefix).unwrap_or_default();
        at.length = at.length.saturating_sub(u32::try_from(prefix).unwrap_or_default());
        self.extents.push(at);
    }

    pub(super) fn end(&mut self, record: &RecordRef<'_>) {
        let Ok(ended) = postcard::from_bytes::<Ended<'_>>(record.payload) else { return };
        let Some(end) = End::parse(&ended.end) else { return };
        self.ended = Some((end, ended.same));
        self.ended_in = Some(record.at.file);
        if let Some(trailers) = ended.trailers {
            self.trailers = Some(trailers.to_vec());
        }
    }

    pub(super) fn finish(self, direction: Direction) -> (Body, End, bool, Option<SealedBody>) {
        let (body, segments) = self.cutter.finish();
        let (end, same) = self.ended.unwrap_or((End::Interrupted, false));
        let sealed = SealedBody {
            direction,
            key: self.key,
            dialect: self.dialect,
            segments,
            extents: self.extents,
        };
        (body, end, same, Some(sealed))
    }
}
