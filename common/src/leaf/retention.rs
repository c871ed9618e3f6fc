//! The leaf of kind `retention`: which contents are held no longer.

use super::decode::{extensions, id, positive, ranges, version};
use super::encode::{EncodeError, Writer};
use super::{Extensions, Kind, Ranges};
use crate::encoding::Id;
use crate::json::{FieldError, Members, Problem, Refusal, Value};

/// What the exchanges at these leaves commit to is held no longer, or goes now: bodies, heads and
/// the keys of both. It is the operator's declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The boot that speaks.
    pub boot: Id,
    /// Extensions.
    pub ext: Extensions,
    /// Indices of leaves before this one; ranges may run over leaves that are no exchanges.
    pub leaves: Ranges,
    /// What was allowed to be held.
    pub limit: Limit,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
}

/// How long contents are held, and how much of them; at least one of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The longest after an exchange was sealed, in microseconds.
    pub age: Option<u64>,
    /// Bytes of all that is held.
    pub bytes: Option<u64>,
}

impl Retention {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let number = |w: &mut Writer, number| {
            w.number(number);
        };
        let mut w = Writer::new(256);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::Retention.as_str());
        w.fixed(",\"leaves\":").ranges(&self.leaves);
        w.fixed(",\"limit\":{\"age\":").optional(self.limit.age, number);
        w.fixed(",\"bytes\":").optional(self.limit.bytes, number);
        w.fixed("},\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }

    pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Self, FieldError> {
        let boot = m.take("boot", id)?;
        let ext = m.take("ext", extensions)?;
        m.take("kind", Value::text)?;
        let leaves = m.take("leaves", |v| match ranges(v, u64::MAX)? {
            leaves if leaves.is_empty() => Err(Problem::Value("names no leaves".into())),
            leaves => Ok(leaves),
        })?;
        let limit = m.take("limit", limit)?;
        let sealed = m.take("sealed", Value::unsigned)?;
        version(m)?;
        Ok(Self { boot, ext, leaves, limit, sealed })
    }
}

fn limit(value: &Value) -> Result<Limit, Refusal> {
    let mut m = value.members()?;
    let age = m.take("age", |v| v.optional(positive))?;
    let bytes = m.take("bytes", |v| v.optional(positive))?;
    m.end()?;
    match (age, bytes) {
        (None, None) => Err(Problem::Value("limits neither age nor bytes".into()).into()),
        _ => Ok(Limit { age, bytes }),
    }
}
