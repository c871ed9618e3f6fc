//! An outage: the journal fails, refuses, and comes back.
//!
//! Comes in: what failed. Goes out: a working file with everything that had been accepted, and a
//! `RESUMED` record that says how long nobody was served. What was accepted before stays in memory
//! meanwhile; nothing new is accepted, so it does not grow.

use tracing::{error, info, warn};

use super::format::{Fields, Origin};
use super::reserve::Gap;
use super::writer::Writer;
use super::{Down, JournalError};

/// The kind of the record that ends an outage. Its number is that of the last exchange begun
/// before it: every exchange up to there that has no end in front of this record is over.
pub const RESUMED: u8 = 200;

/// Why the journal refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No room on the disk.
    DiskFull,
    /// Any other failure.
    JournalFailed,
}

impl Reason {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::DiskFull => 1,
            Self::JournalFailed => 2,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::DiskFull),
            2 => Some(Self::JournalFailed),
            _ => None,
        }
    }
}

impl From<&Down> for Reason {
    fn from(down: &Down) -> Self {
        if matches!(down, Down::DiskFull(_)) { Self::DiskFull } else { Self::JournalFailed }
    }
}

/// The payload of a [`RESUMED`] record: u64 gap, u8 reason, u64 began, u64 ended, u64 refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// Counts the outages of this boot, from 1.
    pub gap: u64,
    /// What failed first.
    pub reason: Reason,
    /// When refusing began, in microseconds.
    pub began_us: u64,
    /// When it ended, in microseconds.
    pub ended_us: u64,
    /// How many exchanges were refused.
    pub refused: u64,
}

impl Resumed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.gap.to_le_bytes().to_vec();
        bytes.push(self.reason.code());
        for value in [self.began_us, self.ended_us, self.refused] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// What the payload of a [`RESUMED`] record says, or `None` when it is not one.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let resumed = Self {
            gap: fields.u64()?,
            reason: Reason::from_code(fields.u8()?)?,
            began_us: fields.u64()?,
            ended_us: fields.u64()?,
            refused: fields.u64()?,
        };
        fields.0.is_empty().then_some(resumed)
    }
}

/// What the writer remembers of outages.
#[derive(Default)]
pub(super) struct Outages {
    /// How many there were.
    count: u64,
    /// Where the `RESUMED` record of the last one ends, until the reserve has its end.
    owed: Option<u64>,
}

impl Writer {
    /// Refuses until the journal works again, or has to close without.
    pub(super) fn outage(&mut self, failure: JournalError) -> Result<(), JournalError> {
        self.take_back();
        if self.reader_gone {
            // Nobody would ever seal what is captured, and nothing brings the reader back.
            return Err(failure);
        }
        let down = Down::from(failure);
        let gap = self.next_gap(&down);
        // Callers still get in here; what they append waits. Nobody is refused before the
        // beginning is on disk: a crash up to here leaves an ordinary torn tail.
        let mut told = self.tell(gap);
        error!(reason = %down, "the journal is down: new exchanges are refused");
        self.rest.extend(self.shared.go_down(down.clone()));
        let mut cause = down;
        loop {
            let closing = self.shared.pause(self.shared.options.retry_interval);
            told = told || self.tell(gap);
            self.closing = closing;
            // A crash during an attempt leaves the old file, or the old one and a new one whose
            // header says where the old one ends: either way all that was settled.
            match self.come_back(told) {
                Ok(()) => break,
                Err(_) if closing => return Err(self.unwritten(cause)),
                Err(failure) => {
                    self.take_back();
                    let again = Down::from(failure);
                    if again != cause {
                        warn!(reason = %again, "the journal is still down");
                        self.shared.stay_down(again.clone());
                        cause = again;
                    }
                }
            }
        }
        let ended_us = self.shared.options.timeline.now_us();
        let Gap { number, began_us, reason, .. } = gap;
        // Until the reserve knows the end, the record that tells it must not go.
        self.spares.keep(Some(self.current.header.sequence));
        // From here on exchanges are accepted, behind this record. If its own batch fails, it is
        // kept like any other, and the reserve still names the first beginning.
        let end = self.shared.go_up(RESUMED, |refused| {
            info!(refused, "the journal works again");
            Resumed { gap: number, reason, began_us, ended_us, refused }.encode()
        });
        self.outages.owed = Some(end);
        Ok(())
    }

    fn next_gap(&mut self, down: &Down) -> Gap {
        self.outages.count = self.outages.count.saturating_add(1);
        self.outages.owed = None;
        Gap {
            boot: self.current.header.boot,
            number: self.outages.count,
            began_us: self.shared.options.timeline.now_us(),
            reason: Reason::from(down),
        }
    }

    fn tell(&mut self, gap: Gap) -> bool {
        let told = self.reserve.begin(gap);
        if let Err(failure) = &told {
            error!(%failure, "the journal's reserve fails too: it stays closed until that works");
        }
        told.is_ok()
    }

    fn come_back(&mut self, told: bool) -> Result<(), JournalError> {
        if self.reader_gone {
            return Err(JournalError::ReaderGone);
        }
        if !told {
            return Err(JournalError::Reserve { path: self.disk.path("reserve") });
        }
        self.change_file(Origin::Resumed)?;
        self.flush()
    }

    /// Writes the end of an outage into the reserve once its record is on disk. A crash in
    /// between is found at the next start, where the record counts as the end.
    pub(super) fn end_outage(&mut self) {
        if !self.outages.owed.is_some_and(|end| self.shared.is_durable(end)) {
            return;
        }
        let boot = self.current.header.boot;
        match self.reserve.keep(|gap| gap.boot != boot) {
            Ok(()) => {
                self.outages.owed = None;
                self.spares.keep(None);
            }
            Err(failure) => warn!(%failure, "the end of an outage is not in the reserve yet"),
        }
    }

    /// The gaps of earlier boots are in the log.
    pub(super) fn forget_gaps(&mut self) {
        let boot = self.current.header.boot;
        if let Err(failure) = self.reserve.keep(|gap| gap.boot == boot) {
            warn!(%failure, "gaps that are sealed stay in the reserve");
        }
    }
}
