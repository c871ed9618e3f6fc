//! What upstreams speak, so that a client is offered nothing that its upstream would not have.
//!
//! The first client of a host decides nothing: what it offers by ALPN is offered to the upstream, and
//! the upstream's choice is remembered for those that offer the same. The connection that was made
//! to find out serves the first request.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::AlertDescription;

use super::connect::{ConnectError, Connection, Dialled, secure};
use super::pool::{Facts, Idle};
use super::{Forwarder, Link};
use crate::route::Upstream;
use crate::wire::buffer::Chunk;
use crate::wire::stream::Stream;

/// How long what was learned holds.
const FRESH: Duration = Duration::from_secs(300);

/// Hosts that are remembered; beyond it all are forgotten.
const MOST: usize = 4_096;

/// Different offers that are remembered of one host.
const OFFERS: usize = 8;

/// What an upstream chose by ALPN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Nothing.
    None,
    /// Something that is not HTTP.
    Other(Vec<u8>),
}

impl Alpn {
    fn of(protocol: Option<&[u8]>) -> Self {
        match protocol {
            None => Self::None,
            Some(b"h2") => Self::Http2,
            Some(b"http/1.1") => Self::Http1,
            Some(other) => Self::Other(other.to_vec()),
        }
    }

    /// Its name in ALPN.
    #[must_use]
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Http1 => Some(b"http/1.1"),
            Self::Http2 => Some(b"h2"),
            Self::None => None,
            Self::Other(name) => Some(name),
        }
    }
}

/// What was offered, under which server name.
type Offer = (Option<String>, Vec<Vec<u8>>);

/// What an upstream chose of an offer, and when.
type Choice = (Offer, Alpn, Instant);

/// What upstreams chose, by host and port.
#[derive(Debug, Default)]
pub(super) struct Learned(Mutex<HashMap<(String, u16), Vec<Choice>>>);

impl Learned {
    fn find(&self, upstream: &Upstream, offered: &[Vec<u8>]) -> Option<Alpn> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offers = known.get(&(upstream.host.clone(), upstream.port))?;
        let found = offers.iter().find(|((name, protocols), _, since)| {
            *name == upstream.server_name && protocols == offered && since.elapsed() < FRESH
        });
        found.map(|(_, alpn, _)| alpn.clone())
    }

    fn knows(&self, host: &str, port: u16) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let offers = known.get(&(host.to_owned(), port));
        offers.is_some_and(|offers| offers.iter().any(|(_, _, since)| since.elapsed() < FRESH))
    }

    fn put(&self, upstream: &Upstream, offered: &[Vec<u8>], alpn: Alpn) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (upstream.host.clone(), upstream.port);
        if known.len() >= MOST && !known.contains_key(&place) {
            known.clear();
        }
        let offers = known.entry(place).or_default();
        let offer = (upstream.server_name.clone(), offered.to_vec());
        offers.retain(|(old, _, since)| *old != offer && since.elapsed() < FRESH);
        if offers.len() >= OFFERS {
            offers.remove(0);
        }
        offers.push((offer, alpn, Instant::now()));
    }

    fn forget(&self, host: &str, port: u16) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&(host.to_owned(), port));
    }
}

/// An upstream that was asked what it speaks.
#[derive(Debug)]
pub struct Probed {
    /// What it chose.
    pub alpn: Alpn,
    /// The connection, which has carried nothing yet.
    pub connection: Connection,
}

impl Forwarder {
    /// Whether anything is remembered of what is spoken there.
    #[must_use]
    pub fn knows(&self, host: &str, port: u16) -> bool {
        self.learned.knows(host, port)
    }

    /// What `upstream` chose of these protocols not long ago.
    #[must_use]
    pub fn learned(&self, upstream: &Upstream, offered: &[Vec<u8>]) -> Option<Alpn> {
        self.learned.find(upstream, offered)
    }

    /// Forgets what was learned of `upstream`, which does not speak so any more.
    pub(super) fn unlearn(&self, upstream: &Upstream) {
        if upstream.keeps_authority {
            self.learned.forget(&upstream.host, upstream.port);
        }
    }

    /// Offers `upstream` what a client `offered`, over `dialled` if that is there; where it takes
    /// none of it, what this gateway speaks, and at last nothing.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: above all, a certificate that does not hold.
    pub async fn probe(
        &self,
        upstream: &Upstream,
        offered: &[Vec<u8>],
        dialled: Option<Dialled>,
    ) -> Result<Probed, ConnectError> {
        // A client that says nothing speaks HTTP/1.1, and a host that has only HTTP/2 says so now.
        let first = if offered.is_empty() { vec![b"http/1.1".to_vec()] } else { offered.to_vec() };
        let own = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut dialled = dialled;
        let mut offers = [first, own].into_iter();
        let connection = loop {
            let protocols = offers.next();
            let last = protocols.is_none();
            let settings = self.trust.offering(upstream, &protocols.unwrap_or_default())?;
            let dialled = match dialled.take() {
                Some(dialled) => dialled,
                None => self.dial(upstream).await?,
            };
            match secure(upstream, Some(&settings), self.timeouts.connect, dialled).await {
                Err(ConnectError::Tls { source, .. }) if !last && speaks_other(&source) => {}
                connection => break connection?,
            }
        };
        let alpn = match &connection.stream {
            Stream::Tls(stream, _) => Alpn::of(stream.get_ref().1.alpn_protocol()),
            Stream::Plain(_) | Stream::Within(..) => Alpn::None,
        };
        self.learned.put(upstream, offered, alpn.clone());
        Ok(Probed { alpn, connection })
    }

    /// Keeps a connection for the first request to `upstream`.
    pub async fn keep(&self, upstream: &Arc<Upstream>, connection: Connection) {
        let Connection { stream, address, tls, http2 } = connection;
        let facts = Facts { address: address.to_string(), tls };
        if http2 {
            // Without it the first request makes its own, and is told why there is none.
            let _ = self.share(upstream, stream, facts).await.map(Link::Http2);
            return;
        }
        let (reader, writer) = stream.split();
        self.pool.put(&upstream.key, Idle { reader, writer, facts, used: false }, &Chunk::empty());
    }
}

/// Whether TLS failed since the upstream speaks none of the protocols that were offered.
fn speaks_other(error: &io::Error) -> bool {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(source, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}
