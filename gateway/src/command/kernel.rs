//! `sealtap kernel`: what the gateway starts for itself.

use clap::{Args, Subcommand};

use super::Outcome;

/// The kernel's programs.
#[derive(Debug, Args)]
#[command(after_help = "\
Started by the gateway, with a socket to it as standard input; by hand they only say so:
  sealtap kernel loader
  sealtap kernel canary")]
pub struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Load and attach them for the gateway at the other end of standard input
    Loader,
    /// Hold a target and send probes to it, for the gateway at the other end of standard input
    Canary,
    /// Try each way out to the target that standard input names
    Probe,
    /// Load, attach and detach each program by itself, and say on standard output what came of it
    Try,
}

/// What each of them does.
#[derive(Clone, Copy)]
pub struct Inner {
    /// The loader.
    pub loader: fn() -> Outcome,
    /// The canary.
    pub canary: fn() -> Outcome,
    /// Its probe.
    pub probe: fn() -> Outcome,
    /// One program after the other.
    pub attempt: fn() -> Outcome,
}

pub(super) fn run(arguments: &Arguments, inner: &Inner) -> Outcome {
    match arguments.part {
        Part::Loader => (inner.loader)(),
        Part::Canary => (inner.canary)(),
        Part::Probe => (inner.probe)(),
        Part::Try => (inner.attempt)(),
    }
}
