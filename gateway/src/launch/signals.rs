//! Signals: passed to the command, once each.
//!
//! What the kernel sends (Ctrl-C, Ctrl-\, a hang-up of the terminal) goes to the whole foreground
//! group: the command has it already, and this process only must not die of it. What a process sends
//! to this one alone is sent on. A signal that the caller had ignored (`nohup`, a job in the
//! background of a script) stays ignored, here and in the command. Stop signals are left alone, so
//! that Ctrl-Z stops both and `fg` goes on with both.
//!
//! Once the command has ended, the first signal ends all waiting, and the second ends this process;
//! the journal has everything then, and the next start seals it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Signal, pidfd_send_signal};
use rustix::thread::CapabilitySet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ};
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::privileges::keep_only;

/// What is passed on.
const PASSED: [(i32, Signal); 6] = [
    (SIGHUP, Signal::HUP),
    (SIGINT, Signal::INT),
    (SIGQUIT, Signal::QUIT),
    (SIGTERM, Signal::TERM),
    (SIGUSR1, Signal::USR1),
    (SIGUSR2, Signal::USR2),
];

/// Signals that no longer end this process, and wait for whom they are for.
pub(super) struct Signals {
    infos: SignalsInfo<WithOrigin>,
    caught: Vec<i32>,
}

/// Signals on their way to the command.
pub(super) struct Watching {
    caught: Vec<i32>,
    passing: Handle,
    hurried: Arc<AtomicBool>,
}

impl Signals {
    /// Catches what is to be passed on. The command, started afterwards, has the defaults again.
    pub(super) fn catch() -> io::Result<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        // A limit is an error of whoever writes, and no end of this process; the command has the default.
        for limit in [SIGXCPU, SIGXFSZ] {
            if !is_in(ignored, limit) {
                signal_hook::flag::register(limit, Arc::default())?;
            }
        }
        let caught = PASSED.iter().map(|(number, _)| *number);
        let caught: Vec<i32> = caught.filter(|number| !is_in(ignored, *number)).collect();
        Ok(Self { infos: SignalsInfo::new(&caught)?, caught })
    }

    /// Passes signals to the process behind `child` until it has ended; with the right to, where the caller
    /// has it, and the command is another user's, but with no other.
    pub(super) fn pass_to(self, child: Arc<OwnedFd>) -> Watching {
        let Self { mut infos, caught } = self;
        let passing = infos.handle();
        let named = thread::Builder::new().name("signals".to_owned());
        let started = named.spawn(move || {
            if let Err(error) = keep_only(CapabilitySet::KILL) {
                tracing::error!(%error, "signals will not reach the command");
                return;
            }
            infos.forever().for_each(|origin| pass(&origin, &child));
        });
        if let Err(error) = started {
            tracing::warn!(%error, "signals will not reach the command");
        }
        Watching { caught, passing, hurried: Arc::default() }
    }
}

fn pass(origin: &Origin, child: &OwnedFd) {
    if matches!(origin.cause, Cause::Kernel) {
        return;
    }
    let passed = PASSED.iter().find(|(number, _)| *number == origin.signal);
    if let Some((_, signal)) = passed
        && let Err(error) = pidfd_send_signal(child, *signal)
    {
        tracing::debug!(%error, ?signal, "the command is gone");
    }
}

impl Watching {
    /// From now on signals are for this process: those that come, and not those that came before and that nobody has
    /// got to yet.
    pub(super) fn child_has_ended(&self) {
        let hurried = Arc::clone(&self.hurried);
        let named = thread::Builder::new().name("signals".to_owned());
        let started = SignalsInfo::<WithOrigin>::new(&self.caught).and_then(|mut infos| {
            named.spawn(move || {
                for origin in infos.forever() {
                    if hurried.swap(true, Ordering::AcqRel) {
                        let _ = emulate_default_handler(origin.signal);
                    }
                }
            })
        });
        if let Err(error) = started {
            tracing::warn!(%error, "no signal will end the waiting");
        }
        self.passing.close();
    }

    /// Whether somebody asked not to be kept waiting.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Acquire)
    }
}

/// The mask of ignored signals in a process's status (`SigIgn`, proc_pid_status(5)).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

fn is_in(mask: u64, signal: i32) -> bool {
    let bit = u32::try_from(signal).ok().and_then(|signal| signal.checked_sub(1));
    bit.and_then(|bit| mask.checked_shr(bit)).is_some_and(|shifted| shifted & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001003\nSigCgt:\t0\n";
        let mask = ignored(status);
        assert!(is_in(mask, SIGHUP) && is_in(mask, SIGINT) && is_in(mask, 13));
        assert!(!is_in(mask, SIGQUIT) && !is_in(mask, SIGTERM) && !is_in(mask, 64));
        assert_eq!(ignored(""), 0);
    }

    /// Under load whoever passes them on may be behind: two Ctrl-C at the command would have ended this process.
    #[test]
    fn what_came_for_the_command_hurries_nobody() {
        let signals = Signals::catch().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let id = rustix::process::Pid::from_child(&gone);
        let child = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()).unwrap();
        gone.wait().unwrap();
        for _ in 0..2 {
            signal_hook::low_level::raise(SIGUSR1).unwrap();
        }
        let watching = signals.pass_to(Arc::new(child));
        watching.child_has_ended();
        thread::sleep(std::time::Duration::from_millis(300));
        assert!(!watching.is_hurried());
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !watching.is_hurried() {
            assert!(std::time::Instant::now() < deadline, "nobody heard it");
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
