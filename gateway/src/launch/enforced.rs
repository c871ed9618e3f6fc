//! Enforced: the command is kept from going around, also when nobody is left to see to it.
//!
//! In: the command's cgroup and the loader. Out: pins that hold the programs, a fence that the command
//! begins behind, and at the end neither. Where a program is detached or replaced while the command runs,
//! not all is closed any more: the command is ended at once. Where the loader is gone, all stays closed,
//! and the command goes on. Fails before the command begins; then nothing is left behind either.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::getuid;
use sealtap_common::leaf::CoverageMode;

use super::standard::{self, Carriers, Given};
use crate::command::run::{GATEWAY_FAILED, Start};
use crate::command::{Exit, Failure};
use crate::kernel::{Fence, Instance, Joining, Observer, OwnCgroup, Terms, User, remove_pins};
use crate::rights::{FENCE, SOMEBODY, lacking};

/// What more there is where the command ran as root, if without a right.
const AS_ROOT: &str = "not covered: the command owned the files of root, by which others can be made to act \
                       for it (--user runs it as somebody else)";

/// What more there is on a kernel without Landlock.
const TOGETHER: &str = "not covered: this kernel has no Landlock, so the command could reach into processes of \
                        its user outside";

/// How long what was killed may take to end: what it held is given back by then, also on a busy machine.
const ENDING: Duration = Duration::from_secs(15);

/// A command that is kept in.
pub(super) struct Enforced {
    instance: Instance,
    user: Option<User>,
    record: Vec<PathBuf>,
    broken: Arc<AtomicBool>,
    /// Whether the pins have been taken away, or are to stay.
    settled: bool,
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
        Ok(Self { instance, user, record, broken: Arc::default(), settled: false })
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

    /// Ends what the command has left running: elsewhere it would not be watched. Gives why it may still
    /// run, where it may: then nothing is to be opened.
    pub(super) fn end_command(cgroup: &mut OwnCgroup) -> Option<String> {
        let error = cgroup.end(ENDING).err()?;
        tracing::error!(%error, "what the command left running cannot be ended");
        Some(format!(
            "what the command left running could not be ended ({error}): it stays in its cgroup and cut \
             off, until `sealtap kernel detach`"
        ))
    }

    /// Has a command begin behind a fence.
    pub(super) fn behind_fence(&self, joining: Joining) -> Result<Joining, Failure> {
        let fence =
            Fence::new(self.user, &self.record).map_err(|error| failed(error.to_string()))?;
        Ok(joining.behind(fence))
    }

    /// What a command may have of the caller's standard descriptors, and who carries the rest.
    pub(super) fn standard() -> Result<(Given, Carriers), Failure> {
        standard::begin().map_err(failed)
    }

    /// Takes the pins away, by the loader or without it.
    pub(super) fn open(mut self, observer: &Observer) {
        if observer.unpin().is_ok() {
            self.settled = true;
        }
    }

    /// Leaves the pins: something behind them still runs.
    pub(super) fn stay_closed(mut self) {
        self.settled = true;
    }
}

impl Drop for Enforced {
    fn drop(&mut self) {
        if !self.settled
            && let Err(error) = remove_pins(&self.instance.folder())
        {
            tracing::error!(%error, "pins stay: `sealtap kernel detach --all` takes them away");
        }
    }
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("--enforce cannot be had: {why}"))
        .fix("COMMAND was not started")
        .exit_with(Exit::Command(GATEWAY_FAILED))
}

/// Whether this process has what it takes, before anything is begun.
pub(super) fn check(start: &Start) -> Result<(), Failure> {
    let needed = if start.user.is_some() { FENCE | SOMEBODY } else { FENCE };
    let Some(lacking) = lacking(needed) else { return Ok(()) };
    let fix = match getuid().is_root() {
        true => "root of a container lacks them as a rule: run it outside, or give it these",
        false => "run as root",
    };
    Err(Failure::new(format!(
        "--enforce cannot be had without privileges: a program that ignores the proxy variables can be \
         neither seen nor stopped; missing: {lacking}"
    ))
    .fix(format!(
        "{fix}, or leave --enforce out for a run that is observed only; COMMAND was not started"
    ))
    .exit_with(Exit::Command(GATEWAY_FAILED)))
}
