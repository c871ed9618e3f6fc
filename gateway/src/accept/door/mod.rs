//! CONNECT: from a request for a tunnel to the requests in it.
//!
//! In: a CONNECT that the journey let through. Out: the connection in it, served like any other; or
//! passed on unread, and recorded as that. TLS of a captured host ends here under a leaf of the
//! gateway's authority and is never passed on unread: a client that does not take the leaf is
//! recorded with what it said.

mod carrier;
mod first;
mod heads;
mod kind;
mod minter;
mod open;
mod redirected;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub use self::carrier::{Carrier, Led};
use self::first::{Captured, First, Patience, first};
#[doc(hidden)]
pub use self::heads::look_at_any;
use self::heads::{Beginning, Captures, Heads, captured_by_host};
pub use self::minter::Minter;
pub use self::redirected::{Redirected, RedirectedError};
use super::accepted::{Accepted, Door, Reply};
use super::{http1, http2};
use crate::forward::answer::Answer;
use crate::forward::connect::{Connection, Dialled};
use crate::forward::{Look, Rest, Side};
use crate::journey::{Asked, Journey};
use crate::route::{Fate, Protocol, Scheme, Upstream};
use crate::wire::buffer::Chunk;
use crate::wire::framed::Framed;
use crate::wire::http1::Opening;
use crate::wire::http2::PROTOCOL;
use crate::wire::source::Source;
use crate::wire::stream::{Stream, Writer};
use sealtap_common::leaf::{ErrorCode, Outcome, TunnelReason};
use sealtap_common::unit::Ingress;

/// What a client hears before its tunnel begins.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Whether a request is a CONNECT to the forward proxy.
pub(super) fn is_asked_for(accepted: &Accepted, journey: &Journey) -> bool {
    let front = matches!(accepted.client.door(), Door::Front);
    let head = &accepted.head;
    // With a protocol it is no tunnel (RFC 8441).
    let tunnel = &*head.method == b"CONNECT" && head.fields.first(PROTOCOL).is_none();
    front && tunnel && journey.settings.load().rules.enabled()
}

/// Serves a CONNECT; gives what is left of the connection where it was refused.
///
/// In a box: what is in the tunnel is served by those who call this.
pub(super) fn connect<'a>(
    accepted: Accepted,
    journey: &'a Arc<Journey>,
    stop: watch::Receiver<bool>,
) -> Pin<Box<dyn Future<Output = Option<Rest>> + Send + 'a>> {
    Box::pin(async move {
        let (mut asked, body, reply) = match journey.ask(accepted).await {
            Ok(asked) => *asked,
            Err(rest) => return Some(rest),
        };
        let Some((client, seen)) = establish(body, reply).await else {
            return Some(Rest::Closed);
        };
        let dialled = asked.dialled.take();
        let tunnel = Tunnel { asked, journey, stop };
        tunnel.enter(client, seen, dialled).await;
        None
    })
}

