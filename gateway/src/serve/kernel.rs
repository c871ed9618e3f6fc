//! What `serve` has the kernel do, and what it gives up before it parses anything.
//!
//! In: the configuration, while the process may be root and has one thread. Out: [`Readied`]: a loader
//! that is armed, listeners, and a process that is an ordinary user's; then [`Watching`]: the scopes'
//! TCP led to the gateway, statements of coverage in the log, and a line for all that goes around. Fails
//! before anything is served: whoever configures scopes is not left without them in silence.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustix::process::geteuid;
use sealtap_common::leaf::CoverageMode;

use super::canaries::Canaries;
use super::live::{Around, Lines};
use super::run::failure;
use crate::command::serve::Start;
use crate::command::{Exit, Failure};
use crate::config::{Config, KernelMode};
use crate::data::DataDir;
use crate::gateway::{Gateway, Listeners, system_id};
use crate::kernel::canary::Canary;
use crate::kernel::{
    Bypass, Instance, Loader, Observer, ObserverError, Scopes, ScopesError, Statements, Terms,
    left, prepare_pins, system_resolver,
};
use crate::privileges::{PrivilegeError, User};

/// Digits of what pins are called by.
const DIGITS: usize = 16;

/// Where the lock is when nothing else is said, as for every gateway that the system starts.
const STATE: &str = "/var/lib/sealtap";

/// What could be had only before privileges were given up.
pub(super) struct Readied {
    /// The loader, where scopes are watched.
    pub(super) loader: Option<Loader>,
    /// What is pinned, where what cannot be led is denied.
    pub(super) pins: Option<Instance>,
    /// What gateways that are gone have left closed of these scopes.
    pub(super) left: Vec<Instance>,
    /// The canary, where one is to be sent.
    pub(super) canary: Option<Canary>,
    /// Listeners, where another user was to have them.
    pub(super) listeners: Listeners,
}

impl Readied {
    /// Takes what needs privileges, and gives them up. Before there is another thread.
    pub(super) fn new(start: &Start) -> Result<Self, Failure> {
        let config = &start.config;
        let watches = config.kernel.mode != KernelMode::Off;
        // Before there is a loader of this gateway.
        let left = if watches { left(&config.kernel.scopes)? } else { Vec::new() };
        if watches {
            Scopes::check(&config.kernel.scopes).map_err(|error| of_scopes(&error))?;
        }
        // First, with a device at which the loader then finds a place for its filter.
        let canary = if watches { canary(config) } else { None };
        let loader = if watches { Some(armed()?) } else { None };
        let enforces = config.kernel.mode == KernelMode::Enforce;
        let pins = if enforces { Some(pins()?) } else { None };
        let Some(name) = &config.user else {
            if watches && geteuid().is_root() {
                tracing::warn!(
                    "the gateway reads hostile bytes as root: name an ordinary user with `user` in \
                     [serve] or --user, and only the loader keeps privileges"
                );
            }
            return Ok(Self { loader, pins, left, canary, listeners: Listeners::default() });
        };
        let user = User::find(name).map_err(|error| refused(&error))?;
        let listeners = Listeners::bind(config).map_err(failure)?;
        if geteuid().is_root() {
            directories(config, &user).map_err(|error| refused(&error))?;
        }
        user.become_for_good().map_err(|error| refused(&error))?;
        tracing::info!(user = user.name(), "privileges are given up for good");
        if let Some(file) = &start.source.file {
            say_if_unreadable(file, &user);
        }
        Ok(Self { loader, pins, left, canary, listeners })
    }
}

fn refused(error: &PrivilegeError) -> Failure {
    let failure = Failure::of(error);
    match error {
        PrivilegeError::Unknown(_) | PrivilegeError::Root(_) => failure.exit_with(Exit::Usage),
        _ => failure,
    }
}

/// The directories that the gateway writes to: made for the user where there are none.
fn directories(config: &Config, user: &User) -> Result<(), PrivilegeError> {
    user.own(&config.data)?;
    let data = DataDir::new(&config.data);
    match &config.lock {
        Some(lock) => user.own(lock),
        // Where it is was settled before, or systemd has made a place for it.
        None if data.lock_path().exists() || std::env::var_os("STATE_DIRECTORY").is_some() => {
            Ok(())
        }
        None => user.own(Path::new(STATE)),
    }
}

/// A configuration that this user cannot read counts until the next start; better said now than then.
fn say_if_unreadable(file: &Path, user: &User) {
    if let Err(error) = File::open(file) {
        tracing::warn!(
            path = %file.display(), user = user.name(), %error,
            "the config file cannot be read again by this user: a reload will be refused"
        );
    }
}

fn armed() -> Result<Loader, Failure> {
    Loader::start(None).map_err(|error| {
        let what = format!("the kernel cannot watch the configured scopes: {error}");
        match error {
            // It says what to do, and nothing is missing.
            ObserverError::Slow(_) => Failure::new(what),
            _ => Failure::new(what).fix(
                "start as root (`user` in [serve] then gives up privileges) on Linux 5.15 or later with \
                 cgroup v2, or set `mode = \"off\"` in [kernel]; `sealtap doctor` says what is missing",
            ),
        }
    })
}

