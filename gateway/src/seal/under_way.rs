//! One exchange while it is under way: what its records said so far, and what they come to.

use std::borrow::Cow;
use std::time::Instant;

use sealtap_common::commit::{self, BodyKey};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{End, ErrorCode, Outcome, ProgressEntry, Source, Tunnel, TunnelReason};
use sealtap_common::unit::{Context, Interim};

use super::deferred::Records;
use super::digest::Digested;
use super::known::Known;
use super::message::Message;
use super::sealed::{Direction, SealedUnit, Slot};
use super::websocket;
use crate::capture::journal::RecordRef;
use crate::capture::record::{Answered, Closed, Connected, Requested, Tunnelled, kind};

/// One exchange while it is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    boot: [u8; 16],
    pub(super) number: u64,
    first_file: u64,
    /// Bytes of its records.
    pub(super) bytes: u64,
    /// Where its records are.
    pub(super) records: Records,
    /// When its first record was read.
    pub(super) since: Instant,
    pub(super) told: Told,
    opened: Known,
    connected: Option<(String, Option<String>)>,
    pub(super) request: Message,
    pub(super) response: Message,
    answered: Option<(u64, Source)>,
    /// What an answer of the gateway's own says of the exchange.
    verdict: Option<(Outcome, ErrorCode)>,
    interim: Vec<Vec<u8>>,
    tunnel: Option<Tunnel>,
}

/// What the log knows of an open exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// How far it has come.
    All,
    /// How far it had come before what was read since.
    Less,
}

impl Exchange {
    pub(super) fn new(boot: [u8; 16], number: u64, first_file: u64, opened: Known) -> Self {
        let keys = &opened.keys;
        Self {
            boot,
            number,
            first_file,
            bytes: 0,
            records: Records::default(),
            since: Instant::now(),
            told: Told::Nothing,
            connected: None,
            request: Message::new(keys.request_body),
            response: Message::new(keys.response_body),
            answered: None,
            verdict: None,
            interim: Vec::new(),
            tunnel: None,
            opened,
        }
    }

