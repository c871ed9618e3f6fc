//! Forward: the request to its upstream and the answer back, byte for byte.
//!
//! In: [`Captured`](crate::capture::Captured). Out: [`Forwarded`], which only this stage can make:
//! what is left of the client's connection, and a summary for the operator's eyes. A failure of
//! either side ends in the record and, where nothing was sent yet, in an answer that names it.
//! Never sends a byte that was not captured, never a message's end that is not on disk.

pub mod answer;
mod conclude;
pub mod connect;
mod exchange;
mod head;
mod hold;
mod learned;
mod opaque;
mod outgoing;
mod own;
pub mod pool;
mod ready;
mod refuse;
mod relay;
mod respond;
mod response;
mod summary;
mod switching;
mod tls;
mod upgrade;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::connect::{ConnectError, Connection, Dialled, Place, dial, secure};
pub use self::exchange::forward;
use self::learned::Learned;
pub use self::learned::{Alpn, Probed};
pub use self::opaque::{Look, Opaque, Saw, Side, opaque};
pub use self::own::own;
use self::pool::{Facts, Idle, Lease, Pool, Shared};
pub use self::refuse::{refuse, refuse_malformed, refuse_unseen, turn_away};
pub use self::summary::Summary;
use self::tls::TlsRoots;
pub use self::tls::{TrustError, client_settings};
use crate::config::{Config, Protocol, Timeouts};
use crate::descriptors::Sockets;
use crate::identify::RUN_HEADER;
use crate::route::{Reach, Scheme, Upstream};
use crate::wire::buffer::Chunk;
use crate::wire::message::{RequestHead, Version};
use crate::wire::stream::{Reader, Stream, Writer};

/// An exchange that is over.
#[derive(Debug)]
pub struct Forwarded {
    rest: Rest,
    summary: Summary,
}

impl Forwarded {
    /// What is left of the client's connection, and what the operator sees.
    #[must_use]
    pub fn into_parts(self) -> (Rest, Summary) {
        (self.rest, self.summary)
    }
}

/// What is left of a client's HTTP/1 connection.
#[derive(Debug)]
pub enum Rest {
    /// It may bring another request.
    KeepAlive {
        /// The receiving direction.
        reader: Reader,
        /// The sending direction.
        writer: Writer,
        /// What was read ahead.
        carry: Chunk,
    },
    /// It ends, once the client has had time to read what was sent.
    Close {
        /// The receiving direction.
        reader: Reader,
        /// The sending direction.
        writer: Writer,
        /// Whether to end it in good order; not so after a cut.
        graceful: bool,
    },
    /// Nothing is left to do.
    Closed,
}

/// A way to an upstream.
#[derive(Debug)]
enum Link {
    Http1 { idle: Idle, reused: bool },
    Http2(Lease),
}

/// What an exchange needs its connection to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Any,
    /// It waits for an interim answer, which HTTP/2 servers rarely send: HTTP/1 where that is spoken.
    Interim,
    /// It asks for another protocol: HTTP/1, and new.
    Upgrade,
}

