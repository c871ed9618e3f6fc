//! What earlier boots left: sealed but not stored, finished but not sealed, under way.
//!
//! The journal is read by the same code that reads it live. The log says which exchanges have
//! their leaf; those go to the store. All others are sealed first thing in the new boot, behind a
//! restart leaf that names the ones which were under way.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{DecodeError, Leaf, Outcome, Previous, Ranges};
use sealtap_common::tree::{Hash, leaf_hash};

use super::aside::SealedAside;
use super::carried::reconcile;
use super::digest::{Digest, Digested, Event, Gap, gap_reason};
use super::ledger::{Happening, RANGES};
use super::log::{Log, ReadError};
use super::pins::Pins;
use super::sealed::SealedExchange;
use crate::capture::journal::{JournalError, Recovered};
use crate::store::{Store, StoreError};

/// Leaves read at a time.
pub(super) const STRIDE: u64 = 4_096;

/// Why the past cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The log.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A leaf of the log.
    #[error(
        "leaf {index} of the log cannot be read: {source}; check the log with `sealtap verify`"
    )]
    Leaf {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a new boot begins with.
#[derive(Debug)]
pub struct Recovery {
    /// To be sealed before anything else, in order.
    pub happenings: Vec<Happening>,
    /// To be stored: their leaves are in the log already.
    pub sealed: Vec<SealedExchange>,
    /// To be stored: what leaves of connections bind that are in the log already.
    pub asides: Vec<SealedAside>,
    /// Where the runs stand that recovered exchanges belong to.
    pub runs: HashMap<[u8; 16], (u64, Hash)>,
    /// Exchanges that were under way when an earlier boot ended.
    pub interrupted: usize,
}

/// The time of the log's last leaf; 0 where there is none.
///
/// # Errors
///
/// [`RecoveryError`].
pub fn last_sealed(log: &Log) -> Result<u64, RecoveryError> {
    Ok(last_leaf(log)?.map_or(0, |leaf| leaf.sealed()))
}

/// The log's last leaf.
///
/// # Errors
///
/// [`RecoveryError`]: it cannot be read.
pub fn last_leaf(log: &Log) -> Result<Option<Leaf>, RecoveryError> {
    let size = log.size();
    let last = leaves(log, size.saturating_sub(1)..size)?;
    Ok(last.into_iter().next().map(|(_, _, leaf)| leaf))
}

/// Reads what earlier boots left.
///
/// # Errors
///
/// [`RecoveryError`]; nothing has been changed.
pub fn recover(
    log: &Log,
    store: &Store,
    journal: &mut Recovered,
    pins: &Pins,
) -> Result<Recovery, RecoveryError> {
    let mut in_log = in_log(log, store.watermark()?)?;
    let (mut sealed, mut unsealed) = (Vec::new(), Vec::new());
    let mut compacted = Ok(());
    let (mut gaps, mut connections, mut noted) = (Vec::new(), Vec::new(), Vec::new());
    let mut take = |event: Event| match event {
        Event::Exchange(digested) => match in_log.remove(&digested.id) {
            Some((index, leaf)) => {
                pins.hold(digested.held(), digested.first_file);
                sealed.push(digested.into_sealed(index, leaf));
            }
            None => match store.compacted(&digested.boot, digested.number) {
                Ok(true) => {}
                Ok(false) => {
                    pins.hold(digested.held(), digested.first_file);
                    unsealed.push(digested);
                }
                Err(error) => compacted = Err(error),
            },
        },
        Event::Gap(gap) => gaps.push(gap),
        // A statement of another boot would be none of this one: that coverage ends where its leaves do.
        Event::RunOpened { .. } | Event::RunEnded(..) | Event::Coverage(_) => {}
        // Nor are these sealed any more; but what their leaves bind may not be stored yet.
        Event::Bypass(bypass) => {
            if let Some(held) = bypass.held {
                pins.hold(held, bypass.first_file);
                noted.extend(bypass.unit.map(|unit| (held, bypass.leaf.boot.0, unit)));
            }
        }
        Event::DnsQueries(queries) => {
            if let Some(held) = queries.held {
                pins.hold(held, queries.first_file);
                noted.extend(queries.unit.map(|unit| (held, queries.leaf.boot.0, unit)));
            }
        }
        Event::Connection(connection) => {
            pins.hold(connection.held(), connection.first_file);
            connections.push(*connection);
        }
    };
    let mut digest = Digest::default();
    let mut highest: HashMap<[u8; 16], u64> = HashMap::new();
    let mut boot = None;
    while let Some(batch) = journal.reader.next()? {
        if boot != Some(batch.boot) {
            digest.interrupt(&mut take);
            digest = Digest::default();
            boot = Some(batch.boot);
        }
        digest.batch(&batch, &mut take);
        highest.insert(batch.boot, digest.highest());
        pins.reading(batch.file, 0);
    }
    digest.interrupt(&mut take);
    compacted?;
    // An exchange that the store could not take has its leaf below the watermark. Sealing it again
    // would give its number two leaves, so the log is asked before anything is called unsealed.
    let mut known = sealed_before(log, store.watermark()?, &unsealed)?;
    let mut left = Vec::with_capacity(unsealed.len());
    for digested in unsealed {
        match known.remove(&digested.id) {
            Some((index, leaf)) => sealed.push(digested.into_sealed(index, leaf)),
            None => left.push(digested),
        }
    }
    let mut unsealed = left;
    // A refusal that began and has no known end: coverage in between is unknown, and says so.
    gaps.extend(journal.open_gaps.iter().map(|gap| Gap {
        boot: gap.boot,
        began_us: gap.began_us,
        ended_us: None,
        count: 0,
        reason: gap_reason(gap.reason),
    }));
    let gaps = unsealed_gaps(log, gaps)?;
    let connections = reconcile(log, connections, noted)?;
    // One that nobody will be told of is not named either.
    let heard: HashSet<[u8; 16]> =
        connections.unsealed.iter().map(|one| one.leaf.connection.0).collect();
    for digested in &mut unsealed {
        digested.connection.take_if(|id| !heard.contains(id));
    }
    pins.release_all(connections.unheard.iter().copied());
    sealed.sort_by_key(|exchange| exchange.leaf_index);

    let wanted: HashSet<[u8; 16]> = unsealed.iter().map(|digested| digested.run).collect();
    let (last, runs) = last_boot(log, &wanted)?;
    let (under_way, ended): (Vec<_>, Vec<_>) =
        unsealed.into_iter().partition(|digested| digested.outcome == Outcome::Interrupted);
    let last_boot = last.as_ref().map(|last| last.boot);
    let mut open = Ranges::from_numbers(
        under_way.iter().filter(|d| Some(d.boot) == last_boot).map(|digested| digested.number),
    );
    let mut happenings: Vec<Happening> = Vec::new();
    let (before, after) = if open.as_slice().len() > RANGES {
        // Once those that ended have their leaves, every number between two open ones has one, and
        // a single range says it all.
        open = open.joined(|_| true);
        ended.into_iter().partition(|digested| Some(digested.boot) == last_boot)
    } else {
        (Vec::new(), ended)
    };
    happenings.extend(before.into_iter().map(Happening::Exchange));
    let previous = last.map(|last| Previous {
        boot: Id(last.boot),
        clean: last.closed,
        highest: last.highest.max(highest.get(&last.boot).copied().unwrap_or_default()),
        open,
        torn: journal.torn.iter().map(|torn| torn.bytes).sum(),
    });
    let interrupted = under_way.len();
    happenings.push(Happening::Restart { previous });
    happenings.extend(gaps.into_iter().map(Happening::Gap));
    happenings.extend(after.into_iter().map(Happening::Exchange));
    happenings.extend(under_way.into_iter().map(Happening::Exchange));
    happenings
        .extend(connections.unsealed.into_iter().map(|one| Happening::Connection(Box::new(one))));
    Ok(Recovery { happenings, sealed, asides: connections.sealed, runs, interrupted })
}

/// A leaf's index and bytes.
type Entry = (u64, Vec<u8>);

/// The exchanges from leaf `from` on, by id.
fn in_log(log: &Log, from: u64) -> Result<HashMap<[u8; 16], Entry>, RecoveryError> {
    let mut found = HashMap::new();
    let mut at = from;
    while at < log.size() {
        let end = at.saturating_add(STRIDE).min(log.size());
        for (index, bytes, leaf) in leaves(log, at..end)? {
            if let Leaf::Exchange(exchange) = leaf {
                found.insert(exchange.exchange.0, (index, bytes));
            }
        }
        at = end;
    }
    Ok(found)
}

/// Those of `unsealed` whose leaves stand below `end` after all, by id; looks back as far as the
/// restart of their oldest boot.
fn sealed_before(
    log: &Log,
    end: u64,
    unsealed: &[Box<Digested>],
) -> Result<HashMap<[u8; 16], Entry>, RecoveryError> {
    let wanted: HashSet<[u8; 16]> = unsealed.iter().map(|digested| digested.id).collect();
    let mut boots: HashSet<[u8; 16]> = unsealed.iter().map(|digested| digested.boot).collect();
    let mut found = HashMap::new();
    let mut end = end.min(log.size());
    while end > 0 && !boots.is_empty() {
        let start = end.saturating_sub(STRIDE);
        for (index, bytes, leaf) in leaves(log, start..end)?.into_iter().rev() {
            match leaf {
                Leaf::Exchange(exchange) if wanted.contains(&exchange.exchange.0) => {
                    found.insert(exchange.exchange.0, (index, bytes));
                }
                Leaf::Restart(restart) => {
                    boots.remove(&restart.boot.0);
                }
                _ => {}
            }
        }
        end = start;
    }
    Ok(found)
}

/// Those of `gaps` that the log does not tell of yet: a crash may have come between their leaves
/// and the moment when the journal forgot them. Looks back as far as the restart of their oldest
/// boot.
fn unsealed_gaps(log: &Log, mut gaps: Vec<Gap>) -> Result<Vec<Gap>, RecoveryError> {
    let mut boots: HashSet<[u8; 16]> = gaps.iter().map(|gap| gap.boot).collect();
    let mut end = log.size();
    while end > 0 && !boots.is_empty() {
        let start = end.saturating_sub(STRIDE);
        for (_, _, leaf) in leaves(log, start..end)?.into_iter().rev() {
            match leaf {
                Leaf::Gap(leaf) => {
                    let told = (leaf.began, leaf.ended, leaf.count, leaf.reason);
                    gaps.retain(|gap| (gap.began_us, gap.ended_us, gap.count, gap.reason) != told);
                }
                Leaf::Restart(restart) => {
                    boots.remove(&restart.boot.0);
                }
                _ => {}
            }
        }
        end = start;
    }
    Ok(gaps)
}

/// The boot that the log heard last.
struct LastBoot {
    boot: [u8; 16],
    /// Whether it said good-bye.
    closed: bool,
    highest: u64,
}

/// Looks back from the end of the log for the last boot, as far as its restart or a heartbeat, and
/// on to its restart where the place of some of `wanted` runs is still unknown.
#[expect(clippy::type_complexity, reason = "a boot, and each run's position and hash")]
fn last_boot(
    log: &Log,
    wanted: &HashSet<[u8; 16]>,
) -> Result<(Option<LastBoot>, HashMap<[u8; 16], (u64, Hash)>), RecoveryError> {
    let mut runs = HashMap::new();
    let mut numbers: HashMap<[u8; 16], u64> = HashMap::new();
    let mut last: Option<LastBoot> = None;
    let mut end = log.size();
    while end > 0 {
        let start = end.saturating_sub(STRIDE);
        for (_, bytes, leaf) in leaves(log, start..end)?.into_iter().rev() {
            match leaf {
                Leaf::Exchange(exchange) => {
                    let highest = numbers.entry(exchange.boot.0).or_default();
                    *highest = exchange.number.max(*highest);
                    let run = exchange.run;
                    if wanted.contains(&run.id.0) {
                        runs.entry(run.id.0).or_insert_with(|| (run.position, leaf_hash(&bytes)));
                    }
                }
                Leaf::Heartbeat(heartbeat) => {
                    last.get_or_insert(LastBoot {
                        boot: heartbeat.boot.0,
                        closed: heartbeat.closing,
                        highest: heartbeat.highest,
                    });
                }
                Leaf::Restart(restart) => {
                    let mut boot = last.unwrap_or(LastBoot {
                        boot: restart.boot.0,
                        closed: false,
                        highest: 0,
                    });
                    boot.highest =
                        boot.highest.max(numbers.get(&boot.boot).copied().unwrap_or_default());
                    return Ok((Some(boot), runs));
                }
                _ => {}
            }
            if let Some(boot) = &mut last
                && runs.len() == wanted.len()
            {
                let seen = numbers.get(&boot.boot).copied().unwrap_or_default();
                boot.highest = boot.highest.max(seen);
                return Ok((last, runs));
            }
        }
        end = start;
    }
    Ok((last, runs))
}

pub(super) fn leaves(
    log: &Log,
    range: std::ops::Range<u64>,
) -> Result<Vec<(u64, Vec<u8>, Leaf)>, RecoveryError> {
    let entries = log.entries(range.clone())?;
    range
        .zip(entries)
        .map(|(index, bytes)| match Leaf::decode(&bytes) {
            Ok(leaf) => Ok((index, bytes, leaf)),
            Err(source) => Err(RecoveryError::Leaf { index, source }),
        })
        .collect()
}
