//! `sealtap demo`: the whole story in ten seconds.

use clap::Args;

/// Where the demonstration leaves what it made, in the working directory.
pub const DIRECTORY: &str = "./sealtap-demo";

/// Watch traffic recorded, sealed and verified, and a forgery found; no key, no network.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts a small model server and the gateway on this machine, sends calls through, seals and verifies
their record, then changes one byte in a copy of the log and shows that it is found. What it made
stays in ./sealtap-demo:
  sealtap demo
  sealtap ls --data sealtap-demo/data")]
pub struct Arguments {}
