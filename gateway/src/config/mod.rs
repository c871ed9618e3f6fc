//! Configuration: one TOML file and the flags of `serve`, read into one plain, immutable [`Config`].
//!
//! In: the file's text, then [`Flags`], which win over the file. Out: a [`Config`] whose every value
//! has been checked. Fails with [`ConfigError`], which names file, line and column, and the nearest
//! known key. Never: opens a certificate, resolves a name, or touches the data directory.
//!
//! Relative paths in the file start at the file's own folder, those in flags at the working
//! directory. `sealtap.example.toml` shows every key; a test holds it to [`keys::KEYS`].

mod ca;
mod error;
mod flags;
mod kernel;
pub mod keys;
mod messages;
mod proxy;
mod read;
mod section;
mod upstream;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use ca::{Ca, Network};
pub use error::{ConfigError, Problem, ProblemKind};
pub use flags::Flags;
pub use kernel::{Kernel, KernelMode, Scope, place};
pub use messages::{MessageForm, MessageLevel};
pub use proxy::{AddressRange, Credentials, HostPattern, Other, Proxy};
pub use upstream::{
    NameError, Protocol, RESERVED_NAMES, Scheme, UpstreamConfig, Url, UrlError, check_name,
};

/// Everything `serve` was told, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Certificate and key of the listener; without them it speaks cleartext.
    pub tls: Option<Tls>,
    /// The data directory.
    pub data: PathBuf,
    /// The folder of the checkpoint's lock; `None` means the state directory of system or user.
    pub lock: Option<PathBuf>,
    /// The log's origin line; `None` leaves the choice to the keys made on first start.
    pub origin: Option<String>,
    /// What a message's end waits for.
    pub durability: Durability,
    /// What is captured where the gateway sees traffic that names no upstream.
    pub capture: Capture,
    /// PEM files with certificate authorities trusted for every upstream, beside the system's own.
    pub upstream_ca: Vec<PathBuf>,
    /// What sealtap's own certificate authority may vouch for.
    pub ca: Ca,
    /// Upstreams by name, added to the built-in ones or in their place.
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// How much of what clients may hold at once.
    pub limits: Limits,
    /// What is secret beside the built-in list.
    pub secrets: Secrets,
    /// Which headers the gateway adds to say that it stands there.
    pub forwarded: Forwarded,
    /// How often the log speaks.
    pub log: Log,
    /// The journal's sizes.
    pub journal: Journal,
    /// What the gateway says of itself.
    pub observe: Observe,
    /// How long bodies are held.
    pub retention: Retention,
    /// Whom to show checkpoints to; `None` asks nobody.
    pub witness: Option<Witness>,
    /// Where timestamp tokens come from; `None` gets none.
    pub timestamp: Option<Timestamp>,
    /// When runs are over, and what their records say of the keys.
    pub runs: Runs,
    /// The forward proxy.
    pub proxy: Proxy,
    /// Whose traffic the kernel watches.
    pub kernel: Kernel,
    /// The user that a gateway that root started becomes.
    pub user: Option<String>,
}

/// PEM files of the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// What the end of a message waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// No message is released framing-complete before it is on disk.
    #[default]
    Strict,
    /// Message ends do not wait; the last moments before a power loss may be missing.
    Relaxed,
}

impl Durability {
    /// As written in the config and in leaves: `strict` or `relaxed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        }
    }
}

/// What is captured where the gateway sees traffic that names no upstream (proxy modes).
///
/// Reverse mode, and requests to the proxy that are not in a tunnel, are captured under either value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capture {
    /// Traffic of the upstreams in the table.
    #[default]
    Known,
    /// All of it.
    All,
}

/// How long to wait for what; `None` waits for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To an upstream: TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Option<Duration>,
    /// Between two reads of a message in flight.
    pub between_bytes: Option<Duration>,
    /// From a client's first byte to the end of its request head; also its TLS handshake.
    pub client_head: Duration,
    /// Between two requests on one connection of a client.
    pub client_idle: Duration,
    /// Of silence on a client's HTTP/2 connection with open exchanges before it is asked for a
    /// sign of life.
    pub client_ping: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            first_byte: Some(Duration::from_secs(600)),
            between_bytes: Some(Duration::from_secs(600)),
            client_head: Duration::from_secs(30),
            client_idle: Duration::from_secs(75),
            client_ping: Some(Duration::from_secs(30)),
        }
    }
}

/// How much of what clients may hold at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of clients; `None` leaves each of them two of the process's descriptors.
    pub connections: Option<u32>,
    /// Exchanges under way on one HTTP/2 connection of a client.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: None, streams: 1_000 }
    }
}

/// What is secret beside the built-in list: its value is never stored, only a keyed tag of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Header names, in lower case.
    pub headers: Vec<String>,
    /// Names of query parameters, exactly as they stand in a target.
    pub query: Vec<String>,
}

