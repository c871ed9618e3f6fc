//! Leaves: what the log holds, one typed structure per kind.
//!
//! In: facts about an exchange or the gateway, or the bytes of an entry. Out: the canonical bytes of
//! the leaf, or the typed leaf, or why the bytes are not a leaf. A leaf holds only integers,
//! registered words, times, random ids and salted commitments, so that it is safe to publish.

mod bypass;
mod canary;
mod connection;
mod coverage;
mod decode;
mod dns_queries;
mod encode;
pub mod key_change;
mod listed;
mod progress;
mod ranges;
mod retention;
mod run;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use self::tests::coverage as coverage_samples;
mod tunnel;
mod words;

pub use bypass::Bypass;
pub use canary::{Canary, CanaryOutcome, CanaryWay, Trial};
pub use connection::{CONNECTION_EXTENSION, Connection, Passed, connection_tag};
pub use coverage::{
    Armed, Arrived, At, Attached, Counts, Coverage, CoverageSaid, Foreign, Statement, Sums,
};
pub use decode::DecodeError;
pub use dns_queries::DnsQueries;
pub use encode::EncodeError;
pub use key_change::{KeyChange, KeyChangeError};
pub use listed::{LISTED, Listed, More};
pub use progress::{Prefix, Progress, ProgressEntry};
pub use ranges::{Ranges, RangesError};
pub use retention::{Limit, Retention};
pub use run::{Isolation, LastLeaf, Output, RunAfter, RunClosed, RunOpened, RunRecord};
pub use tunnel::{Tunnel, alert_name};
pub use words::{
    Attribution, BypassUnit, BypassVerdict, BypassWay, Channel, ChannelState, ClosedReason,
    ConnectionEnd, CoverageEnd, CoverageMode, End, ErrorCode, GapAction, GapReason, IsolationBasis,
    IsolationLevel, KernelProgram, KeyRole, Kind, Outcome, Policy, RESERVED_KINDS, Side, Source,
    TunnelReason,
};

use std::collections::BTreeMap;

pub use crate::commit::{Body, Dialect, Unit};
use crate::encoding::Id;
use crate::tree::Hash;

/// Registered name to commitment; [`Leaf::knows`] says which names a leaf may bind.
pub type Extensions = BTreeMap<String, Hash>;

/// Any leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Kinds `exchange`, `refused`, `interrupted` and `opaque`.
    Exchange(Box<Exchange>),
    /// The first leaf of a boot.
    Restart(Restart),
    /// What is open and how far the numbers have come.
    Heartbeat(Heartbeat),
    /// A time in which traffic was refused or passed without capture.
    Gap(Gap),
    /// The log was taken over without its lock.
    Adopted(Adopted),
    /// Contents of exchanges are no longer held.
    Retention(Retention),
    /// What open exchanges have shown so far.
    Progress(Progress),
    /// One key took the place of another.
    KeyChange(Box<KeyChange>),
    /// A run that goes on under a name another run had.
    RunOpened(RunOpened),
    /// A run that is over.
    RunClosed(Box<RunClosed>),
    /// A signed record of a run.
    RunRecord(RunRecord),
    /// What the kernel can say about traffic that did not come to the gateway.
    Coverage(Box<Coverage>),
    /// A connection that the kernel led to the gateway.
    Connection(Box<Connection>),
    /// Something that went around the gateway.
    Bypass(Box<Bypass>),
    /// Queries at the resolver.
    DnsQueries(Box<DnsQueries>),
    /// A reserved or unknown kind: its place in the log is checked, its content is not.
    Unchecked(Unchecked),
}

