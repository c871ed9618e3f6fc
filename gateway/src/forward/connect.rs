//! Connections to upstreams: name, TCP, TLS, and which version of HTTP came out of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};

use super::tls::TrustError;
use crate::route::{Forbidden, Reach, Scheme, Upstream};
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;

/// How long one address may be silent before the next is tried beside it (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Why an upstream could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or no address answered.
    #[error("{host}:{port} cannot be reached: {source}")]
    Unreachable {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// What the last address answered, or the resolver.
        source: io::Error,
    },
    /// TLS was refused, by either end.
    #[error("TLS with {host}:{port} failed: {source}")]
    Tls {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// What rustls says.
        source: io::Error,
    },
    /// It took longer than `connect` allows.
    #[error("{host}:{port} did not accept a connection within {limit:?}")]
    Timeout {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// The configured limit.
        limit: Duration,
    },
    /// It is no HTTP/2, though TLS or the configuration says so.
    #[error("{host}:{port} does not speak HTTP/2: {source}")]
    Http2 {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// What h2 says.
        source: h2::Error,
    },
    /// It is not dialled.
    #[error("{host}:{port} is refused: {why}")]
    Forbidden {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// Why not.
        why: Forbidden,
    },
    /// As many sockets to upstreams are open as may be.
    #[error(
        "no socket is left for {host}:{port}: {most} connections to upstreams are open, as many as \
         the gateway's limit of open files has room for (LimitNOFILE, ulimit -n)"
    )]
    Exhausted {
        /// The host's name.
        host: String,
        /// The TCP port.
        port: u16,
        /// How many there may be.
        most: usize,
    },
    /// Its certificate authorities cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// A new connection to an upstream.
#[derive(Debug)]
pub struct Connection {
    /// The bytes.
    pub stream: Stream,
    /// The address it was made to.
    pub address: SocketAddr,
    /// Version and protocol of TLS, such as `TLSv1_3 h2`.
    pub tls: Option<String>,
    /// Whether HTTP/2 was agreed on.
    pub http2: bool,
}

/// A socket's place among those that may be open at once.
pub type Place = OwnedSemaphorePermit;

/// A TCP connection to an upstream, before anything was said.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub socket: Socket,
    /// The address it was made to.
    pub address: SocketAddr,
}

/// Connects to `upstream` within `limit`, by a socket at `place`; further addresses are tried beside
/// the first while `places` has some left. Only what `reach` lets through is dialled.
///
/// # Errors
///
/// [`ConnectError`].
pub async fn dial(
    upstream: &Upstream,
    limit: Duration,
    (place, places): (Place, &Arc<Semaphore>),
    reach: &Reach,
) -> Result<Dialled, ConnectError> {
    let deadline = Instant::now() + limit;
    let (host, port) = (upstream.host.clone(), upstream.port);
    let timeout = || ConnectError::Timeout { host: host.clone(), port, limit };
    let unreachable = |source| ConnectError::Unreachable { host: host.clone(), port, source };

    let lookup = timeout_at(deadline, tokio::net::lookup_host((host.as_str(), port)));
    let found = lookup.await.map_err(|_| timeout())?.map_err(unreachable)?;
    let (mut addresses, mut refused) = (Vec::new(), None);
    for address in found {
        // What is dialled is what was judged: the name is not looked up again.
        let judged = match upstream.chosen {
            true => reach.chosen(&host, address),
            false => reach.configured(address),
        };
        match judged {
            Ok(()) => addresses.push(address),
            Err(why) => refused = Some(why),
        }
    }
    if let Some(why) = refused.filter(|_| addresses.is_empty()) {
        return Err(ConnectError::Forbidden { host, port, why });
    }
    let dialled = timeout_at(deadline, first_of(interleaved(addresses), place, places)).await;
    let (stream, address, place) = dialled.map_err(|_| timeout())?.map_err(unreachable)?;
    Ok(Dialled { socket: Socket::counted(stream, place), address })
}

/// Makes of a TCP connection what `upstream` is spoken to over, with TLS where `tls` says how.
///
/// # Errors
///
/// [`ConnectError`].
pub async fn secure(
    upstream: &Upstream,
    tls: Option<&Arc<ClientConfig>>,
    limit: Duration,
    dialled: Dialled,
) -> Result<Connection, ConnectError> {
    let Dialled { socket, address } = dialled;
    let (host, port) = (upstream.host.clone(), upstream.port);
    let Some(settings) = tls.filter(|_| upstream.scheme == Scheme::Https) else {
        let http2 = upstream.scheme == Scheme::H2c;
        return Ok(Connection { stream: Stream::Plain(socket), address, tls: None, http2 });
    };
    let timeout = || ConnectError::Timeout { host: host.clone(), port, limit };
    let refused = |source| ConnectError::Tls { host: host.clone(), port, source };
    let name = upstream.server_name.as_deref().unwrap_or(&host);
    let name = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
        .map_err(|error| refused(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let handshake = TlsConnector::from(Arc::clone(settings)).connect(name, socket.clone());
    let stream =
        tokio::time::timeout(limit, handshake).await.map_err(|_| timeout())?.map_err(refused)?;
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let version = session.protocol_version().and_then(|version| version.as_str());
    let tls =
        Some(format!("{} {}", version.unwrap_or("TLS"), if http2 { "h2" } else { "http/1.1" }));
    let stream = Stream::Tls(Box::new(TlsStream::Client(stream)), socket);
    Ok(Connection { stream, address, tls, http2 })
}

/// Connects to whichever of `addresses` answers first, in their order: the next one is tried as soon
/// as one has failed, or has been silent for [`STAGGER`], and the earlier ones stay in the race.
async fn first_of(
    addresses: Vec<SocketAddr>,
    place: Place,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let mut failure = io::Error::other("the name has no address");
    let mut waiting = addresses.into_iter().peekable();
    let mut attempts = JoinSet::new();
    // The one place that is surely ours goes from an attempt that failed to the next.
    let mut place = Some(place);
    loop {
        let free = || Arc::clone(places).try_acquire_owned().ok();
        if waiting.peek().is_some()
            && let Some(place) = place.take().or_else(free)
            && let Some(address) = waiting.next()
        {
            attempts.spawn(async move { (TcpStream::connect(address).await, address, place) });
        } else if attempts.is_empty() {
            return Err(failure);
        }
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep(STAGGER), if waiting.peek().is_some() => None,
        };
        // Whoever lost the race is dropped with the set.
        match ended {
            Some(Ok((Ok(stream), address, place))) => return Ok((stream, address, place)),
            Some(Ok((Err(error), _, kept))) => {
                failure = error;
                place = Some(kept);
            }
            Some(Err(_)) | None => {}
        }
    }
}

/// `addresses` with the two families taking turns, the resolver's first choice first (RFC 8305
/// section 4), so that one that leads nowhere costs one stagger.
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::new();
    loop {
        match (one.next(), other.next()) {
            (None, None) => return mixed,
            (a, b) => mixed.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests;
