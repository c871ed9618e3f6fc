//! Reads the journal's records and makes of them what a leaf binds.
//!
//! In: batches, in order, live or read back after a crash: the code is the same. Out, through a
//! callback: [`Event`]s, exchanges above all, each complete with its commitments. Bodies are hashed
//! as their bytes pass; nothing is read twice. What does not decode is treated as missing, since
//! the journal has checked its own sums before.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sealtap_common::commit::{self, Body, BodyKey, Unit};
use sealtap_common::leaf::{
    ClosedReason, End, ErrorCode, GapReason, Outcome, Policy, Ranges, Source,
};
use sealtap_common::unit::{Context, Ingress, Interim, RunNamedBy};

use super::known::Known;
use super::message::Message;
use super::run::UnderWay;
use super::sealed::{Direction, SealedBody, SealedUnit, Slot};
use crate::capture::journal::{Batch, RESUMED, Reason, RecordRef, Resumed};
use crate::capture::record::{
    Answered, Closed, Connected, Opened, Requested, kind, run_ended, run_opened,
};

/// What the records say.
#[derive(Debug)]
pub enum Event {
    /// An exchange is over.
    Exchange(Box<Digested>),
    /// A run goes on under the name of one that is closed.
    RunOpened {
        /// The run that begins.
        run: [u8; 16],
        /// The run that had its name.
        previous: [u8; 16],
    },
    /// A run is over, and so are all of its exchanges.
    RunEnded([u8; 16], ClosedReason),
    /// The journal had stopped taking records.
    Gap(Gap),
}

/// A time in which exchanges were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When it began, in microseconds since the Unix epoch.
    pub began_us: u64,
    /// When it ended, where that is known.
    pub ended_us: Option<u64>,
    /// How many exchanges were refused.
    pub count: u64,
    /// Why.
    pub reason: GapReason,
}

/// An exchange with its commitments, ready for a leaf.
#[derive(Debug)]
pub struct Digested {
    /// The boot that took it.
    pub boot: [u8; 16],
    /// Its number within that boot.
    pub number: u64,
    /// Its random id.
    pub id: [u8; 16],
    /// Its run's id.
    pub run: [u8; 16],
    /// What delimited its run.
    pub run_by: RunNamedBy,
    /// The journal file that its first record is in.
    pub first_file: u64,
    /// When it started, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// When it ended.
    pub ended_us: u64,
    /// When the head of its answer was complete.
    pub answered_us: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    pub error: Option<ErrorCode>,
    /// What the ends of its messages waited for.
    pub policy: Policy,
    /// The request's body and how it ended.
    pub request: (Body, End, bool),
    /// The response's body, how it ended, and who made it.
    pub response: Option<(Body, End, bool, Source)>,
    /// The committed units and what a leaf says of them.
    pub units: Vec<(SealedUnit, Unit)>,
    /// The bodies' places and segments.
    pub bodies: Vec<SealedBody>,
}

/// The exchanges of one boot while they are under way.
#[derive(Debug, Default)]
pub struct Digest {
    open: BTreeMap<u64, Exchange>,
    /// The highest number given.
    highest: u64,
    /// The files that exchanges began in since [`Digest::begun`] was last asked.
    begun: Vec<u64>,
    runs: UnderWay,
}

/// One exchange while it is under way.
#[derive(Debug)]
struct Exchange {
    boot: [u8; 16],
    number: u64,
    first_file: u64,
    opened: Known,
    connected: Option<(String, Option<String>)>,
    request: Message,
    response: Message,
    answered: Option<(u64, Source)>,
    /// What an answer of the gateway's own says of the exchange.
    verdict: Option<(Outcome, ErrorCode)>,
    interim: Vec<Vec<u8>>,
}

impl Digest {
    /// Takes a batch; `emit` is told of everything that is over.
    pub fn batch(&mut self, batch: &Batch, mut emit: impl FnMut(Event)) {
        for record in batch.records() {
            self.record(batch.boot, &record, &mut emit);
        }
    }

    /// The numbers given and not over.
    #[must_use]
    pub fn open(&self) -> Ranges {
        Ranges::from_numbers(self.open.keys().copied())
    }

