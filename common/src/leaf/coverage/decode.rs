//! Coverage leaves, read: each member in its place, each list in its order.

use super::{
    Armed, Arrived, At, Attached, Counts, Coverage, CoverageSaid, Foreign, Statement, Sums,
};
use crate::json::{FieldError, Members, Problem, Refusal, Value};
use crate::leaf::decode::{extensions, hash, id, positive, version, word};
use crate::leaf::listed::{Listed, more};
use crate::leaf::words::{Channel, ChannelState, CoverageEnd, CoverageMode, KernelProgram};

pub(super) fn armed(mut m: Members<'_, '_>) -> Result<Coverage, FieldError> {
    let boot = m.take("boot", id)?;
    let channels = m.take("channels", |v| -> Result<_, Refusal> {
        let listed = v.array()?;
        if listed.len() != Channel::ALL.len() {
            return Err(Problem::Value("does not list every channel".into()).into());
        }
        listed.iter().zip(Channel::ALL).map(|(listed, wanted)| channel(listed, *wanted)).collect()
    })?;
    let coverage = m.take("coverage", id)?;
    let ext = m.take("ext", extensions)?;
    let foreign = m.take("foreign", others)?;
    let foreign = m.take("foreign_more", |v| rest(foreign, v))?;
    m.take("kind", Value::text)?;
    let machine = m.take("machine", id)?;
    let mode = m.take("mode", |v| word(v, CoverageMode::parse))?;
    let object = m.take("object", hash)?;
    let older = m.take("older", Value::unsigned)?;
    let programs = m.take("programs", |v| -> Result<Vec<_>, Refusal> {
        let programs: Vec<Attached> =
            v.array()?.iter().map(attached).collect::<Result<_, Refusal>>()?;
        match programs.is_empty() {
            true => Err(Problem::Value("names no program".into()).into()),
            false => Ok(programs),
        }
    })?;
    let programs = m.take("programs_more", |v| rest(programs, v))?;
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    let said =
        CoverageSaid::Armed(Armed { channels, foreign, machine, mode, object, older, programs });
    Ok(Coverage { boot, coverage, ext, said, sealed })
}

pub(super) fn counted(mut m: Members<'_, '_>, closes: bool) -> Result<Coverage, FieldError> {
    let arrived = m.take("arrived", arrived)?;
    let boot = m.take("boot", id)?;
    let connections = m.take("connections", |v| v.optional(unit))?;
    let coverage = m.take("coverage", id)?;
    let ext = m.take("ext", extensions)?;
    let foreign = m.take("foreign", |v| v.optional(others))?;
    let foreign = m.take("foreign_more", |v| match foreign {
        Some(foreign) => rest(foreign, v).map(Some),
        None if *v == Value::Null => Ok(None),
        None => Err(Refusal::from(Problem::Value("is there without the others".into()))),
    })?;
    m.take("kind", Value::text)?;
    let late = m.take("late", |v| v.optional(Value::unsigned))?;
    let number = m.take("number", positive)?;
    let older = m.take("older", |v| v.optional(Value::unsigned))?;
    let scopes = (late, older);
    let counts =
        m.take("packets", |v| match (connections, foreign, scopes, v.optional(unit)?) {
            (Some(connections), Some(foreign), (Some(late), Some(older)), Some(packets)) => {
                Ok(Some(Counts { connections, foreign, late, older, packets }))
            }
            (None, None, (None, None), None) if closes => Ok(None),
            _ => Err(Refusal::from(Problem::Value(
                "is there without the others, or lacks them".into(),
            ))),
        })?;
    let has_numbers = counts.is_some();
    let reason = |v: &Value| match word(v, CoverageEnd::parse)? {
        reason if has_numbers != reason.has_numbers() => {
            Err(Problem::Value("has numbers, or lacks them, against its reason".into()))
        }
        reason => Ok(reason),
    };
    let said = match (closes, counts) {
        (false, Some(counts)) => CoverageSaid::Heartbeat(Statement { arrived, counts, number }),
        (_, counts) => CoverageSaid::Closed(counts, arrived, number, m.take("reason", reason)?),
    };
    let sealed = m.take("sealed", Value::unsigned)?;
    version(m)?;
    Ok(Coverage { boot, coverage, ext, said, sealed })
}

