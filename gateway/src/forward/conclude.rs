//! How an exchange came out: its outcome, its last records, and what is left of its connections.

use sealtap_common::leaf::{End, ErrorCode, Outcome};

use super::answer::Answer;
use super::exchange::{Endings, Exchange};
use super::outgoing::Outgoing;
use super::relay::Ending;
use super::response::Response;
use super::upstream::AnswerError;
use super::{Forwarded, Summary, upgrade};
use crate::accept::BodyLength;
use crate::capture::journal::Down;
use crate::capture::record::Direction;
use crate::wire::sink::{SendError, Sink};
use crate::wire::source::Cut;

impl Exchange<'_> {
    /// Records how the exchange came out, and ends whatever has not ended by itself.
    pub(super) async fn conclude(
        mut self,
        mut outgoing: Outgoing,
        mut endings: Endings,
        summary: Summary,
    ) -> Forwarded {
        let mut request = endings.request.take();
        if request.is_none()
            && let Some(
                Response::ClientGone(SendError::Reset(_))
                | Response::Sent(Ending::Unsent(SendError::Reset(_))),
            ) = &endings.response
        {
            // A stream that `h2` ended for a fault of the client's looks to the answer as if the
            // client had reset it; the body knows better.
            request = self.body.fault().await.map(Ending::Cut);
        }
        if let Some(Ending::Down(down)) = &request {
            return self.down(down, summary).await;
        }
        if let Some(limit) = endings.timed_out {
            return self.answer(Answer::late(limit), summary, request).await;
        }
        let response = endings.response.take();
        if let Some(fault) = request.as_ref().and_then(Ending::fault) {
            return self.faulty(outgoing, response.as_ref(), fault, summary).await;
        }
        let gone =
            matches!(response, Some(Response::ClientGone(_) | Response::Sent(Ending::Unsent(_))));
        let requested = self.record_request_end(request.as_ref(), gone);
        let (outcome, error) = match &response {
            _ if matches!(requested, Requested::Cut) && response.is_none() => {
                (Outcome::ClientCancelled, None)
            }
            None => (Outcome::ClientCancelled, None),
            Some(Response::Switched(_)) => {
                return upgrade::tunnel(self.into_tunnel(outgoing, response, summary)).await;
            }
            Some(Response::Sent(Ending::Complete)) => match requested {
                Requested::Cut => (Outcome::ClientCancelled, None),
                Requested::Whole | Requested::Unsent => (Outcome::Complete, None),
            },
            Some(Response::Sent(Ending::Down(down)) | Response::Down(down)) => {
                return self.down(down, summary).await;
            }
            Some(Response::Sent(Ending::Unsent(_)) | Response::ClientGone(_)) => {
                let _ = self.recorder.ended(Direction::Response, End::ClientCancelled, false, None);
                (Outcome::ClientCancelled, None)
            }
            Some(Response::Sent(Ending::Cut(cut))) => {
                let _ = self.recorder.ended(Direction::Response, End::UpstreamFailed, true, None);
                self.response.cut(reason(cut)).await;
                let code = match cut.is_fault() {
                    true => ErrorCode::UpstreamProtocol,
                    false => ErrorCode::UpstreamClosed,
                };
                (Outcome::UpstreamFailed, Some(code))
            }
            Some(Response::Sent(Ending::Misfit(_))) => {
                let _ = self.recorder.ended(Direction::Response, End::UpstreamFailed, false, None);
                self.response.cut(None).await;
                (Outcome::UpstreamFailed, Some(ErrorCode::UpstreamProtocol))
            }
            Some(Response::Sent(Ending::Stalled)) => {
                let _ = self.recorder.ended(Direction::Response, End::UpstreamFailed, true, None);
                self.response.cut(None).await;
                (Outcome::UpstreamFailed, Some(ErrorCode::UpstreamTimeout))
            }
            Some(Response::None(error)) => {
                if let (AnswerError::Cut(Cut::Reset(reason)), true) =
                    (error, self.response.is_http2())
                {
                    // The client's stream ends as the upstream's did.
                    self.response.reset(*reason);
                    (Outcome::UpstreamFailed, Some(ErrorCode::UpstreamClosed))
                } else if matches!(requested, Requested::Cut) {
                    (Outcome::ClientCancelled, None)
                } else {
                    let answer = Answer::unanswered(error);
                    // Whatever the upstream still has to say is not waited for, nor kept.
                    drop(outgoing);
                    return self.answer(answer, summary, request).await;
                }
            }
        };
        if outcome == Outcome::ClientCancelled {
            // The upstream's stream ends with the client's own code.
            let said = match (&request, &response) {
                (Some(Ending::Cut(Cut::Reset(reason))), _)
                | (_, Some(Response::Sent(Ending::Unsent(SendError::Reset(reason)))))
                | (_, Some(Response::ClientGone(SendError::Reset(reason)))) => *reason,
                _ => h2::Reason::CANCEL,
            };
            if response.is_none() && self.response.status().is_some() {
                let _ = self.recorder.ended(Direction::Response, End::ClientCancelled, false, None);
            }
            if let Some(sink) = &mut outgoing.sink {
                sink.abort(said).await;
            }
            self.response.reset(said);
        }
        let whole = outcome == Outcome::Complete && matches!(requested, Requested::Whole);
        self.finish(outgoing, outcome, error, whole, summary)
    }

    /// Records how the request ended, where it did not end as its framing says.
    fn record_request_end(&self, ending: Option<&Ending>, gone: bool) -> Requested {
        let (end, requested) = match ending {
            Some(Ending::Complete) => return Requested::Whole,
            Some(Ending::Cut(_)) => (End::ClientCancelled, Requested::Cut),
            // A client that is gone, or that was not told to go on and kept its body.
            None if gone || self.recorder.captured(Direction::Request) == 0 => {
                (End::ClientCancelled, Requested::Unsent)
            }
            _ => (End::UpstreamFailed, Requested::Unsent),
        };
        // A journal that is down says so at the next step that must wait for it.
        let _ = self.recorder.ended(Direction::Request, end, false, None);
        requested
    }

    fn finish(
        self,
        outgoing: Outgoing,
        outcome: Outcome,
        error: Option<ErrorCode>,
        whole: bool,
        mut summary: Summary,
    ) -> Forwarded {
        let Self { forwarder, recorder, route, body, response, .. } = self;
        summary.close(&recorder, &response, outcome, error);
        let (rest, upstream) = response.into_rest(body, whole);
        if let (true, Some(facts), Some(Sink::Http1(sink)), Some((reader, carry))) =
            (whole, outgoing.facts, outgoing.sink, upstream)
        {
            let writer = sink.into_writer();
            let idle = super::pool::Idle { reader, writer, facts, used: true };
            forwarder.pool.put(&route.upstream.key, idle, &carry);
        }
        summary.recorded = recorder.closed(outcome, error).is_ok();
        Forwarded { rest, summary }
    }

    /// Answers for the upstream, which cannot.
    pub(super) async fn answer(
        self,
        answer: Answer,
        summary: Summary,
        request: Option<Ending>,
    ) -> Forwarded {
        let bodiless = self.length == BodyLength::None;
        let whole = matches!(request, Some(Ending::Complete)) || bodiless;
        // The end of a whole body was recorded when it went on.
        if bodiless {
            let _ = self.recorder.ended(Direction::Request, End::Complete, true, None);
        } else if !whole {
            let _ = self.recorder.ended(Direction::Request, End::UpstreamFailed, false, None);
        }
        self.say(answer, summary, whole, Outcome::UpstreamFailed).await
    }

    /// Refuses a request of which nothing has gone on and nothing can.
    pub(super) async fn refused(self, answer: Answer, summary: Summary) -> Forwarded {
        let whole = self.length == BodyLength::None;
        let end = if whole { End::Complete } else { End::GatewayRefused };
        // Nothing left, so the head is the one that came.
        let _ = self.recorder.requested(&self.accepted, &self.accepted);
        let _ = self.recorder.ended(Direction::Request, end, whole, None);
        self.say(answer, summary, whole, Outcome::Refused).await
    }

    /// The client's message breaks a rule: the client is told while it can be, the upstream's
    /// connection has been cut. What had gone on before makes it more than a refusal.
    async fn faulty(
        mut self,
        outgoing: Outgoing,
        response: Option<&Response>,
        fault: String,
        summary: Summary,
    ) -> Forwarded {
        let begun = outgoing.sink.as_ref().is_some_and(Sink::has_begun);
        let unanswered = response.is_none() && self.response.status().is_none();
        if unanswered && !begun {
            return self.refused(Answer::malformed(fault), summary).await;
        }
        let _ = self.recorder.ended(Direction::Request, End::GatewayRefused, false, None);
        if unanswered {
            let answer = Answer::malformed(fault);
            return self.say(answer, summary, false, Outcome::ClientCancelled).await;
        }
        if !matches!(response, Some(Response::Sent(Ending::Complete))) {
            let _ = self.recorder.ended(Direction::Response, End::GatewayRefused, false, None);
            self.response.cut(Some(h2::Reason::PROTOCOL_ERROR)).await;
        }
        let error = Some(ErrorCode::MalformedRequest);
        self.finish(outgoing, Outcome::ClientCancelled, error, false, summary)
    }

    /// Sends an answer of the gateway's own and closes the record with `outcome`.
    async fn say(
        mut self,
        answer: Answer,
        mut summary: Summary,
        whole: bool,
        outcome: Outcome,
    ) -> Forwarded {
        let sent = self.response.answer(&answer, &self.recorder, whole, outcome).await;
        let outcome = match sent {
            Ending::Complete => outcome,
            Ending::Down(down) => return self.down(&down, summary).await,
            _ => {
                let _ = self.recorder.ended(Direction::Response, End::ClientCancelled, false, None);
                match outcome {
                    Outcome::Refused => Outcome::Refused,
                    _ => Outcome::ClientCancelled,
                }
            }
        };
        summary.close(&self.recorder, &self.response, outcome, Some(answer.code));
        let (rest, _) = self.response.into_rest(self.body, whole);
        summary.recorded = self.recorder.closed(outcome, Some(answer.code)).is_ok();
        Forwarded { rest, summary }
    }

    /// The journal takes nothing: what has begun is cut, what has not is refused.
    pub(super) async fn down(mut self, down: &Down, mut summary: Summary) -> Forwarded {
        self.response.refuse(down).await;
        summary.close(
            &self.recorder,
            &self.response,
            Outcome::Interrupted,
            Some(ErrorCode::JournalFailed),
        );
        let (rest, _) = self.response.into_rest(self.body, false);
        Forwarded { rest, summary }
    }

    fn into_tunnel(
        self,
        outgoing: Outgoing,
        response: Option<Response>,
        summary: Summary,
    ) -> upgrade::Tunnel {
        let switched = match response {
            Some(Response::Switched(switched)) => Some(switched),
            _ => None,
        };
        upgrade::Tunnel {
            recorder: self.recorder,
            body: self.body,
            response: self.response,
            sink: outgoing.sink,
            held: outgoing.incoming,
            switched,
            summary,
        }
    }
}

/// How the request ended, as far as the outcome needs to know.
#[derive(Clone, Copy)]
enum Requested {
    Whole,
    Cut,
    Unsent,
}

fn reason(cut: &Cut) -> Option<h2::Reason> {
    match cut {
        Cut::Reset(reason) => Some(*reason),
        _ => None,
    }
}
