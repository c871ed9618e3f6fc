//! TLS in a tunnel to a captured host: ended here, begun again to the host.
//!
//! The host is asked first what it speaks, with what the client offers, unless that is known; the
//! client is then offered the same. What is wrong with the host (its certificate above all) the
//! client hears as the answer to its request, since only then it can be told why.

use std::io;
use std::sync::Arc;

use rustls::server::Accepted;
use sealtap_common::leaf::{ErrorCode, Outcome, TunnelReason};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsStream;
use tokio_rustls::server::StartHandshake;

use super::Tunnel;
use super::first::{Captured, First, Patience, first, stopped};
use super::heads::Beginning;
use crate::accept::authority::LeafName;
use crate::forward::answer::Answer;
use crate::forward::connect::{Connection, Dialled};
use crate::forward::{Alpn, Look};
use crate::route::{Protocol, Scheme, Upstream};
use crate::wire::http1::Opening;
use crate::wire::stream::Stream;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Protocols of one client that are looked at.
const MOST_PROTOCOLS: usize = 16;

impl Tunnel<'_> {
    /// Ends the client's TLS here, and serves what is in it.
    pub(super) async fn open(
        self,
        hello: Accepted,
        named: Option<String>,
        client: Stream,
        dialled: Option<Dialled>,
    ) {
        let (journey, settings) = (self.journey, Arc::clone(&self.asked.settings));
        let destination = self.asked.destination.clone();
        let at = |protocol| {
            let upstream =
                settings.table.at(Scheme::Https, &destination, named.as_deref(), protocol);
            Arc::new(upstream)
        };
        let offered = offered(&hello);
        let asked = at(Protocol::Auto);
        let mut why = None;
        let (chosen, connection) = match settings.forwarder.learned(&asked, &offered) {
            // Only of HTTP it is known who speaks first.
            Some(alpn @ (Alpn::Http1 | Alpn::Http2)) => (Some(alpn), None),
            _ => match settings.forwarder.probe(&asked, &offered, dialled).await {
                Ok(probed) => (Some(probed.alpn), Some(probed.connection)),
                Err(error) => {
                    tracing::debug!(upstream = %asked.name, %error, "asked in vain what it speaks");
                    why = Some(Answer::unreachable(&error).code);
                    (None, None)
                }
            },
        };
        let upstream = at(match &chosen {
            Some(Alpn::Http2) => Protocol::Http2,
            Some(_) => Protocol::Http1,
            None => Protocol::Auto,
        });
        let name = LeafName::parse(named.as_deref().unwrap_or(&destination.host));
        let shown = name
            .map_err(Into::into)
            .and_then(|name| journey.minter.settings(name, agreeable(&offered, chosen.as_ref())));
        let shown = match shown {
            Ok(shown) => shown,
            Err(error) => {
                tracing::warn!(host = %asked.name, %error, "cannot be captured");
                return journey.rejected(&self.asked, None).await;
            }
        };
        let limit = settings.timeouts.client_head;
        // A socket of its own is not put into a box.
        let opened = match client {
            Stream::Plain(socket) => {
                let start = StartHandshake::from_parts(hello, socket.clone());
                timeout(limit, start.into_stream(shown)).await.map(|opened| {
                    let opened = opened?;
                    let agreed = agreed(&opened);
                    Ok((Stream::Tls(Box::new(TlsStream::Server(opened)), socket), agreed))
                })
            }
            client => {
                let start = StartHandshake::from_parts(hello, client);
                timeout(limit, start.into_stream(shown)).await.map(|opened| {
                    let opened = opened?;
                    let agreed = agreed(&opened);
                    Ok((Stream::within(opened), agreed))
                })
            }
        };
        let (client, agreed) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return journey.rejected(&self.asked, alert(&error)).await,
            Err(_) => return journey.rejected(&self.asked, None).await,
        };
        self.enter_opened(client, agreed.as_deref(), upstream, (connection, why)).await;
    }

    /// Finds out what is in TLS that has ended here; without a connection to the host, `why` says what
    /// there was instead.
    async fn enter_opened(
        mut self,
        mut client: Stream,
        agreed: Option<&[u8]>,
        upstream: Arc<Upstream>,
        (connection, why): (Option<Connection>, Option<ErrorCode>),
    ) {
        let settings = Arc::clone(&self.asked.settings);
        let now = Instant::now();
        let idle = now + settings.timeouts.client_idle;
        let http = matches!(agreed, Some(HTTP1 | HTTP2));
        let silence = settings.rules.detect();
        let server = if http { idle } else { now + silence };
        let hello = settings.timeouts.client_head;
        let captured = Captured::Yes;
        let patience = Patience { server, hello, silence, idle, tls: false, captured };
        let (mut server, facts) = match connection {
            Some(Connection { stream, address, tls, http2 }) => {
                (Some(stream), Some((address, tls, http2)))
            }
            None => (None, None),
        };
        if http {
            // Both have said that it is HTTP: what is made of it is for the journey to say.
            if let (Some(stream), Some((address, tls, http2))) = (server, facts) {
                let connection = Connection { stream, address, tls, http2 };
                settings.forwarder.keep(&upstream, connection).await;
            }
            let seen = tokio::select! {
                seen = client.read() => seen,
                () = tokio::time::sleep_until(idle) => return self.left(None).await,
                () = stopped(&mut self.stop) => return self.left(None).await,
            };
            return match seen {
                Ok(seen) if seen.is_empty() => self.left(None).await,
                Ok(seen) => {
                    self.serve(client, seen.to_vec(), upstream, agreed == Some(HTTP2)).await;
                }
                Err(error) => self.left(Some(&error)).await,
            };
        }
        // Whatever they agreed on: there are hosts that call it `http/1.0`, or anything, and serve it.
        let dial = || async { None };
        let began =
            first(&mut client, Vec::new(), &mut server, dial, patience, &mut self.stop).await;
        let (reason, look) = match began {
            First::Undecided(..) => {
                let look: Box<dyn Look> = Box::new(Beginning::new(false));
                (TunnelReason::Undecided, Some(look))
            }
            _ => (TunnelReason::NotHttp, None),
        };
        match began {
            First::Gone(error) => self.left(error.as_ref()).await,
            First::Over => self.left(None).await,
            // Not looked for in here.
            First::Tls(..) | First::Illegible(..) | First::Stalled => {}
            First::Http(opening, seen) => {
                if let (Some(stream), Some((address, tls, http2))) = (server, facts) {
                    let connection = Connection { stream, address, tls, http2 };
                    settings.forwarder.keep(&upstream, connection).await;
                }
                self.serve(client, seen, upstream, opening == Opening::Http2).await;
            }
            First::Unread(from_client, from_server)
            | First::Undecided(from_client, from_server) => {
                match (server, facts) {
                    (Some(stream), Some((address, tls, http2))) => {
                        let connection = Connection { stream, address, tls, http2 };
                        let seen = (from_client, from_server);
                        self.relay(client, seen, connection, (reason, look)).await;
                    }
                    // The host could not be reached, or not be trusted: nothing goes there.
                    _ => self.fall(&client, reason, why),
                }
            }
        }
    }

    /// A client that left before it asked for anything: some say only then what they think of the
    /// certificate (RFC 8446 section 4.4.2.4 leaves them the time).
    pub(super) async fn left(&self, error: Option<&io::Error>) {
        let outcome = match error {
            // TLS without close_notify is common, and nothing was under way.
            Some(error) if error.kind() != io::ErrorKind::UnexpectedEof => Outcome::ClientCancelled,
            _ => Outcome::Complete,
        };
        match error.and_then(alert) {
            Some(alert) => self.journey.rejected(&self.asked, Some(alert)).await,
            None => self.journey.unused(&self.asked, outcome).await,
        }
    }
}

