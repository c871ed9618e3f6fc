//! The leaf of kind `dns-queries`: how many packets went to the configured resolver between two
//! statements, and a commitment to the names that they ask for.
//!
//! The names are in the committed unit alone ([`crate::unit::Questions`]).

use super::decode::{extensions, id, positive, unit, version};
use super::encode::{EncodeError, Writer};
use super::words::Kind;
use super::{Extensions, Unit};
use crate::encoding::Id;
use crate::json::{FieldError, Members, Problem, Value};

/// Queries at the resolver between two statements of a coverage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsQueries {
    /// The boot that speaks.
    pub boot: Id,
    /// The coverage that saw them.
    pub coverage: Id,
    /// Packets of which only the beginning was copied.
    pub cut: u64,
    /// Extensions.
    pub ext: Extensions,
    /// Packets that were not copied, for want of room.
    pub lost: u64,
    /// The committed [`crate::unit::Questions`]; none where none is listed.
    pub names: Option<Unit>,
    /// Consecutive within the coverage, from 1.
    pub number: u64,
    /// Questions that the unit does not list.
    pub omitted: u64,
    /// Packets whose questions were all read.
    pub parsed: u64,
    /// Questions that were read.
    pub questions: u64,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// Packets to the resolver.
    pub seen: u64,
    /// The number of the statement that counts them, which stands behind.
    pub statement: u64,
    /// Packets of which not every question could be read.
    pub unparsable: u64,
}

impl DnsQueries {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(512);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"coverage\":").id(&self.coverage);
        w.fixed(",\"cut\":").number(self.cut).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::DnsQueries.as_str());
        w.fixed(",\"lost\":").number(self.lost);
        w.fixed(",\"names\":").optional_unit(self.names.as_ref());
        w.fixed(",\"number\":").number(self.number);
        w.fixed(",\"omitted\":").number(self.omitted).fixed(",\"parsed\":").number(self.parsed);
        w.fixed(",\"questions\":").number(self.questions);
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"seen\":").number(self.seen);
        w.fixed(",\"statement\":").number(self.statement);
        w.fixed(",\"unparsable\":").number(self.unparsable).fixed(",\"v\":1}");
        w.finish()
    }

    pub(super) fn decode(mut m: Members<'_, '_>) -> Result<Self, FieldError> {
        let boot = m.take("boot", id)?;
        let coverage = m.take("coverage", id)?;
        let cut = m.take("cut", Value::unsigned)?;
        let ext = m.take("ext", extensions)?;
        m.take("kind", Value::text)?;
        let lost = m.take("lost", Value::unsigned)?;
        let names = m.take("names", |v| v.optional(unit))?;
        let number = m.take("number", positive)?;
        let omitted = m.take("omitted", Value::unsigned)?;
        let parsed = m.take("parsed", Value::unsigned)?;
        let questions = m.take("questions", |v| match v.unsigned()? {
            questions if omitted > questions => {
                Err(Problem::Value("are fewer than are left out".into()))
            }
            questions if names.is_some() != (omitted < questions) => {
                Err(Problem::Value("are listed, and none is left to list, or not listed".into()))
            }
            questions => Ok(questions),
        })?;
        let sealed = m.take("sealed", Value::unsigned)?;
        let seen = m.take("seen", positive)?;
        let statement = m.take("statement", positive)?;
        let unparsable = m.take("unparsable", |v| {
            let unparsable = v.unsigned()?;
            let read = parsed.checked_add(unparsable);
            if read.and_then(|read| read.checked_add(lost)) != Some(seen) {
                return Err(Problem::Value("with the others is not what was seen".into()));
            }
            if read < Some(cut) {
                return Err(Problem::Value("with those parsed is less than was cut".into()));
            }
            Ok(unparsable)
        })?;
        version(m)?;
        Ok(Self {
            boot,
            coverage,
            cut,
            ext,
            lost,
            names,
            number,
            omitted,
            parsed,
            questions,
            sealed,
            seen,
            statement,
            unparsable,
        })
    }
}
