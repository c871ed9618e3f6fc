//! What becomes a leaf, in the order it became one.
//!
//! Leaves are made by one thread, so that `sealed` never runs backwards and every leaf of a run
//! can name the one before it.

#[cfg(test)]
mod tests;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Adopted, Clock, ClosedReason, Connection, Coverage, DnsQueries, EncodeError, Extensions,
    GapAction, Heartbeat, Leaf, Limit, Policy, Previous, Progress, ProgressEntry, Ranges, Restart,
    Retention,
};

use super::around::DigestedBypass;
use super::aside::Aside;
use super::connections::DigestedConnection;
use super::deferred::Linked;
use super::digest::{Digested, Gap};
use super::pins::Held;
use super::queries::DigestedQueries;
use super::run::{ClosedRun, Runs, SealedRecord};
use crate::clock::{Reading, Timeline};

/// Ranges of open numbers one heartbeat leaf holds: each takes 36 bytes at most, and a leaf 65,535.
pub(super) const RANGES: usize = 1_500;

/// Open exchanges that one progress leaf has entries for: each takes 560 bytes at most.
const PREFIXES: usize = 110;

/// Something that happened and is to be sealed.
#[derive(Debug)]
pub enum Happening {
    /// An exchange is over.
    Exchange(Box<Digested>),
    /// What is open, and how far the numbers have come.
    Heartbeat {
        /// The highest number given.
        highest: u64,
        /// The numbers without a leaf.
        open: Ranges,
        /// Whether this is the boot's last word.
        closing: bool,
    },
    /// Exchanges could not be captured for a while.
    Gap(Gap),
    /// The boot begins.
    Restart {
        /// What the boot before left.
        previous: Option<Previous>,
    },
    /// The log was taken over without its lock.
    Adopted {
        /// Its size then.
        size: u64,
    },
    /// The store is about to let go of contents.
    Retention {
        /// The leaves whose exchanges they belong to.
        leaves: Ranges,
        /// What may be held.
        limit: Limit,
    },
    /// Exchanges have been open for a while.
    Progress {
        /// Those of which something came since they were named last.
        entries: Vec<ProgressEntry>,
        /// The numbers of the others.
        unchanged: Ranges,
    },
    /// A run goes on under the name of one that is closed.
    RunOpened {
        /// The run that begins.
        run: [u8; 16],
        /// The run that had its name.
        previous: [u8; 16],
    },
    /// A run is over: all of its exchanges came before.
    RunEnded([u8; 16], ClosedReason),
    /// The kernel said something: the leaf, but for its boot and time.
    Coverage(Box<Coverage>),
    /// A connection that the kernel led here is over.
    Connection(Box<DigestedConnection>),
    /// Something went around.
    Bypass(Box<DigestedBypass>),
    /// Names were asked for.
    DnsQueries(Box<DigestedQueries>),
}

/// A leaf that is not in the log yet.
#[derive(Debug)]
pub struct Entry {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// What the store is to keep of it, and how the leaf links it.
    pub exchange: Option<(Box<Digested>, Linked)>,
    /// The outage that it tells of, which the journal keeps until then.
    pub gap: Option<Held>,
    /// The run record that this leaf seals.
    pub record: Option<Box<SealedRecord>>,
    /// What the store is to keep of what this leaf binds, where it is none of an exchange.
    pub aside: Option<Box<Aside>>,
}

impl Entry {
    /// A leaf that only says something.
    fn of(leaf: Vec<u8>) -> Self {
        Self { leaf, exchange: None, gap: None, record: None, aside: None }
    }

    /// A leaf, and what the store is to keep of what it binds.
    fn beside(leaf: Vec<u8>, aside: Aside) -> Self {
        Self { aside: Some(Box::new(aside)), ..Self::of(leaf) }
    }
}

/// Makes leaves.
#[derive(Debug)]
pub struct Ledger {
    boot: Id,
    policy: Policy,
    timeline: Timeline,
    sealed: u64,
    /// The index that the next leaf will have.
    next: u64,
    runs: Runs,
}

impl Ledger {
    /// A ledger for `boot` of a log with `size` leaves. `sealed` is the time of the last one.
    #[must_use]
    pub fn new(
        boot: [u8; 16],
        policy: Policy,
        timeline: Timeline,
        sealed: u64,
        size: u64,
        runs: Runs,
    ) -> Self {
        Self { boot: Id(boot), policy, timeline, sealed, next: size, runs }
    }