/// Forwards exchanges.
#[derive(Debug)]
pub struct Forwarder {
    pool: Arc<Pool>,
    /// Places for sockets to upstreams.
    places: Arc<Semaphore>,
    most: usize,
    trust: TlsRoots,
    reach: Reach,
    learned: Learned,
    timeouts: Timeouts,
    via: bool,
    forwarded: bool,
    dropped: [&'static str; 2],
    /// Whether a client may show credentials that are for this gateway alone.
    asks_for_credentials: bool,
}

/// How long an idle connection to an upstream is kept. Below the 5 s of the shortest-lived common
/// servers, so that a request rarely meets one that is just being closed.
const KEEP: Duration = Duration::from_secs(4);

/// What an HTTP/2 upstream may send of one answer ahead of its client, and what a client that reads
/// nothing therefore costs: a body's next frame is taken, and its window given back, only when the
/// client has taken the one before.
const STREAM_WINDOW: u32 = 1 << 17;

/// How long an exchange waits for one of the sockets to upstreams when all are taken.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often it looks whether an upstream's settings have come.
const SETTINGS: Duration = Duration::from_millis(2);

/// How often it looks for one that waits in the pool.
const LOOK: Duration = Duration::from_millis(50);

impl Forwarder {
    /// A forwarder for `config`.
    ///
    /// # Errors
    ///
    /// [`TrustError`]: a CA file cannot be used.
    pub fn new(config: &Config) -> Result<Self, TrustError> {
        let most = Sockets::of_process(config.limits.connections).upstreams;
        let most = most.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            pool: Arc::new(Pool::new(KEEP)),
            places: Arc::new(Semaphore::new(most)),
            most,
            trust: TlsRoots::load(&config.upstream_ca)?,
            reach: Reach::new(&config.proxy.allow, &config.proxy.deny, config.listen),
            learned: Learned::default(),
            timeouts: config.timeouts.clone(),
            via: config.forwarded.via,
            forwarded: config.forwarded.forwarded,
            dropped: [RUN_HEADER, "proxy-authorization"],
            asks_for_credentials: config.proxy.credentials.is_some(),
        })
    }

    /// The same forwarder for a gateway that listens on `own`, which it then never dials.
    #[must_use]
    pub fn bound_to(self, own: SocketAddr) -> Self {
        Self { reach: self.reach.bound_to(own), ..self }
    }

    /// Goes on in the place of `before`, whose sockets are still open: they count against the same
    /// number, which follows what the configuration says as far as they leave room.
    pub fn take_over(&mut self, before: &Self) {
        self.places = Arc::clone(&before.places);
        match self.most.checked_sub(before.most) {
            Some(more) => self.places.add_permits(more),
            None => {
                let fewer = before.most.saturating_sub(self.most);
                self.most = before.most.saturating_sub(self.places.forget_permits(fewer));
            }
        }
    }

    /// Reads what the first exchange would have to wait for.
    pub fn prepare(&self) {
        self.trust.prepare();
    }

    /// A connection for one exchange: an idle one unless `fresh`, else a new one.
    async fn open(
        &self,
        upstream: &Arc<Upstream>,
        need: Need,
        fresh: bool,
    ) -> Result<Link, ConnectError> {
        // What speaks HTTP/2 alone is asked in its words (RFC 8441).
        let need = if upstream.protocol == Protocol::Http2 { Need::Any } else { need };
        let upgrade = need == Need::Upgrade;
        // An upgrade is not sent twice, so it does not take a chance on a connection that has waited;
        // on the one that its own tunnel was asked over it takes none.
        if upgrade && let Some(idle) = self.pool.take_unused(&upstream.key).await {
            tell(upstream, &idle.facts, "a connection that asked what is spoken is used");
            return Ok(Link::Http1 { idle, reused: false });
        }
        if !fresh && !upgrade {
            if need == Need::Any
                && let Some(lease) = self.pool.lease(&upstream.key)
            {
                tell(upstream, &lease.facts, "a stream of a shared connection is used");
                return Ok(Link::Http2(lease));
            }
            if let Some(idle) = self.pool.take(&upstream.key).await {
                tell(upstream, &idle.facts, "an idle connection is used again");
                return Ok(Link::Http1 { idle, reused: true });
            }
        }
        let connection = match self.connect(upstream, need != Need::Any).await {
            // It may be one that speaks HTTP/2 alone, where waiting is the client's risk.
            Err(ConnectError::Tls { .. }) if need == Need::Interim => {
                self.connect(upstream, false).await?
            }
            connected => connected?,
        };
        let Connection { stream, address, tls, http2 } = connection;
        let facts = Facts { address: address.to_string(), tls };
        tell(upstream, &facts, "connection opened");
        let http2 = http2 || upstream.protocol == Protocol::Http2;
        if http2 && !upgrade {
            return self.share(upstream, stream, facts).await.map(Link::Http2);
        }
        let (reader, writer) = stream.split();
        Ok(Link::Http1 { idle: Idle { reader, writer, facts, used: true }, reused: false })
    }

    /// A new connection, with TLS where the upstream has it.
    async fn connect(
        &self,
        upstream: &Upstream,
        http1_only: bool,
    ) -> Result<Connection, ConnectError> {
        let tls = (upstream.scheme == Scheme::Https)
            .then(|| self.trust.settings(upstream, http1_only))
            .transpose()?;
        let dialled = self.dial(upstream).await?;
        secure(upstream, tls.as_ref(), self.timeouts.connect, dialled).await
    }

    /// A TCP connection to `upstream`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub(crate) async fn dial(&self, upstream: &Upstream) -> Result<Dialled, ConnectError> {
        let places = (self.place(upstream).await?, &self.places);
        dial(upstream, self.timeouts.connect, places, &self.reach).await
    }

    /// A place for a socket to `upstream`. Where all are taken, connections that rest in the pool
    /// make room; the exchange that still finds none ends here, and the gateway's own files do not.
    async fn place(&self, upstream: &Upstream) -> Result<Place, ConnectError> {
        let deadline = Instant::now() + PATIENCE.min(self.timeouts.connect);
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        while Instant::now() < deadline {
            self.pool.make_room();
            let acquired = timeout(LOOK, Arc::clone(&self.places).acquire_owned()).await;
            if let Ok(Ok(place)) = acquired {
                return Ok(place);
            }
        }
        let (host, port) = (upstream.host.clone(), upstream.port);
        Err(ConnectError::Exhausted { host, port, most: self.most })
    }

    /// Whether the upstream allows extended CONNECT. Its settings are the first that it says, and may
    /// still be on their way.
    async fn takes_extended_connect(&self, lease: &Lease) -> bool {
        let deadline = Instant::now() + PATIENCE.min(self.timeouts.connect);
        while !lease.sender.is_extended_connect_protocol_enabled() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(SETTINGS).await;
        }
        true
    }

    async fn share(
        &self,
        upstream: &Arc<Upstream>,
        stream: Stream,
        facts: Facts,
    ) -> Result<Lease, ConnectError> {
        let handshake = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            // One connection serves every client of the upstream: a reader that stalls may use up
            // the window of its own stream, never that of the others.
            .initial_connection_window_size(STREAM_WINDOW * pool::STREAMS)
            .max_header_list_size(1 << 18)
            .enable_push(false)
            .handshake::<_, Bytes>(stream);
        let limit = self.timeouts.connect;
        let (host, port) = (upstream.host.clone(), upstream.port);
        let (sender, connection) = match timeout(limit, handshake).await {
            Ok(Ok(pair)) => pair,
            Ok(Err(source)) => return Err(ConnectError::Http2 { host, port, source }),
            Err(_) => return Err(ConnectError::Timeout { host, port, limit }),
        };
        let lease = self.pool.share(&upstream.key, Shared::new(sender, facts));
        let (name, pool, which) =
            (upstream.key.clone(), Arc::clone(&self.pool), lease.connection());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(upstream = name, %error, "HTTP/2 connection ended");
            }
            pool.unshare(&name, &which);
        });
        Ok(lease)
    }

    /// Fields that the configuration has the gateway add.
    fn appended(&self, received: &RequestHead, client: SocketAddr) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if self.via {
            let version = match received.version {
                Version::Http10 => "1.0",
                Version::Http11 => "1.1",
                Version::Http2 => "2",
            };
            fields.push(("Via", format!("{version} sealtap")));
        }
        if self.forwarded {
            // RFC 7239 section 6: an IPv6 address stands in brackets, and both in quotes.
            let value = match client.ip() {
                IpAddr::V4(address) => format!("for={address}"),
                IpAddr::V6(address) => format!("for=\"[{address}]\""),
            };
            fields.push(("Forwarded", value));
        }
        fields
    }
}

/// Says which connection an exchange goes by; `server.*` is the upstream's place in the
/// configuration, `network.peer.address` the one connected to.
fn tell(upstream: &Upstream, facts: &Facts, what: &str) {
    tracing::debug!(
        upstream = upstream.name,
        server.address = upstream.host,
        server.port = upstream.port,
        network.peer.address = facts.address,
        tls = facts.tls,
        "{what}"
    );
}
