//! `sealtap kernel`: what the gateway starts for itself.

use clap::{Args, Subcommand};

use super::Outcome;

/// The kernel's programs.
#[derive(Debug, Args)]
#[command(after_help = "\
Started by the gateway, with a socket to it as standard input; by hand it only says so:
  sealtap kernel loader")]
pub struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Load and attach them for the gateway at the other end of standard input
    Loader {
        /// Bytes for events that wait to be read
        #[arg(long, value_name = "BYTES", hide = true)]
        ring: Option<u32>,
    },
}

pub(super) fn run(arguments: &Arguments, loader: fn(Option<u32>) -> Outcome) -> Outcome {
    match arguments.part {
        Part::Loader { ring } => loader(ring),
    }
}