    /// The highest number given so far.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The journal files of the exchanges that began since the last call.
    pub fn begun(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.begun)
    }

    /// Ends everything that is under way: those whose messages are both complete as complete, the
    /// rest as interrupted.
    pub fn interrupt(&mut self, mut emit: impl FnMut(Event)) {
        for (_, exchange) in std::mem::take(&mut self.open) {
            emit(Event::Exchange(Box::new(exchange.finish(None))));
        }
        for (run, reason) in self.runs.all_left() {
            emit(Event::RunEnded(run, reason));
        }
    }

    /// Ends everything under way when the journal comes back after an outage, its first records in
    /// `file`. An end that is recorded there was still in memory when the journal failed: it was
    /// never released, so its exchange was cut.
    fn interrupt_after_outage(&mut self, file: u64, mut emit: impl FnMut(Event)) {
        for (_, mut exchange) in std::mem::take(&mut self.open) {
            for message in [&mut exchange.request, &mut exchange.response] {
                if message.ended_in == Some(file) {
                    message.ended = None;
                }
            }
            emit(Event::Exchange(Box::new(exchange.finish(None))));
        }
        for (run, reason) in self.runs.all_left() {
            emit(Event::RunEnded(run, reason));
        }
    }

    fn record(&mut self, boot: [u8; 16], record: &RecordRef<'_>, emit: &mut impl FnMut(Event)) {
        let number = record.number;
        match record.kind {
            kind::OPENED => {
                self.highest = self.highest.max(number);
                self.begun.push(record.at.file);
                if let Ok(opened) = postcard::from_bytes::<Opened<'_>>(record.payload) {
                    self.runs.begun(opened.run);
                    self.open.insert(number, Exchange::new(boot, number, record.at.file, &opened));
                }
            }
            kind::CLOSED => {
                if let Some(exchange) = self.open.remove(&number) {
                    let closed = postcard::from_bytes::<Closed<'_>>(record.payload).ok();
                    let run = exchange.opened.run;
                    emit(Event::Exchange(Box::new(exchange.finish(closed))));
                    if let Some(reason) = self.runs.left(run) {
                        emit(Event::RunEnded(run, reason));
                    }
                }
            }
            kind::RUN_OPENED => {
                if let Some((run, previous)) = run_opened(record.payload) {
                    emit(Event::RunOpened { run, previous });
                }
            }
            kind::RUN_ENDED => {
                if let Some((run, reason)) = run_ended(record.payload)
                    && self.runs.ended(run, reason)
                {
                    emit(Event::RunEnded(run, reason));
                }
            }
            RESUMED => {
                // Whoever was under way when the journal failed was told so, and is over.
                self.interrupt_after_outage(record.at.file, &mut *emit);
                if let Some(resumed) = Resumed::decode(record.payload) {
                    emit(Event::Gap(Gap {
                        began_us: resumed.began_us,
                        ended_us: Some(resumed.ended_us),
                        count: resumed.refused,
                        reason: gap_reason(resumed.reason),
                    }));
                }
            }
            _ => {
                if let Some(exchange) = self.open.get_mut(&number) {
                    exchange.record(record);
                }
            }
        }
    }
}

/// The registered reason of a gap.
#[must_use]
pub fn gap_reason(reason: Reason) -> GapReason {
    match reason {
        Reason::DiskFull => GapReason::DiskFull,
        Reason::JournalFailed => GapReason::JournalFailed,
    }
}

impl Exchange {
    fn new(boot: [u8; 16], number: u64, first_file: u64, opened: &Opened<'_>) -> Self {
        let keys = &opened.keys;
        Self {
            boot,
            number,
            first_file,
            connected: None,
            request: Message::new(keys.request_body),
            response: Message::new(keys.response_body),
            answered: None,
            verdict: None,
            interim: Vec::new(),
            opened: Known::of(opened),
        }
    }

    fn record(&mut self, record: &RecordRef<'_>) {
        let payload = record.payload;
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
            kind::REQUEST_ENDED => self.request.end(record),
            kind::RESPONSE_ENDED => self.response.end(record),
            kind::INTERIM => self.interim.push(payload.to_vec()),
            kind::ANSWERED => {
                if let Ok(answered) = postcard::from_bytes::<Answered<'_>>(payload) {
                    self.response.begin(answered.dialect, &answered.head);
                    self.verdict = answered.by_gateway.and_then(|(outcome, error)| {
                        Some((Outcome::parse(&outcome)?, ErrorCode::parse(&error)?))
                    });
                    let source = match self.verdict {
                        Some(_) => Source::Gateway,
                        None => Source::Upstream,
                    };
                    self.answered = Some((answered.at_us, source));
                }
            }
            _ => {}
        }
    }

    fn finish(mut self, closed: Option<Closed<'_>>) -> Digested {
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

        let mut units = Vec::new();
        let mut unit = |slot: Slot, key: &[u8; 32], bytes: Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                let root = commit::unit(&BodyKey::new(*key), slot.kind(), &bytes);
                units.push((SealedUnit { slot, key: *key, bytes }, root));
            }
        };
        let keys = &known.keys;
        unit(Slot::Context, &keys.context, Some(self.context()));
        unit(Slot::RequestHead, &keys.request_head, self.request.head.take());
        unit(Slot::RequestTrailers, &keys.request_trailers, self.request.trailers.take());
        if self.answered.is_some() {
            unit(Slot::Interim, &keys.interim, joined(&self.interim));
            unit(Slot::ResponseHead, &keys.response_head, self.response.head.take());
            unit(Slot::ResponseTrailers, &keys.response_trailers, self.response.trailers.take());
        }
        let (boot, number, first_file) = (self.boot, self.number, self.first_file);
        let Known { id, run, run_by, started_us, policy, .. } = self.opened;
        let mut bodies = Vec::new();
        let (body, end, same, sealed) = self.request.finish(Direction::Request);
        bodies.extend(sealed);
        let request = (body, end, same);
        let response = self.answered.map(|(_, source)| {
            let (body, end, same, sealed) = self.response.finish(Direction::Response);
            bodies.extend(sealed);
            (body, end, same, source)
        });
        Digested {
            boot,
            number,
            id,
            run,
            run_by,
            first_file,
            started_us,
            ended_us: ended_us.max(started_us),
            answered_us,
            outcome,
            error,
            policy,
            request,
            response,
            units,
            bodies,
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
            ingress: Ingress::Reverse,
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

/// The interim answers as one unit.
fn joined(interim: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut heads = Vec::new();
    for unit in interim {
        heads.extend(Interim::decode(unit).ok()?.heads);
    }
    (!heads.is_empty()).then(|| Interim { heads }.encode())
}
