//! Scopes that are watched: found when they appear, and again when they come back.
//!
//! In: scopes of the configuration, the observer, the listener's port. Out: each cgroup that they stand
//! for is watched from when it is seen until it is gone: the system tells of folders that come and go, and
//! every quarter of a second all are looked at whether or not it told of any. A cgroup that holds this process is never watched: its own connections would be led back to it. Ends by itself
//! when the observer is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sealtap_common::leaf::CoverageMode;

use super::arrivals::Arrivals;
use super::cgroup::CgroupError;
use super::observer::Observer;
use super::scope::{Found, Hierarchy};
use super::unobserved::ObserverError;
use crate::config::Scope;

/// Between two looks for cgroups that came or went.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The longest pause after a look that took its time.
const PAUSE: Duration = Duration::from_millis(50);

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
    /// The kernel does not take one of them.
    #[error("the cgroup {path} of scope {scope} is not watched: {error}")]
    Unwatched {
        /// The scope.
        scope: Scope,
        /// The cgroup.
        path: String,
        /// Why.
        error: ObserverError,
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
    stop: UnixStream,
    thread: JoinHandle<()>,
    late: bool,
    unwatched: Arc<OnceLock<String>>,
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
    /// What kept part of the scopes from being seen or watched last, so that it is said once.
    trouble: Option<String>,
    /// Why a cgroup that should be watched is not, once there was one.
    unwatched: Arc<OnceLock<String>>,
    /// Tells of folders that come and go, where it can.
    arrivals: Option<Arrivals>,
}

/// What kept part of the scopes from being seen or watched.
struct Looked {
    /// The first thing that is wanted, or may be, and could not be read or watched.
    trouble: Option<ScopesError>,
    /// The first folder that was passed over, since what is wanted was found elsewhere.
    passed: Option<ScopesError>,
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
            for found in hierarchy.cgroups(scope)? {
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
        let arrivals = Arrivals::begin()
            .inspect_err(|error| tracing::warn!(%error, "new cgroups are not told of"))
            .ok();
        let (trouble, unwatched) = (None, Arc::new(OnceLock::new()));
        let kept = Arc::clone(&unwatched);
        let mut watching = Watching {
            wanted,
            observer,
            port,
            resolver,
            mode,
            watched,
            refused,
            trouble,
            unwatched,
            arrivals,
        };
        // Nothing begins that does not watch all of what it is to watch.
        let Looked { trouble, passed } = watching.look_now()?;
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        if let Some(passed) = passed {
            tracing::warn!(error = %passed, "passed over: nothing is seen that may be in there");
            watching.trouble = Some(passed.to_string());
        }
        let late = watching.wanted.iter().any(|scope| watching.may_be_late(scope));
        for scope in &watching.wanted {
            if !watching.watched.values().any(|(of, _)| of == scope) {
                tracing::info!(%scope, "not there yet: watched from when it appears");
            }
        }
        let (stop, stopped) = UnixStream::pair().map_err(ScopesError::Thread)?;
        let thread = std::thread::Builder::new().name("scopes".to_owned()).spawn(move || {
            while watching.wait(&stopped) {
                match watching.look() {
                    Ok(()) => {}
                    // The statements say so.
                    Err(ScopesError::Observer(ObserverError::Gone)) => return,
                    Err(error) => tracing::error!(%error, "scopes cannot be watched; trying on"),
                }
            }
        });
        let thread = thread.map_err(ScopesError::Thread)?;
        Ok(Self { stop, thread, late, unwatched: kept })
    }

    /// Whether cgroups may come later that are watched only once they are seen.
    #[must_use]
    pub fn may_be_late(&self) -> bool {
        self.late
    }

    /// Why a cgroup of these scopes is not watched, once there was one: what is counted is not all, then.
    #[must_use]
    pub fn unwatched(&self) -> Arc<OnceLock<String>> {
        Arc::clone(&self.unwatched)
    }

    /// Looks for none any more.
    pub fn end(self) {
        drop(self.stop);
        // It ends at its next look, whatever came of it.
        let _ = self.thread.join();
    }
}