    pub(super) fn record(&mut self, record: &RecordRef<'_>) {
        let payload = record.payload;
        self.records.push(record.kind, record.at);
        if self.told == Told::All
            && let kind::REQUEST_DATA | kind::RESPONSE_DATA | kind::ANSWERED = record.kind
        {
            self.told = Told::Less;
        }
        match record.kind {
            kind::REQUESTED => {
                if let Ok(requested) = postcard::from_bytes::<Requested<'_>>(payload) {
                    self.request.begin(requested.dialect, &requested.head);
                }
            }
            kind::CONNECTED => {
                if let Ok(connected) = postcard::from_bytes::<Connected<'_>>(payload) {
                    let tls = connected.tls.map(Cow::into_owned);
                    self.connected = Some((connected.address.into_owned(), tls));
                }
            }
            kind::REQUEST_DATA => self.request.data(record),
            kind::RESPONSE_DATA => self.response.data(record),
            kind::REQUEST_MARK => websocket::mark(&mut self.request, record),
            kind::RESPONSE_MARK => websocket::mark(&mut self.response, record),
            kind::REQUEST_ENDED => self.request.end(record),
            kind::RESPONSE_ENDED => self.response.end(record),
            kind::TUNNELLED => {
                if let Ok(tunnelled) = postcard::from_bytes::<Tunnelled<'_>>(payload) {
                    let Tunnelled { from_client, to_client, reason, alert } = tunnelled;
                    let reason = TunnelReason::parse(&reason);
                    self.tunnel =
                        reason.map(|reason| Tunnel { alert, from_client, reason, to_client });
                }
            }
            kind::INTERIM => self.interim.push(payload.to_vec()),
            kind::ANSWERED => {
                if let Ok(answered) = postcard::from_bytes::<Answered<'_>>(payload) {
                    self.response.begin(answered.dialect, &answered.head);
                    if answered.websocket {
                        let at = answered.at_us;
                        websocket::begin(at, &mut self.request, &mut self.response);
                    }
                    self.verdict = answered.by_gateway.and_then(|(outcome, error)| {
                        Some((Outcome::parse(&outcome)?, ErrorCode::parse(&error)?))
                    });
                    // What opens a tunnel is said by the gateway.
                    let source = match self.verdict.is_some() || self.tunnel.is_some() {
                        true => Source::Gateway,
                        false => Source::Upstream,
                    };
                    self.answered = Some((answered.at_us, source));
                }
            }
            _ => {}
        }
    }

    /// The id of its run.
    pub(super) fn run(&self) -> [u8; 16] {
        self.opened.run
    }

    /// The id of the connection that it came over, where the kernel led that here.
    pub(super) fn connection(&self) -> Option<[u8; 16]> {
        self.opened.came.connection
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> ProgressEntry {
        ProgressEntry {
            exchange: Id(self.opened.id),
            number: self.number,
            request: self.request.cutter.prefix(),
            response: self.answered.map(|_| self.response.cutter.prefix()),
        }
    }

    pub(super) fn finish(mut self, closed: Option<Closed<'_>>) -> Digested {
        let known = &self.opened;
        let whole =
            |message: &Message| matches!(message.ended, Some((End::Complete | End::Trailers, _)));
        let answered_us = self.answered.map(|(at, _)| at);
        let closed = closed.and_then(|closed| {
            let error = closed.error.as_deref().and_then(ErrorCode::parse);
            Some((Outcome::parse(&closed.outcome)?, error, closed.at_us))
        });
        let (outcome, error, ended_us) = closed.unwrap_or_else(|| {
            let (outcome, error) = match self.verdict {
                Some((outcome, error)) if whole(&self.response) => (outcome, Some(error)),
                None if whole(&self.request) && whole(&self.response) => (Outcome::Complete, None),
                _ => (Outcome::Interrupted, None),
            };
            (outcome, error, known.started_us.max(answered_us.unwrap_or_default()))
        });

        let mut units = Vec::with_capacity(3);
        let mut unit = |slot: Slot, key: &[u8; 32], bytes: Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                let root = commit::unit(&BodyKey::new(*key), slot.kind(), &bytes);
                units.push((SealedUnit { slot, key: *key, bytes }, root));
            }
        };
        let keys = &known.keys;
        let context = self.context();
        let context_root =
            commit::unit(&BodyKey::new(keys.context), Slot::Context.kind(), &context);
        unit(Slot::Context, &keys.context, Some(context));
        unit(Slot::RequestHead, &keys.request_head, self.request.head.take());
        unit(Slot::RequestTrailers, &keys.request_trailers, self.request.trailers.take());
        let interim = joined(&self.interim);
        let hinted = interim.is_some();
        unit(Slot::Interim, &keys.interim, interim);
        if self.answered.is_some() {
            unit(Slot::ResponseHead, &keys.response_head, self.response.head.take());
            unit(Slot::ResponseTrailers, &keys.response_trailers, self.response.trailers.take());
            let messages = websocket::unit(&mut self.request, &mut self.response);
            unit(Slot::Messages, &keys.response_trailers, messages);
        }
        let (boot, number, first_file) = (self.boot, self.number, self.first_file);
        let Known { id, run, run_by, started_us, policy, came, .. } = self.opened;
        let mut bodies = Vec::with_capacity(2);
        let (body, end, same, sealed) = self.request.finish(Direction::Request);
        bodies.extend(sealed);
        let request = (body, end, same);
        // Interim answers that reached the client are bound even where no final head followed.
        let answered = self.answered.map(|(_, source)| source);
        let source = answered.or(hinted.then_some(Source::Upstream));
        let headless = self.answered.is_none();
        let response = source.map(|source| {
            let (body, end, same, sealed) = self.response.finish(Direction::Response);
            bodies.extend(sealed);
            (body, if headless { unanswered(outcome) } else { end }, same, source)
        });
        Digested {
            boot,
            number,
            id,
            connection: came.connection,
            run,
            run_by,
            first_file,
            started_us,
            ended_us: ended_us.max(started_us),
            answered_us,
            outcome,
            error,
            policy,
            context: context_root,
            request,
            response,
            units,
            bodies,
            tunnel: self.tunnel,
            records: self.records,
        }
    }

    fn context(&self) -> Vec<u8> {
        fn octets(text: &str) -> Cow<'_, [u8]> {
            Cow::Borrowed(text.as_bytes())
        }
        let known = &self.opened;
        let connected = self.connected.as_ref();
        Context {
            client: octets(&known.client),
            ingress: known.came.ingress,
            run_by: known.run_by,
            run_name: known.run_name.as_deref().map(octets),
            upstream_address: connected.map(|(address, _)| octets(address)),
            upstream_name: known.upstream_name.as_deref().map(octets),
            upstream_tls: connected.and_then(|(_, tls)| tls.as_deref()).map(octets),
            upstream_url: known.upstream_url.as_deref().map(octets),
        }
        .encode()
    }
}

/// How a response without a final head ended.
fn unanswered(outcome: Outcome) -> End {
    match outcome {
        Outcome::ClientCancelled => End::ClientCancelled,
        Outcome::Complete | Outcome::UpstreamFailed => End::UpstreamFailed,
        Outcome::Refused => End::GatewayRefused,
        Outcome::Interrupted => End::Interrupted,
    }
}

/// The interim answers as one unit.
fn joined(interim: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut heads = Vec::new();
    for unit in interim {
        heads.extend(Interim::decode(unit).ok()?.heads);
    }
    (!heads.is_empty()).then(|| Interim { heads }.encode())
}
