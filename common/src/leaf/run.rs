//! The leaves of runs: one that goes on under an old name, one that is over, the record of one.
//!
//! A run's closing leaf says everything that its record says, so that the record is a function of
//! it, and whoever holds the log can make the record's payload again.

use super::decode::{extensions, hash, id, positive, version, word};
use super::encode::{EncodeError, Writer};
use super::{ClosedReason, Extensions, IsolationBasis, IsolationLevel, Kind, Policy};
use crate::encoding::Id;
use crate::json::{FieldError, Members, Problem, Refusal, Value};
use crate::tree::Hash;
use crate::unit::RunNamedBy;

/// Stands directly in front of a run's first exchange, and says which run its name had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOpened {
    /// The boot that speaks.
    pub boot: Id,
    /// Extensions.
    pub ext: Extensions,
    /// The closed run that had the name before.
    pub previous: RunAfter,
    /// The run that begins.
    pub run: Id,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// A run that was closed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAfter {
    /// The RFC 6962 leaf hash of its closing leaf.
    pub closed: Hash,
    /// Its id.
    pub run: Id,
}

/// A run is over: nothing of it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunClosed {
    /// The boot that the whole run belongs to.
    pub boot: Id,
    /// What delimited the run.
    pub by: RunNamedBy,
    /// How many exchanges it has.
    pub count: u64,
    /// The latest `ended` of its exchanges.
    pub ended: u64,
    /// Extensions.
    pub ext: Extensions,
    /// The index of its first exchange's leaf.
    pub first: u64,
    /// How many of its exchanges came over connections that the kernel led to the gateway.
    pub inside: u64,
    /// How far the gateway's keys are from the app.
    pub isolation: Isolation,
    /// Its last exchange's leaf.
    pub last: LastLeaf,
    /// The last answer of an upstream in it.
    pub output: Option<Output>,
    /// `relaxed` if any of its exchanges was.
    pub policy: Policy,
    /// Why it was closed.
    pub reason: ClosedReason,
    /// The RFC 6962 root over the leaf hashes of its exchanges, by position.
    pub root: Hash,
    /// The run.
    pub run: Id,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// The earliest `started` of its exchanges.
    pub started: u64,
}

/// How far the gateway's keys are from the app, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isolation {
    /// Where the gateway knows it from.
    pub basis: IsolationBasis,
    /// How far.
    pub level: IsolationLevel,
}

/// The last exchange of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastLeaf {
    /// Its leaf hash.
    pub hash: Hash,
    /// Its leaf's index.
    pub index: u64,
}

/// The body that a run ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// The index of its exchange's leaf.
    pub index: u64,
    /// The root of the response's body in that leaf.
    pub root: Hash,
}

/// A record of a run was signed. Stands directly behind the run's closing leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The boot that speaks.
    pub boot: Id,
    /// Extensions.
    pub ext: Extensions,
    /// SHA-256 of what was signed: the record's DSSE pre-authentication encoding.
    pub record: Hash,
    /// The run.
    pub run: Id,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

impl RunOpened {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(320);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::RunOpened.as_str());
        w.fixed(",\"previous\":{\"closed\":").hash(&self.previous.closed);
        w.fixed(",\"run\":").id(&self.previous.run).fixed("},\"run\":").id(&self.run);
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }
}

