//! One exchange: the request to its upstream and the answer to the client, both at once.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sealtap_common::leaf::End;
use sealtap_common::unit::Ingress;
use tokio::time::{Instant, sleep_until};

use super::answer::Answer;
use super::connect::ConnectError;
use super::pool::Facts;
use super::relay::{Course, Ending, relay};
use super::respond::Responding;
use super::response::Response;
use super::switching::Switching;
use super::upstream::{AnswerError, Incoming, SendHeadError, send_head};
use super::{Forwarded, Forwarder, Link, Need, Summary, head};
use crate::accept::{Accepted, BodyLength};
use crate::capture::journal::{Down, Position};
use crate::capture::record::Direction;
use crate::capture::{Captured, Recorder};
use crate::route::Route;
use crate::wire::buffer::Chunk;
use crate::wire::http1::{Filter, declared_length, write_request_head};
use crate::wire::message::{RequestHead, Version};
use crate::wire::sink::{ByteSink, Framing, Sink};
use crate::wire::source::{Cut, Source};

/// How long the rest of a request may stay silent once its answer is out, where nothing is said.
const REST: Duration = Duration::from_secs(600);

/// Everything one exchange holds while it is under way.
pub(super) struct Exchange<'a> {
    pub(super) forwarder: &'a Forwarder,
    pub(super) recorder: Recorder,
    pub(super) accepted: RequestHead,
    pub(super) client: SocketAddr,
    pub(super) length: BodyLength,
    /// Whether it asks for another protocol.
    pub(super) upgrade: bool,
    pub(super) route: Route,
    /// The client's request body.
    pub(super) body: Source,
    /// Where the answer goes.
    pub(super) response: Responding,
}

/// Where the request goes.
pub(super) struct Outgoing {
    /// The body's way; absent for an HTTP/2 request without one.
    pub(super) sink: Option<Sink>,
    pub(super) incoming: Incoming,
    /// For the pool, where the connection is HTTP/1.
    pub(super) facts: Option<Facts>,
    pub(super) reused: bool,
    /// What must be on disk before the first byte of the request leaves; none where it is already.
    pub(super) first: Option<Position>,
}

/// How both directions ended.
pub(super) struct Endings {
    pub(super) request: Option<Ending>,
    pub(super) response: Option<Response>,
    pub(super) timed_out: Option<Duration>,
}

/// Forwards one captured request and its answer.
pub async fn forward(forwarder: &Forwarder, captured: Captured) -> Forwarded {
    let (recorder, accepted, route) = captured.into_parts();
    let (head, length, upgrade) =
        (accepted.head().clone(), accepted.length(), accepted.wants_upgrade());
    let client = accepted.client().address();
    let summary = Summary::new(&accepted, &route);
    let (body, reply) = Accepted::into_streams(accepted);
    let mut response = Responding::new(reply, head.method.clone());
    response.switching = upgrade.then(|| Switching::asked(&head, random_key)).flatten();
    let exchange = Exchange {
        forwarder,
        recorder,
        accepted: head,
        client,
        length,
        upgrade,
        route,
        body,
        response,
    };
    exchange.run(summary).await
}

