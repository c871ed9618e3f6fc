//! `sealtap names`: what was asked of the resolver.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// List the names that watched programs asked the configured resolver for, oldest first.
#[derive(Debug, Args)]
#[command(after_help = "\
What the kernel let go to the resolver by UDP is read and sealed with each statement of coverage,
a few seconds later. Of such a packet it is known whose socket it left by (socket_of): the process
that connected the socket, or sent by it first. A name that was asked for is not a place that was
reached: `sealtap ls` has those.
  sealtap names
  sealtap names --json | jq -r .name | sort | uniq -c")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
