//! The probe: the process that tries each way out, watched or not.
//!
//! In: where the target is, on standard input. Out: what came of each way, on standard output. It knows
//! nothing of whether it is watched. Ends when the canary does, in the middle of whatever it tries.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};
use sealtap_common::leaf::CanaryWay;

use super::super::message::{read, write};
use super::ways::{Answer, Targets, attempt};
use crate::command::{Exit, Failure, Outcome};

/// Tries each way once.
///
/// # Errors
///
/// Nobody says where the target is: only the canary starts this.
pub fn run() -> Outcome {
    // One whose canary was killed would go on from a cgroup that is watched no more.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| Failure::of(&error))?;
    if is_alone().map_err(|error| Failure::of(&error))? {
        return Ok(Exit::Failed);
    }
    let targets: Targets = read(&mut io::stdin().lock()).map_err(|_| {
        Failure::new("the probe is started by the canary, which says what to try")
            .fix("use `sealtap doctor --canary`")
            .exit_with(Exit::Usage)
    })?;
    let answers: Vec<Answer> = CanaryWay::ALL.iter().map(|way| attempt(*way, &targets)).collect();
    write(&mut io::stdout().lock(), &answers).map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

/// Whether the canary ended before its end was a signal: it holds the other end of standard input.
fn is_alone() -> io::Result<bool> {
    let input = io::stdin();
    let mut ready = [PollFd::new(&input, PollFlags::empty())];
    rustix::io::retry_on_intr(|| poll(&mut ready, Some(&Timespec::default())))?;
    let [input] = ready;
    Ok(!input.revents().is_empty())
}