impl Watching {
    /// Waits until there is something to look at, or it is time; whether to go on.
    fn wait(&self, stopped: &UnixStream) -> bool {
        let mut ready = vec![PollFd::new(stopped, PollFlags::IN)];
        ready.extend(self.arrivals.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        if rustix::io::retry_on_intr(|| poll(&mut ready, Some(&LOOK))).is_err() {
            return false;
        }
        ready.first().is_some_and(|stopped| stopped.revents().is_empty())
    }

    /// Whether what this stands for is made anew each time, or is still to be made. A slice, and a cgroup
    /// that is named by its path, are there before what runs below them.
    fn may_be_late(&self, scope: &Scope) -> bool {
        let is_there = self.watched.values().any(|(of, _)| of == scope);
        match scope {
            Scope::Container(_) => true,
            Scope::Unit(name) => !is_there || !name.ends_with(".slice"),
            Scope::Cgroup(_) => !is_there,
        }
    }

    fn look(&mut self) -> Result<(), ScopesError> {
        let began = Instant::now();
        if let Some(arrivals) = &self.arrivals {
            arrivals.forget();
        }
        let looked = self.look_now();
        let looked = looked.map(|looked| self.say(looked.trouble.or(looked.passed).as_ref()));
        // However many come and go, and whatever fails, this takes half of a processor at most.
        std::thread::sleep(began.elapsed().min(PAUSE));
        looked
    }

    /// Says once what keeps part of the scopes from being seen or watched.
    fn say(&mut self, trouble: Option<&ScopesError>) {
        match trouble {
            None
            | Some(ScopesError::Cgroup(CgroupError::File { .. } | CgroupError::Closed { .. })) => {}
            // What cannot be read need not be there; this is.
            Some(error) => drop(self.unwatched.set(error.to_string())),
        }
        let trouble = trouble.map(ToString::to_string);
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(error) => tracing::error!(
                %error,
                "not all of the scopes is seen and watched; what was watched stays so; trying on"
            ),
            None => tracing::info!("all of the scopes is seen and watched again"),
        }
        self.trouble = trouble;
    }

    /// Watches what came, and no more what is gone.
    fn look_now(&mut self) -> Result<Looked, ScopesError> {
        // Anew each time: the gateway may have been put elsewhere.
        let hierarchy = Hierarchy::find()?;
        let (mut now, mut trouble, mut passed) = (BTreeMap::new(), None, None);
        for scope in &self.wanted {
            let arrivals = self.arrivals.as_ref();
            let mut entered = |folder: &Path| {
                // Asked for before its content is read: what comes later is told of.
                if let Some(arrivals) = arrivals {
                    arrivals.watch(folder);
                }
            };
            let seen = hierarchy.cgroups_in(scope, &mut entered);
            for found in seen.found {
                now.entry(found.id).or_insert_with(|| (scope.clone(), found));
            }
            trouble = trouble.or(seen.error.map(ScopesError::from));
            passed = passed.or(seen.passed.map(ScopesError::from));
        }
        // Not to have found it is no reason: whoever owns the folder above may have closed that.
        let absent = self.watched.iter().filter(|(id, _)| !now.contains_key(id));
        let gone: Vec<u64> =
            absent.filter(|(_, (_, found))| hierarchy.is_gone(found)).map(|(id, _)| *id).collect();
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
                    let (port, resolver) = (self.port, self.resolver);
                    match self.observer.watch_cgroup(&found, port, resolver, self.mode) {
                        Ok(()) => {}
                        Err(ObserverError::Gone) => return Err(ObserverError::Gone.into()),
                        // It went before it could be watched.
                        Err(_) if hierarchy.is_gone(&found) => continue,
                        // The others are watched all the same, and this one is tried again.
                        Err(error) => {
                            let path = found.path;
                            trouble = Some(ScopesError::Unwatched { scope, path, error });
                            continue;
                        }
                    }
                    tracing::info!(%scope, path = found.path, id, "watched by the kernel");
                    self.watched.insert(id, (scope, found));
                }
                Err(error) => {
                    if self.watched.remove(&id).is_some() {
                        self.observer.unwatch(id)?;
                    }
                    // It was asked for, and is not: the statements say so, too.
                    let _ = self.unwatched.set(error.to_string());
                    if self.refused.insert(id, found.path).is_none() {
                        tracing::error!(%error, "NOT watched");
                    }
                }
            }
        }
        Ok(Looked { trouble, passed })
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
