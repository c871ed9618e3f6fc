//! The answer's way: from the upstream, or from the gateway itself, to the client.

mod interim;

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use sealtap_common::leaf::{End, Outcome};

use self::interim::Interims;
pub(super) use self::interim::{MAX_INTERIM_BYTES, MAX_INTERIMS};
use super::answer::Answer as OwnAnswer;
use super::ready::{Ready, ready};
use super::relay::{Course, Ending, relay};
use super::response::{Response, Switched};
use super::switching::Switching;
use super::upstream::{Answer, AnswerError, AnswerLength, Incoming};
use super::{Rest, head};
use crate::accept::Reply;
use crate::capture::Recorder;
use crate::capture::journal::Down;
use crate::capture::record::Direction;
use crate::wire::buffer::{Chunk, Payload};
use crate::wire::http1::{Filter, WriteError, declared_length};
use crate::wire::http2::{FrameSink, respond_with};
use crate::wire::message::{ResponseHead, Version};
use crate::wire::sink::{Framing, SendError, Sink};
use crate::wire::source::Source;
use crate::wire::stream::Reader;

/// The place for one answer, and what became of it.
#[derive(Debug)]
pub(super) struct Responding {
    /// Until the final head is sent.
    reply: Option<Reply>,
    version: Version,
    method: Bytes,
    /// From the final head on.
    pub(super) sink: Option<Sink>,
    source: Option<Source>,
    status: Option<u16>,
    /// When the final head was there, in microseconds since the Unix epoch.
    answered_us: Option<u64>,
    /// Whether the upstream's connection may serve again.
    reusable: bool,
    /// Whether the client's connection ends with this answer.
    close: bool,
    /// Whether the client's connection has been ended already.
    cut: bool,
    /// What the upstream was asked to change to, where it was.
    pub(super) switching: Option<Switching>,
}

impl Responding {
    /// A place for the answer to a request with `method`.
    #[must_use]
    pub(super) fn new(reply: Reply, method: Bytes) -> Self {
        let version = reply.version();
        let close = match &reply {
            Reply::Http1(reply) => !reply.keep_alive(),
            Reply::Http2(_) => false,
        };
        Self {
            reply: Some(reply),
            version,
            method,
            sink: None,
            source: None,
            status: None,
            answered_us: None,
            reusable: false,
            close,
            cut: false,
            switching: None,
        }
    }

    /// The status sent, once there is one.
    #[must_use]
    pub(super) fn status(&self) -> Option<u16> {
        self.status
    }

    /// When the final head was there, in microseconds since the Unix epoch.
    #[must_use]
    pub(super) fn answered_us(&self) -> Option<u64> {
        self.answered_us
    }

    /// Whether the client speaks HTTP/2.
    #[must_use]
    pub(super) fn is_http2(&self) -> bool {
        self.version == Version::Http2
    }

    /// Relays interim answers, then the final one; sets `headed` when its head is complete, and
    /// `continued` when the client was told to go on with its body.
    pub(super) async fn run(
        &mut self,
        incoming: &mut Incoming,
        recorder: &Recorder,
        (headed, continued): (&AtomicBool, &AtomicBool),
        patience: Option<Duration>,
    ) -> Response {
        let mut interims = Interims::default();
        loop {
            let next = match self.next(incoming, recorder, &interims, patience).await {
                Ok(next) => next,
                Err(response) => return response,
            };
            match next {
                Answer::Interim(head) => {
                    if let Err(error) = interims.admit(&head) {
                        return Response::None(error);
                    }
                    if let Err(response) = self.interim(&head, recorder).await {
                        return response;
                    }
                    if head.status == 100 {
                        continued.store(true, Ordering::Relaxed);
                    }
                }
                Answer::Final { head, source, length, reusable } => {
                    headed.store(true, Ordering::Relaxed);
                    self.reusable = reusable;
                    self.answered_us = Some(recorder.now_us());
                    if length == AnswerLength::Switched {
                        let made = |switching: &Switching| switching.is_made_by(&head);
                        if !self.switching.as_ref().is_some_and(made) {
                            return Response::None(AnswerError::Unasked);
                        }
                        return self.switch(&head, source, recorder).await;
                    }
                    return self.relay(&head, source, length, recorder, patience).await;
                }
            }
        }
    }

