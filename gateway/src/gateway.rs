//! The gateway as a whole: opened in the one order that is safe, closed in the reverse of it.
//!
//! 1. [`Checked`]: keys, then the log with its lock: a second process, a rollback, a damaged log end here.
//! 2. The store and the journal, and what earlier boots left in it.
//! 3. The restart leaf with everything recovered: sealed before a client is listened to.
//! 4. The threads behind the traffic, then the listener.

mod authority;
mod checked;
mod end;
mod error;
mod found;
mod isolation;
mod redirected;
mod reload;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::SecureRandom;
use sealtap_common::leaf::Policy;
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;

pub use self::checked::{CalledError, Checked, Listeners, Told};
use self::end::wait_for_the_end;
pub use self::error::{ServeError, StartError};
use self::found::opened_store;
pub use self::redirected::CoverageTeller;
pub use self::reload::{ReloadError, Reloaded, Reloader};
use crate::accept::authority::Authority;
use crate::accept::{Listener, Minter};
use crate::capture::Tap;
use crate::capture::journal::{self, Extents, Journal, Opened};
use crate::capture::secrets::Secrets;
use crate::clock::Timeline;
use crate::config::{self, Config, Durability};
use crate::data::Writer;
use crate::identify::{Launch, Runs};
use crate::journey::Journey;
use crate::route::Table;
use crate::seal::aside::SealedAside;
use crate::seal::ledger::{Entry, Happening, Ledger};
use crate::seal::pins::Pins;
use crate::seal::progress::Progress;
use crate::seal::recovery::{RecoveryError, last_sealed, recover};
use crate::seal::timestamp::Timestamps;
use crate::seal::vouching::{Voucher, Vouching};
use crate::seal::witness::Witnesses;
use crate::seal::{Pace, Parts, Sealed, Sealer, run};
use crate::serve::observe::{Bounds, Observe, ObserveListener, watch};
use crate::store::retention;

/// How long open exchanges may go on after the gateway was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a start found and made, to be told to the operator.
#[derive(Clone, Debug)]
pub struct Report {
    /// The address listened on.
    pub address: SocketAddr,
    /// The address of `/metrics` and `/healthz`, where they have one of their own.
    pub observe: Option<SocketAddr>,
    /// The log's origin.
    pub origin: String,
    /// Leaves in the log.
    pub size: u64,
    /// Exchanges that were under way when an earlier boot ended.
    pub interrupted: usize,
    /// Bytes of unfinished journal tails that were dropped; nobody relied on them.
    pub torn: u64,
}

/// A running gateway.
pub struct Gateway {
    journal: Journal,
    sealer: Sealer,
    journey: Arc<Journey>,
    /// The coverage of what the kernel leads here.
    coverage: Option<[u8; 16]>,
    authority: Arc<Authority>,
    listener: Listener,
    observe_listener: Option<ObserveListener>,
    report: Report,
    witnesses: Option<Witnesses>,
    timestamps: Option<Timestamps>,
    idle_runs: Duration,
    reloader: Option<Reloader>,
    /// What is done once nobody is connected any more, before the last seal.
    last: Option<Box<dyn FnOnce() + Send>>,
    /// Held until everything is sealed.
    writer: Writer,
}

impl Gateway {
    /// Opens everything and listens. `told` hears of every exchange that is over.
    ///
    /// # Errors
    ///
    /// [`StartError`]; whatever was wrong is as it was.
    pub async fn open(
        config: &Config,
        table: Table,
        adopt: bool,
        told: Told,
    ) -> Result<Self, StartError> {
        let checked = Checked::new(config, table, adopt).await?;
        Self::begin(checked, told, None).await
    }

