//! CONNECT: from a request for a tunnel to the requests in it.
//!
//! In: a CONNECT that the journey let through. Out: the connection in it, served like any other; or
//! passed on unread, and recorded as that. TLS of a captured host ends here under a leaf of the
//! gateway's authority and is never passed on unread: a client that does not take the leaf is
//! recorded with what it said.

mod first;
mod minter;
mod open;
mod redirected;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use self::first::{First, Patience, first};
pub use self::minter::Minter;
pub use self::redirected::{Led, Redirected, RedirectedError};
use super::accepted::{Accepted, Door};
use super::{http1, http2};
use crate::forward::connect::{Connection, Dialled};
use crate::forward::{Rest, Side};
use crate::journey::{Asked, Journey};
use crate::route::{Fate, Protocol, Scheme, Upstream};
use crate::wire::buffer::Chunk;
use crate::wire::http1::Opening;
use crate::wire::source::Source;
use crate::wire::stream::{Stream, Writer};
use sealtap_common::leaf::TunnelReason;
use sealtap_common::unit::Ingress;

/// What a client hears before its tunnel begins.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Whether a request is a CONNECT to the forward proxy.
pub(super) fn is_asked_for(accepted: &Accepted, journey: &Journey) -> bool {
    let front = matches!(accepted.client.door(), Door::Front);
    front && &*accepted.head.method == b"CONNECT" && journey.settings.load().rules.enabled()
}

/// Serves a CONNECT; gives what is left of the connection where it was refused.
pub(super) async fn connect(
    accepted: Accepted,
    over_tls: bool,
    journey: &Arc<Journey>,
    stop: watch::Receiver<bool>,
) -> Option<Rest> {
    let (mut asked, body, reply) = match journey.ask(accepted, over_tls).await {
        Ok(asked) => *asked,
        Err(rest) => return Some(rest),
    };
    let (Source::Http1(body), crate::accept::Reply::Http1(reply)) = (body, reply) else {
        return Some(Rest::Closed);
    };
    let (reader, carry) = body.into_parts();
    let mut writer: Writer = reply.into_sink().into_writer();
    if writer.write_all([ESTABLISHED, b"", b"", b""]).await.is_err() {
        return Some(Rest::Closed);
    }
    let socket = writer.socket().clone();
    drop((reader, writer));
    let dialled = asked.dialled.take();
    let tunnel = Tunnel { asked, journey, stop };
    tunnel.enter(Stream::Plain(socket), carry.to_vec(), dialled).await;
    None
}

/// One tunnel on its way to what is in it.
struct Tunnel<'a> {
    asked: Asked,
    journey: &'a Arc<Journey>,
    stop: watch::Receiver<bool>,
}

