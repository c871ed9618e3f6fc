//! The probe: the process that tries each way out, watched or not.
//!
//! In: where the target is, on standard input. Out: what came of each way, on standard output. It knows
//! nothing of whether it is watched.

use std::io;

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
    let targets: Targets = read(&mut io::stdin().lock()).map_err(|_| {
        Failure::new("the probe is started by the canary, which says what to try")
            .fix("use `sealtap doctor --canary`")
            .exit_with(Exit::Usage)
    })?;
    let answers: Vec<Answer> = CanaryWay::ALL.iter().map(|way| attempt(*way, &targets)).collect();
    write(&mut io::stdout().lock(), &answers).map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}
