//! An HTTP/2 connection of a client: many requests at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::{Method, Request};
use sealtap_common::leaf::ErrorCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::accepted::{Accepted, BodyLength, Client, Reply};
use super::door;
use super::watched::{Refusal, Watched, Watching};
use crate::forward::answer::Answer;
use crate::journey::Journey;
use crate::wire::http1::may_be_changed_to;
use crate::wire::http2::{FrameSource, PROTOCOL, fields};
use crate::wire::message::{Fields, RequestHead, Version};
use crate::wire::source::Source;
use crate::wire::stream::Stream;

/// How long a client may leave a ping without an answer, and everything else unsaid.
const PONG: Duration = Duration::from_secs(20);

/// How long a client that was told good-bye may take to hear it.
const GOOD_BYE: Duration = Duration::from_secs(5);

/// Serves requests until the connection ends; when `stop` turns true no new ones are taken.
pub(super) async fn serve(
    stream: Stream,
    seen: Vec<u8>,
    client: Arc<Client>,
    journey: Arc<Journey>,
    mut stop: watch::Receiver<bool>,
) {
    let settings = journey.settings();
    let limits = settings.limits.clone();
    let (watched, watching) = Watched::new(stream, seen);
    let handshake = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(1 << 18)
        // WebSocket over HTTP/2 (RFC 8441).
        .enable_connect_protocol()
        // Streams opened and reset at once (CVE-2023-44487), and faults that cost a reset each.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(Some(256))
        .handshake::<_, Bytes>(watched);
    let mut connection = match timeout(settings.timeouts.client_head, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            tracing::debug!(client.address = %client.address(), %error, "HTTP/2 handshake failed");
            return;
        }
        Err(_) => return,
    };
    let (idle, quiet) = (settings.timeouts.client_idle, settings.timeouts.client_ping);
    drop(settings);
    let most = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let mut pulse = Pulse::new(connection.ping_pong(), quiet, watching.clone());
    let mut exchanges = JoinSet::new();
    let mut stopping = false;
    let mut rest = Instant::now() + idle;
    loop {
        // A stream that its client has reset is over for `h2` while its exchange still ends.
        let full = exchanges.len() >= most;
        let next = tokio::select! {
            next = next(&mut connection, &watching, full) => next,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
                continue;
            }
            Some(_) = exchanges.join_next(), if !exchanges.is_empty() => {
                rest = Instant::now() + idle;
                continue;
            }
            () = sleep_until(rest), if exchanges.is_empty() => {
                if stopping {
                    break;
                }
                stopping = true;
                connection.graceful_shutdown();
                rest = Instant::now() + GOOD_BYE;
                continue;
            }
            () = pulse.lost(), if !exchanges.is_empty() => {
                tracing::debug!(client.address = %client.address(), "HTTP/2 client answers no ping");
                break;
            }
        };
        match next {
            Next::Request(request, respond) => {
                watching.handed_out(respond.stream_id().as_u32());
                let accepted = accept(*request, respond, &client, &journey);
                let (journey, client) = (Arc::clone(&journey), Arc::clone(&client));
                let told = stop.clone();
                exchanges.spawn(async move {
                    match accepted {
                        Ok(accepted) if door::is_asked_for(&accepted, &journey) => {
                            let _ = door::connect(*accepted, &journey, told).await;
                        }
                        Ok(accepted) => {
                            journey.travel(*accepted).await;
                        }
                        Err(unanswered) => {
                            let (answer, reply, body) = *unanswered;
                            journey.malformed(&client, answer, reply, body).await;
                        }
                    }
                });
            }
            Next::Refused(refusal) => journey.refused_unseen(&client, refusal == Refusal::TooLarge),
            Next::Over(error) => {
                if let Some(error) = error {
                    tracing::debug!(client.address = %client.address(), %error, "HTTP/2 connection failed");
                    // A head that broke the whole connection was a request too.
                    if error.is_library() {
                        (0..watching.abandoned())
                            .for_each(|_| journey.refused_unseen(&client, false));
                    }
                }
                break;
            }
        }
    }
    while let Some(refusal) = watching.refused() {
        journey.refused_unseen(&client, refusal == Refusal::TooLarge);
    }
    drop(connection);
    // Whoever still runs learns from the failed connection, and records it.
    while exchanges.join_next().await.is_some() {}
}

