//! Enforced: the command is kept from going around, also when nobody is left to see to it.
//!
//! In: the command's cgroup and the loader. Out: pins that hold the programs, a fence that the command
//! begins behind, and at the end neither. Where a program is detached or replaced while the command runs,
//! not all is closed any more: the command is ended at once. Where the loader is gone, all stays closed,
//! and the command goes on. Fails before the command begins; then nothing is left behind either.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::getuid;
use rustix::thread::{CapabilitySet, capabilities};
use sealtap_common::leaf::CoverageMode;

use crate::command::run::GATEWAY_FAILED;
use crate::command::{Exit, Failure};
use crate::kernel::{
    Fence, Instance, Joining, Observer, OwnCgroup, Terms, User, close_sockets, remove_pins,
};

/// What more there is where the command ran as root, if without a right.
const AS_ROOT: &str = "not covered: the command owned the files of root, by which others can be made to act \
                       for it (--user runs it as somebody else)";

/// What more there is on a kernel without Landlock.
const TOGETHER: &str = "not covered: this kernel has no Landlock, so the command could reach into processes of \
                        its user outside";

/// A command that is kept in.
pub(super) struct Enforced {
    instance: Instance,
    user: Option<User>,
    record: Vec<PathBuf>,
    broken: Arc<AtomicBool>,
    /// Whether the pins have been taken away.
    opened: bool,
}

impl Enforced {
    /// Pins the programs and confines the cgroup; the folders of the `record` are to be hidden.
    pub(super) fn begin(
        id: &str,
        user: Option<User>,
        record: Vec<PathBuf>,
        cgroup: &mut OwnCgroup,
        observer: &Observer,
    ) -> Result<Self, String> {
        cgroup.confine().map_err(|error| error.to_string())?;
        let instance = Instance::own(id);
        observer.pin(&instance).map_err(|error| error.to_string())?;
        Ok(Self { instance, user, record, broken: Arc::default(), opened: false })
    }

    /// What the statements are made under.
    pub(super) fn terms(&self, cgroup: &OwnCgroup) -> Result<Terms, String> {
        let mut ending = cgroup.ending().map_err(|error| error.to_string())?;
        let broken = Arc::clone(&self.broken);
        let opened = move || {
            broken.store(true, Ordering::Release);
            if let Err(error) = ending.now() {
                tracing::error!(%error, "the command cannot be ended");
            }
        };
        Ok(Terms {
            mode: CoverageMode::Enforce,
            // Whoever owns root's files has others run outside what it may not run itself.
            launched: !self.is_root(),
            opened: Some(Box::new(opened)),
            ..Terms::observe()
        })
    }

    /// Whether the command was ended because not all was closed any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// What more is not covered, beyond what holds of every command that is kept in.
    pub(super) fn not_covered(&self) -> Vec<&'static str> {
        let as_root = self.is_root().then_some(AS_ROOT);
        let together = (!Fence::keeps_processes_apart()).then_some(TOGETHER);
        as_root.into_iter().chain(together).collect()
    }

    /// Whether files of root are the command's own.
    fn is_root(&self) -> bool {
        self.user.map_or_else(|| getuid().is_root(), |user| user.is_root())
    }

    /// Ends what the command has left running: elsewhere it would not be watched.
    pub(super) fn end_command(&self, cgroup: &OwnCgroup) {
        let ended = cgroup.ending().map(|mut ending| ending.now());
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("what the command left running cannot be ended");
        }
    }

    /// Has a command begin behind a fence, and without sockets that were made before.
    pub(super) fn behind_fence(&self, joining: Joining) -> Result<Joining, Failure> {
        let failed = |why: String| {
            Failure::new(format!("--enforce cannot be had: {why}"))
                .fix("COMMAND was not started")
                .exit_with(Exit::Command(GATEWAY_FAILED))
        };
        let kept = close_sockets().map_err(|number| {
            failed(format!(
                "descriptor {number} is a network socket, which would go around the gateway"
            ))
        })?;
        if kept > 0 {
            tracing::warn!(kept, "sockets that the caller left open are not for the command");
        }
        let fence =
            Fence::new(self.user, &self.record).map_err(|error| failed(error.to_string()))?;
        Ok(joining.behind(fence))
    }

    /// Takes the pins away, by the loader or without it.
    pub(super) fn open(mut self, observer: &Observer) {
        if observer.unpin().is_ok() {
            self.opened = true;
        }
    }
}

impl Drop for Enforced {
    fn drop(&mut self) {
        if !self.opened
            && let Err(error) = remove_pins(&self.instance.folder())
        {
            tracing::error!(%error, "pins stay: `sealtap kernel detach --all` takes them away");
        }
    }
}

/// Whether this process has what it takes, before anything is begun.
pub(super) fn check() -> Result<(), Failure> {
    let needed = CapabilitySet::BPF
        | CapabilitySet::NET_ADMIN
        | CapabilitySet::PERFMON
        | CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETPCAP;
    match capabilities(None).is_ok_and(|sets| sets.effective.contains(needed)) {
        true => Ok(()),
        false => Err(Failure::new(
            "--enforce cannot be had without privileges: a program that ignores the proxy variables can be \
             neither seen nor stopped",
        )
        .fix("run as root, or leave --enforce out for a run that is observed only; COMMAND was not started")
        .exit_with(Exit::Command(GATEWAY_FAILED))),
    }
}
