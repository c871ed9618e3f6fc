//! Progress leaves: what exchanges that stay open have shown so far, bound before they end.

use super::decode::{extensions, hash, id, positive, ranges, version};
use super::encode::Writer;
use super::{Body, EncodeError, Extensions, Kind, Ranges};
use crate::encoding::Id;
use crate::json::{FieldError, MAX_INTEGER, Members, Problem, Refusal, Value};
use crate::tree::{EMPTY_ROOT, Hash};

/// Prefixes of open exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The boot that speaks.
    pub boot: Id,
    /// Exchanges of which something came since they were named last, by number, ascending.
    pub entries: Vec<ProgressEntry>,
    /// Extensions.
    pub ext: Extensions,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// Numbers of exchanges that are as the last progress leaf with an entry for them says.
    pub unchanged: Ranges,
}

/// One open exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressEntry {
    /// Its random id.
    pub exchange: Id,
    /// Its number.
    pub number: u64,
    /// What came of the request's body.
    pub request: Prefix,
    /// What came of the response's body, once its head came.
    pub response: Option<Prefix>,
}

/// The beginning of a body that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes so far.
    pub length: u64,
    /// The root over the segments that are closed.
    pub root: Hash,
    /// Segments that are closed; they and their cuts are final.
    pub segments: u32,
    /// The commitment to the bytes behind them, where there are any.
    pub tail: Option<Hash>,
}

impl Prefix {
    /// Whether its numbers can belong together.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let segments = u64::from(self.segments);
        let closed = if segments == 0 { self.root == EMPTY_ROOT } else { self.root != EMPTY_ROOT };
        closed
            && segments <= self.length
            && (segments > 0 || self.tail.is_some() == (self.length > 0))
    }

    /// Whether this can be what `earlier` grew into.
    #[must_use]
    pub fn continues(&self, earlier: &Self) -> bool {
        if self.length == earlier.length {
            return self == earlier;
        }
        let same = self.segments > earlier.segments || self.root == earlier.root;
        self.length > earlier.length && self.segments >= earlier.segments && same
    }

    /// Whether the body of a later leaf can begin with this.
    #[must_use]
    pub fn begins(&self, body: &Body) -> bool {
        let same = self.segments < body.segments || self.root == body.root;
        self.length <= body.length && self.segments <= body.segments && same
    }
}

impl Progress {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(512 * self.entries.len().saturating_add(1));
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"entries\":[");
        for (n, entry) in self.entries.iter().enumerate() {
            w.fixed(if n > 0 { ",{\"exchange\":" } else { "{\"exchange\":" }).id(&entry.exchange);
            w.fixed(",\"number\":").number(entry.number).fixed(",\"request\":");
            prefix_to(&mut w, &entry.request);
            w.fixed(",\"response\":").optional(entry.response.as_ref(), prefix_to);
            w.fixed("}");
        }
        w.fixed("],\"ext\":").ext(&self.ext).fixed(",\"kind\":").word(Kind::Progress.as_str());
        w.fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"unchanged\":").ranges(&self.unchanged).fixed(",\"v\":1}");
        w.finish()
    }
}

fn prefix_to(w: &mut Writer, prefix: &Prefix) {
    w.fixed("{\"length\":").number(prefix.length).fixed(",\"root\":").hash(&prefix.root);
    w.fixed(",\"segments\":").number(u64::from(prefix.segments));
    w.fixed(",\"tail\":").optional(prefix.tail.as_ref(), |w, tail| {
        w.hash(tail);
    });
    w.fixed("}");
}

pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Progress, FieldError> {
    let boot = m.take("boot", id)?;
    let entries = m.take("entries", |value| {
        let entries = value.array()?.iter().map(entry).collect::<Result<Vec<_>, Refusal>>()?;
        let ascending = entries.windows(2).all(|pair| match pair {
            [before, after] => before.number < after.number,
            _ => true,
        });
        if ascending { Ok(entries) } else { Err(Refusal::from(unordered())) }
    })?;
    let ext = m.take("ext", extensions)?;
    m.take("kind", Value::text)?;
    let sealed = m.take("sealed", Value::unsigned)?;
    let unchanged = m.take("unchanged", |value| {
        let unchanged = ranges(value, MAX_INTEGER)?;
        if entries.iter().any(|entry| unchanged.contains(entry.number)) {
            return Err(Problem::Value("names a number that has an entry".into()));
        }
        if entries.is_empty() && unchanged.is_empty() {
            return Err(Problem::Value("a progress leaf that tells of nothing".into()));
        }
        Ok(unchanged)
    })?;
    version(m)?;
    Ok(Progress { boot, entries, ext, sealed, unchanged })
}

fn unordered() -> Problem {
    Problem::Value("the numbers of entries must ascend".into())
}

fn entry(value: &Value) -> Result<ProgressEntry, Refusal> {
    let mut m = value.members()?;
    let entry = ProgressEntry {
        exchange: m.take("exchange", id)?,
        number: m.take("number", positive)?,
        request: m.take("request", prefix)?,
        response: m.take("response", |v| v.optional(prefix))?,
    };
    m.end()?;
    Ok(entry)
}

fn prefix(value: &Value) -> Result<Prefix, Refusal> {
    let mut m = value.members()?;
    let length = m.take("length", Value::unsigned)?;
    let root = m.take("root", hash)?;
    let segments = m.take("segments", |v| {
        u32::try_from(v.unsigned()?).map_err(|_| Problem::Type("an integer below 2^32"))
    })?;
    let tail = m.take("tail", |v| v.optional(hash))?;
    m.end()?;
    let prefix = Prefix { length, root, segments, tail };
    if prefix.is_consistent() {
        return Ok(prefix);
    }
    Err(Problem::Value(format!("{length} bytes cannot have {segments} segments and this tail"))
        .into())
}