fn accept(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    client: &Arc<Client>,
    journey: &Journey,
) -> Result<Box<Accepted>, Box<(Answer, Reply, Source)>> {
    let (parts, body) = request.into_parts();
    if parts.uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let body = Source::Http2(FrameSource::new(body));
        return Err(Box::new((misaddressed(), Reply::Http2(respond), body)));
    }
    let protocol = parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str().to_owned());
    if protocol.as_ref().is_some_and(|protocol| !may_be_changed_to(protocol.as_bytes())) {
        let body = Source::Http2(FrameSource::new(body));
        return Err(Box::new((unheard_of(), Reply::Http2(respond), body)));
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    // A CONNECT that asks for no protocol has an authority alone (RFC 9113 section 8.5): its target.
    let tunnel = parts.method == Method::CONNECT && protocol.is_none();
    let target = match parts.uri.path_and_query() {
        Some(target) if !tunnel => target.as_str(),
        _ if tunnel => authority.unwrap_or_default(),
        _ => "/",
    };
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let head = RequestHead {
        method: text(parts.method.as_str()),
        target: text(target),
        scheme: parts.uri.scheme_str().map(text),
        authority: authority.filter(|_| !tunnel).map(text),
        version: Version::Http2,
        fields: protocol_first(protocol.as_deref(), fields(&parts.headers)),
    };
    let announced = head.fields.first("content-length");
    let announced = announced.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let length = match announced {
        // What follows a CONNECT is no body.
        _ if body.is_end_stream() || protocol.is_some() || tunnel => BodyLength::None,
        Some(length) => BodyLength::Exactly(length),
        None => BodyLength::Unknown,
    };
    Ok(Box::new(Accepted {
        head,
        length,
        body: Source::Http2(FrameSource::new(body)),
        reply: Reply::Http2(respond),
        client: Arc::clone(client),
        upgrade: protocol.is_some(),
        started_us: journey.now_us(),
    }))
}

/// The fields with the protocol that an extended CONNECT asks for in front.
fn protocol_first(protocol: Option<&str>, fields: Fields) -> Fields {
    let Some(protocol) = protocol else { return fields };
    let first = (PROTOCOL.as_bytes(), protocol.as_bytes());
    Fields::from_pairs(std::iter::once(first).chain(fields.iter()))
}

/// A protocol that an extended CONNECT cannot ask for here.
fn unheard_of() -> Answer {
    let message = "a stream can be changed to a protocol other than HTTP or TLS, such as websocket";
    Answer::new(501, ErrorCode::MalformedRequest, message)
}

/// A user and a password are no part of `:authority` (RFC 9113 section 8.3.1); as over HTTP/1,
/// nothing of such a request is kept.
fn misaddressed() -> Answer {
    Answer::new(
        400,
        ErrorCode::MalformedRequest,
        "the authority must not hold a user or a password",
    )
}

/// What a connection brings next.
enum Next {
    Request(Box<Request<RecvStream>>, SendResponse<Bytes>),
    Refused(Refusal),
    Over(Option<h2::Error>),
}

/// The next request, or what `h2` did with one by itself. While the connection is `full` only what
/// is under way goes on, and `h2` counts what its client opens and resets meanwhile.
async fn next(
    connection: &mut Connection<Watched, Bytes>,
    watching: &Watching,
    full: bool,
) -> Next {
    poll_fn(|context| {
        if full {
            return connection.poll_closed(context).map(|ended| Next::Over(ended.err()));
        }
        if let Poll::Ready(next) = connection.poll_accept(context) {
            return Poll::Ready(match next {
                Some(Ok((request, respond))) => Next::Request(Box::new(request), respond),
                Some(Err(error)) => Next::Over(Some(error)),
                None => Next::Over(None),
            });
        }
        // Everything that can be handed out is, so what is left was refused.
        watching.refused().map_or(Poll::Pending, |refusal| Poll::Ready(Next::Refused(refusal)))
    })
    .await
}

/// Finds out whether a silent client is still there.
struct Pulse {
    ping: Option<PingPong>,
    quiet: Option<Duration>,
    watching: Watching,
    bytes: u64,
    due: Instant,
    asked: bool,
}

impl Pulse {
    fn new(ping: Option<PingPong>, quiet: Option<Duration>, watching: Watching) -> Self {
        Self { ping, quiet, watching, bytes: 0, due: Instant::now(), asked: false }
    }

    /// Resolves when the client has said nothing for `quiet`, and no more to a ping.
    async fn lost(&mut self) {
        let (Some(ping), Some(quiet)) = (&mut self.ping, self.quiet) else {
            return std::future::pending().await;
        };
        loop {
            sleep_until(self.due).await;
            let bytes = self.watching.bytes();
            if bytes != self.bytes {
                (self.bytes, self.asked) = (bytes, false);
                self.due = Instant::now() + quiet;
            } else if self.asked {
                return;
            } else {
                // The answer to the ping before, where there was one, makes room for this.
                let _ = poll_fn(|context| Poll::Ready(ping.poll_pong(context))).await;
                let _ = ping.send_ping(Ping::opaque());
                self.asked = true;
                self.due = Instant::now() + PONG;
            }
        }
    }
}