    async fn relay(
        &mut self,
        head: &ResponseHead,
        source: Source,
        length: AnswerLength,
        recorder: &Recorder,
        patience: Option<Duration>,
    ) -> Response {
        if let Some(switching) = &self.switching {
            if switching.misleads(head) {
                return Response::None(AnswerError::Misleading(head.status));
            }
            // The upstream stays with HTTP: the request was its head, and ends with it.
            let ended = recorder.ended(Direction::Request, End::Complete, true, None);
            if let Err(down) = ended {
                return Response::Down(down);
            }
        }
        if head.version == Version::Http2
            && let Err(error) = declared_length(&head.fields)
        {
            return Response::None(AnswerError::Malformed(error));
        }
        let framing = self.framing(length, head.status);
        let close = self.close || framing == Framing::UntilClose;
        let sent = head::response(head, self.version, framing, close);
        let ready = match ready(&sent) {
            Ok(ready) => ready,
            Err(error) => return unsayable(error),
        };
        self.close = close;
        if let Err(down) = recorder.answered(head, &sent, None) {
            return Response::Down(down);
        }
        if let Err(error) = self.begin(sent.status, ready, framing) {
            return Response::ClientGone(error);
        }
        let source = self.source.insert(source);
        let Some(sink) = &mut self.sink else { return Response::ClientGone(gone()) };
        let (direction, filter) = (Direction::Response, Some(Filter::of(&head.fields)));
        let course = Course { direction, recorder, filter, patience, hold: None, first: None };
        Response::Sent(relay(course, source, sink).await)
    }

    async fn switch(
        &mut self,
        head: &ResponseHead,
        source: Source,
        recorder: &Recorder,
    ) -> Response {
        let Some(switching) = &self.switching else {
            return Response::None(AnswerError::Unasked);
        };
        let websocket = switching.is_websocket(head);
        let sent = match self.version == Version::Http2 || head.version == Version::Http2 {
            true => switching.told(head),
            false => head::response(head, self.version, Framing::Raw, false),
        };
        let ready = match ready(&sent) {
            Ok(ready) => ready,
            Err(error) => return unsayable(error),
        };
        if let Err(down) = recorder.switched(head, &sent, websocket) {
            return Response::Down(down);
        }
        if let Err(error) = self.begin(sent.status, ready, Framing::Raw) {
            return Response::ClientGone(error);
        }
        if let Some(sink) = &mut self.sink
            && let Err(error) = sink.flush().await
        {
            return Response::ClientGone(error);
        }
        Response::Switched(Switched { source, websocket })
    }

    /// Sends an answer of the gateway's own; `whole` says whether the request was read to its end,
    /// `outcome` what the exchange will have come to when the answer is out.
    pub(super) async fn answer(
        &mut self,
        answer: &OwnAnswer,
        recorder: &Recorder,
        whole: bool,
        outcome: Outcome,
    ) -> Ending {
        let verdict = (outcome, answer.code);
        let (received, body) = answer.render();
        let bodiless = &*self.method == b"HEAD";
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let framing = if bodiless { Framing::Bodiless } else { Framing::Length(length) };
        self.close |= !whole;
        let sent = head::response(&received, self.version, framing, self.close);
        let Ok(ready) = ready(&sent) else { return Ending::Unsent(gone()) };
        if let Err(down) = recorder.answered(&received, &sent, Some(verdict)) {
            return Ending::Down(down);
        }
        if let Err(error) = self.begin(sent.status, ready, framing) {
            return Ending::Unsent(error);
        }
        let Some(sink) = &mut self.sink else { return Ending::Unsent(gone()) };
        let payload = Payload::Frame(body);
        let sending = async {
            let tapped = match bodiless {
                true => None,
                false => Some(recorder.data(Direction::Response, &payload).map_err(Ending::Down)?),
            };
            let position = recorder
                .ended(Direction::Response, End::Complete, true, None)
                .map_err(Ending::Down)?;
            recorder.durable(position).await.map_err(Ending::Down)?;
            match tapped {
                Some((tapped, _)) => sink.last(tapped, None).await.map_err(Ending::Unsent),
                None => sink.finish(None).await.map_err(Ending::Unsent),
            }
        };
        sending.await.err().unwrap_or(Ending::Complete)
    }

    /// Says that nothing can be captured, outside of any record; what has begun is cut.
    pub(super) async fn refuse(&mut self, down: &Down) {
        let answer = OwnAnswer::journal_down(down);
        if self.reply.is_none() {
            return self.cut(None).await;
        }
        let (received, body) = answer.render();
        self.unrecorded(&received, body).await;
    }