    /// The leaves of one happening; none where it only ends something.
    ///
    /// # Errors
    ///
    /// A leaf does not fit the format, which nothing that comes from the journal can cause.
    pub fn enter(&mut self, happening: Happening) -> Result<Vec<Entry>, EncodeError> {
        let entries = self.leaves(happening)?;
        self.next = self.next.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        Ok(entries)
    }

    fn leaves(&mut self, happening: Happening) -> Result<Vec<Entry>, EncodeError> {
        let mut told = None;
        let leaf = match happening {
            Happening::Exchange(digested) => return self.exchange(digested),
            Happening::RunOpened { run, previous } => {
                self.runs.took_over(run, previous);
                return Ok(Vec::new());
            }
            Happening::RunEnded(run, reason) => return self.close(run, reason, self.next),
            Happening::Heartbeat { highest, open, closing } => {
                // The last word of a boot stands behind the last word of each of its runs.
                let mut entries = if closing { self.close_all()? } else { Vec::new() };
                entries.extend(self.heartbeat(highest, &open, closing)?);
                return Ok(entries);
            }
            Happening::Progress { entries, unchanged } => {
                return self.progress(&entries, &unchanged);
            }
            Happening::Gap(gap) => {
                told = Some(Held::Gap(gap.boot, gap.began_us));
                Leaf::Gap(sealtap_common::leaf::Gap {
                    action: GapAction::Refused,
                    began: gap.began_us,
                    boot: self.boot,
                    count: gap.count,
                    ended: gap.ended_us,
                    ext: Extensions::new(),
                    reason: gap.reason,
                    sealed: self.now(gap.ended_us.unwrap_or(gap.began_us)),
                })
            }
            Happening::Restart { previous } => Leaf::Restart(Restart {
                boot: self.boot,
                clock: clock(),
                ext: Extensions::new(),
                policy: self.policy,
                previous,
                sealed: self.now(0),
            }),
            Happening::Coverage(said) => {
                let (boot, sealed) = (self.boot, self.now(0));
                Leaf::Coverage(Box::new(Coverage { boot, sealed, ..*said }))
            }
            Happening::Connection(connection) => return self.connection(*connection),
            Happening::Bypass(bypass) => {
                let (boot, sealed) = (self.boot, self.now(0));
                let (leaf, aside) = bypass.at(sealed);
                let leaf = sealtap_common::leaf::Bypass { boot, sealed, ..leaf }.encode()?;
                return Ok(vec![Entry::beside(leaf, aside)]);
            }
            Happening::DnsQueries(queries) => {
                let (boot, sealed) = (self.boot, self.now(0));
                let (leaf, aside) = queries.at(sealed);
                let leaf = DnsQueries { boot, sealed, ..leaf }.encode()?;
                return Ok(vec![Entry::beside(leaf, aside)]);
            }
            Happening::Adopted { size } => Leaf::Adopted(Adopted {
                boot: self.boot,
                ext: Extensions::new(),
                sealed: self.now(0),
                size,
            }),
            Happening::Retention { leaves, limit } => Leaf::Retention(Retention {
                boot: self.boot,
                ext: Extensions::new(),
                leaves,
                limit,
                sealed: self.now(0),
            }),
        };
        Ok(vec![Entry { gap: told, ..Entry::of(leaf.encode()?) }])
    }

    /// The leaf of a connection, or several where its exchanges are too many for one.
    fn connection(&mut self, connection: DigestedConnection) -> Result<Vec<Entry>, EncodeError> {
        let held = connection.held();
        let DigestedConnection { mut leaf, unit, weight, .. } = connection;
        // Apart from the leaf, which each part has once more.
        let all = std::mem::take(&mut leaf.exchanges);
        let mut chunks: Vec<&[(u64, u64)]> = all.as_slice().chunks(RANGES).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let parts = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
        let mut entries = Vec::with_capacity(chunks.len());
        let sealed = self.now(leaf.ended);
        for (part, chunk) in (1..).zip(chunks) {
            let exchanges = Ranges::new(chunk.to_vec()).unwrap_or_default();
            let ext = Extensions::new();
            let leaf = Connection { exchanges, ext, part, parts, sealed, ..leaf.clone() };
            entries.push(Entry::of(leaf.encode()?));
        }
        let carried = Some((leaf.boot, all));
        let aside = Aside { unit: Some(unit), carried, held: Some(held), sealed, weight };
        if let Some(first) = entries.first_mut() {
            first.aside = Some(Box::new(aside));
        }
        Ok(entries)
    }

