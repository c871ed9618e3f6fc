//! One exchange: the request to its upstream and the answer to the client, both at once.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::outgoing::{Outgoing, Refusal};
use super::relay::{Course, Ending, relay};
use super::respond::Responding;
use super::response::Response;
use super::switching::Switching;
use super::upstream::AnswerError;
use super::{Forwarded, Forwarder, Summary};
use crate::accept::{Accepted, BodyLength};
use crate::capture::journal::Position;
use crate::capture::record::Direction;
use crate::capture::{Captured, Recorder};
use crate::route::Route;
use crate::wire::http1::Filter;
use crate::wire::message::{Fields, RequestHead};
use crate::wire::sink::Sink;
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
        let request = send(&accepted.fields, recorder, body, (sink.as_mut(), *first));
        let response = response.run(incoming, recorder, (&headed, &continued), patience);
        let (mut request, mut response) = (pin!(request), pin!(response));
        let limit = forwarder.timeouts.first_byte;
        let rest = patience.unwrap_or(REST);
        let (mut deadline, mut taken) = (None, 0);
        while endings.request.is_none() || endings.response.is_none() {
            tokio::select! {
                biased;
                ending = &mut response, if endings.response.is_none() => {
                    taken = recorder.captured(Direction::Request);
                    // A client that was not told to go on keeps its body (RFC 9110, 10.1.1).
                    let declined = expecting
                        && endings.request.is_none()
                        && !continued.load(Ordering::Relaxed)
                        && taken == 0;
                    let over = declined || !matches!(ending, Response::Sent(Ending::Complete));
                    endings.response = Some(ending);
                    if over {
                        break;
                    }
                    deadline = Some(Instant::now() + rest);
                }
                ending = &mut request, if endings.request.is_none() => {
                    let over = ends_both(&ending);
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

/// Whether the answer ends with the request: a client that only ended its own side may still be waiting for it.
fn ends_both(request: &Ending) -> bool {
    match request {
        Ending::Cut(cut) => !cut.is_half_close(),
        Ending::Misfit(_) | Ending::Down(_) => true,
        _ => false,
    }
}

/// Moves the request's body to the upstream, and tells it where that is cut off.
async fn send(
    fields: &Fields,
    recorder: &Recorder,
    body: &mut Source,
    (sink, first): (Option<&mut Sink>, Option<Position>),
) -> Ending {
    // An HTTP/2 request without a body, or one for an upgrade, is sent by now.
    let (Some(sink), Some(_)) = (sink, first) else { return Ending::Complete };
    let (direction, filter) = (Direction::Request, Some(Filter::of(fields)));
    let course = Course { direction, recorder, filter, patience: None, hold: None, first };
    let ending = relay(course, body, sink).await;
    match &ending {
        Ending::Cut(Cut::Reset(reason)) => sink.abort(*reason).await,
        Ending::Cut(_) | Ending::Misfit(_) => sink.abort(h2::Reason::CANCEL).await,
        _ => {}
    }
    ending
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