/// One request and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The boot that took the exchange.
    pub boot: Id,
    /// The committed context: client, upstream, how the run was named.
    pub context: Unit,
    /// When it ended, in microseconds since the Unix epoch.
    pub ended: u64,
    /// What went wrong, if anything did.
    pub error: Option<ErrorCode>,
    /// The exchange's own random id.
    pub exchange: Id,
    /// Extensions.
    pub ext: Extensions,
    /// Consecutive within the boot, from 1.
    pub number: u64,
    /// How it ended as a whole; decides the leaf's kind.
    pub outcome: Outcome,
    /// What a message's end waited for.
    pub policy: Policy,
    /// The request.
    pub request: Request,
    /// The response, if a head came or was made, be it an interim one.
    pub response: Option<Response>,
    /// The exchange's place in its run.
    pub run: RunLink,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// When it started, in microseconds since the Unix epoch.
    pub started: u64,
    /// What passed through the tunnel that it opened, where that was not captured; decides the
    /// leaf's kind before the outcome does.
    pub tunnel: Option<Tunnel>,
}

impl Exchange {
    /// The kind of its leaf.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.tunnel {
            Some(_) => Kind::Opaque,
            None => self.outcome.kind(),
        }
    }
}

/// The request of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its body, possibly empty.
    pub body: Body,
    /// How the body ended.
    pub end: End,
    /// The committed head; `None` when no head could be read.
    pub head: Option<Unit>,
    /// Whether the body and the trailers that arrived are those that left.
    pub same: bool,
    /// Committed trailers, if any came.
    pub trailers: Option<Unit>,
}

/// The response of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its body, possibly empty.
    pub body: Body,
    /// How the body ended.
    pub end: End,
    /// The committed head; `None` where interim answers went out and no final head followed.
    pub head: Option<Unit>,
    /// Committed interim (1xx) answers, if any came.
    pub interim: Option<Unit>,
    /// Whether the body and the trailers that arrived are those that left.
    pub same: bool,
    /// Who made the response.
    pub source: Source,
    /// Committed trailers, if any came.
    pub trailers: Option<Unit>,
}

/// An exchange's place in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLink {
    /// The run's random id.
    pub id: Id,
    /// From 1, consecutive within the run.
    pub position: u64,
    /// The RFC 6962 leaf hash of the run's leaf at `position - 1`.
    pub previous: Option<Hash>,
}

/// Both clocks, read together, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Since the machine booted, sleep included.
    pub boottime: u64,
    /// Since the Unix epoch.
    pub wall: u64,
}

/// The first leaf of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The new boot's random id.
    pub boot: Id,
    /// Clocks at the start.
    pub clock: Clock,
    /// Extensions.
    pub ext: Extensions,
    /// What a message's end waits for in this boot.
    pub policy: Policy,
    /// What the boot before left, if there was one.
    pub previous: Option<Previous>,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// What a restart found of the boot before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// That boot's id.
    pub boot: Id,
    /// Whether it said goodbye with a closing heartbeat.
    pub clean: bool,
    /// Its highest exchange number.
    pub highest: u64,
    /// Numbers that were open when it ended; each is sealed as interrupted after this leaf.
    pub open: Ranges,
    /// Bytes of the journal's tail that were torn and dropped.
    pub torn: u64,
}

/// What is open and how far the numbers have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The boot that speaks.
    pub boot: Id,
    /// Clocks now.
    pub clock: Clock,
    /// The boot's last leaf: nothing is open, nothing more will come.
    pub closing: bool,
    /// Extensions.
    pub ext: Extensions,
    /// The highest exchange number given so far; 0 when none was.
    pub highest: u64,
    /// Numbers up to `highest` that have no leaf yet.
    pub open: Ranges,
    /// Which part of a heartbeat split over consecutive leaves, from 1.
    pub part: u64,
    /// How many parts there are.
    pub parts: u64,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// A time in which exchanges were refused or passed because they could not be captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What happened to the exchanges.
    pub action: GapAction,
    /// When it began, in microseconds since the Unix epoch.
    pub began: u64,
    /// The boot that speaks.
    pub boot: Id,
    /// How many exchanges it met.
    pub count: u64,
    /// When it ended; `None` when the end is not known, which leaves coverage unknown.
    pub ended: Option<u64>,
    /// Extensions.
    pub ext: Extensions,
    /// Why.
    pub reason: GapReason,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// The operator let a gateway go on with a log whose lock was missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The boot that adopted the log.
    pub boot: Id,
    /// Extensions.
    pub ext: Extensions,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// Size of the tree that was adopted.
    pub size: u64,
}

