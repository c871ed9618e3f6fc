//! `sealtap runs`: the runs that were recorded.

use std::path::PathBuf;

use clap::Args;

use crate::config::DEFAULT_DATA;

/// List runs, newest last: how each was delimited, how it stands, its place in the log.
#[derive(Debug, Args)]
#[command(after_help = "\
A run is open until its connection ends, until its name was not used for a while, or until the
gateway stops; then it is closed in the log, and a record of it is signed.
  sealtap runs
  sealtap runs --json | jq -r 'select(.state == \"closed\") | .id'")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}
