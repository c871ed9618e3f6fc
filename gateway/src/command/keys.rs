//! `sealtap keys`: the public keys.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use sealtap_common::leaf::KeyRole;

use super::{Exit, Failure, Outcome, Output};
use crate::config::DEFAULT_DATA;
use crate::data::DataDir;
use crate::seal::keys::Keys;
use crate::seal::lock::LockPlace;
use crate::seal::rotation::{RotationError, rotate};

/// Print the public keys: the log's first (vkey, then PEM), then the run-record key.
#[derive(Debug, Args)]
#[command(after_help = "\
Hand these to whoever will check the record, by a way that the record does not travel:
  sealtap keys > keys.txt
  sealtap verify sealtap-data --key keys.txt

--rotate puts a new key in the place of the present one, while no gateway runs: a leaf that both
keys sign leads from the old key to the new, so that whoever has the old one can still verify.
Give the new one to whoever checks, and to every witness beside the old:
  sealtap keys --rotate > new-keys.txt   (keep the old file: it verifies what came before, and after)")]
pub struct Arguments {
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// Make a new key, of the log unless another is named, and seal the change
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "log")]
    rotate: Option<Role>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Signs checkpoints
    Log,
    /// Signs run records
    RunRecord,
}

/// Prints the public keys of a data directory.
pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let data = DataDir::new(&arguments.data);
    // Nothing is made where no gateway has been.
    let mut keys = Keys::load(&data.keys())?;
    if let Some(role) = arguments.rotate {
        let role = match role {
            Role::Log => KeyRole::Log,
            Role::RunRecord => KeyRole::RunRecord,
        };
        let rotated = rotate(&data, role, LockPlace::new(None)).map_err(|error| {
            let failure = Failure::of(&error).at(arguments.data.display().to_string());
            match error {
                RotationError::Data(_) => failure
                    .fix("stop the gateway first: a key changes only while nothing is sealed"),
                _ => failure,
            }
        })?;
        let (leaf, old) = (rotated.leaf, rotated.old.vkey());
        let mut told = anstream::stderr().lock();
        // The keys themselves, on standard output, are what was asked for.
        let _ =
            writeln!(told, "leaf {leaf} of the log puts a new {role} key in the place of {old}");
        keys = Keys::load(&data.keys())?;
    }
    let text = keys.public_text();
    output.exact().write_all(text.as_bytes()).map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}
