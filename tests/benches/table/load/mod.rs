//! The load generator: a process of its own that sends, checks every answer and times.
//!
//! Any answer that is not exactly what the upstream made ends it with an error: a figure from a
//! run that went wrong is no figure.

mod chat;
mod events;
mod handshakes;

use std::io::{Error, Result, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use clap::{Args, Subcommand};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::{Connection, wrong};
use crate::tls;

/// Where requests go.
#[derive(Args, Clone, Debug)]
pub(crate) struct Target {
    /// Host and port.
    #[arg(long)]
    pub(crate) address: String,
    /// What stands before the upstream's path.
    #[arg(long, default_value = "")]
    pub(crate) prefix: String,
    /// Over TLS, under this authority (PEM)
    #[arg(long)]
    pub(crate) authority: Option<PathBuf>,
    /// Through a tunnel to this host and port
    #[arg(long)]
    pub(crate) tunnel: Option<String>,
    #[arg(skip)]
    settings: OnceLock<Arc<ClientConfig>>,
}

impl Target {
    /// Host and port as requests name them.
    fn host(&self) -> &str {
        self.tunnel.as_ref().unwrap_or(&self.address)
    }

    /// The same way to another host and port.
    fn to(&self, host: String) -> Self {
        let mut other = self.clone();
        *other.tunnel.as_mut().unwrap_or(&mut other.address) = host;
        other
    }

    /// Connects: TCP, the tunnel, TLS.
    async fn connect(&self) -> Result<Connection> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let Some(authority) = &self.authority else { return Connection::new(stream) };
        stream.set_nodelay(true)?;
        if let Some(host) = &self.tunnel {
            tunnel(&mut stream, host).await?;
        }
        let settings = match self.settings.get() {
            Some(settings) => settings,
            None => {
                let made = tls::client(authority)?;
                self.settings.get_or_init(|| made)
            }
        };
        let name = self.host().rsplit_once(':').map(|(name, _)| name.to_owned());
        let name = ServerName::try_from(name.unwrap_or_default()).map_err(Error::other)?;
        let stream = TlsConnector::from(Arc::clone(settings)).connect(name, stream).await?;
        Ok(Connection::over(stream))
    }
}

/// Asks for a tunnel, and waits until it is there.
async fn tunnel(stream: &mut TcpStream, host: &str) -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let asked = format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nuser-agent: bench/1\r\n\r\n");
    stream.write_all(asked.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    // What follows is for this side to begin.
    while !answer.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(wrong("the tunnel ended before it began"));
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") {
        return Err(wrong(format!("no tunnel: {}", String::from_utf8_lossy(&answer))));
    }
    Ok(())
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
        /// How many before, until it is told by a line to go on
        #[arg(long, default_value_t = 0)]
        warm: u64,
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
    /// Full TLS handshakes, each over a connection of its own that ends without a request
    Handshakes {
        #[command(flatten)]
        target: Target,
        /// How many
        #[arg(long)]
        count: u64,
        /// Side by side
        #[arg(long)]
        connections: usize,
    },
    /// The first request to one new distant host after another, connecting included
    First {
        #[command(flatten)]
        target: Target,
        /// The port of all of them
        #[arg(long)]
        port: u16,
        /// The number of the first
        #[arg(long)]
        from: u64,
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
        Load::Chats { target, request, answer, warm, count, connections } => {
            let chat = chat::Chat { target, request, answer };
            say(&chat::closed_loop(chat, (warm, count), connections).await?)
        }
        Load::Paced { target, size, rate, count } => {
            let chat = chat::Chat { target, request: size, answer: size };
            say(&chat::paced(chat, rate, count).await?)
        }
        Load::Handshakes { target, count, connections } => {
            say(&handshakes::many(target, count, connections).await?)
        }
        Load::First { target, port, from, count } => {
            let chat = chat::Chat { target, request: 1 << 10, answer: 1 << 10 };
            say(&handshakes::first_requests(chat, port, from..from + count).await?)
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