/// Tells the client that its tunnel stands; gives the tunnel, and what has come in it.
async fn establish(body: Source, reply: Reply) -> Option<(Stream, Vec<u8>)> {
    match (body, reply) {
        (Source::Http1(body), Reply::Http1(reply)) => {
            let (reader, carry) = body.into_parts();
            let mut writer: Writer = reply.into_sink().into_writer();
            writer.write_all([ESTABLISHED, b"", b"", b""]).await.ok()?;
            Some((Stream::join(reader, writer)?, carry.to_vec()))
        }
        (Source::Http2(body), Reply::Http2(mut reply)) => {
            let send = reply.send_response(http::Response::new(()), false).ok()?;
            Some((Stream::framed(Framed::new(body.into_stream(), send)), Vec::new()))
        }
        _ => None,
    }
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
        let refused = self.asked.fate == Fate::Refuse;
        let detect = settings.rules.detect();
        let patience = Patience {
            // What is not captured anyway is not kept waiting.
            server: if listed || refused { now + detect } else { now },
            hello: timeouts.client_head,
            silence: detect,
            idle: now + timeouts.client_idle,
            tls: true,
            captured: match self.asked.ingress {
                _ if listed => Captured::Yes,
                // Of where it leads only the address is known.
                Ingress::Transparent => Captured::ByName,
                _ => Captured::No,
            },
        };
        let port = self.asked.destination.port;
        let captures = || -> Captures {
            let settings = Arc::clone(&settings);
            Box::new(move |host| settings.table.captures_at(&settings.rules, host, port))
        };
        // What is captured, or names it, may come later.
        let look = || -> Option<Box<dyn Look>> {
            match patience.captured {
                Captured::Yes => Some(Box::new(Beginning::new(true))),
                Captured::ByName => Some(Box::new(Heads::new(captures()))),
                Captured::No => None,
            }
        };
        // What could have been a request to a host that is captured is not said to be none.
        let untold = match patience.captured {
            Captured::ByName => TunnelReason::Undecided,
            _ => TunnelReason::NotListed,
        };
        let (mut server, mut address) = (None, None);
        if let Some(Dialled { socket, address: made_to }) = dialled {
            (server, address) = (Some(Stream::Plain(socket)), Some(made_to));
        }
        let (dialler, plain) = (Arc::clone(&settings), Arc::clone(&self.asked.upstream));
        let dial = || async move {
            if refused {
                return None;
            }
            let dialled = dialler.forwarder.dial(&plain).await.ok()?;
            Some(Stream::Plain(dialled.socket))
        };
        let began = first(&mut client, seen, &mut server, dial, patience, &mut self.stop).await;
        let dialled = server.and_then(|server| {
            let Stream::Plain(socket) = server else { return None };
            let address = address.or_else(|| socket.peer())?;
            Some(Dialled { socket, address })
        });
        match began {
            // A connection was made all the same, and that is told.
            First::Gone(None) if !listed => {
                self.pass(
                    client,
                    (Vec::new(), Vec::new()),
                    dialled,
                    (TunnelReason::NotListed, None),
                )
                .await;
            }
            First::Gone(error) => self.left(error.as_ref()).await,
            First::Over => self.left(None).await,
            First::Illegible(_, alert) if listed => {
                let (_, mut writer) = client.split();
                let _ =
                    timeout(timeouts.client_head, writer.write_all([&alert, b"", b"", b""])).await;
                self.journey.rejected(&self.asked, None).await;
            }
            First::Illegible(seen, _) => {
                self.pass(client, (seen, Vec::new()), dialled, (TunnelReason::NotListed, None))
                    .await;
            }
            First::Stalled if listed => self.journey.rejected(&self.asked, None).await,
            // Its name might have been one that is captured.
            First::Stalled => {
                client.ground().reset();
                let end = (Outcome::ClientCancelled, None);
                self.journey.cut_short(&self.asked, untold, end);
            }
            First::Tls(hello, seen) => {
                let named = hello.client_hello().server_name().map(str::to_ascii_lowercase);
                let by_name = named
                    .as_deref()
                    .is_some_and(|name| settings.table.captures_at(&settings.rules, name, port));
                if listed || by_name {
                    self.open(*hello, named, client, dialled).await;
                } else {
                    let seen = (seen, Vec::new());
                    self.pass(client, seen, dialled, (TunnelReason::NotListed, None)).await;
                }
            }
            First::Http(opening, seen) if listed => {
                self.captured(client, opening, seen, dialled).await;
            }
            First::Http(opening, seen)
                if self.asked.ingress == Ingress::Transparent
                    && captured_by_host(captures(), &seen) =>
            {
                self.captured(client, opening, seen, dialled).await;
            }
            First::Http(opening, seen) => {
                // The names of HTTP/2 are not read here.
                let (reason, look) = match opening {
                    Opening::Http2 => (untold, None),
                    _ => (TunnelReason::NotListed, look()),
                };
                self.pass(client, (seen, Vec::new()), dialled, (reason, look)).await;
            }
            First::Undecided(from_client, from_server) => {
                let (seen, look) = ((from_client, from_server), look());
                self.pass(client, seen, dialled, (TunnelReason::Undecided, look)).await;
            }
            First::Unread(from_client, from_server) => {
                let reason = match listed {
                    true => TunnelReason::NotHttp,
                    false => TunnelReason::NotListed,
                };
                let look: Option<Box<dyn Look>> = match patience.captured {
                    Captured::ByName => Some(Box::new(Heads::within(captures()))),
                    _ => None,
                };
                self.pass(client, (from_client, from_server), dialled, (reason, look)).await;
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
        (reason, look): (TunnelReason, Option<Box<dyn Look>>),
    ) {
        if self.asked.fate == Fate::Refuse {
            return self.fall(&client, reason, Some(ErrorCode::DestinationRefused));
        }
        let server = match dialled {
            Some(dialled) => Ok(dialled),
            None => self.asked.settings.forwarder.dial(&self.asked.upstream).await,
        };
        let Dialled { socket, address } = match server {
            Ok(dialled) => dialled,
            Err(error) => {
                return self.fall(&client, reason, Some(Answer::unreachable(&error).code));
            }
        };
        let connection =
            Connection { stream: Stream::Plain(socket), address, tls: None, http2: false };
        self.relay(client, (from_client, from_server), connection, (reason, look)).await;
    }

    /// The client was told that the tunnel stands; it sees it fall, and that is told.
    fn fall(&self, client: &Stream, reason: TunnelReason, error: Option<ErrorCode>) {
        client.ground().reset();
        self.journey.cut_short(&self.asked, reason, (Outcome::UpstreamFailed, error));
    }

    async fn relay(
        self,
        client: Stream,
        (from_client, from_server): (Vec<u8>, Vec<u8>),
        connection: Connection,
        (reason, look): (TunnelReason, Option<Box<dyn Look>>),
    ) {
        let Connection { stream, address, tls, .. } = connection;
        let side = |stream: Stream, seen| {
            let (reader, writer) = stream.split();
            Side { reader, writer, seen }
        };
        let leads_to = (address.to_string(), tls);
        let sides = (side(client, from_client), side(stream, from_server));
        self.journey.pass_unread(&self.asked, reason, leads_to, sides, look).await;
    }
}