fn channel(value: &Value, wanted: Channel) -> Result<ChannelState, Refusal> {
    let mut m = value.members()?;
    m.take("channel", |v| match word(v, Channel::parse)? {
        channel if channel == wanted => Ok(()),
        _ => Err(Problem::Value("is not in the place of its channel".into())),
    })?;
    let state = m.take("state", |v| match word(v, ChannelState::parse)? {
        ChannelState::CanaryTested => {
            Err(Problem::Value("is for a verifier to find: no canary came before".into()))
        }
        state => Ok(state),
    })?;
    m.end()?;
    Ok(state)
}

fn attached(value: &Value) -> Result<Attached, Refusal> {
    let mut m = value.members()?;
    let cgroup = m.take("cgroup", |v| v.optional(positive))?;
    let at = m.take("device", |v| match (cgroup, v.optional(positive)?) {
        (Some(id), None) => Ok(At::Cgroup(id)),
        (None, Some(index)) => Ok(At::Device(index)),
        (None, None) => Ok(At::Machine),
        _ => Err(Refusal::from(Problem::Value("is there beside a cgroup".into()))),
    })?;
    let attached = Attached {
        at,
        id: m.take("id", positive)?,
        link: m.take("link", |v| v.optional(positive))?,
        program: m.take("program", |v| match word(v, KernelProgram::parse)? {
            program if (program == KernelProgram::Exec) != (at == At::Machine) => {
                Err(Problem::Value("is at no cgroup or device, or at one against its word".into()))
            }
            program => Ok(program),
        })?,
        // Written again it gives the same sixteen digits, or the leaf is not canonical.
        tag: m.take("tag", |v| {
            let digits = v.text()?;
            u64::from_str_radix(digits, 16)
                .map_err(|_| Problem::Value("is no hexadecimal number".into()))
        })?,
    };
    m.end()?;
    Ok(attached)
}

fn arrived(value: &Value) -> Result<Arrived, Refusal> {
    let mut m = value.members()?;
    let attributed = m.take("attributed", Value::unsigned)?;
    let known = m.take("known", Value::unsigned)?;
    let refused = m.take("refused", Value::unsigned)?;
    let refused_led = m.take("refused_led", Value::unsigned)?;
    m.end()?;
    Ok(Arrived { attributed, known, refused, refused_led })
}

fn unit(value: &Value) -> Result<Sums, Refusal> {
    let mut m = value.members()?;
    let mut number = |name| m.take(name, Value::unsigned);
    let sums = Sums {
        allowed: number("allowed")?,
        bypass_denied: number("bypass_denied")?,
        bypass_passed: number("bypass_passed")?,
        events_lost: number("events_lost")?,
        events_read: number("events_read")?,
        loopback: number("loopback")?,
        seen: number("seen")?,
        unparsable: number("unparsable")?,
        via_gateway: number("via_gateway")?,
    };
    m.end()?;
    Ok(sums)
}

/// What is listed, with what stands for the rest of it.
fn rest<T>(each: Vec<T>, value: &Value<'_>) -> Result<Listed<T>, Refusal> {
    Ok(Listed::read(each, more(value)?)?)
}

/// In ascending order, each once, so that one set has one text.
fn others(value: &Value) -> Result<Vec<Foreign>, Refusal> {
    let other = |value: &Value| -> Result<Foreign, Refusal> {
        let mut m = value.members()?;
        let beside = m.take("beside", |v| word(v, KernelProgram::parse))?;
        let id = m.take("id", positive)?;
        m.end()?;
        Ok(Foreign { beside, id })
    };
    let all: Vec<Foreign> = value.array()?.iter().map(other).collect::<Result<_, Refusal>>()?;
    let key = |other: &Foreign| (other.beside.as_str(), other.id);
    match all.is_sorted_by(|one, next| key(one) < key(next)) {
        true => Ok(all),
        false => Err(Problem::Value("is not in ascending order".into()).into()),
    }
}

impl CoverageEnd {
    /// Whether the last numbers are stated.
    #[must_use]
    pub const fn has_numbers(self) -> bool {
        matches!(self, Self::Ended | Self::LinksChanged)
    }

    /// What it means, for people.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Ended => "what was watched is over",
            Self::LinksChanged => {
                "a program of the kernel was detached or replaced, or what the programs go by was changed"
            }
            Self::LoaderGone => "what held the programs is gone, with its last numbers",
            Self::NumbersWrong => "the kernel's numbers did not add up, or not all are known",
            Self::Unwatched => "a cgroup that should be watched is not",
        }
    }
}
