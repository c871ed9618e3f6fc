//! Traffic: exchanges, connections and bytes, counted where they pass.
//!
//! In: a word at the beginning and at the end of each exchange and connection. Out: the numbers, for
//! `families`. Counting is relaxed atomic addition into rows that are made at the start, one for each
//! name of the table of upstreams: no lock, no allocation, and no label that a client could choose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use sealtap_common::leaf::{ErrorCode, Outcome};

use crate::forward::Summary;
use crate::tally::Histogram;

/// The label of exchanges that have no upstream; no upstream can have this name.
pub(super) const NO_UPSTREAM: &str = "-";

/// Every outcome, in the order of a row's counters.
pub(super) const OUTCOMES: [Outcome; 5] = [
    Outcome::Complete,
    Outcome::ClientCancelled,
    Outcome::UpstreamFailed,
    Outcome::Refused,
    Outcome::Interrupted,
];

/// Every error, in the order of its counters.
pub(super) const ERRORS: [ErrorCode; 13] = [
    ErrorCode::UnknownUpstream,
    ErrorCode::MalformedRequest,
    ErrorCode::HeadTooLarge,
    ErrorCode::UpstreamUnreachable,
    ErrorCode::UpstreamTls,
    ErrorCode::UpstreamTimeout,
    ErrorCode::UpstreamProtocol,
    ErrorCode::UpstreamClosed,
    ErrorCode::JournalFailed,
    ErrorCode::ShuttingDown,
    ErrorCode::ProxyCredentials,
    ErrorCode::DestinationRefused,
    ErrorCode::ClientTls,
];

/// What is counted for one upstream.
#[derive(Debug, Default)]
pub struct Row {
    /// Exchanges that are over, by outcome.
    pub outcomes: [AtomicU64; OUTCOMES.len()],
    /// Body bytes from clients.
    pub request_bytes: AtomicU64,
    /// Body bytes to clients.
    pub response_bytes: AtomicU64,
    /// From a request's head to the end of its answer.
    pub duration: Histogram,
    /// From a request's head to the head of its answer.
    pub first_byte: Histogram,
}

/// Rows by the names of upstreams.
type Rows = BTreeMap<String, Arc<Row>>;

/// Everything that traffic counts.
#[derive(Debug)]
pub struct Traffic {
    /// Each name of the table to its row; a pattern stands under its own name.
    rows: ArcSwap<Rows>,
    /// Exchanges that no upstream was found for.
    unrouted: Arc<Row>,
    /// Exchanges that ended with an error, by error code.
    pub errors: [AtomicU64; ERRORS.len()],
    /// Requests that were turned away and have no number, because the journal was down.
    pub turned_away: AtomicU64,
    /// Exchanges under way.
    pub open: AtomicU64,
    /// Connections of clients that are open.
    pub connections: AtomicU64,
    /// Connections of clients so far.
    pub accepted: AtomicU64,
}

impl Traffic {
    /// Counters for the upstreams called `names`, where a pattern is `NAME/LABEL`.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let traffic = Self {
            rows: ArcSwap::default(),
            unrouted: Arc::default(),
            errors: Default::default(),
            turned_away: AtomicU64::new(0),
            open: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        };
        traffic.add(names);
        traffic
    }

    /// Adds rows for those of `names` that have none; what was counted stays, also of names that are
    /// not among them.
    pub fn add(&self, names: &[String]) {
        let mut rows = Rows::clone(&self.rows.load());
        for name in names.iter().filter_map(|name| name.split('/').next()) {
            rows.entry(name.to_owned()).or_default();
        }
        self.rows.store(Arc::new(rows));
    }

    /// The row of an upstream by its name in a record, where the label of a pattern, which a client
    /// chose, stands behind a slash.
    #[must_use]
    pub fn row(&self, upstream: Option<&str>) -> Arc<Row> {
        let name = upstream.and_then(|name| name.split('/').next());
        let rows = self.rows.load();
        Arc::clone(name.and_then(|name| rows.get(name)).unwrap_or(&self.unrouted))
    }

    /// Every row under its label.
    pub fn rows(&self) -> impl Iterator<Item = (String, Arc<Row>)> {
        let rows = self.rows.load();
        let named = rows.iter().map(|(name, row)| (name.clone(), Arc::clone(row)));
        named
            .chain([(NO_UPSTREAM.to_owned(), Arc::clone(&self.unrouted))])
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// An exchange begins; it is under way until what comes back is dropped.
    #[must_use]
    pub fn begin(&self) -> Present<'_> {
        Present::in_(&self.open)
    }

    /// A client connects; it stays until what comes back is dropped.
    #[must_use]
    pub fn connect(&self) -> Present<'_> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Present::in_(&self.connections)
    }

    /// An exchange is over.
    pub fn end(&self, row: &Row, summary: &Summary) {
        let add = |counter: &AtomicU64, amount| counter.fetch_add(amount, Ordering::Relaxed);
        if summary.number == 0 {
            // The journal was down: a gap leaf counts it.
            add(&self.turned_away, 1);
            return;
        }
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == summary.outcome);
        if let Some(counter) = outcome.and_then(|index| row.outcomes.get(index)) {
            add(counter, 1);
        }
        let error = ERRORS.iter().position(|error| Some(*error) == summary.error);
        if let Some(counter) = error.and_then(|index| self.errors.get(index)) {
            add(counter, 1);
        }
        add(&row.request_bytes, summary.request_bytes);
        add(&row.response_bytes, summary.response_bytes);
        row.duration.add_us(summary.duration_us);
        if let Some(first) = summary.ttfb_us {
            row.first_byte.add_us(first);
        }
    }
}

/// Counted as present until it is dropped, however its task ends.
#[derive(Debug)]
pub struct Present<'a>(&'a AtomicU64);

impl<'a> Present<'a> {
    fn in_(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