impl Exchange<'_> {
    async fn run(mut self, summary: Summary) -> Forwarded {
        let mut fresh = false;
        loop {
            let mut outgoing = match self.open(fresh).await {
                Ok(outgoing) => outgoing,
                Err(Refusal::Answer(answer)) => return self.answer(answer, summary, None).await,
                Err(Refusal::Refused(answer)) => return self.refused(answer, summary).await,
                Err(Refusal::Down(down)) => return self.down(&down, summary).await,
                Err(Refusal::Stale) => {
                    fresh = true;
                    continue;
                }
            };
            let endings = self.both(&mut outgoing).await;
            if !fresh && self.may_try_again(&outgoing, &endings) {
                fresh = true;
                continue;
            }
            return self.conclude(outgoing, endings, summary).await;
        }
    }

    /// Finds a connection and puts the request's head on its way.
    async fn open(&mut self, fresh: bool) -> Result<Outgoing, Refusal> {
        if self.accepted.version == Version::Http2
            && let Err(error) = declared_length(&self.accepted.fields)
        {
            return Err(Refusal::Refused(Answer::malformed(error.to_string())));
        }
        let upstream = self.route.upstream.clone();
        let link = self.forwarder.open(&upstream, self.need(), fresh).await;
        let http2 = matches!(link, Ok(Link::Http2(_)));
        let framing = match self.length {
            BodyLength::None => Framing::Bodiless,
            BodyLength::Exactly(length) => Framing::Length(length),
            BodyLength::Unknown => Framing::Chunked,
        };
        let appended = self.forwarder.appended(&self.accepted, self.client);
        // What a client shows to the proxy is for the proxy alone (RFC 9110 section 11.7.2).
        let dropped: &[&str] = match self.route.ingress {
            Ingress::Forward => &self.forwarder.dropped,
            // Some clients show them in the tunnel, too, where they are no business of its server.
            _ if self.forwarder.asks_for_credentials => &self.forwarder.dropped,
            _ => self.forwarder.dropped.get(..1).unwrap_or_default(),
        };
        let way = head::Way {
            upstream: &upstream,
            target: self.route.target.clone().into(),
            http2,
            framing,
            switching: self.response.switching.as_ref(),
            dropped,
            appended: &appended,
        };
        let sent = head::request(&self.accepted, way);
        let position = self.recorder.requested(&self.accepted, &sent)?;
        let link = match link {
            Ok(link) => link,
            Err(failure @ (ConnectError::Tls { .. } | ConnectError::Http2 { .. })) => {
                // It may speak something else by now: the next client asks.
                self.forwarder.unlearn(&upstream);
                return Err(Refusal::Answer(Answer::unreachable(&failure)));
            }
            Err(failure @ ConnectError::Forbidden { .. }) => {
                return Err(Refusal::Refused(Answer::unreachable(&failure)));
            }
            Err(failure) => return Err(Refusal::Answer(Answer::unreachable(&failure))),
        };
        match link {
            Link::Http1 { idle, reused } => {
                self.recorder.connected(&idle.facts.address, idle.facts.tls.as_deref())?;
                let mut queued = Vec::with_capacity(1024);
                let fields = sent.fields.iter();
                let written = write_request_head(
                    &mut queued,
                    &sent.method,
                    &sent.target,
                    sent.version,
                    fields,
                );
                if let Err(error) = written {
                    // The connection has seen nothing of it and serves the next one.
                    self.forwarder.pool.put(&upstream.key, idle, &Chunk::empty());
                    return Err(Refusal::Refused(Answer::malformed(error.to_string())));
                }
                let mut sink = ByteSink::new(idle.writer, queued, framing);
                if self.upgrade {
                    // Whether a body follows is the upstream's to say; the head alone is the
                    // message now, so it waits for the disk.
                    self.recorder.durable(position).await?;
                    sink.send_queued()
                        .await
                        .map_err(|error| Refusal::Answer(Answer::closed(&error.to_string())))?;
                }
                let incoming = Incoming::Http1 {
                    reader: Some(idle.reader),
                    carry: Chunk::empty(),
                    method: sent.method.clone(),
                    touched: false,
                };
                let facts = Some(idle.facts);
                let first = (!self.upgrade).then_some(position);
                let sink = Some(Sink::Http1(sink));
                Ok(Outgoing { sink, incoming, facts, reused, first })
            }
            Link::Http2(shared) => {
                self.recorder.connected(&shared.facts.address, shared.facts.tls.as_deref())?;
                let bodiless = self.length == BodyLength::None && !self.upgrade;
                if self.upgrade && !self.forwarder.takes_extended_connect(&shared).await {
                    return Err(Refusal::Answer(Answer::no_extended_connect()));
                }
                if bodiless {
                    let position =
                        self.recorder.ended(Direction::Request, End::Complete, true, None)?;
                    self.recorder.durable(position).await?;
                }
                if !bodiless {
                    // Over HTTP/2 the head leaves by itself.
                    self.recorder.durable(position).await?;
                }
                let which = shared.connection();
                match send_head(shared, &sent, bodiless).await {
                    Ok((incoming, sink)) => {
                        let sink = Some(Sink::Http2(sink));
                        let first = (!bodiless && !self.upgrade).then_some(position);
                        Ok(Outgoing { sink, incoming, facts: None, reused: true, first })
                    }
                    Err(SendHeadError::Closed(_)) if !fresh => {
                        // It said good-bye since the last exchange; nothing was sent.
                        self.forwarder.pool.unshare(&upstream.key, &which);
                        Err(Refusal::Stale)
                    }
                    Err(error @ (SendHeadError::Unsayable(_) | SendHeadError::Altered)) => {
                        let why = error.to_string();
                        Err(Refusal::Refused(Answer::unsayable(sent.target.len(), why)))
                    }
                    Err(error) => Err(Refusal::Answer(Answer::unsent(&error))),
                }
            }
        }
    }

    /// What the request asks of its connection.
    fn need(&self) -> Need {
        if self.upgrade {
            Need::Upgrade
        } else if self.accepted.version != Version::Http2 && self.expects() {
            Need::Interim
        } else {
            Need::Any
        }
    }

    /// Whether the client may hold its body back until it is told to go on.
    fn expects(&self) -> bool {
        self.accepted.fields.lists("expect", "100-continue")
    }

    /// Moves both directions until both have ended, or one has ended both.
    async fn both(&mut self, outgoing: &mut Outgoing) -> Endings {
        let mut endings = Endings { request: None, response: None, timed_out: None };
        let patience = self.forwarder.timeouts.between_bytes;
        let expecting = self.expects();
        let Self { recorder, body, response, forwarder, accepted, .. } = self;
        let recorder = &*recorder;
        let headed = AtomicBool::new(false);
        let continued = AtomicBool::new(false);
        let Outgoing { sink, incoming, first, .. } = outgoing;
        let first = *first;
        let request = async {
            let Some(sink) = sink else { return Ending::Complete };
            // An HTTP/2 request without a body, or one for an upgrade, is sent by now.
            if first.is_none() {
                return Ending::Complete;
            }
            let direction = Direction::Request;
            let filter = Some(Filter::of(&accepted.fields));
            let course = Course { direction, recorder, filter, patience: None, hold: None, first };
            let ending = relay(course, body, sink).await;
            match &ending {
                Ending::Cut(Cut::Reset(reason)) => sink.abort(*reason).await,
                Ending::Cut(_) | Ending::Misfit(_) => sink.abort(h2::Reason::CANCEL).await,
                _ => {}
            }
            ending
        };
        let response = response.run(incoming, recorder, (&headed, &continued), patience);
        let (mut request, mut response) = (pin!(request), pin!(response));
        let limit = forwarder.timeouts.first_byte;
        let rest = patience.unwrap_or(REST);
        let (mut deadline, mut taken) = (None, 0);
        while endings.request.is_none() || endings.response.is_none() {
            tokio::select! {
                biased;
                ending = &mut response, if endings.response.is_none() => {
                    // A client that was not told to go on keeps its body (RFC 9110, 10.1.1).
                    let declined = expecting
                        && endings.request.is_none()
                        && !continued.load(Ordering::Relaxed)
                        && recorder.captured(Direction::Request) == 0;
                    let over = declined || !matches!(ending, Response::Sent(Ending::Complete));
                    endings.response = Some(ending);
                    if over {
                        break;
                    }
                    taken = recorder.captured(Direction::Request);
                    deadline = Some(Instant::now() + rest);
                }
                ending = &mut request, if endings.request.is_none() => {
                    // A client that only ended its own side may still be waiting for the answer.
                    let over = match &ending {
                        Ending::Cut(cut) => !cut.is_half_close(),
                        Ending::Misfit(_) | Ending::Down(_) => true,
                        _ => false,
                    };
                    endings.request = Some(ending);
                    if over {
                        break;
                    }
                    if endings.response.is_none() {
                        deadline = limit.map(|limit| Instant::now() + limit);
                    }
                }
                () = at(deadline), if deadline.is_some() => {
                    if endings.response.is_some() {
                        // The answer is out; the rest of the request may come as long as it comes.
                        let now = recorder.captured(Direction::Request);
                        if now == taken {
                            break;
                        }
                        taken = now;
                        deadline = Some(Instant::now() + rest);
                    } else if headed.load(Ordering::Relaxed) {
                        // The answer has begun; from here its own silences are measured.
                        deadline = None;
                    } else {
                        endings.timed_out = limit;
                        break;
                    }
                }
            }
        }
        endings
    }

    /// Whether a connection that had waited in the pool ended without a byte in answer, and the
    /// request may be sent again (RFC 9110 section 9.2.2): it did not happen, or may happen twice.
    fn may_try_again(&self, outgoing: &Outgoing, endings: &Endings) -> bool {
        let unanswered = matches!(endings.response, Some(Response::None(AnswerError::Cut(_))));
        let safe =
            matches!(&*self.accepted.method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE");
        outgoing.reused
            && unanswered
            && outgoing.incoming.is_untouched()
            && self.length == BodyLength::None
            && safe
            && !self.upgrade
    }
}

/// Resolves at `deadline`, for which a timer is made only when it is waited for.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What a WebSocket's key is made of.
fn random_key() -> [u8; 16] {
    let mut key = [0; 16];
    // One that can be guessed proves less, and nothing of the record depends on it.
    let _ = getrandom::fill(&mut key);
    key
}

/// Why a request was not put on its way.
enum Refusal {
    /// The shared connection takes no more requests; a new one may.
    Stale,
    /// The upstream cannot be reached, or failed; the gateway answers for it.
    Answer(Answer),
    /// The request itself cannot be carried; nothing of it has gone on.
    Refused(Answer),
    Down(Down),
}

impl From<Down> for Refusal {
    fn from(down: Down) -> Self {
        Self::Down(down)
    }
}
