//! `sealtap kernel`: what is attached to the kernel, and what was left closed.

use clap::{Args, Subcommand};

use super::{Outcome, Output, Parts};

/// See what sealtap has attached to the kernel, and open what a dead gateway left closed.
#[derive(Debug, Args)]
#[command(
    about = "See what sealtap has attached to the kernel, and open what a dead gateway left closed",
    long_about = None,
    after_help = "\
A gateway that enforces pins its programs: when it is killed, what it watched stays cut off from the
network, until somebody opens it. As root:
  sealtap kernel status
  sealtap kernel detach --all
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
    /// List what is attached or pinned: programs, links, watched cgroups, and whose they are
    Status(Status),
    /// Take away what gateways that are gone left pinned; what they watched is free again
    Detach(Detach),
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
    #[arg(long, value_name = "INSTANCE", required_unless_present = "all", conflicts_with = "all")]
    pub instance: Option<String>,
    /// All whose gateway is gone
    #[arg(long)]
    pub all: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(arguments: &Arguments, parts: &Parts, output: &mut Output<'_>) -> Outcome {
    match &arguments.part {
        Part::Loader { ring } => (parts.loader)(*ring),
        Part::Status(status) => (parts.kernel_status)(status, output),
        Part::Detach(detach) => (parts.kernel_detach)(detach, output),
    }
}