/// The protocols that a client offers, each once. A hello has room for thousands: what is kept by them
/// must not be theirs to fill.
fn offered(hello: &Accepted) -> Vec<Vec<u8>> {
    let mut offered: Vec<Vec<u8>> = Vec::new();
    for protocol in hello.client_hello().alpn().into_iter().flatten() {
        if offered.len() < MOST_PROTOCOLS && !offered.iter().any(|known| known == protocol) {
            offered.push(protocol.to_vec());
        }
    }
    offered
}

/// What a client that offers these protocols is offered, where its upstream chose so.
fn agreeable(offered: &[Vec<u8>], chosen: Option<&Alpn>) -> Vec<Vec<u8>> {
    let has = |name: &[u8]| offered.iter().any(|offer| offer == name);
    match chosen.map(Alpn::name) {
        Some(Some(name)) if has(name) => vec![name.to_vec()],
        // It is left to HTTP/1.1 as its upstream would have left it.
        Some(None) if has(HTTP1) => Vec::new(),
        _ => offered
            .iter()
            .filter(|name| [HTTP1, HTTP2].contains(&name.as_slice()))
            .cloned()
            .collect(),
    }
}

/// What was agreed on by ALPN.
fn agreed<T>(opened: &tokio_rustls::server::TlsStream<T>) -> Option<Vec<u8>> {
    opened.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
}

/// The number of the alert that a client sent, where that ended TLS.
fn alert(error: &io::Error) -> Option<u8> {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match source {
        Some(rustls::Error::AlertReceived(alert)) => Some(u8::from(*alert)),
        _ => None,
    }
}
