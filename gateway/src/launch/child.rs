//! The command itself: started as a shell would, waited for, and its end passed on.
//!
//! In: a program, its arguments, variables. Out: how it ended. Fails with 127 where there is no such
//! program and 126 where it cannot be run. Waiting reaps orphans on the way, which come to this
//! process because it said so ([`Child::spawn`]).

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, WaitOptions, getpid, getrlimit, pidfd_open, set_child_subreaper,
    setrlimit, wait,
};

use super::standard::Given;
use crate::command::run::{CANNOT_RUN, GATEWAY_FAILED, NOT_FOUND};
use crate::command::{Exit, Failure};
use crate::kernel::{Fence, Joining};

/// A variable for the command: set, or taken away.
pub(super) type Variable = (String, Option<OsString>);

/// The command, running.
pub(super) struct Child {
    pid: Pid,
    descriptor: Arc<OwnedFd>,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It exited with this code.
    Exited(u8),
    /// This signal ended it.
    Signalled(i32),
}

impl Child {
    /// Starts `program` in the caller's terminal, session and process group, born into a cgroup where
    /// there is one to join, and with what is given it in the place of the caller's own.
    pub(super) fn spawn(
        program: &OsStr,
        arguments: &[OsString],
        variables: Vec<Variable>,
        (joining, given): (Option<Joining>, Given),
    ) -> Result<Self, Failure> {
        // Whoever outlives its parent becomes a child of this process, and is known by name.
        if let Err(error) = set_child_subreaper(Some(getpid())) {
            tracing::warn!(%error, "processes that the command leaves behind will not be waited for");
        }
        let mut command = Command::new(program);
        command.args(arguments);
        for (name, value) in variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        given.to(&mut command);
        if let Some(joining) = joining {
            joining.before(&mut command);
        }
        let child = command.spawn().map_err(|error| not_run(program, &error))?;
        let pid = Pid::from_child(&child);
        // A descriptor of the process names no other, also once this one is gone.
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            Failure::new(format!("the command cannot be watched: {error}"))
                .fix("sealtap run needs Linux 5.3 or later")
        })?;
        Ok(Self { pid, descriptor: Arc::new(descriptor) })
    }

    /// What signals are sent to.
    pub(super) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.descriptor)
    }

    /// Waits for its end.
    pub(super) fn wait(&self) -> io::Result<Ended> {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == self.pid => {
                    if let Some(signal) = status.terminating_signal() {
                        return Ok(Ended::Signalled(signal));
                    }
                    let code = status.exit_status().unwrap_or_default();
                    return Ok(Ended::Exited(u8::try_from(code).unwrap_or(u8::MAX)));
                }
                // An orphan.
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn not_run(program: &OsStr, error: &io::Error) -> Failure {
    let shown = program.to_string_lossy();
    if let Some(why) = Fence::refused(error) {
        return Failure::new(format!("{shown:?} cannot begin behind the fence: {why}"))
            .fix("COMMAND was not started; leave --enforce out for a run that is observed only")
            .exit_with(Exit::Command(GATEWAY_FAILED));
    }
    match error.kind() {
        ErrorKind::NotFound => Failure::new(format!("there is no command {shown:?}"))
            .fix("give a program on the PATH, or a path to one whose interpreter is there")
            .exit_with(Exit::Command(NOT_FOUND)),
        _ => Failure::new(format!("{shown:?} cannot be run: {error}"))
            .exit_with(Exit::Command(CANNOT_RUN)),
    }
}

impl Ended {
    /// As a shell has it in `$?`.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Signalled(signal) => u8::try_from(signal).unwrap_or(127).saturating_add(128),
        }
    }

    /// The same, unless it ended well although the record is not whole.
    pub(super) fn or_failed(self) -> Self {
        match self {
            Self::Exited(0) => Self::Exited(GATEWAY_FAILED),
            other => other,
        }
    }

    /// Ends this process by the same signal, so that a caller sees what it would see without us;
    /// where there was none, or it does not end this process, gives the exit code.
    pub(super) fn pass_on(self) -> u8 {
        // The system keeps a container's first process from the signals it sends to itself.
        if let Self::Signalled(signal) = self
            && !getpid().is_init()
        {
            // One core, of the command, is enough.
            let mut core = getrlimit(Resource::Core);
            core.current = Some(0);
            let _ = setrlimit(Resource::Core, core);
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
        self.code()
    }
}