impl RunClosed {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(768);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"by\":").word(self.by.as_str());
        w.fixed(",\"count\":").number(self.count).fixed(",\"ended\":").number(self.ended);
        w.fixed(",\"ext\":").ext(&self.ext).fixed(",\"first\":").number(self.first);
        w.fixed(",\"inside\":").number(self.inside);
        w.fixed(",\"isolation\":{\"basis\":").word(self.isolation.basis.as_str());
        w.fixed(",\"level\":").word(self.isolation.level.as_str());
        w.fixed("},\"kind\":").word(Kind::RunClosed.as_str());
        w.fixed(",\"last\":{\"hash\":").hash(&self.last.hash);
        w.fixed(",\"index\":").number(self.last.index);
        w.fixed("},\"output\":").optional(self.output.as_ref(), |w, output| {
            w.fixed("{\"index\":").number(output.index);
            w.fixed(",\"root\":").hash(&output.root).fixed("}");
        });
        w.fixed(",\"policy\":").word(self.policy.as_str());
        w.fixed(",\"reason\":").word(self.reason.as_str());
        w.fixed(",\"root\":").hash(&self.root).fixed(",\"run\":").id(&self.run);
        w.fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"started\":").number(self.started).fixed(",\"v\":1}");
        w.finish()
    }
}

impl RunRecord {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(256);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::RunRecord.as_str());
        w.fixed(",\"record\":").hash(&self.record).fixed(",\"run\":").id(&self.run);
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }
}

pub(super) fn opened(mut m: Members<'_, '_>) -> Result<RunOpened, FieldError> {
    let boot = m.take("boot", id)?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let previous = m.take("previous", after)?;
    let run = m.take("run", id)?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(RunOpened { boot, ext, previous, run, sealed })
}

pub(super) fn closed(mut m: Members<'_, '_>) -> Result<RunClosed, FieldError> {
    let boot = m.take("boot", id)?;
    let by = m.take("by", |v| word(v, RunNamedBy::parse))?;
    let count = m.take("count", positive)?;
    let ended = m.take("ended", Value::unsigned)?;
    let ext = m.take("ext", extensions)?;
    let first = m.take("first", Value::unsigned)?;
    let inside = m.take("inside", |v| match v.unsigned()? {
        inside if inside > count => Err(Problem::Value("is above its count".into()).into()),
        inside => Ok::<_, Refusal>(inside),
    })?;
    let isolation = m.take("isolation", isolation)?;
    m.take("kind", Value::text)?;
    let last = m.take("last", last)?;
    let output = m.take("output", |v| v.optional(output))?;
    let policy = m.take("policy", |v| word(v, Policy::parse))?;
    let reason = m.take("reason", |v| word(v, ClosedReason::parse))?;
    let root = m.take("root", hash)?;
    let run = m.take("run", id)?;
    let sealed = m.take("sealed", Value::unsigned)?;
    let started = m.take("started", Value::unsigned)?;
    version(m)?;
    Ok(RunClosed {
        boot,
        by,
        count,
        ended,
        ext,
        first,
        inside,
        isolation,
        last,
        output,
        policy,
        reason,
        root,
        run,
        sealed,
        started,
    })
}

pub(super) fn record(mut m: Members<'_, '_>) -> Result<RunRecord, FieldError> {
    let boot = m.take("boot", id)?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let record = m.take("record", hash)?;
    let run = m.take("run", id)?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(RunRecord { boot, ext, record, run, sealed })
}

fn after(value: &Value) -> Result<RunAfter, Refusal> {
    let mut m = value.members()?;
    let after = RunAfter { closed: m.take("closed", hash)?, run: m.take("run", id)? };
    m.end()?;
    Ok(after)
}

fn isolation(value: &Value) -> Result<Isolation, Refusal> {
    let mut m = value.members()?;
    let isolation = Isolation {
        basis: m.take("basis", |v| word(v, IsolationBasis::parse))?,
        level: m.take("level", |v| word(v, IsolationLevel::parse))?,
    };
    m.end()?;
    Ok(isolation)
}

fn last(value: &Value) -> Result<LastLeaf, Refusal> {
    let mut m = value.members()?;
    let last = LastLeaf { hash: m.take("hash", hash)?, index: m.take("index", Value::unsigned)? };
    m.end()?;
    Ok(last)
}

fn output(value: &Value) -> Result<Output, Refusal> {
    let mut m = value.members()?;
    let output = Output { index: m.take("index", Value::unsigned)?, root: m.take("root", hash)? };
    m.end()?;
    Ok(output)
}
