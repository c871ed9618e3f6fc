//! The load generator: a process of its own that sends, checks every answer and times.
//!
//! Any answer that is not exactly what the upstream made ends it with an error: a figure from a
//! run that went wrong is no figure.

mod chat;
mod events;

use std::io::{Result, Write as _};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// Where requests go.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Host and port.
    #[arg(long)]
    pub(crate) address: String,
    /// What stands before the upstream's path.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
}

/// What to send.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Load {
    /// COUNT chats over kept connections, each as soon as the one before is answered
    Chats {
        #[command(flatten)]
        target: Target,
        /// Bytes of each request's body
        #[arg(long)]
        request: usize,
        /// Bytes of each answer's body
        #[arg(long)]
        answer: usize,
        /// How many, over all connections
        #[arg(long)]
        count: u64,
        /// Connections
        #[arg(long)]
        connections: usize,
    },
    /// Chats at a fixed rate, whether or not those before are answered
    Paced {
        #[command(flatten)]
        target: Target,
        /// Bytes of each body, in both directions
        #[arg(long)]
        size: usize,
        /// Requests a second
        #[arg(long)]
        rate: u64,
        /// How many
        #[arg(long)]
        count: u64,
    },
    /// Event streams, side by side
    Events {
        #[command(flatten)]
        target: Target,
        /// Streams
        #[arg(long)]
        streams: usize,
        /// Events of each
        #[arg(long)]
        count: u64,
        /// Microseconds between two of them
        #[arg(long)]
        distance: u64,
    },
    /// Event streams that stay open until the standard input ends
    Hold {
        #[command(flatten)]
        target: Target,
        /// Streams
        #[arg(long)]
        streams: usize,
        /// Microseconds between two events
        #[arg(long)]
        distance: u64,
    },
}

/// Runs `load` and prints one line of JSON: what was measured.
pub(crate) async fn run(load: Load) -> Result<()> {
    match load {
        Load::Chats { target, request, answer, count, connections } => {
            let chat = chat::Chat { target, request, answer };
            say(&chat::closed_loop(chat, count, connections).await?)
        }
        Load::Paced { target, size, rate, count } => {
            let chat = chat::Chat { target, request: size, answer: size };
            say(&chat::paced(chat, rate, count).await?)
        }
        Load::Events { target, streams, count, distance } => {
            say(&events::measured(&target, streams, count, distance).await?)
        }
        Load::Hold { target, streams, distance } => events::held(&target, streams, distance).await,
    }
}

fn say(result: &Value) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{result}")?;
    out.flush()
}

/// Quantiles of `nanoseconds`, in microseconds.
fn quantiles(mut nanoseconds: Vec<u64>) -> Value {
    nanoseconds.sort_unstable();
    let at = |share: f64| {
        let index = (nanoseconds.len() as f64 * share) as usize;
        let value = nanoseconds.get(index.min(nanoseconds.len().saturating_sub(1)));
        value.map(|value| *value as f64 / 1000.0)
    };
    json!({ "count": nanoseconds.len(), "p50_us": at(0.5), "p99_us": at(0.99) })
}
