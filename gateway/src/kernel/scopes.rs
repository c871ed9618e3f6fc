//! Scopes that are watched: found when they appear, and again when they come back.
//!
//! In: scopes of the configuration, the observer, the listener's port. Out: each cgroup that they stand
//! for is watched from when it is seen, at most a quarter of a second after it was made, until it is gone. A cgroup
//! that holds this process is never watched: its own connections would be led back to it. Ends by itself
//! when the observer is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use sealtap_common::leaf::CoverageMode;

use super::cgroup::CgroupError;
use super::observer::{Observer, ObserverError};
use super::scope::{Found, Hierarchy};
use crate::config::Scope;

/// Between two looks for cgroups that came or went.
const LOOK: Duration = Duration::from_millis(250);

/// Why scopes cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum ScopesError {
    /// There is no hierarchy.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The gateway's own traffic would come back to it.
    #[error(
        "scope {scope} is the cgroup {path}, and the gateway itself runs in {own}: its own connections \
         would be led back to it without end"
    )]
    HoldsGateway {
        /// The scope.
        scope: Scope,
        /// The cgroup that it stands for.
        path: String,
        /// The gateway's.
        own: String,
    },
    /// The kernel does not take it.
    #[error(transparent)]
    Observer(#[from] ObserverError),
    /// There is no thread.
    #[error("the scopes cannot be looked after: {0}")]
    Thread(std::io::Error),
}

/// Scopes that are looked after.
pub struct Scopes {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

struct Watching {
    wanted: Vec<Scope>,
    observer: Arc<Observer>,
    port: u16,
    resolver: Option<SocketAddr>,
    mode: CoverageMode,
    /// What is watched, and for which scope.
    watched: BTreeMap<u64, (Scope, Found)>,
    /// What was refused, so that it is said once.
    refused: BTreeMap<u64, String>,
}

impl Scopes {
    /// Looks whether any of `wanted` holds this process now; not all of them need be there.
    ///
    /// # Errors
    ///
    /// [`ScopesError::HoldsGateway`]; or there is no hierarchy.
    pub fn check(wanted: &[Scope]) -> Result<(), ScopesError> {
        let hierarchy = Hierarchy::find()?;
        for scope in wanted {
            for found in hierarchy.cgroups(scope) {
                holds_gateway(&hierarchy, scope, &found)?;
            }
            // One that is not there yet will hold nobody who is not in it.
            if let Scope::Cgroup(path) = scope
                && hierarchy.holds_this_process(path)
            {
                let (path, own) = (path.clone(), hierarchy.own().to_owned());
                return Err(ScopesError::HoldsGateway { scope: scope.clone(), path, own });
            }
        }
        Ok(())
    }

    /// Watches what is there, and goes on to look.
    ///
    /// # Errors
    ///
    /// [`ScopesError`].
    pub fn begin(
        wanted: Vec<Scope>,
        observer: Arc<Observer>,
        port: u16,
        resolver: Option<SocketAddr>,
        mode: CoverageMode,
    ) -> Result<Self, ScopesError> {
        Self::check(&wanted)?;
        let (watched, refused) = (BTreeMap::new(), BTreeMap::new());
        let mut watching = Watching { wanted, observer, port, resolver, mode, watched, refused };
        watching.look()?;
        for scope in &watching.wanted {
            if !watching.watched.values().any(|(of, _)| of == scope) {
                tracing::info!(%scope, "not there yet: watched from when it appears");
            }
        }
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new().name("scopes".to_owned()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
                match watching.look() {
                    Ok(()) => {}
                    // The statements say so.
                    Err(ScopesError::Observer(ObserverError::Gone)) => return,
                    Err(error) => tracing::error!(%error, "scopes cannot be watched; trying on"),
                }
            }
        });
        Ok(Self { stop, thread: thread.map_err(ScopesError::Thread)? })
    }

    /// Looks for none any more.
    pub fn end(self) {
        drop(self.stop);
        // It ends at its next look, whatever came of it.
        let _ = self.thread.join();
    }
}

impl Watching {
    fn look(&mut self) -> Result<(), ScopesError> {
        // Anew each time: the gateway may have been put elsewhere.
        let hierarchy = Hierarchy::find()?;
        let mut now = BTreeMap::new();
        for scope in &self.wanted {
            for found in hierarchy.cgroups(scope) {
                now.entry(found.id).or_insert_with(|| (scope.clone(), found));
            }
        }
        let gone: Vec<u64> =
            self.watched.keys().filter(|id| !now.contains_key(id)).copied().collect();
        for id in gone {
            self.observer.unwatch(id)?;
            if let Some((scope, Found { path, .. })) = self.watched.remove(&id) {
                tracing::info!(%scope, path, id, "gone: watched again when it comes back");
            }
        }
        self.refused.retain(|id, _| now.contains_key(id));
        for (id, (scope, found)) in now {
            match holds_gateway(&hierarchy, &scope, &found) {
                Ok(()) if self.watched.contains_key(&id) => {}
                Ok(()) => {
                    self.observer.watch_cgroup(&found, self.port, self.resolver, self.mode)?;
                    tracing::info!(%scope, path = found.path, id, "watched by the kernel");
                    self.watched.insert(id, (scope, found));
                }
                Err(error) => {
                    if self.watched.remove(&id).is_some() {
                        self.observer.unwatch(id)?;
                    }
                    if self.refused.insert(id, found.path).is_none() {
                        tracing::error!(%error, "NOT watched");
                    }
                }
            }
        }
        Ok(())
    }
}

fn holds_gateway(hierarchy: &Hierarchy, scope: &Scope, found: &Found) -> Result<(), ScopesError> {
    match hierarchy.holds_this_process(&found.path) {
        false => Ok(()),
        true => Err(ScopesError::HoldsGateway {
            scope: scope.clone(),
            path: found.path.clone(),
            own: hierarchy.own().to_owned(),
        }),
    }
}
