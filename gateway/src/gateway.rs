//! The gateway as a whole: opened in the one order that is safe, closed in the reverse of it.
//!
//! 1. [`Checked`]: keys, then the log with its lock: a second process, a rollback, a damaged log end here.
//! 2. The store and the journal, and what earlier boots left in it.
//! 3. The restart leaf with everything recovered: sealed before a client is listened to.
//! 4. The threads behind the traffic, then the listener.

mod authority;
mod begin;
mod behind;
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
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::SecureRandom;
use tokio::sync::watch::{Receiver, channel};
use tokio::task::JoinSet;

pub use self::checked::{CalledError, Checked, Listeners, Told};
use self::end::wait_for_the_end;
pub use self::error::{ServeError, StartError};
pub use self::redirected::CoverageTeller;
pub use self::reload::{ReloadError, Reloaded, Reloader};
use crate::accept::Listener;
use crate::accept::authority::Authority;
use crate::capture::journal::Journal;
use crate::config::Config;
use crate::data::Writer;
use crate::journey::Journey;
use crate::route::Table;
use crate::seal::Sealer;
use crate::seal::timestamp::Timestamps;
use crate::seal::witness::Witnesses;
use crate::serve::observe::{ObserveListener, watch};

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
