//! What a gateway has behind its traffic, begun in order: journal, first leaves, the threads that seal and store.
//!
//! In: a log, a store, and what earlier boots left in the journal. Out: all of that sealed, and what takes more.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sealtap_common::leaf::Policy;

use super::isolation::isolation;
use super::{StartError, system_id};
use crate::capture::journal::{self, Extents, Journal, Opened};
use crate::clock::Timeline;
use crate::config::{self, Config, Durability};
use crate::data::DataDir;
use crate::identify::Launch;
use crate::seal::aside::SealedAside;
use crate::seal::keys::Keys;
use crate::seal::ledger::{Entry, Happening, Ledger};
use crate::seal::log::Log;
use crate::seal::pins::Pins;
use crate::seal::progress::Progress;
use crate::seal::recovery::{RecoveryError, last_sealed, recover};
use crate::seal::sealed::SealedExchange;
use crate::seal::witness::Announcer;
use crate::seal::{Pace, Parts, Sealed, Sealer, run};
use crate::store::{Store, retention};

/// What a start knows before it seals anything.
pub(super) struct Found<'a> {
    pub(super) config: &'a Config,
    pub(super) data: &'a DataDir,
    pub(super) keys: &'a Arc<Keys>,
    pub(super) timeline: Timeline,
    /// The one command that it is for, if there is one.
    pub(super) launch: Option<&'a Launch>,
}

/// What takes records and seals them.
pub(super) struct Behind {
    pub(super) journal: Journal,
    pub(super) sealer: Sealer,
    pub(super) progress: Arc<Progress>,
    /// What the store follows; a reload changes it.
    pub(super) retention: Arc<ArcSwap<retention::Policy>>,
    /// Leaves in the log.
    pub(super) size: u64,
    /// Exchanges that were under way when an earlier boot ended.
    pub(super) interrupted: usize,
    /// Bytes of unfinished journal tails that were dropped.
    pub(super) torn: u64,
}

impl Found<'_> {
    /// Seals the restart with what earlier boots left, and starts what seals all that follows.
    pub(super) fn seal(
        &self,
        mut log: Log,
        adopted: Option<u64>,
        mut store: Store,
        announcer: Option<Announcer>,
    ) -> Result<Behind, StartError> {
        let Self { config, data, keys, timeline, .. } = *self;
        let boot = system_id()?;
        let Opened { journal, batches, mut recovered } =
            Journal::open(&data.journal(), boot, self.journal_options())?;
        let pins = Arc::new(Pins::default());
        let recovery = recover(&log, &store, &mut recovered, &pins)?;
        let sealed = last_sealed(&log)?;
        let records = run::unstored(&log, store.watermark()?, keys).map_err(RecoveryError::Log)?;
        let isolation = isolation(config, self.launch);
        let runs = run::Runs::new(boot, Arc::clone(keys), isolation, recovery.runs);
        let mut ledger = Ledger::new(boot, self.policy(), timeline, sealed, log.size(), runs);
        let adopted = adopted.map(|size| Happening::Adopted { size });
        let happenings = recovery.happenings.into_iter().chain(adopted);
        let (exchanges, asides) = seal_all(&mut ledger, &mut log, happenings)?;
        if let Some(announcer) = &announcer {
            announcer.announce(log.checkpoint());
        }
        // All that earlier boots left is sealed: what of it is not stored is held, the rest may go.
        pins.reading(recovered.first_file, 0);
        store.begin_boot(&boot)?;
        journal.settle_gaps();

        let size = log.size();
        let progress = Arc::new(Progress::default());
        let retention = Arc::new(ArcSwap::from_pointee(retention_policy(config)));
        let sealer = Sealer::start(Parts {
            batches,
            journal: journal.clone(),
            directory: data.journal(),
            extents: Extents::new(&data.journal()),
            ledger,
            log,
            store,
            pins,
            recovered: Sealed {
                exchanges: recovery.sealed.into_iter().chain(exchanges).collect(),
                records,
                asides: recovery.asides.into_iter().chain(asides).collect(),
            },
            pace: Pace {
                checkpoint: config.log.checkpoint,
                heartbeat: config.log.heartbeat,
                progress: config.log.progress,
            },
            progress: Arc::clone(&progress),
            retention: (Arc::clone(&retention), timeline),
            announcer,
        })?;
        let torn = recovered.torn.iter().map(|torn| torn.bytes).sum();
        let interrupted = recovery.interrupted;
        Ok(Behind { journal, sealer, progress, retention, size, interrupted, torn })
    }

    /// What the ends of messages wait for, as leaves say it.
    fn policy(&self) -> Policy {
        match self.config.durability {
            Durability::Strict => Policy::Strict,
            Durability::Relaxed => Policy::Relaxed,
        }
    }

    fn journal_options(&self) -> journal::Options {
        let journal = &self.config.journal;
        journal::Options {
            // A record of one read, 64 KiB, must fit a batch.
            file_size: journal.file_size.max(1 << 20),
            durability: match self.config.durability {
                Durability::Strict => journal::Durability::Strict,
                Durability::Relaxed => journal::Durability::Relaxed,
            },
            max_pending: usize::try_from(journal.pending).unwrap_or(usize::MAX),
            // One command may send nothing at all.
            hurried: self.launch.is_some(),
            ..journal::Options::new(self.timeline)
        }
    }
}

/// Seals what happened, at once; what of it the store is to keep.
fn seal_all(
    ledger: &mut Ledger,
    log: &mut Log,
    happenings: impl Iterator<Item = Happening>,
) -> Result<(Vec<SealedExchange>, Vec<SealedAside>), StartError> {
    let (mut leaves, mut exchanges, mut asides) = (Vec::new(), Vec::new(), Vec::new());
    for happening in happenings {
        for Entry { leaf, exchange, aside, .. } in ledger.enter(happening)? {
            leaves.push(leaf);
            exchanges.push(exchange);
            asides.push(aside);
        }
    }
    let range = log.append(&leaves)?;
    let asides = SealedAside::of(range.clone().zip(asides));
    let sealed = range.zip(leaves).zip(exchanges);
    let exchanges = sealed
        .filter_map(|((index, leaf), exchange)| Some(exchange?.0.into_sealed(index, leaf)))
        .collect();
    Ok((exchanges, asides))
}

pub(super) fn retention_policy(config: &Config) -> retention::Policy {
    let config::Retention { max_age, max_bytes } = config.retention;
    retention::Policy { max_age, max_bytes }
}
