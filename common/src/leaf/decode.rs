//! Canonical bytes to leaves: every member known, every word registered, nothing left over.

use std::borrow::Cow;

use super::{
    Adopted, Body, Clock, Coverage, Dialect, End, ErrorCode, Exchange, Extensions, Gap, GapAction,
    GapReason, Heartbeat, KeyChange, KeyRole, Kind, Leaf, Outcome, Policy, Previous, Ranges,
    Request, Response, Restart, Retention, RunLink, Source, Unchecked, Unit, run,
};
use crate::encoding::{Id, base64_array};
use crate::json::{self, FieldError, JsonError, Members, Problem, Refusal, Value};
use crate::tile::MAX_ENTRY;
use crate::tree::Hash;

/// Why bytes are not a leaf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Over the limit of an entry.
    #[error("a leaf of {0} bytes is over the limit of 65535")]
    TooLong(usize),
    /// Not restricted canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is missing, unknown or wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Leaf {
    /// Reads a leaf from its canonical bytes. Encoding the result gives the same bytes.
    ///
    /// # Errors
    /// [`DecodeError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ENTRY {
            return Err(DecodeError::TooLong(bytes.len()));
        }
        let value = json::read(bytes)?;
        let members = value.members().map_err(|problem| FieldError::new("leaf", problem))?;
        let name = members.peek("kind").ok_or_else(|| FieldError::new("kind", Problem::Missing))?;
        let name = name.text().map_err(|problem| FieldError::new("kind", problem))?;
        let leaf = match Kind::parse(name) {
            Some(Kind::Exchange | Kind::Refused | Kind::Interrupted | Kind::Opaque) => {
                Self::Exchange(Box::new(exchange(members)?))
            }
            Some(Kind::Restart) => Self::Restart(restart(members)?),
            Some(Kind::Heartbeat) => Self::Heartbeat(heartbeat(members)?),
            Some(Kind::Gap) => Self::Gap(gap(members)?),
            Some(Kind::Adopted) => Self::Adopted(adopted(members)?),
            Some(Kind::Retention) => Self::Retention(Retention::decode(members)?),
            Some(Kind::Progress) => Self::Progress(super::progress::decode(members)?),
            Some(Kind::KeyChange) => Self::KeyChange(Box::new(key_change(members)?)),
            Some(Kind::RunOpened) => Self::RunOpened(run::opened(members)?),
            Some(Kind::RunClosed) => Self::RunClosed(Box::new(run::closed(members)?)),
            Some(Kind::RunRecord) => Self::RunRecord(run::record(members)?),
            Some(
                kind @ (Kind::CoverageArmed
                | Kind::CoverageHeartbeat
                | Kind::CoverageClosed
                | Kind::CoverageCanary),
            ) => Self::Coverage(Box::new(Coverage::decode(kind, members)?)),
            Some(Kind::Connection) => {
                Self::Connection(Box::new(super::Connection::decode(members)?))
            }
            Some(Kind::Bypass) => Self::Bypass(Box::new(super::Bypass::decode(members)?)),
            Some(Kind::DnsQueries) => {
                Self::DnsQueries(Box::new(super::DnsQueries::decode(members)?))
            }
            None => {
                json::same(&value.encode(), bytes)?;
                Self::Unchecked(unchecked(name, &members, bytes)?)
            }
        };
        // What was understood must be all there was: printed again it gives the same bytes.
        let again = leaf.encode().map_err(|_| DecodeError::TooLong(bytes.len()))?;
        json::same(&again, bytes)?;
        Ok(leaf)
    }
}

fn exchange(mut m: Members<'_, '_>) -> Result<Exchange, FieldError> {
    let boot = m.take("boot", id)?;
    let context = m.take("context", unit)?;
    let ended = m.take("ended", Value::unsigned)?;
    let error = m.take("error", |v| v.optional(|v| word(v, ErrorCode::parse)))?;
    let exchange = m.take("exchange", id)?;
    let ext = m.take("ext", extensions)?;
    let kind = m.take("kind", |v| word(v, Kind::parse))?;
    let number = m.take("number", positive)?;
    let outcome = m.take("outcome", |v| match word(v, Outcome::parse)? {
        outcome if outcome.kind() == kind => Ok(outcome),
        // A tunnel that was refused was none.
        outcome if kind == Kind::Opaque && outcome != Outcome::Refused => Ok(outcome),
        outcome => Err(Problem::Value(format!("{outcome} is not an outcome of kind {kind}"))),
    })?;
    let policy = m.take("policy", |v| word(v, Policy::parse))?;
    let request = m.take("request", request)?;
    let response = m.take("response", |v| v.optional(response))?;
    let run = m.take("run", run_link)?;
    let sealed = m.take("sealed", Value::unsigned)?;
    let started = m.take("started", Value::unsigned)?;
    let tunnel = match kind {
        Kind::Opaque => Some(m.take("tunnel", super::tunnel::decode)?),
        _ => None,
    };
    if tunnel.is_some() {
        bodiless("request", &request.body, request.trailers.as_ref())?;
        if let Some(response) = &response {
            bodiless("response", &response.body, response.trailers.as_ref())?;
        }
    }
    version(m)?;
    Ok(Exchange {
        boot,
        context,
        ended,
        error,
        exchange,
        ext,
        number,
        outcome,
        policy,
        request,
        response,
        run,
        sealed,
        started,
        tunnel,
    })
}

