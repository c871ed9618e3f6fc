//! `sealtap keys`: the public keys.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, Outcome, Output};
use crate::config::DEFAULT_DATA;
use crate::data::DataDir;
use crate::seal::keys::Keys;

/// Print the public keys: the log's first (vkey, then PEM), then the run-record key.
#[derive(Debug, Args)]
#[command(after_help = "\
Hand these to whoever will check the record, by a way that the record does not travel:
  sealtap keys > keys.txt
  sealtap verify sealtap-data --key keys.txt")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

/// Prints the public keys of a data directory.
pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let keys = Keys::load(&DataDir::new(&arguments.data).keys())?;
    let text = keys.public_text();
    output.exact().write_all(text.as_bytes()).map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}
