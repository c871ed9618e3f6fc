//! The first half of a start: what can be looked at before anything is sealed.
//!
//! In: a configuration. Out: [`Checked`]: the address, the right to write, keys, authority, log and
//! lock, held and found sound; or [`StartError`]. [`Gateway::begin`] makes a gateway of it. Never
//! signs anything, and of a log that is there it changes nothing but what a crash left undone.

use std::net::SocketAddr;
use std::sync::Arc;

use sealtap_common::leaf::Leaf;
use tokio::sync::watch::Receiver;

use super::authority::Opening;
use super::found::opened_store;
use super::{Gateway, ServeError, StartError};
use crate::accept::authority::Authority;
use crate::accept::{ListenError, Listener};
use crate::config::Config;
use crate::data::{DataDir, Writer};
use crate::forward::Summary;
use crate::identify::Launch;
use crate::journey::Settings;
use crate::route::Table;
use crate::seal::keys::Keys;
use crate::seal::lock::LockPlace;
use crate::seal::log::disk::Patient;
use crate::seal::log::{Log, OpenReport, Options};
use crate::seal::recovery::last_leaf;
use crate::seal::rotation;
use crate::seal::witness::usable;
use crate::serve::observe::ObserveListener;
use crate::store::Store;

/// What hears of every exchange that is over.
pub type Told = Box<dyn Fn(Summary) + Send + Sync>;

/// Connections that may wait to be taken.
const WAITING: i32 = 1_024;

/// Listeners that were bound before anything else, while ports below 1024 could be had.
#[derive(Debug, Default)]
pub struct Listeners {
    front: Option<std::net::TcpListener>,
    observe: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn bind(config: &Config) -> Result<Self, StartError> {
        let observe = config.observe.listen.filter(|_| config.observe.enabled);
        let observe = observe.map(|address| listen(address).map_err(StartError::Observe));
        Ok(Self { front: Some(listen(config.listen)?), observe: observe.transpose()? })
    }
}

fn listen(address: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, WAITING)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError { address, source })
}

/// A gateway that could begin.
pub struct Checked {
    pub(super) config: Config,
    pub(super) settings: Settings,
    pub(super) listener: Listener,
    pub(super) address: SocketAddr,
    pub(super) observe_listener: Option<ObserveListener>,
    pub(super) data: DataDir,
    pub(super) writer: Writer,
    pub(super) keys: Arc<Keys>,
    pub(super) authority: Opening,
    /// Names of directories that are not known to be on disk.
    pub(super) names: Arc<Patient>,
    pub(super) log: Log,
    pub(super) opened: OpenReport,
    /// Where it was opened already.
    pub(super) store: Option<Store>,
}

impl Checked {
    /// Takes the address and the data directory, and looks at what is there.
    ///
    /// # Errors
    ///
    /// [`StartError`]; whatever was wrong is as it was.
    pub async fn new(config: &Config, table: Table, adopt: bool) -> Result<Self, StartError> {
        Self::listening(config, table, adopt, Listeners::default()).await
    }

    /// The same with listeners that were bound before.
    ///
    /// # Errors
    ///
    /// [`StartError`]; whatever was wrong is as it was.
    pub async fn listening(
        config: &Config,
        table: Table,
        adopt: bool,
        bound: Listeners,
    ) -> Result<Self, StartError> {
        let settings = Settings::new(config, table)?;
        // The address first: a second gateway on it fails before it has touched anything.
        let listener = match bound.front {
            Some(front) => Listener::bound(front)?,
            None => Listener::bind(config.listen)?,
        };
        let address = listener.address()?;
        let observing = &config.observe;
        let observe_listener = match observing.listen.filter(|_| observing.enabled) {
            Some(address) => Some(match bound.observe {
                Some(bound) => ObserveListener::bound(bound)?,
                None => ObserveListener::bind(address).await.map_err(StartError::Observe)?,
            }),
            None => None,
        };
        let data = DataDir::new(&config.data);
        // A policy that cannot be used stops the start before there are keys.
        config.witness.as_ref().map_or(Ok(()), |witness| usable(witness, &data))?;
        let writer = data.become_writer()?;
        let lock = LockPlace::new(config.lock.clone());
        rotation::resume(&data, lock.clone())?;
        let names = Arc::new(Patient::new());
        let origin = config.origin.as_deref();
        let keys = Arc::new(Keys::load_or_create_on(&*names, &data.keys(), origin)?);
        let authority = Opening::start(data.keys(), config.ca.clone());
        let options = Options { data: &data, keys: Arc::clone(&keys), lock, adopt };
        let disk = Arc::clone(&names);
        let (log, opened) = Log::open_on(disk, &options, None)?;
        Ok(Self {
            config: config.clone(),
            settings,
            listener,
            address,
            observe_listener,
            data,
            writer,
            keys,
            authority,
            names,
            log,
            opened,
            store: None,
        })
    }

    /// The address listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What vouches for the hosts that are opened.
    ///
    /// # Errors
    ///
    /// [`StartError`]: it cannot be had.
    pub fn authority(&mut self) -> Result<Arc<Authority>, StartError> {
        Ok(self.authority.wait()?)
    }

    /// Whether there is nothing to seal or to do until somebody calls: the log says that all before
    /// was sealed, and nobody is to be asked about it. The store is looked at as well.
    ///
    /// # Errors
    ///
    /// [`StartError`]: log or store cannot be read.
    pub fn may_wait(&mut self) -> Result<bool, StartError> {
        let Config { witness, timestamp, retention, .. } = &self.config;
        let asked = witness.is_some() || timestamp.is_some() || self.observe_listener.is_some();
        let prunes = retention.max_age.is_some() || retention.max_bytes.is_some();
        let crashed = self.opened.adopted.is_some() || self.opened.completed > 0;
        let ended = matches!(last_leaf(&self.log)?, Some(Leaf::Heartbeat(last)) if last.closing);
        if asked || prunes || crashed || !ended {
            return Ok(false);
        }
        self.store = Some(opened_store(&self.data, &self.keys, &self.log)?);
        Ok(true)
    }

    /// Waits for the first connection, begins, and serves until `stop` turns true, as
    /// [`Gateway::serve`] does. When nobody came, nothing was begun and nothing is sealed: `false`.
    ///
    /// # Errors
    ///
    /// [`CalledError`]: who called was not served, or what was recorded is not whole.
    pub async fn serve_once_called(
        mut self,
        told: Told,
        launch: Launch,
        mut stop: Receiver<bool>,
    ) -> Result<bool, CalledError> {
        tokio::select! {
            biased;
            () = self.listener.called() => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(false),
        }
        let gateway = Gateway::begin(self, told, Some(launch)).await?;
        gateway.serve(stop).await?;
        Ok(true)
    }
}

/// Why somebody's call was not served, or not recorded in whole.
#[derive(Debug, thiserror::Error)]
pub enum CalledError {
    /// The gateway could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It did not end well.
    #[error(transparent)]
    Serve(#[from] ServeError),
}