    /// The leaves that end a run, the first of which will stand at `index`.
    fn close(
        &mut self,
        run: [u8; 16],
        reason: ClosedReason,
        index: u64,
    ) -> Result<Vec<Entry>, EncodeError> {
        let sealed = self.now(0);
        let Some(ended) = self.runs.close(run, reason, sealed, index)? else {
            return Ok(Vec::new());
        };
        let ClosedRun { closed, leaf, record } = ended;
        let record = Some(Box::new(record));
        Ok(vec![Entry::of(closed), Entry { record, ..Entry::of(leaf) }])
    }

    fn close_all(&mut self) -> Result<Vec<Entry>, EncodeError> {
        let mut entries = Vec::new();
        let mut index = self.next;
        for run in self.runs.all() {
            let closed = self.close(run, ClosedReason::Stopped, index)?;
            index = index.saturating_add(u64::try_from(closed.len()).unwrap_or(u64::MAX));
            entries.extend(closed);
        }
        Ok(entries)
    }

    fn exchange(&mut self, digested: Box<Digested>) -> Result<Vec<Entry>, EncodeError> {
        let sealed = self.now(digested.ended_us);
        let mut entries = Vec::with_capacity(1);
        if let Some(leaf) = self.runs.opening(digested.run, sealed)? {
            entries.push(Entry::of(leaf));
        }
        let run = self.runs.link(digested.run);
        let leaf = digested.leaf(run, sealed);
        let bytes = leaf.encode()?;
        let index = self.next.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let hash = self.runs.push(&leaf, digested.run_by, &bytes, index);
        let linked = Linked { run, sealed_us: sealed, hash };
        entries.push(Entry { exchange: Some((digested, linked)), ..Entry::of(bytes) });
        Ok(entries)
    }

    fn heartbeat(
        &mut self,
        highest: u64,
        open: &Ranges,
        closing: bool,
    ) -> Result<Vec<Entry>, EncodeError> {
        let clock = clock();
        let mut chunks: Vec<&[(u64, u64)]> = open.as_slice().chunks(RANGES).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let parts = u64::try_from(chunks.len()).unwrap_or(u64::MAX);
        let mut entries = Vec::with_capacity(chunks.len());
        for (part, chunk) in (1..).zip(chunks) {
            let leaf = Leaf::Heartbeat(Heartbeat {
                boot: self.boot,
                clock,
                closing,
                ext: Extensions::new(),
                highest,
                open: Ranges::new(chunk.to_vec()).unwrap_or_else(|_| Ranges::from_numbers([])),
                part,
                parts,
                sealed: self.now(0),
            });
            entries.push(Entry::of(leaf.encode()?));
        }
        Ok(entries)
    }

    /// As many leaves as it takes; each stands by itself.
    fn progress(
        &mut self,
        entries: &[ProgressEntry],
        unchanged: &Ranges,
    ) -> Result<Vec<Entry>, EncodeError> {
        let changed = entries.chunks(PREFIXES).map(|chunk| (chunk.to_vec(), Ranges::default()));
        let silent = unchanged.as_slice().chunks(RANGES).map(|chunk| {
            let ranges = Ranges::new(chunk.to_vec());
            (Vec::new(), ranges.unwrap_or_default())
        });
        let mut leaves = Vec::new();
        for (entries, unchanged) in changed.chain(silent) {
            let (boot, ext, sealed) = (self.boot, Extensions::new(), self.now(0));
            let leaf = Leaf::Progress(Progress { boot, entries, ext, sealed, unchanged });
            leaves.push(Entry::of(leaf.encode()?));
        }
        Ok(leaves)
    }

    /// Now, but not before `floor` or what was sealed before.
    fn now(&mut self, floor: u64) -> u64 {
        self.sealed = self.sealed.max(floor).max(self.timeline.now_us());
        self.sealed
    }
}

fn clock() -> Clock {
    let reading = Reading::now();
    Clock { boottime: reading.boottime_us, wall: reading.wall_us }
}
