//! Reads the journal's records and makes of them what a leaf binds.
//!
//! In: batches, in order, live or read back after a crash: the code is the same. Out, through a
//! callback: [`Event`]s, exchanges above all, each complete with its commitments. Bodies are hashed
//! as their bytes pass; nothing is read twice. What does not decode is treated as missing, since
//! the journal has checked its own sums before.

use std::collections::BTreeMap;
use std::time::Duration;

use sealtap_common::commit::{Body, Unit};
use sealtap_common::leaf::{
    ClosedReason, Coverage, End, ErrorCode, GapReason, Leaf, Outcome, Policy, ProgressEntry,
    Ranges, Source, Tunnel,
};
use sealtap_common::unit::RunNamedBy;

use super::around::{DigestedBypass, went_around};
use super::connections::{Connections, DigestedConnection};
use super::deferred::Records;
use super::known::Known;
use super::pins::Held;
use super::queries::{DigestedQueries, names_asked};
use super::run::UnderWay;
use super::sealed::{SealedBody, SealedUnit};
use super::under_way::{Exchange, Told};
use crate::capture::journal::{Batch, RESUMED, Reason, RecordRef, Resumed};
use crate::capture::record::{Closed, kind, opened, run_ended, run_opened};

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
    /// The kernel said something: the leaf, but for its boot and time.
    Coverage(Box<Coverage>),
    /// A connection that the kernel led here is over, and so are its exchanges.
    Connection(Box<DigestedConnection>),
    /// Something went around: the leaf, but for its boot and time.
    Bypass(Box<DigestedBypass>),
    /// Names were asked for.
    DnsQueries(Box<DigestedQueries>),
    /// The journal had stopped taking records.
    Gap(Gap),
}

impl Event {
    /// Counts what these take on their way to the store: how many are exchanges, and all of their bytes.
    pub fn weigh(all: &mut [Self]) -> (u64, u64) {
        let (mut exchanges, mut bytes) = (0_u64, 0_u64);
        for event in all {
            bytes = bytes.saturating_add(match event {
                Self::Exchange(digested) => {
                    exchanges = exchanges.saturating_add(1);
                    digested.weight()
                }
                Self::Connection(connection) => connection.weigh(),
                Self::Bypass(bypass) => bypass.weigh(),
                Self::DnsQueries(queries) => queries.weigh(),
                _ => 0,
            });
        }
        (exchanges, bytes)
    }
}

/// A time in which exchanges were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The boot that refused.
    pub boot: [u8; 16],
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
    /// The connection that it came over, where the kernel led that here.
    pub connection: Option<[u8; 16]>,
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
    /// What its leaf says of its context.
    pub context: Unit,
    /// The request's body and how it ended.
    pub request: (Body, End, bool),
    /// The response's body, how it ended, and who made it.
    pub response: Option<(Body, End, bool, Source)>,
    /// The committed units and what a leaf says of them.
    pub units: Vec<(SealedUnit, Unit)>,
    /// The bodies' places and segments.
    pub bodies: Vec<SealedBody>,
    /// What passed through the tunnel that it opened, where that was not captured.
    pub tunnel: Option<Tunnel>,
    /// Where all of its records are.
    pub(super) records: Records,
}

/// The exchanges of one boot while they are under way.
#[derive(Debug, Default)]
pub struct Digest {
    /// Boxed: the map moves what it holds whenever something comes or goes.
    open: BTreeMap<u64, Box<Exchange>>,
    /// The highest number given.
    highest: u64,
    /// What began, and in which file, since [`Digest::begun`] was last asked.
    begun: Vec<(Held, u64)>,
    /// Bytes of the records of what is open.
    bytes: u64,
    runs: UnderWay,
    connections: Connections,
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

    /// How far exchanges have come that are open for `age` or longer: those of which something came
    /// since they were asked for last, and the numbers of the others.
    pub fn progress(&mut self, age: Duration) -> (Vec<ProgressEntry>, Ranges) {
        let (mut entries, mut unchanged) = (Vec::new(), Vec::new());
        let long = self.open.values_mut().filter(|exchange| exchange.since.elapsed() >= age);
        for exchange in long {
            if exchange.told == Told::All {
                unchanged.push(exchange.number);
                continue;
            }
            exchange.told = Told::All;
            entries.push(exchange.progress());
        }
        (entries, Ranges::from_numbers(unchanged))
    }

    /// The highest number given so far.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// What began since the last call, and the journal file that says so.
    pub fn begun(&mut self) -> Vec<(Held, u64)> {
        std::mem::take(&mut self.begun)
    }