/// Which headers the gateway adds to a forwarded request to say that it stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// `Via` (RFC 9110 section 7.6.3).
    pub via: bool,
    /// `Forwarded` (RFC 7239) with the client's address.
    pub forwarded: bool,
}

/// How often the log speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The longest time a leaf waits for the checkpoint that covers it.
    pub checkpoint: Duration,
    /// Between two heartbeats.
    pub heartbeat: Duration,
    /// How long an exchange may stay open before the log binds what came of it so far, and how often
    /// it does so from then on.
    pub progress: Duration,
}

impl Default for Log {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { checkpoint: Duration::from_secs(1), heartbeat: minute, progress: minute }
    }
}

/// Witnesses, who vouch that they saw no other history of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// A policy file (C2SP tlog-policy) with each witness's key and URL, and the quorum.
    pub policy: PathBuf,
    /// PEM files with certificate authorities trusted for the witnesses, beside the system's own.
    pub ca: Vec<PathBuf>,
    /// How long one witness may take for one answer.
    pub timeout: Duration,
    /// What follows when a witness has seen another history.
    pub on_conflict: OnConflict,
}

/// What follows when a witness has seen another history of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing more is published and the gateway stops.
    #[default]
    Stop,
    /// An error is logged and the gateway goes on.
    Warn,
}

/// A timestamp authority (RFC 3161), which vouches when a checkpoint was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Where it takes requests.
    pub url: Url,
    /// PEM files with certificate authorities trusted for its URL, beside the system's own.
    pub ca: Vec<PathBuf>,
    /// Between two tokens.
    pub interval: Duration,
}

/// The journal: where every byte lands first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Bytes of one file; files are preallocated and recycled.
    pub file_size: u64,
    /// Bytes that may be on their way to the disk before traffic is held back.
    pub pending: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { file_size: 64 << 20, pending: 8 << 20 }
    }
}

/// What the gateway says of itself, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Whether `/metrics` and `/healthz` are answered at all.
    pub enabled: bool,
    /// A listener of their own; `None` means the gateway's.
    pub listen: Option<SocketAddr>,
    /// How long a finished exchange may wait for its leaf before `/healthz` says so.
    pub log_late: Duration,
    /// Bytes of disk below which `/healthz` says so.
    pub disk_left: u64,
    /// The form of messages on standard error.
    pub messages: MessageForm,
    /// Which of them are told, where the environment does not say.
    pub level: MessageLevel,
}

impl Default for Observe {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: None,
            log_late: Duration::from_secs(30),
            disk_left: 256 << 20,
            messages: MessageForm::Text,
            level: MessageLevel::Info,
        }
    }
}

/// How long the store holds what passed; the log is never pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The longest that bodies, heads and their keys are held after they were sealed.
    pub max_age: Option<Duration>,
    /// Bytes of the store above which the oldest go.
    pub max_bytes: Option<u64>,
}

/// Runs and their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// A named run is over when none of its exchanges has been open for so long.
    pub idle: Duration,
    /// As whom the apps run, if the operator says so.
    pub apps: Option<Apps>,
}

impl Default for Runs {
    fn default() -> Self {
        Self { idle: Duration::from_secs(300), apps: None }
    }
}

/// As whom the apps run, as the operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apps {
    /// As the gateway's own user, who can read its keys.
    SameUser,
    /// As others, who cannot.
    OtherUser,
}

/// The address that is listened on when nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4141);

/// The data directory when nothing else is said.
pub const DEFAULT_DATA: &str = "./sealtap-data";

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            tls: None,
            data: PathBuf::from(DEFAULT_DATA),
            lock: None,
            origin: None,
            durability: Durability::default(),
            capture: Capture::default(),
            upstream_ca: Vec::new(),
            ca: Ca::default(),
            upstreams: BTreeMap::new(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            secrets: Secrets::default(),
            forwarded: Forwarded::default(),
            log: Log::default(),
            journal: Journal::default(),
            observe: Observe::default(),
            retention: Retention::default(),
            witness: None,
            timestamp: None,
            runs: Runs::default(),
            proxy: Proxy::default(),
            kernel: Kernel::default(),
            user: None,
        }
    }
}

impl Config {
    /// The configuration of `file` (the defaults when there is none) with `flags` on top.
    ///
    /// # Errors
    /// The file cannot be read, or it or a flag holds something that is not understood.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                Self::parse(&text, path)?
            }
        };
        flags.apply(&mut config)?;
        Ok(config)
    }

    /// The configuration in `text`, which was read from `path`; nothing is opened.
    ///
    /// # Errors
    /// Every problem found, each with its line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        read::read(text, path)
    }
}
