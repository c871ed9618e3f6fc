//! `sealtap ls`: what was recorded.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// List exchanges, newest last.
#[derive(Debug, Args)]
#[command(after_help = "\
Works at any moment, also beside a running `sealtap serve`.
  sealtap ls
  sealtap ls --run nightly-7
  sealtap ls --json | jq -r 'select(.status != 200) | .id'")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// Only this run: an id, a unique prefix of one, or a run's name
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
