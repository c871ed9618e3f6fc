//! `sealtap bypasses`: what went around the gateway, or tried to.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// List what went around the gateway, or tried to and was denied, oldest first.
#[derive(Debug, Args)]
#[command(after_help = "\
The kernel counts connects (and sends without one) and packets apart, so that one datagram is two
lines. A connect is by the process that made it; of a packet it is known whose socket it left by
(socket_of), others may have sent by that. Where too many came at once, the rest is a number.
Tries of a canary are listed as well, as those of sealtap's own executable.
  sealtap bypasses
  sealtap bypasses --json | jq 'select(.verdict == \"passed\" and .unit == \"connect\")'")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
