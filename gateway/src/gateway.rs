//! The gateway as a whole: opened in the one order that is safe, closed in the reverse of it.
//!
//! 1. Keys, then the log with its lock: a second process, a rollback, a damaged log end here.
//! 2. The store and the journal, and what earlier boots left in it.
//! 3. The restart leaf with everything recovered: sealed before a client is listened to.
//! 4. The threads behind the traffic, then the listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::SecureRandom;
use sealtap_common::leaf::{EncodeError, Isolation, IsolationBasis, IsolationLevel, Policy};
use tokio::sync::watch;

use crate::accept::{ListenError, Listener, TlsError, server_config};
use crate::capture::journal::{self, Extents, Journal, JournalError, Opened};
use crate::capture::secrets::Secrets;
use crate::capture::{Tap, random_id};
use crate::clock::Timeline;
use crate::config::{Apps, Config, Durability};
use crate::data::{DataDir, DataError, Writer};
use crate::forward::{Forwarder, Summary, TrustError};
use crate::identify::Runs;
use crate::journey::Journey;
use crate::route::Table;
use crate::seal::keys::{Keys, KeysError};
use crate::seal::ledger::{Happening, Ledger};
use crate::seal::lock::LockPlace;
use crate::seal::log::{Log, LogError, Options};
use crate::seal::pins::Pins;
use crate::seal::recovery::{RecoveryError, last_sealed, recover};
use crate::seal::{Pace, Parts, Sealed, Sealer, run};
use crate::store::{Store, StoreError};

/// How long open exchanges may go on after the gateway was told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory, or another process that writes it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log or its lock.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What earlier boots left.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A first leaf.
    #[error("a leaf cannot be made: {0}")]
    Leaf(#[from] EncodeError),
    /// The listener's address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Certificate authorities of upstreams.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// What a start found and made, to be told to the operator.
#[derive(Clone, Debug)]
pub struct Report {
    /// The address listened on.
    pub address: SocketAddr,
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
    listener: Listener,
    report: Report,
    idle_runs: Duration,
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
        told: Box<dyn Fn(Summary) + Send + Sync>,
    ) -> Result<Self, StartError> {
        let tls =
            config.tls.as_ref().map(|tls| server_config(&tls.certificate, &tls.key)).transpose()?;
        let forwarder = Forwarder::new(config)?;
        // The address first: a second gateway on it fails before it has touched anything.
        let listener = Listener::bind(config.listen, tls).await?;
        let address = listener.address()?;

        let data = DataDir::new(&config.data);
        let writer = data.become_writer()?;
        let keys = Arc::new(Keys::load_or_create(&data.keys(), config.origin.as_deref())?);
        let lock = LockPlace::new(config.lock.clone());
        let options = Options { data: &data, keys: Arc::clone(&keys), lock, adopt };
        let (mut log, opened_log) = Log::open(&options)?;
        let timeline = Timeline::start(last_sealed(&log)?);

        let mut store = Store::open(&data.store(), keys.store())?;
        let random = secure_random();
        let boot = random_id(random);
        let strict = config.durability == Durability::Strict;
        let durability =
            if strict { journal::Durability::Strict } else { journal::Durability::Relaxed };
        let options = journal::Options {
            // A record of one read, 64 KiB, must fit a batch.
            file_size: config.journal.file_size.max(1 << 20),
            durability,
            max_pending: usize::try_from(config.journal.pending).unwrap_or(usize::MAX),
            ..journal::Options::new(timeline)
        };
        let Opened { journal, batches, mut recovered } =
            Journal::open(&data.journal(), boot, options)?;

        let pins = Arc::new(Pins::default());
        let recovery = recover(&log, &store, &mut recovered, &pins)?;
        let policy = if strict { Policy::Strict } else { Policy::Relaxed };
        let sealed = last_sealed(&log)?;
        let records = run::unstored(&log, store.watermark()?, &keys).map_err(RecoveryError::Log)?;
        let runs = run::Runs::new(boot, Arc::clone(&keys), isolation(config), recovery.runs);
        let mut ledger = Ledger::new(boot, policy, timeline, sealed, log.size(), runs);
        let mut entries = Vec::new();
        for happening in recovery.happenings {
            entries.extend(ledger.enter(happening)?);
        }
        if let Some(size) = opened_log.adopted {
            entries.extend(ledger.enter(Happening::Adopted { size })?);
        }
        let (leaves, exchanges): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|entry| (entry.leaf, entry.exchange)).unzip();
        let range = log.append(&leaves)?;
        store.begin_boot(&boot)?;
        journal.settle_gaps();
        let mut exchanges_to_store = recovery.sealed;
        exchanges_to_store.extend(
            range
                .zip(leaves)
                .zip(exchanges)
                .filter_map(|((index, leaf), exchange)| Some(exchange?.into_sealed(index, leaf))),
        );

        let report = Report {
            address,
            origin: keys.origin().to_owned(),
            size: log.size(),
            interrupted: recovery.interrupted,
            torn: recovered.torn.iter().map(|torn| torn.bytes).sum(),
        };
        let sealer = Sealer::start(Parts {
            batches,
            journal: journal.clone(),
            extents: Extents::new(&data.journal()),
            ledger,
            log,
            store,
            pins,
            recovered: Sealed { exchanges: exchanges_to_store, records },
            pace: Pace { checkpoint: config.log.checkpoint, heartbeat: config.log.heartbeat },
        })?;
        let secrets = Secrets::new(keys.header(), &config.secrets.headers, &config.secrets.query);
        let journey = Arc::new(Journey {
            table: table.bound_to(address),
            tap: Tap::new(journal.clone(), timeline, secrets, random, strict),
            forwarder,
            runs: Runs::default(),
            random,
            timeouts: config.timeouts.clone(),
            report: told,
        });
        let idle_runs = config.runs.idle;
        Ok(Self { journal, sealer, journey, listener, report, idle_runs, writer })
    }

    /// What the start found.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Serves until `stop` turns true, then seals what is pending.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: records could not be written, and are named.
    pub async fn serve(self, stop: watch::Receiver<bool>) -> Result<(), JournalError> {
        let Self { journal, sealer, journey, listener, writer, idle_runs, .. } = self;
        tokio::select! {
            () = listener.serve(Arc::clone(&journey), stop, GRACE) => {}
            () = journey.end_idle_runs(idle_runs) => {}
        }
        drop(journey);
        let closed = tokio::task::spawn_blocking(move || {
            let closed = journal.close();
            sealer.finish();
            drop(writer);
            closed
        });
        closed.await.unwrap_or(Ok(()))
    }
}

/// What run records say of the gateway's keys: the worst, unless the operator says otherwise.
fn isolation(config: &Config) -> Isolation {
    let (basis, level) = match config.runs.apps {
        None => (IsolationBasis::Assumed, IsolationLevel::SameUser),
        Some(Apps::SameUser) => (IsolationBasis::Declared, IsolationLevel::SameUser),
        Some(Apps::OtherUser) => (IsolationBasis::Declared, IsolationLevel::OtherUser),
    };
    Isolation { basis, level }
}

/// Randomness from the same library that TLS uses.
#[must_use]
pub fn secure_random() -> &'static dyn SecureRandom {
    rustls::crypto::aws_lc_rs::default_provider().secure_random
}