/// What passes through a tunnel is no body.
fn bodiless(name: &str, body: &Body, trailers: Option<&Unit>) -> Result<(), FieldError> {
    if body.length == 0 && trailers.is_none() {
        return Ok(());
    }
    Err(FieldError::new(name, Problem::Value("has a body or trailers beside a tunnel".into())))
}

fn request(value: &Value) -> Result<Request, Refusal> {
    let mut m = value.members()?;
    let request = Request {
        body: m.take("body", body)?,
        end: m.take("end", |v| word(v, End::parse))?,
        head: m.take("head", |v| v.optional(unit))?,
        same: m.take("same", Value::flag)?,
        trailers: m.take("trailers", |v| v.optional(unit))?,
    };
    m.end()?;
    Ok(request)
}

fn response(value: &Value) -> Result<Response, Refusal> {
    let mut m = value.members()?;
    let response = Response {
        body: m.take("body", body)?,
        end: m.take("end", |v| word(v, End::parse))?,
        head: m.take("head", |v| v.optional(unit))?,
        interim: m.take("interim", |v| v.optional(unit))?,
        same: m.take("same", Value::flag)?,
        source: m.take("source", |v| word(v, Source::parse))?,
        trailers: m.take("trailers", |v| v.optional(unit))?,
    };
    m.end()?;
    let Response { body, head, interim, trailers, .. } = &response;
    // Before a final head there is nothing but interim answers.
    if head.is_none() && (interim.is_none() || body.length > 0 || trailers.is_some()) {
        let problem = "null, and there is more than interim answers, or less".into();
        return Err(FieldError::new("head", Problem::Value(problem)).into());
    }
    Ok(response)
}

fn run_link(value: &Value) -> Result<RunLink, Refusal> {
    let mut m = value.members()?;
    let run = RunLink {
        id: m.take("id", id)?,
        position: m.take("position", positive)?,
        previous: m.take("previous", |v| v.optional(hash))?,
    };
    m.end()?;
    Ok(run)
}

fn restart(mut m: Members<'_, '_>) -> Result<Restart, FieldError> {
    let boot = m.take("boot", id)?;
    let clock = m.take("clock", clock)?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let policy = m.take("policy", |v| word(v, Policy::parse))?;
    let previous = m.take("previous", |v| v.optional(previous))?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(Restart { boot, clock, ext, policy, previous, sealed })
}

fn previous(value: &Value) -> Result<Previous, Refusal> {
    let mut m = value.members()?;
    let boot = m.take("boot", id)?;
    let clean = m.take("clean", Value::flag)?;
    let highest = m.take("highest", Value::unsigned)?;
    let open = m.take("open", |v| ranges(v, highest))?;
    let torn = m.take("torn", Value::unsigned)?;
    m.end()?;
    Ok(Previous { boot, clean, highest, open, torn })
}

fn heartbeat(mut m: Members<'_, '_>) -> Result<Heartbeat, FieldError> {
    let boot = m.take("boot", id)?;
    let clock = m.take("clock", clock)?;
    let closing = m.take("closing", Value::flag)?;
    let ext = m.take("ext", extensions)?;
    let highest = m.take("highest", Value::unsigned)?;
    m.take("kind", Value::text)?;
    let open = m.take("open", |v| match ranges(v, highest)? {
        open if closing && !open.is_empty() => {
            Err(Problem::Value("a closing heartbeat leaves nothing open".into()))
        }
        open => Ok(open),
    })?;
    let part = m.take("part", positive)?;
    let parts = m.take("parts", |v| match positive(v)? {
        parts if parts < part => Err(Problem::Value(format!("{parts} parts, this is {part}"))),
        parts => Ok(parts),
    })?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(Heartbeat { boot, clock, closing, ext, highest, open, part, parts, sealed })
}

fn gap(mut m: Members<'_, '_>) -> Result<Gap, FieldError> {
    let action = m.take("action", |v| word(v, GapAction::parse))?;
    let began = m.take("began", Value::unsigned)?;
    let boot = m.take("boot", id)?;
    let count = m.take("count", Value::unsigned)?;
    let ended = m.take("ended", |v| v.optional(Value::unsigned))?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let reason = m.take("reason", |v| word(v, GapReason::parse))?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(Gap { action, began, boot, count, ended, ext, reason, sealed })
}

fn adopted(mut m: Members<'_, '_>) -> Result<Adopted, FieldError> {
    let boot = m.take("boot", id)?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    m.take("reason", |v| word(v, |text| (text == "lock_missing").then_some(())))?;
    let sealed = m.take("sealed", Value::unsigned)?;
    let size = m.take("size", Value::unsigned)?;
    version(m)?;
    Ok(Adopted { boot, ext, sealed, size })
}

