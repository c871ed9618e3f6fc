//! `sealtap doctor`: what this machine allows.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// Say what this machine allows, by trying it, and what to do about each shortfall.
#[derive(Debug, Args)]
#[command(after_help = "\
Kernel programs are loaded, attached and detached again, a file is written and synchronised, ports
are bound: nothing stays. Without root, what only root can try is said to be unknown.
  sudo sealtap doctor
  sealtap doctor --data /var/lib/agent-log --json | jq '.checks[] | select(.state != \"well\")'
  sudo sealtap doctor --canary      a watched probe tries each way out, observed and then enforced

Exit codes:
  0  all that could be tried is well     1  there are shortfalls, or the canary went around")]
pub struct Arguments {
    /// Data directory whose disk is looked at
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// Config file, for its addresses
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Send a probe that tries each way out, not watched and watched, in both modes
    #[arg(long)]
    pub canary: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}
