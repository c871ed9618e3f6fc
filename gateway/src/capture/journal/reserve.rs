//! The reserve: two blocks set aside that say since when the gateway refuses.
//!
//! Comes in: that refusing began, or ended. Goes out: after a crash, the gaps whose end was never
//! written. The blocks exist from the first start on, so a full disk cannot keep a beginning from
//! being written. They are written alternately, so that a crash in the middle of one leaves the
//! other. If even this fails, the journal stays closed until it works.
//!
//! ```text
//! magic "sealtapR" | u32 version 1 | u64 generation | u32 gaps
//! gap: boot 16 | u64 number | u64 began, microseconds | u8 reason
//! zeros to 4092 | u32 crc of all before
//! ```

use std::sync::Arc;

use super::JournalError;
use super::disk::{Disk, File};
use super::error::on;
use super::format::{BLOCK, BLOCK_U64, Fields};
use super::outage::Reason;

const NAME: &str = "reserve";
const NEW: &str = "reserve-new";
const MAGIC: [u8; 8] = *b"sealtapR";
const VERSION: u32 = 1;
const SLOTS: u64 = 2;
/// More gaps than this are told as one: the last goes on.
const MOST: usize = 64;

/// A time since when exchanges were refused, with no known end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The boot that refused.
    pub boot: [u8; 16],
    /// Counts the gaps of that boot, from 1; the same as in [`super::Resumed`].
    pub number: u64,
    /// When it began, on that boot's timeline, in microseconds.
    pub began_us: u64,
    /// Why.
    pub reason: Reason,
}

/// The reserve of one journal.
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    generation: u64,
    /// The slot that holds what is known now; the other is written next.
    slot: u64,
    gaps: Vec<Gap>,
}

impl Reserve {
    /// Opens the reserve, or makes it.
    pub(super) fn open(disk: Arc<dyn Disk>) -> Result<Self, JournalError> {
        let path = disk.path(NAME);
        let names = disk.list().map_err(on("list", disk.path("")))?;
        if !names.iter().any(|name| name == NAME) {
            make(disk.as_ref()).map_err(on("make", path.clone()))?;
        }
        let file = disk.open(NAME).map_err(on("open", path.clone()))?;
        let mut known: Option<(u64, u64, Vec<Gap>)> = None;
        let mut clear = true;
        for slot in 0..SLOTS {
            let mut block = vec![0; BLOCK];
            file.read_at(&mut block, slot.saturating_mul(BLOCK_U64))
                .map_err(on("read", path.clone()))?;
            clear &= block.iter().all(|byte| *byte == 0);
            if let Some((generation, gaps)) = decode(&block)
                && known.as_ref().is_none_or(|(newest, ..)| *newest < generation)
            {
                known = Some((generation, slot, gaps));
            }
        }
        // One torn slot beside nothing is the first beginning, cut off before anyone was refused;
        // but then the other slot is zeros, and a second written slot means more was known.
        let first_torn = || -> Result<bool, JournalError> {
            let mut other = vec![0; BLOCK];
            file.read_at(&mut other, 0).map_err(on("read", path.clone()))?;
            Ok(other.iter().all(|byte| *byte == 0))
        };
        let (generation, slot, gaps) = match known {
            Some(known) => known,
            None if clear || first_torn()? => (0, 0, Vec::new()),
            None => return Err(JournalError::Reserve { path }),
        };
        let mut reserve = Self { disk, file, generation, slot, gaps };
        if !reserve.gaps.is_empty() {
            // What is read may not be on disk, if a sync failed before: written again, it is.
            reserve.write(reserve.gaps.clone())?;
        }
        Ok(reserve)
    }

    /// Refusing begins. Durable when this returns; nobody may be refused before.
    ///
    /// A gap of the same boot that has no end yet goes on: its beginning stays.
    pub(super) fn begin(&mut self, gap: Gap) -> Result<(), JournalError> {
        let mut gaps = self.gaps.clone();
        if let Some(open) = gaps.iter_mut().find(|open| open.boot == gap.boot) {
            *open = Gap { began_us: open.began_us, ..gap };
        } else if gaps.len() < MOST {
            gaps.push(gap);
        }
        // Otherwise the last gap told has no end, so it covers this one.
        self.write(gaps)
    }

    /// Keeps only the gaps that `open` says have no end.
    pub(super) fn keep(&mut self, open: impl Fn(&Gap) -> bool) -> Result<(), JournalError> {
        let gaps: Vec<Gap> = self.gaps.iter().copied().filter(open).collect();
        if gaps.len() == self.gaps.len() {
            return Ok(());
        }
        self.write(gaps)
    }

    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// A crash in the middle leaves the other slot, with what was known before.
    fn write(&mut self, gaps: Vec<Gap>) -> Result<(), JournalError> {
        let generation = self.generation.saturating_add(1);
        let slot = self.slot.saturating_add(1) % SLOTS;
        let block = encode(generation, &gaps);
        let path = || self.disk.path(NAME);
        let offset = slot.saturating_mul(BLOCK_U64);
        self.file.write_at(&block, offset).map_err(on("write", path()))?;
        self.file.sync().map_err(on("sync", path()))?;
        self.generation = generation;
        self.slot = slot;
        self.gaps = gaps;
        Ok(())
    }
}

/// A crash before the rename leaves a file without meaning; after it, the whole reserve.
fn make(disk: &dyn Disk) -> std::io::Result<()> {
    let file = disk.create(NEW)?;
    file.write_at(&vec![0; BLOCK * 2], 0)?;
    file.sync()?;
    disk.rename(NEW, NAME)?;
    disk.sync()
}

fn encode(generation: u64, gaps: &[Gap]) -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK);
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&VERSION.to_le_bytes());
    block.extend_from_slice(&generation.to_le_bytes());
    block.extend_from_slice(&u32::try_from(gaps.len()).unwrap_or_default().to_le_bytes());
    for gap in gaps {
        block.extend_from_slice(&gap.boot);
        block.extend_from_slice(&gap.number.to_le_bytes());
        block.extend_from_slice(&gap.began_us.to_le_bytes());
        block.push(gap.reason.code());
    }
    block.resize(BLOCK - 4, 0);
    let crc = crc32fast::hash(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block
}

fn decode(block: &[u8]) -> Option<(u64, Vec<Gap>)> {
    let (body, crc) = block.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut fields = Fields(body);
    if fields.take::<8>()? != MAGIC || fields.u32()? != VERSION {
        return None;
    }
    let generation = fields.u64()?;
    let mut gaps = Vec::new();
    for _ in 0..fields.u32()? {
        gaps.push(Gap {
            boot: fields.take()?,
            number: fields.u64()?,
            began_us: fields.u64()?,
            reason: Reason::from_code(fields.u8()?)?,
        });
    }
    Some((generation, gaps))
}