fn key_change(mut m: Members<'_, '_>) -> Result<KeyChange, FieldError> {
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let new = m.take("new", hash)?;
    let new_signature = m.take("new_signature", signature)?;
    let old = m.take("old", hash)?;
    let old_signature = m.take("old_signature", signature)?;
    let role = m.take("role", |v| word(v, KeyRole::parse))?;
    let sealed = m.take("sealed", Value::unsigned)?;
    let size = m.take("size", Value::unsigned)?;
    version(m)?;
    Ok(KeyChange { ext, new, new_signature, old, old_signature, role, sealed, size })
}

/// A kind of another version: only the members that every leaf has are read.
fn unchecked(kind: &str, m: &Members<'_, '_>, bytes: &[u8]) -> Result<Unchecked, FieldError> {
    let member = |name| m.peek(name).ok_or_else(|| FieldError::new(name, Problem::Missing));
    let here = |name| move |problem| FieldError::new(name, problem);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !kind.starts_with(|c: char| c.is_ascii_lowercase()) || !kind.chars().all(plain) {
        return Err(here("kind")(Problem::Type("a word of a-z, 0-9 and hyphens")));
    }
    member("ext")?.members().map_err(here("ext"))?;
    if *member("v")? != Value::Integer(1) {
        return Err(here("v")(Problem::Value("only version 1 is known".into())));
    }
    let sealed = member("sealed")?.unsigned().map_err(here("sealed"))?;
    Ok(Unchecked { kind: kind.to_owned(), sealed, bytes: bytes.to_vec() })
}

/// The last member of every leaf.
pub(super) fn version(mut m: Members<'_, '_>) -> Result<(), FieldError> {
    m.take("v", first_version)?;
    m.end()
}

/// The only version that is known.
pub(super) fn first_version(value: &Value) -> Result<(), Problem> {
    match value.unsigned()? {
        1 => Ok(()),
        other => Err(Problem::Value(format!("version {other}; only version 1 is known"))),
    }
}

pub(super) fn word<T>(value: &Value, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Problem> {
    let text = value.text()?;
    parse(text).ok_or_else(|| Problem::Value(format!("{text:?} is not a registered word here")))
}

pub(super) fn positive(value: &Value) -> Result<u64, Problem> {
    value.unsigned().ok().filter(|number| *number > 0).ok_or(Problem::Type("a positive integer"))
}

pub(super) fn id(value: &Value) -> Result<Id, Problem> {
    value.text()?.parse().map_err(|error| Problem::Value(format!("{error}")))
}

pub(super) fn hash(value: &Value) -> Result<Hash, Problem> {
    base64_array(value.text()?).map_err(|error| Problem::Value(error.to_string()))
}

fn signature(value: &Value) -> Result<[u8; 64], Problem> {
    base64_array(value.text()?).map_err(|error| Problem::Value(error.to_string()))
}

pub(super) fn unit(value: &Value) -> Result<Unit, Refusal> {
    let mut m = value.members()?;
    let unit = Unit { length: m.take("length", positive)?, root: m.take("root", hash)? };
    m.end()?;
    Ok(unit)
}

fn body(value: &Value) -> Result<Body, Refusal> {
    let mut m = value.members()?;
    let dialect = m.take("dialect", |v| word(v, Dialect::parse))?;
    let length = m.take("length", Value::unsigned)?;
    let root = m.take("root", hash)?;
    let segments = m.take("segments", |v| {
        u32::try_from(v.unsigned()?).map_err(|_| Problem::Type("an integer below 2^32"))
    })?;
    m.end()?;
    let body = Body { dialect, length, root, segments };
    if body.is_consistent() {
        Ok(body)
    } else {
        Err(Problem::Value(format!("{length} bytes cannot be cut into {segments} segments so"))
            .into())
    }
}

fn clock(value: &Value) -> Result<Clock, Refusal> {
    let mut m = value.members()?;
    let boottime = m.take("boottime", Value::unsigned)?;
    let wall = m.take("wall", Value::unsigned)?;
    m.end()?;
    Ok(Clock { boottime, wall })
}

pub(super) fn ranges(value: &Value, highest: u64) -> Result<Ranges, Problem> {
    let pairs = value.array()?.iter().map(|pair| match pair.array()? {
        [first, last] => Ok((first.unsigned()?, last.unsigned()?)),
        _ => Err(Problem::Type("an array of pairs")),
    });
    let ranges = Ranges::new(pairs.collect::<Result<_, _>>()?)
        .map_err(|error| Problem::Value(error.to_string()))?;
    if ranges.highest().is_some_and(|last| last > highest) {
        return Err(Problem::Value(format!("names a number above the highest, {highest}")));
    }
    Ok(ranges)
}

pub(super) fn extensions(value: &Value) -> Result<Extensions, Refusal> {
    let members = value.members()?;
    let entry = |(name, value): &(Cow<'_, str>, Value<'_>)| {
        let commitment = hash(value).map_err(|problem| FieldError::new(name.as_ref(), problem))?;
        Ok((name.clone().into_owned(), commitment))
    };
    members.all().iter().map(entry).collect::<Result<_, FieldError>>().map_err(Refusal::from)
}
