//! A request on its way: a connection is found, the head is recorded, and then it leaves or is queued.
//!
//! In: an exchange. Out: [`Outgoing`], what its body is sent by and its answer read from; or [`Refusal`], and
//! then what the client is told. Nothing leaves that the recorder has not taken.

use sealtap_common::leaf::End;
use sealtap_common::unit::Ingress;

use super::answer::Answer;
use super::connect::ConnectError;
use super::exchange::Exchange;
use super::head;
use super::pool::{Facts, Idle, Lease};
use super::upstream::{Incoming, SendHeadError, send_head};
use super::{Link, Need};
use crate::accept::BodyLength;
use crate::capture::journal::{Down, Position};
use crate::capture::record::Direction;
use crate::wire::buffer::Chunk;
use crate::wire::http1::{declared_length, write_request_head};
use crate::wire::message::{RequestHead, Version};
use crate::wire::sink::{ByteSink, Framing, Sink};

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

/// Why a request was not put on its way.
pub(super) enum Refusal {
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

impl Exchange<'_> {
    /// Finds a connection and puts the request's head on its way.
    pub(super) async fn open(&mut self, fresh: bool) -> Result<Outgoing, Refusal> {
        if self.accepted.version == Version::Http2
            && let Err(error) = declared_length(&self.accepted.fields)
        {
            return Err(Refusal::Refused(Answer::malformed(error.to_string())));
        }
        let link = self.forwarder.open(&self.route.upstream, self.need(), fresh).await;
        let sent = self.sent(matches!(link, Ok(Link::Http2(_))));
        let position = self.recorder.requested(&self.accepted, &sent)?;
        match link {
            Ok(Link::Http1 { idle, reused }) => self.by_http1(idle, reused, &sent, position).await,
            Ok(Link::Http2(shared)) => self.by_http2(shared, fresh, &sent, position).await,
            Err(failure) => Err(self.unreachable(&failure)),
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
    pub(super) fn expects(&self) -> bool {
        self.accepted.fields.lists("expect", "100-continue")
    }

    fn framing(&self) -> Framing {
        match self.length {
            BodyLength::None => Framing::Bodiless,
            BodyLength::Exactly(length) => Framing::Length(length),
            BodyLength::Unknown => Framing::Chunked,
        }
    }

    /// The head that goes on.
    fn sent(&self, http2: bool) -> RequestHead {
        let appended = self.forwarder.appended(&self.accepted, self.client);
        // What a client shows to the proxy is for the proxy alone (RFC 9110 section 11.7.2).
        let dropped: &[&str] = match self.route.ingress {
            Ingress::Forward => &self.forwarder.dropped,
            // Some clients show them in the tunnel, too, where they are no business of its server.
            _ if self.forwarder.asks_for_credentials => &self.forwarder.dropped,
            _ => self.forwarder.dropped.get(..1).unwrap_or_default(),
        };
        let way = head::Way {
            upstream: &self.route.upstream,
            target: self.route.target.clone().into(),
            http2,
            framing: self.framing(),
            switching: self.response.switching.as_ref(),
            dropped,
            appended: &appended,
        };
        head::request(&self.accepted, way)
    }

    /// There is no connection.
    fn unreachable(&self, failure: &ConnectError) -> Refusal {
        let answer = Answer::unreachable(failure);
        match failure {
            ConnectError::Tls { .. } | ConnectError::Http2 { .. } => {
                // It may speak something else by now: the next client asks.
                self.forwarder.unlearn(&self.route.upstream);
                Refusal::Answer(answer)
            }
            ConnectError::Forbidden { .. } => Refusal::Refused(answer),
            _ => Refusal::Answer(answer),
        }
    }

    /// The head is queued, to leave with the first of the body; for an upgrade it leaves now.
    async fn by_http1(
        &mut self,
        idle: Idle,
        reused: bool,
        sent: &RequestHead,
        position: Position,
    ) -> Result<Outgoing, Refusal> {
        self.recorder.connected(&idle.facts.address, idle.facts.tls.as_deref())?;
        let mut queued = Vec::with_capacity(1024);
        let fields = sent.fields.iter();
        let written =
            write_request_head(&mut queued, &sent.method, &sent.target, sent.version, fields);
        if let Err(error) = written {
            // The connection has seen nothing of it and serves the next one.
            self.forwarder.pool.put(&self.route.upstream.key, idle, &Chunk::empty());
            return Err(Refusal::Refused(Answer::malformed(error.to_string())));
        }
        let mut sink = ByteSink::new(idle.writer, queued, self.framing());
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
        let (sink, facts) = (Some(Sink::Http1(sink)), Some(idle.facts));
        let first = (!self.upgrade).then_some(position);
        Ok(Outgoing { sink, incoming, facts, reused, first })
    }

    /// The head leaves by itself, once it is on disk: with the end of the request, where that has no body.
    async fn by_http2(
        &mut self,
        shared: Lease,
        fresh: bool,
        sent: &RequestHead,
        position: Position,
    ) -> Result<Outgoing, Refusal> {
        self.recorder.connected(&shared.facts.address, shared.facts.tls.as_deref())?;
        let bodiless = self.length == BodyLength::None && !self.upgrade;
        if self.upgrade && !self.forwarder.takes_extended_connect(&shared).await {
            return Err(Refusal::Answer(Answer::no_extended_connect()));
        }
        let position = match bodiless {
            true => self.recorder.ended(Direction::Request, End::Complete, true, None)?,
            false => position,
        };
        self.recorder.durable(position).await?;
        let which = shared.connection();
        match send_head(shared, sent, bodiless).await {
            Ok((incoming, sink)) => {
                let sink = Some(Sink::Http2(sink));
                let first = (!bodiless && !self.upgrade).then_some(position);
                Ok(Outgoing { sink, incoming, facts: None, reused: true, first })
            }
            Err(SendHeadError::Closed(_)) if !fresh => {
                // It said good-bye since the last exchange; nothing was sent.
                self.forwarder.pool.unshare(&self.route.upstream.key, &which);
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
