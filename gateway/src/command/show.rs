//! `sealtap show`: one exchange.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::DEFAULT_DATA;

/// Show one exchange: heads, sizes, times, its place in the log; or the exact bytes of a body.
#[derive(Debug, Args)]
#[command(after_help = "\
ID is an exchange's id or a unique prefix of it; `sealtap ls` lists them.
  sealtap show 3f9a
  sealtap show 3f9a --body request | jq .messages
  sealtap show 3f9a --body response | sha256sum")]
pub struct Arguments {
    /// The exchange: its id or a unique prefix
    #[arg(value_name = "ID")]
    pub id: String,
    /// Data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    pub data: PathBuf,
    /// One JSON object
    #[arg(long, conflicts_with = "body")]
    pub json: bool,
    /// Exactly the captured bytes of this body, on standard output
    #[arg(long, value_enum)]
    pub body: Option<Body>,
}

/// Which body of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Body {
    /// What went to the model.
    Request,
    /// What came back to the client.
    Response,
}