    /// Bytes of the records of everything that is under way.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        self.bytes
    }

    /// The boot that is sealed says its last word: what came to a listener whose coverage never began
    /// has no place in the log.
    pub fn forget_unheard(&mut self) {
        self.connections.forget_unheard();
    }

    /// Ends everything that is under way: those whose messages are both complete as complete, the
    /// rest as interrupted.
    pub fn interrupt(&mut self, mut emit: impl FnMut(Event)) {
        self.bytes = 0;
        for (_, exchange) in std::mem::take(&mut self.open) {
            emit(Event::Exchange(Box::new(exchange.finish(None))));
        }
        for connection in self.connections.all() {
            emit(Event::Connection(Box::new(connection)));
        }
        for (run, reason) in self.runs.all_left() {
            emit(Event::RunEnded(run, reason));
        }
    }

    /// Ends everything under way when the journal comes back after an outage, its first records in
    /// `file`. An end that is recorded there was still in memory when the journal failed: it was
    /// never released, so its exchange was cut.
    fn interrupt_after_outage(&mut self, file: u64, mut emit: impl FnMut(Event)) {
        self.bytes = 0;
        for (_, mut exchange) in std::mem::take(&mut self.open) {
            for message in [&mut exchange.request, &mut exchange.response] {
                if message.ended_in == Some(file) {
                    message.ended = None;
                }
            }
            emit(Event::Exchange(Box::new(exchange.finish(None))));
        }
        for connection in self.connections.all_left() {
            emit(Event::Connection(Box::new(connection)));
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
                if let Some((opened, came)) = opened(record.payload) {
                    self.connections.carries(came.connection, number);
                    self.runs.begun(opened.run);
                    self.begun.push((Held::Exchange((boot, number)), record.at.file));
                    let known = Known::of(&opened, came);
                    let begun = Exchange::new(boot, number, record.at.file, known);
                    let mut exchange = Box::new(begun);
                    exchange.bytes = u64::from(record.at.length);
                    exchange.records.push(record.kind, record.at);
                    self.bytes = self.bytes.saturating_add(exchange.bytes);
                    self.open.insert(number, exchange);
                }
            }
            kind::CLOSED => {
                if let Some(mut exchange) = self.open.remove(&number) {
                    exchange.records.push(record.kind, record.at);
                    self.bytes = self.bytes.saturating_sub(exchange.bytes);
                    let closed = postcard::from_bytes::<Closed<'_>>(record.payload).ok();
                    let (run, connection) = (exchange.run(), exchange.connection());
                    emit(Event::Exchange(Box::new(exchange.finish(closed))));
                    if let Some(connection) = self.connections.left(connection) {
                        emit(Event::Connection(Box::new(connection)));
                    }
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
            kind::COVERAGE => {
                if let Ok(Leaf::Coverage(said)) = Leaf::decode(record.payload) {
                    let ready = self.connections.said(&said);
                    emit(Event::Coverage(said));
                    for connection in ready {
                        emit(Event::Connection(Box::new(connection)));
                    }
                }
            }
            kind::CONNECTION_BEGAN => {
                let come = self.connections.began(boot, record.payload, record.at.file);
                self.begun.extend(come.held);
                if let Some(connection) = come.over {
                    emit(Event::Connection(Box::new(connection)));
                }
            }
            kind::CONNECTION_LEARNED => self.connections.learned(record.payload),
            kind::CONNECTION_OVER => {
                if let Some(connection) = self.connections.over(record.payload) {
                    emit(Event::Connection(Box::new(connection)));
                }
            }
            kind::WENT_AROUND => {
                if let Some(bypass) = went_around(boot, record.payload, record.at.file) {
                    self.begun.extend(bypass.held.map(|held| (held, record.at.file)));
                    emit(Event::Bypass(bypass));
                }
            }
            kind::NAMES_ASKED => {
                if let Some(queries) = names_asked(boot, record.payload, record.at.file) {
                    self.begun.extend(queries.held.map(|held| (held, record.at.file)));
                    emit(Event::DnsQueries(queries));
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
                    self.begun.push((Held::Gap(boot, resumed.began_us), record.at.file));
                    emit(Event::Gap(Gap {
                        boot,
                        began_us: resumed.began_us,
                        ended_us: Some(resumed.ended_us),
                        count: resumed.refused,
                        reason: gap_reason(resumed.reason),
                    }));
                }
            }
            _ => {
                if let Some(exchange) = self.open.get_mut(&number) {
                    let bytes = u64::from(record.at.length);
                    exchange.bytes = exchange.bytes.saturating_add(bytes);
                    self.bytes = self.bytes.saturating_add(bytes);
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
