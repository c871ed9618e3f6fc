//! `sealtap serve`: the gateway.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Failure;
use crate::config::{Capture, Config, Flags, MessageForm};
use crate::route::Table;

/// Bytes in a journal file of a gateway that runs for one command, at most.
const PRIVATE_JOURNAL: u64 = 4 << 20;

/// What every gateway is told, whether it serves by itself or one command.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Config file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:4141; of `run`, a free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Data directory [default: ./sealtap-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory of the checkpoint's lock; keep it outside the data directory
    #[arg(long, value_name = "DIR")]
    lock: Option<PathBuf>,
    /// Adds an upstream, or replaces one of that name; repeatable
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<String>,
    /// Certificate authorities to trust for upstreams, beside the system's; repeatable
    #[arg(long, value_name = "PEM")]
    upstream_ca: Vec<PathBuf>,
    /// What to capture where traffic names no upstream; reverse mode captures all it forwards
    #[arg(long, value_enum)]
    capture: Option<CaptureChoice>,
    /// Form of the messages on standard error; SEALTAP_LOG, RUST_LOG or the configuration says which ones [default: text]
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
    /// Go on with a log whose lock is missing, for instance on a new machine; the log says so
    #[arg(long)]
    adopt: bool,
}

/// Run the gateway: record, seal and forward until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
#[command(
    override_usage = "sealtap serve [OPTIONS]",
    after_help = "\
Point a client at http://LISTEN/NAME and give it the path of the provider's own API:
  sealtap serve &
  export OPENAI_BASE_URL=http://127.0.0.1:4141/openai/v1
  export ANTHROPIC_BASE_URL=http://127.0.0.1:4141/anthropic

Your own model server, by a name of your choice:
  sealtap serve --upstream local=http://127.0.0.1:8080
  curl http://127.0.0.1:4141/local/v1/models

One run of an agent under its own name:
  export OPENAI_BASE_URL=http://127.0.0.1:4141/run/nightly-7/openai/v1

Every key of the config file is in sealtap.example.toml. SIGTERM seals what is pending and exits 0."
)]
pub struct Alone {
    #[command(flatten)]
    gateway: Arguments,
    /// As root: open what takes privileges, start what the kernel needs, then run as this user for good
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

impl Alone {
    /// Reads the configuration; nothing is opened but the config file.
    pub(super) fn start(self) -> Result<Start, Failure> {
        self.gateway.start_as(self.user)
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CaptureChoice {
    Known,
    All,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// What the gateway starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The whole configuration.
    pub config: Config,
    /// Where requests go.
    pub table: Table,
    /// Whether a log without its lock may be adopted.
    pub adopt: bool,
    /// Where the configuration can be read again.
    pub source: Source,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file, if one was given.
    pub file: Option<PathBuf>,
    /// What was given on the command line, which wins over the file.
    pub flags: Flags,
}

impl Source {
    /// Reads the configuration as it is now.
    ///
    /// # Errors
    /// What is wrong with it, where, and what to do.
    pub fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.file.as_deref(), &self.flags)?)
    }
}

impl Arguments {
    /// The same for the gateway of one command: on a free port of the loopback unless `--listen` says
    /// otherwise, in clear, and with nothing of its own to be asked for. Its journal is small, since
    /// laying down files takes time.
    pub(super) fn private(self) -> Result<Start, Failure> {
        let listen = self.listen.is_some();
        let mut start = self.start_as(None)?;
        let config = &mut start.config;
        if !listen {
            config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        }
        config.tls = None;
        config.user = None;
        config.observe.enabled = false;
        config.journal.file_size = config.journal.file_size.min(PRIVATE_JOURNAL);
        Ok(start)
    }

    /// Reads the configuration; nothing is opened but the config file.
    fn start_as(self, user: Option<String>) -> Result<Start, Failure> {
        let flags = Flags {
            listen: self.listen,
            data: self.data,
            lock: self.lock,
            upstreams: self.upstreams,
            upstream_ca: self.upstream_ca,
            capture: self.capture.map(|choice| match choice {
                CaptureChoice::Known => Capture::Known,
                CaptureChoice::All => Capture::All,
            }),
            user,
            messages: self.log_format.map(|form| match form {
                LogFormat::Text => MessageForm::Text,
                LogFormat::Json => MessageForm::Json,
            }),
        };
        let source = Source { file: self.config, flags };
        let config = source.load()?;
        let table = Table::new(&config)?;
        Ok(Start { config, table, adopt: self.adopt, source })
    }
}