/// A leaf whose kind this version does not check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// The kind's name.
    pub kind: String,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// The leaf's canonical bytes.
    pub bytes: Vec<u8>,
}

impl Leaf {
    /// When the leaf was made, in microseconds since the Unix epoch.
    #[must_use]
    pub const fn sealed(&self) -> u64 {
        match self {
            Self::Exchange(leaf) => leaf.sealed,
            Self::Restart(leaf) => leaf.sealed,
            Self::Heartbeat(leaf) => leaf.sealed,
            Self::Gap(leaf) => leaf.sealed,
            Self::Adopted(leaf) => leaf.sealed,
            Self::Retention(leaf) => leaf.sealed,
            Self::Progress(leaf) => leaf.sealed,
            Self::KeyChange(leaf) => leaf.sealed,
            Self::RunOpened(leaf) => leaf.sealed,
            Self::RunClosed(leaf) => leaf.sealed,
            Self::RunRecord(leaf) => leaf.sealed,
            Self::Coverage(leaf) => leaf.sealed,
            Self::Connection(leaf) => leaf.sealed,
            Self::Bypass(leaf) => leaf.sealed,
            Self::DnsQueries(leaf) => leaf.sealed,
            Self::Unchecked(leaf) => leaf.sealed,
        }
    }

    /// The registered name of the leaf's kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Exchange(leaf) => leaf.kind().as_str(),
            Self::Restart(_) => Kind::Restart.as_str(),
            Self::Heartbeat(_) => Kind::Heartbeat.as_str(),
            Self::Gap(_) => Kind::Gap.as_str(),
            Self::Adopted(_) => Kind::Adopted.as_str(),
            Self::Retention(_) => Kind::Retention.as_str(),
            Self::Progress(_) => Kind::Progress.as_str(),
            Self::KeyChange(_) => Kind::KeyChange.as_str(),
            Self::RunOpened(_) => Kind::RunOpened.as_str(),
            Self::RunClosed(_) => Kind::RunClosed.as_str(),
            Self::RunRecord(_) => Kind::RunRecord.as_str(),
            Self::Coverage(leaf) => leaf.kind().as_str(),
            Self::Connection(_) => Kind::Connection.as_str(),
            Self::Bypass(_) => Kind::Bypass.as_str(),
            Self::DnsQueries(_) => Kind::DnsQueries.as_str(),
            Self::Unchecked(leaf) => &leaf.kind,
        }
    }

    /// Whether this version knows the extension `name` of this leaf.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        match self {
            Self::Exchange(leaf) => {
                let captured = leaf.outcome != Outcome::Refused && leaf.tunnel.is_none();
                name == CONNECTION_EXTENSION || name == crate::websocket::EXTENSION && captured
            }
            _ => false,
        }
    }

    /// The leaf's extensions; none are known for kinds that are not checked.
    #[must_use]
    pub const fn ext(&self) -> Option<&Extensions> {
        match self {
            Self::Exchange(leaf) => Some(&leaf.ext),
            Self::Restart(leaf) => Some(&leaf.ext),
            Self::Heartbeat(leaf) => Some(&leaf.ext),
            Self::Gap(leaf) => Some(&leaf.ext),
            Self::Adopted(leaf) => Some(&leaf.ext),
            Self::Retention(leaf) => Some(&leaf.ext),
            Self::Progress(leaf) => Some(&leaf.ext),
            Self::KeyChange(leaf) => Some(&leaf.ext),
            Self::RunOpened(leaf) => Some(&leaf.ext),
            Self::RunClosed(leaf) => Some(&leaf.ext),
            Self::RunRecord(leaf) => Some(&leaf.ext),
            Self::Coverage(leaf) => Some(&leaf.ext),
            Self::Connection(leaf) => Some(&leaf.ext),
            Self::Bypass(leaf) => Some(&leaf.ext),
            Self::DnsQueries(leaf) => Some(&leaf.ext),
            Self::Unchecked(_) => None,
        }
    }
}
