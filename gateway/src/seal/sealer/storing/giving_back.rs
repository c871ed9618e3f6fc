//! Giving back: journal files that nothing needs any more, and those of which little is needed.
//!
//! In: what is held of the journal. Out: files to be used again. What an old file still has of something that
//! is not stored is carried over first, so that the journal stays within a small multiple of what is needed.

use super::Storing;
use crate::capture::journal::RecordRef;

/// Files that hold little that is needed, at least, before that is carried over.
const CARRIED: u64 = 4;

/// What was carried over.
#[derive(Default)]
pub(in super::super) struct CarriedOver {
    /// The file up to which it stands for all.
    next: u64,
    bytes: u64,
    /// After a failure: the file with which it is tried again.
    again: u64,
}

impl CarriedOver {
    /// So many bytes stand for all files up to this one.
    pub(super) fn up_to(next: u64, bytes: u64) -> Self {
        Self { next, bytes, again: 0 }
    }
}

impl Storing {
    /// Gives back the journal's files that nothing needs any more, and those of which only little is
    /// needed, once that is carried over.
    pub(super) fn give_back(&mut self) {
        let floor = self.journal.floor().unwrap_or(u64::MAX);
        let lowest = self.pins.lowest().min(floor);
        if self.carried.next > 0 && lowest >= self.carried.next {
            if let Err(error) = self.journal.forget_carried() {
                tracing::warn!(%error, "journal files stay although they are not needed");
                return;
            }
            self.carried = CarriedOver::default();
            self.extents.forget_carried();
        }
        self.extents.forget_below(lowest);
        self.journal.recycle_below(lowest);
        self.carry(lowest);
    }

    /// Carries over what old files hold of exchanges that are not stored, when the files are much
    /// larger than that: the journal stays within a small multiple of what is needed of it.
    fn carry(&mut self, lowest: u64) {
        let (reading, under_way) = self.pins.progress();
        let files = reading.saturating_sub(lowest.max(self.carried.next));
        let size = self.journal.file_size();
        let worth = under_way.max(self.carried.bytes).saturating_add(size.saturating_mul(CARRIED));
        if files.saturating_mul(size) < worth || reading < self.carried.again {
            return;
        }
        let needed = self.pins.needed();
        let wanted = |boot: &[u8; 16], record: &RecordRef<'_>| needed.wants(boot, record);
        match self.journal.carry(&wanted, needed.reading) {
            Ok(bytes) => {
                tracing::debug!(bytes, files, "carried over what is not stored yet");
                self.carried = CarriedOver::up_to(needed.reading, bytes);
                self.extents.forget_carried();
                self.extents.forget_below(needed.reading);
                self.journal.recycle_below(needed.reading);
            }
            Err(error) => {
                tracing::warn!(%error, "journal files stay although little of them is needed");
                self.carried.again = reading.saturating_add(CARRIED);
            }
        }
    }
}