    /// Makes a gateway of what was looked at: from here on things are sealed. Everything that comes
    /// to it belongs to the run of `launch`, where there is one.
    ///
    /// # Errors
    ///
    /// [`StartError`]; whatever was wrong is as it was.
    pub async fn begin(
        checked: Checked,
        told: Told,
        launch: Option<Launch>,
    ) -> Result<Self, StartError> {
        let Checked { config, settings, listener, address, observe_listener, data, .. } = checked;
        let Checked { writer, keys, mut authority, names, mut log, opened, store, .. } = checked;
        let (config, observing) = (&config, &config.observe);
        names.settle()?;
        // Before anything is signed: on an old copy, the next leaf would be a fork.
        let (witnesses, announcer) = match &config.witness {
            Some(witness) => {
                let (witnesses, announcer) =
                    Witnesses::start(witness, &data, &keys, log.checkpoint()).await?;
                if let Some(testimony) = witnesses.testimony().borrow().clone() {
                    return Err(testimony.into());
                }
                (Some(witnesses), Some(announcer))
            }
            None => (None, None),
        };
        let timeline = Timeline::start(last_sealed(&log)?);

        let mut store = match store {
            Some(store) => store,
            None => opened_store(&data, &keys, &log)?,
        };
        // Before anything is sealed.
        let authority = authority.wait()?;
        let random = secure_random();
        let boot = system_id()?;
        let strict = config.durability == Durability::Strict;
        let durability =
            if strict { journal::Durability::Strict } else { journal::Durability::Relaxed };
        let options = journal::Options {
            // A record of one read, 64 KiB, must fit a batch.
            file_size: config.journal.file_size.max(1 << 20),
            durability,
            max_pending: usize::try_from(config.journal.pending).unwrap_or(usize::MAX),
            // One command may send nothing at all.
            hurried: launch.is_some(),
            ..journal::Options::new(timeline)
        };
        let Opened { journal, batches, mut recovered } =
            Journal::open(&data.journal(), boot, options)?;

        let pins = Arc::new(Pins::default());
        let recovery = recover(&log, &store, &mut recovered, &pins)?;
        let policy = if strict { Policy::Strict } else { Policy::Relaxed };
        let sealed = last_sealed(&log)?;
        let records = run::unstored(&log, store.watermark()?, &keys).map_err(RecoveryError::Log)?;
        let runs = run::Runs::new(
            boot,
            Arc::clone(&keys),
            isolation::isolation(config, launch.as_ref()),
            recovery.runs,
        );
        let mut ledger = Ledger::new(boot, policy, timeline, sealed, log.size(), runs);
        let mut entries = Vec::new();
        for happening in recovery.happenings {
            entries.extend(ledger.enter(happening)?);
        }
        if let Some(size) = opened.adopted {
            entries.extend(ledger.enter(Happening::Adopted { size })?);
        }
        let mut bound = Vec::new();
        let mut split = |entry: Entry| {
            bound.push(entry.aside);
            (entry.leaf, entry.exchange)
        };
        let (leaves, exchanges): (Vec<_>, Vec<_>) = entries.into_iter().map(&mut split).unzip();
        let range = log.append(&leaves)?;
        let mut asides = recovery.asides;
        asides.extend(SealedAside::of(range.clone().zip(bound)));
        if let Some(announcer) = &announcer {
            announcer.announce(log.checkpoint());
        }
        // All that earlier boots left is sealed: what of it is not stored is held, the rest may go.
        pins.reading(recovered.first_file, 0);
        store.begin_boot(&boot)?;
        journal.settle_gaps();
        let mut exchanges_to_store = recovery.sealed;
        exchanges_to_store.extend(
            range
                .zip(leaves)
                .zip(exchanges)
                .filter_map(|((index, leaf), exchange)| Some(exchange?.0.into_sealed(index, leaf))),
        );

        let report = Report {
            address,
            observe: observe_listener.as_ref().map(ObserveListener::address).transpose()?,
            origin: keys.origin().to_owned(),
            size: log.size(),
            interrupted: recovery.interrupted,
            torn: recovered.torn.iter().map(|torn| torn.bytes).sum(),
        };
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
            recovered: Sealed { exchanges: exchanges_to_store, records, asides },
            pace: Pace {
                checkpoint: config.log.checkpoint,
                heartbeat: config.log.heartbeat,
                progress: config.log.progress,
            },
            progress: Arc::clone(&progress),
            retention: (Arc::clone(&retention), timeline),
            announcer,
        })?;
        let timestamp = config.timestamp.as_ref().map(|tsa| (tsa, Voucher::new(&tsa.url.host)));
        let vouching = Vouching {
            witnesses: witnesses.as_ref().map(|it| it.vouchers().to_vec()).unwrap_or_default(),
            authority: timestamp.as_ref().map(|(_, voucher)| Arc::clone(voucher)),
        };
        let observe = Observe::new(
            &settings.table.names(),
            journal.clone(),
            (progress, vouching),
            vec![("data", data.root().to_owned()), ("lock", data.lock_directory())],
            Bounds { log_late: observing.log_late, disk_left: observing.disk_left },
            observing.enabled && observe_listener.is_none(),
        );
        let secrets = Secrets::new(keys.header(), &config.secrets.headers, &config.secrets.query);
        let journey = Arc::new(Journey {
            settings: ArcSwap::from_pointee(settings.bound_to(address)),
            tap: Tap::new(journal.clone(), timeline, secrets, random, strict)
                .for_launch(launch.clone()),
            runs: Runs::of(launch.as_ref()),
            launch: launch.map(|launch| launch.id),
            random,
            observe: Arc::new(observe),
            minter: Minter::new(Arc::clone(&authority)),
            report: told,
        });
        // One command calls few hosts, and is not to wait for the leaves of all.
        if journey.launch.is_none() {
            authority.prepare(journey.settings.load().opened_hosts());
        }
        let reloader = Reloader {
            journey: Arc::clone(&journey),
            keys,
            authority: Arc::clone(&authority),
            retention,
            address,
            present: Mutex::new(config.clone()),
        };
        let idle_runs = config.runs.idle;
        let timestamps = timestamp.map(|(tsa, voucher)| Timestamps::start(tsa, &data, voucher));
        let timestamps = timestamps.transpose()?;
        Ok(Self {
            journal,
            sealer,
            journey,
            coverage: None,
            authority,
            listener,
            observe_listener,
            report,
            idle_runs,
            reloader: Some(reloader),
            last: None,
            witnesses,
            timestamps,
            writer,
        })
    }

    /// What the start found.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What vouches for the hosts that are opened.
    #[must_use]
    pub fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.authority)
    }

    /// What puts another configuration in place, for whoever asks first. It must be dropped before
    /// [`Self::serve`] can end.
    pub fn reloader(&mut self) -> Option<Reloader> {
        self.reloader.take()
    }

    /// Serves until `stop` turns true, then seals what is pending. Stops by itself when nothing can
    /// be captured or sealed any more, or when a witness speaks against the log: then nothing more
    /// is sealed.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: records could not be written, and are named; a thread behind the traffic has
    /// ended before its time, and the next start seals what it left; or nothing may be sealed.
    pub async fn serve(self, stop: Receiver<bool>) -> Result<(), ServeError> {
        let Self { journal, sealer, journey, listener, observe_listener, writer, .. } = self;
        drop(self.reloader);
        let (witnesses, timestamps, idle_runs) = (self.witnesses, self.timestamps, self.idle_runs);
        let testimony = witnesses.as_ref().map(Witnesses::testimony);
        let mut observers = JoinSet::new();
        observers.spawn(watch(Arc::clone(&journey.observe)));
        if let Some(listener) = observe_listener {
            observers.spawn(listener.serve(Arc::clone(&journey.observe)));
        }
        let (tell, told) = channel(false);
        let watching = async {
            wait_for_the_end(stop, testimony.clone(), &journal).await;
            // The listener waits for this, whoever asked for it.
            let _ = tell.send(true);
        };
        tokio::select! {
            _ = async { tokio::join!(listener.serve(Arc::clone(&journey), told, GRACE), watching) } => {}
            () = journey.end_idle_runs(idle_runs) => {}
        }
        observers.shutdown().await;
        if let Some(last) = self.last {
            // What it has to say, if it ends well, is sealed with the rest.
            let _ = tokio::task::spawn_blocking(last).await;
        }
        drop(journey);
        let closed = tokio::task::spawn_blocking(move || {
            let closed = journal.close();
            let finished = sealer.finish();
            if let Some(timestamps) = timestamps {
                timestamps.finish();
            }
            if let Some(witnesses) = witnesses {
                witnesses.finish();
            }
            drop(writer);
            closed.and(finished)
        });
        let closed = closed.await.unwrap_or(Ok(()));
        // What a witness said comes first: that the sealing threads then ended follows from it.
        match testimony.and_then(|testimony| testimony.borrow().clone()) {
            Some(testimony) => Err(testimony.into()),
            None => Ok(closed?),
        }
    }
}

fn retention_policy(config: &Config) -> retention::Policy {
    let config::Retention { max_age, max_bytes } = config.retention;
    retention::Policy { max_age, max_bytes }
}

/// A random id from the system itself: the library's own generator takes milliseconds to begin, which
/// a command that makes no call need not wait for.
///
/// # Errors
///
/// The system has no randomness.
pub fn system_id() -> std::io::Result<[u8; 16]> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    Ok(id)
}

/// Randomness from the same library that TLS uses.
#[must_use]
pub fn secure_random() -> &'static dyn SecureRandom {
    rustls::crypto::aws_lc_rs::default_provider().secure_random
}