/// A place for what is to stay closed when the gateway dies.
fn pins() -> Result<Instance, Failure> {
    prepare_pins().map_err(|error| Failure::of(&error))?;
    let id = system_id().map_err(|error| Failure::of(&error))?;
    let id = sealtap_common::encoding::Id(id).to_string();
    Ok(Instance::own(id.get(..DIGITS).unwrap_or(&id)))
}

/// Without a canary the scopes are watched all the same; the log then says nothing of one.
fn canary(config: &Config) -> Option<Canary> {
    config.kernel.canary?;
    match Canary::start() {
        Ok(canary) => Some(canary),
        Err(error) => {
            tracing::warn!(%error, "no canary is sent");
            None
        }
    }
}

fn of_scopes(error: &ScopesError) -> Failure {
    let failure = Failure::of(error);
    match error {
        ScopesError::HoldsGateway { .. } => failure.at("`scopes` in [kernel]").fix(
            "run the gateway in a cgroup of its own (a systemd service has one; by hand: \
             `systemd-run --scope`), or name cgroups beside it",
        ),
        _ => failure,
    }
}

/// Scopes that are watched.
pub(super) struct Watching {
    observer: Arc<Observer>,
    scopes: Scopes,
    statements: Statements,
    canaries: Option<Canaries>,
    enforces: bool,
}

impl Watching {
    /// Has the scopes' TCP led to `gateway`, and states from now on what is seen.
    pub(super) async fn begin(
        (loader, pins, left, canary): (Loader, Option<Instance>, Vec<Instance>, Option<Canary>),
        config: &Config,
        gateway: &mut Gateway,
    ) -> Result<Self, Failure> {
        let text = |error: &dyn std::error::Error| Failure::of(error);
        let observer = Arc::new(Observer::of(loader).map_err(|error| text(&error))?);
        let listening = gateway.listen_for_redirected(Arc::clone(&observer)).await;
        let (port, led) = listening.map_err(|error| text(&error))?;
        let kernel = &config.kernel;
        let (scopes, resolver) = (kernel.scopes.clone(), kernel.resolver.or_else(system_resolver));
        let teller = gateway.coverage();
        let (asked, interval) = (Arc::clone(&observer), kernel.interval);
        let places = kernel.loopback_allow.clone();
        let sends = canary.zip(kernel.canary);
        let enforces = pins.is_some();
        let begun = tokio::task::spawn_blocking(move || {
            let mode = if enforces { CoverageMode::Enforce } else { CoverageMode::Observe };
            // Before it denies anything: what is denied is to stay so.
            if let Some(pins) = &pins {
                asked.pin(pins).map_err(|error| Failure::of(&error))?;
            }
            asked.leave_alone(places).map_err(|error| Failure::of(&error))?;
            let scopes = Scopes::begin(scopes, Arc::clone(&asked), port, resolver, mode);
            let scopes = scopes.map_err(|error| of_scopes(&error))?;
            // What is closed by these programs too is theirs alone from now on.
            for instance in &left {
                asked.take_away(instance).map_err(|error| Failure::of(&error))?;
                tracing::warn!(%instance, "took over from a gateway that is gone");
            }
            let late = scopes.may_be_late();
            let unwatched = scopes.unwatched();
            let terms = Terms { mode, interval, late, unwatched, ..Terms::observe() };
            let statements = Statements::begin(teller.clone(), Arc::clone(&asked), led, terms);
            let statements = statements.map_err(Failure::new)?;
            let canaries = sends.map(|(canary, pause)| {
                Canaries::begin(canary, asked, (resolver, mode), teller, pause)
            });
            let canaries = canaries.transpose().map_err(|error| Failure::of(&error))?;
            Ok::<_, Failure>((scopes, statements, canaries))
        });
        let (scopes, statements, canaries) = begun.await.map_err(|error| text(&error))??;
        Ok(Self { observer, scopes, statements, canaries, enforces })
    }

    /// Has what goes around told in `lines`.
    pub(super) fn tell(&self, lines: Lines) {
        let canaries = self.canaries.as_ref().map(Canaries::cgroup);
        self.observer.tell(move |bypass| {
            // What a canary does is told of by itself, when all of it is known.
            if canaries != Some(bypass.scope) {
                lines.around(around(bypass));
            }
        });
    }

    /// States the last numbers; nothing is watched any more.
    pub(super) fn end(self) {
        self.scopes.end();
        if let Some(canaries) = self.canaries {
            canaries.end();
        }
        // Why there are none is in the log and was said.
        let _ = self.statements.end();
        if self.enforces
            && let Err(error) = self.observer.unpin()
        {
            // An ordinary user cannot take them away, and without the loader nobody else does.
            tracing::error!(
                %error,
                "what was watched stays closed: `sealtap kernel detach`, as root, opens it"
            );
        }
        drop(self.observer);
    }
}

fn around(bypass: &Bypass) -> Around {
    let Bypass { destination, process, executable, denied, packet, way, .. } = bypass.clone();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
    Around { at_us, destination, process, executable, way, packet, denied }
}
