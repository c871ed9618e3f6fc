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
    Loader,
}

pub(super) fn run(arguments: &Arguments, loader: fn() -> Outcome) -> Outcome {
    match arguments.part {
        Part::Loader => loader(),
    }
}