    /// Sends an answer that no record is to have, and ends the connection with it.
    pub(super) async fn unrecorded(&mut self, received: &ResponseHead, body: Bytes) {
        let bodiless = &*self.method == b"HEAD";
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let framing = if bodiless { Framing::Bodiless } else { Framing::Length(length) };
        let sent = head::response(received, self.version, framing, true);
        match (self.reply.take(), respond_with(&sent)) {
            (Some(Reply::Http1(reply)), _) => {
                let mut sink = reply.into_sink();
                let _ = sink.refuse(&sent, if bodiless { &[] } else { &body }).await;
                self.sink = Some(Sink::Http1(sink));
            }
            (Some(Reply::Http2(mut respond)), Ok(response)) => {
                if let Ok(mut stream) = respond.send_response(response, bodiless) {
                    let _ = stream.send_data(body, true);
                }
            }
            _ => {}
        }
        self.close = true;
    }

    /// Ends a begun answer so that it is seen to be cut.
    pub(super) async fn cut(&mut self, reason: Option<Reason>) {
        self.cut = true;
        if let Some(sink) = &mut self.sink {
            sink.cut(reason).await;
        } else {
            self.reset(reason.unwrap_or(Reason::INTERNAL_ERROR));
        }
    }

    /// Ends the client's stream with an error code; over HTTP/1 the connection just ends.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.cut = true;
        if let Some(Reply::Http2(respond)) = &mut self.reply {
            respond.send_reset(reason);
        }
        if let Some(Sink::Http2(sink)) = &mut self.sink {
            sink.reset(reason);
        }
    }

    /// What is left of the client's connection, and of the upstream's where it may serve again.
    /// `whole` says whether both messages ended as they should.
    #[must_use]
    pub(super) fn into_rest(self, body: Source, whole: bool) -> (Rest, Option<(Reader, Chunk)>) {
        let upstream = match self.source {
            Some(Source::Http1(source)) if self.reusable => Some(source.into_parts()),
            _ => None,
        };
        let writer = match (self.sink, self.reply) {
            (Some(Sink::Http1(sink)), _) => sink.into_writer(),
            (_, Some(Reply::Http1(reply))) => reply.into_sink().into_writer(),
            _ => return (Rest::Closed, upstream),
        };
        let Source::Http1(body) = body else { return (Rest::Closed, upstream) };
        let (reader, carry) = body.into_parts();
        let rest = if whole && !self.close && !self.cut {
            Rest::KeepAlive { reader, writer, carry }
        } else {
            Rest::Close { reader, writer, graceful: !self.cut }
        };
        (rest, upstream)
    }

    fn framing(&self, length: AnswerLength, status: u16) -> Framing {
        // HTTP/2 ends a message without saying its length, which HTTP/1 must say.
        let may_have_body = &*self.method != b"HEAD" && !matches!(status, 100..=199 | 204 | 304);
        match (length, self.version) {
            (AnswerLength::None, Version::Http11) if may_have_body => Framing::Length(0),
            (AnswerLength::None, _) => Framing::Bodiless,
            (AnswerLength::Exactly(length), _) => Framing::Length(length),
            (AnswerLength::Switched, _) => Framing::Raw,
            (AnswerLength::Framed, Version::Http11) => Framing::Chunked,
            // What HTTP/2 frames by itself is asked for the same way.
            (AnswerLength::Framed | AnswerLength::UntilClose, Version::Http2) => Framing::Chunked,
            (AnswerLength::Framed | AnswerLength::UntilClose, _) => Framing::UntilClose,
        }
    }

    /// Puts the final head on its way.
    fn begin(&mut self, status: u16, ready: Ready, framing: Framing) -> Result<(), SendError> {
        self.status = Some(status);
        match (self.reply.take(), ready) {
            (Some(Reply::Http1(reply)), Ready::Http1(head)) => {
                let mut sink = reply.into_sink();
                sink.head(framing, head);
                self.sink = Some(Sink::Http1(sink));
                Ok(())
            }
            (Some(Reply::Http2(respond)), Ready::Http2(response)) => {
                let sink = FrameSink::answer(respond, response, framing == Framing::Bodiless);
                self.sink = Some(Sink::Http2(sink));
                Ok(())
            }
            _ => Err(gone()),
        }
    }
}

fn unsayable(error: WriteError) -> Response {
    Response::None(AnswerError::Unsayable(error))
}

fn gone() -> SendError {
    SendError::Reset(Reason::STREAM_CLOSED)
}

/// Resolves when an HTTP/2 client resets its stream before the answer; never over HTTP/1.
async fn client_reset(reply: &mut Option<Reply>) -> Reason {
    match reply {
        Some(Reply::Http2(respond)) => poll_fn(|context| respond.poll_reset(context))
            .await
            .unwrap_or_else(|error| error.reason().unwrap_or(Reason::CANCEL)),
        _ => std::future::pending().await,
    }
}
