//! The leaf of kind `bypass`: one way around the gateway that was taken or tried, or how many more of
//! a kind there were than are told one by one.

use super::decode::{extensions, first_version, id, positive, unit, word};
use super::encode::{EncodeError, Writer};
use super::words::{BypassUnit, BypassVerdict, BypassWay, Kind};
use super::{Extensions, Unit};
use crate::encoding::Id;
use crate::json::{FieldError, Members, Problem, Value};

/// Something that went around the gateway, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bypass {
    /// The boot that speaks.
    pub boot: Id,
    /// How many this leaf stands for: 1 where it says who went where.
    pub count: u64,
    /// The coverage that saw it.
    pub coverage: Id,
    /// Extensions.
    pub ext: Extensions,
    /// Consecutive within the coverage, from 1.
    pub number: u64,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// The number of the statement that counts it, which stands behind.
    pub statement: u64,
    /// What was counted.
    pub unit: BypassUnit,
    /// What became of it.
    pub verdict: BypassVerdict,
    /// By what way.
    pub way: BypassWay,
    /// The committed [`crate::unit::Maker`]; none where the leaf only counts.
    pub who: Option<Unit>,
}

impl Bypass {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(512);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"count\":").number(self.count);
        w.fixed(",\"coverage\":").id(&self.coverage).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::Bypass.as_str());
        w.fixed(",\"number\":").number(self.number).fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"statement\":").number(self.statement);
        w.fixed(",\"unit\":").word(self.unit.as_str()).fixed(",\"v\":1,\"verdict\":");
        w.word(self.verdict.as_str()).fixed(",\"way\":").word(self.way.as_str());
        w.fixed(",\"who\":").optional_unit(self.who.as_ref()).fixed("}");
        w.finish()
    }

    pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Self, FieldError> {
        let boot = m.take("boot", id)?;
        let count = m.take("count", positive)?;
        let coverage = m.take("coverage", id)?;
        let ext = m.take("ext", extensions)?;
        m.take("kind", Value::text)?;
        let number = m.take("number", positive)?;
        let sealed = m.take("sealed", Value::unsigned)?;
        let statement = m.take("statement", positive)?;
        let counted = m.take("unit", |v| word(v, BypassUnit::parse))?;
        m.take("v", first_version)?;
        let verdict = m.take("verdict", |v| word(v, BypassVerdict::parse))?;
        let way = m.take("way", |v| word(v, BypassWay::parse))?;
        let who = m.take("who", |v| v.optional(unit))?;
        m.end()?;
        if who.is_some() && count != 1 {
            let problem = Problem::Value("says who, and counts more than one".into());
            return Err(FieldError::new("who", problem));
        }
        Ok(Self {
            boot,
            count,
            coverage,
            ext,
            number,
            sealed,
            statement,
            unit: counted,
            verdict,
            way,
            who,
        })
    }
}