impl Tunnel<'_> {
    async fn enter(mut self, mut client: Stream, seen: Vec<u8>, dialled: Option<Dialled>) {
        let settings = Arc::clone(&self.asked.settings);
        let timeouts = &settings.timeouts;
        let now = Instant::now();
        let listed = self.asked.fate == Fate::Capture;
        let detect = settings.rules.detect();
        let patience = Patience {
            // What is not captured anyway is not kept waiting.
            server: if listed { now + detect } else { now },
            hello: now + timeouts.client_head,
            idle: now + timeouts.client_idle,
            tls: true,
        };
        let (mut server, mut address) = (None, None);
        if let Some(Dialled { socket, address: made_to }) = dialled {
            (server, address) = (Some(Stream::Plain(socket)), Some(made_to));
        }
        let (dialler, plain) = (Arc::clone(&settings), Arc::clone(&self.asked.upstream));
        let dial = || async move {
            let dialled = dialler.forwarder.dial(&plain).await.ok()?;
            Some(Stream::Plain(dialled.socket))
        };
        let began = first(&mut client, seen, &mut server, dial, patience, &mut self.stop).await;
        let dialled = server.map(|server| {
            let socket = server.socket().clone();
            let address = address.or_else(|| socket.peer());
            (socket, address)
        });
        let dialled =
            dialled.and_then(|(socket, address)| Some(Dialled { socket, address: address? }));
        match began {
            // A connection was made all the same, and that is told.
            First::Gone(None) if !listed => {
                self.pass(client, (Vec::new(), Vec::new()), dialled, TunnelReason::NotListed).await;
            }
            First::Gone(_) | First::Over => {}
            First::Tls(hello, seen) => {
                let named = hello.client_hello().server_name().map(str::to_ascii_lowercase);
                let by_name = named
                    .as_deref()
                    .is_some_and(|name| settings.table.captures(&settings.rules, name));
                match (listed || by_name, client) {
                    (true, Stream::Plain(socket)) => {
                        self.open(*hello, named, socket, dialled).await;
                    }
                    (_, client) => {
                        self.pass(client, (seen, Vec::new()), dialled, TunnelReason::NotListed)
                            .await;
                    }
                }
            }
            First::Http(opening, seen) if listed => {
                self.captured(client, opening, seen, dialled).await;
            }
            First::Http(opening, seen)
                if self.asked.ingress == Ingress::Transparent
                    && redirected::captured_by_host(&settings, &seen) =>
            {
                self.captured(client, opening, seen, dialled).await;
            }
            First::Http(_, seen) => {
                self.pass(client, (seen, Vec::new()), dialled, TunnelReason::NotListed).await;
            }
            First::Unread(from_client, from_server) => {
                let reason = match listed {
                    true => TunnelReason::NotHttp,
                    false => TunnelReason::NotListed,
                };
                self.pass(client, (from_client, from_server), dialled, reason).await;
            }
        }
    }

    /// Serves HTTP that came without TLS.
    async fn captured(
        self,
        client: Stream,
        opening: Opening,
        seen: Vec<u8>,
        dialled: Option<Dialled>,
    ) {
        let settings = Arc::clone(&self.asked.settings);
        let (scheme, protocol) = match opening {
            Opening::Http2 => (Scheme::H2c, Protocol::Http2),
            _ => (Scheme::Http, Protocol::Http1),
        };
        let upstream = settings.table.at(scheme, &self.asked.destination, None, protocol);
        let upstream = Arc::new(upstream);
        if let Some(Dialled { socket, address }) = dialled {
            let http2 = scheme == Scheme::H2c;
            let stream = Stream::Plain(socket);
            let connection = Connection { stream, address, tls: None, http2 };
            settings.forwarder.keep(&upstream, connection).await;
        }
        self.serve(client, seen, upstream, opening == Opening::Http2).await;
    }

    /// Serves the requests in a tunnel, whose TLS, if any, has ended here.
    async fn serve(self, stream: Stream, seen: Vec<u8>, upstream: Arc<Upstream>, over_http2: bool) {
        let Self { asked, journey, stop } = self;
        let named = asked.named();
        let door = Door::Opened { upstream, named, ingress: asked.ingress };
        let client = Arc::new(asked.client().through(door));
        if over_http2 {
            http2::serve(stream, seen, client, Arc::clone(journey), stop).await;
        } else {
            http1::serve(stream, Chunk::copy_of(&seen), client, journey, stop).await;
        }
    }

    /// Passes on what is in the tunnel, unread.
    async fn pass(
        self,
        client: Stream,
        (from_client, from_server): (Vec<u8>, Vec<u8>),
        dialled: Option<Dialled>,
        reason: TunnelReason,
    ) {
        let server = match dialled {
            Some(dialled) => Some(dialled),
            None => self.asked.settings.forwarder.dial(&self.asked.upstream).await.ok(),
        };
        let Some(Dialled { socket, address }) = server else {
            // The client was told that the tunnel stands; it sees it fall.
            client.socket().reset();
            return;
        };
        let connection =
            Connection { stream: Stream::Plain(socket), address, tls: None, http2: false };
        self.relay(client, (from_client, from_server), connection, reason).await;
    }

    async fn relay(
        self,
        client: Stream,
        (from_client, from_server): (Vec<u8>, Vec<u8>),
        connection: Connection,
        reason: TunnelReason,
    ) {
        let Connection { stream, address, tls, .. } = connection;
        let side = |stream: Stream, seen| {
            let (reader, writer) = stream.split();
            Side { reader, writer, seen }
        };
        let leads_to = (address.to_string(), tls);
        let (client, server) = (side(client, from_client), side(stream, from_server));
        self.journey.pass_unread(&self.asked, reason, leads_to, client, server).await;
    }
}
