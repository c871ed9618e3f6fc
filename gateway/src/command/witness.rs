//! `sealtap witness`: a witness for other people's logs.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Run a witness: cosign the checkpoints of known logs, and refuse forks and rollbacks.
#[derive(Debug, Args)]
#[command(after_help = "\
A witness belongs on another machine, under another operator than the logs it watches: what it
cosigned, the log's operator cannot take back. At the first start it makes its key (0600) and prints
  1. its public key (vkey)
  2. the line for a policy file (C2SP tlog-policy), to which a `quorum` line belongs:
       sealtap witness --log keys.txt > witness.txt &
       sed -n 2p witness.txt > witnesses.policy
       sed -n 2p witness.txt | cut -d' ' -f2 | sed 's/^/quorum /' >> witnesses.policy
The URL at that line's end is the address it listens on: write the one that the gateway reaches.
The gateway takes that file as `policy` of `[witness]`, a verifier with `verify --policy`.

It speaks cleartext HTTP: put TLS in front of it where the network is not trusted (what it answers
is signed). When a log changes its key, start it with both keys. Its data directory must never be
restored from an old copy: it could then cosign a fork.")]
pub struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4142")]
    pub(crate) listen: SocketAddr,
    /// Data directory: the witness's key, and the latest checkpoint of each log
    #[arg(long, value_name = "DIR", default_value = "./sealtap-witness")]
    pub(crate) data: PathBuf,
    /// The witness's name, like a URL without scheme [default: made at the first start]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A log to watch: its vkey, or a file with what `sealtap keys` prints; repeatable
    #[arg(long = "log", value_name = "VKEY|FILE", required = true)]
    pub(crate) logs: Vec<String>,
}
