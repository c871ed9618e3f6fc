//! `sealtap kernel`: what is attached to the kernel, and what was left closed.

use clap::{Args, Subcommand};

use super::{Outcome, Output};

/// See what sealtap has attached to the kernel, and open what a dead gateway left closed.
#[derive(Debug, Args)]
#[command(
    about = "See what sealtap has attached to the kernel, and open what a dead gateway left closed",
    long_about = None,
    after_help = "\
A gateway that enforces pins its programs: when it is killed, what it watched stays cut off from the
network, until somebody opens it. As root:
  sealtap kernel status
  sealtap kernel detach
  sealtap kernel detach --instance 5f0c2a9be1d34a77"
)]
pub struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Load and attach the programs for the gateway at the other end of standard input
    #[command(hide = true)]
    Loader {
        /// Bytes for events that wait to be read
        #[arg(long, value_name = "BYTES", hide = true)]
        ring: Option<u32>,
    },
    /// Hold a target and send probes to it, for the gateway at the other end of standard input
    #[command(hide = true)]
    Canary,
    /// Try each way out to the target that standard input names
    #[command(hide = true)]
    Probe,
    /// Load, attach and detach each program by itself, and say on standard output what came of it
    #[command(hide = true)]
    Try,
    /// List what is attached or pinned: programs, links, watched cgroups, and whose they are
    Status(Status),
    /// Take away what gateways that are gone left pinned, all of it or one's; what they watched is free again
    Detach(Detach),
}

/// What the gateway starts for itself, and what is asked of the kernel by hand.
#[derive(Clone, Copy)]
pub struct Inner {
    /// The loader.
    pub loader: fn(Option<u32>) -> Outcome,
    /// The canary.
    pub canary: fn() -> Outcome,
    /// Its probe.
    pub probe: fn() -> Outcome,
    /// One program after the other.
    pub attempt: fn() -> Outcome,
    /// Lists what is attached.
    pub status: fn(&Status, &mut Output<'_>) -> Outcome,
    /// Opens what was left closed.
    pub detach: fn(&Detach, &mut Output<'_>) -> Outcome,
}

/// What to list.
#[derive(Clone, Debug, Args)]
pub struct Status {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// What to open.
#[derive(Clone, Debug, Args)]
pub struct Detach {
    /// This one, by its name in `sealtap kernel status` or the first part of it
    #[arg(long, value_name = "INSTANCE", conflicts_with = "all")]
    pub instance: Option<String>,
    /// All whose gateway is gone, as without arguments
    #[arg(long)]
    pub all: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(arguments: &Arguments, inner: &Inner, output: &mut Output<'_>) -> Outcome {
    match &arguments.part {
        Part::Loader { ring } => (inner.loader)(*ring),
        Part::Canary => (inner.canary)(),
        Part::Probe => (inner.probe)(),
        Part::Try => (inner.attempt)(),
        Part::Status(status) => (inner.status)(status, output),
        Part::Detach(detach) => (inner.detach)(detach, output),
    }
}
