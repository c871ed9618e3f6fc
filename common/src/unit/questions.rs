//! The unit that lists which names were asked for, by whom and how often.
//!
//! What somebody asked is not where anybody went: nothing is decided or attributed by it.

use super::decode::{list, object, octets, optional};
use super::encode::Writer;
use super::{Octets, UnitError};
use crate::json::{Problem, Refusal, Value};

/// The questions that were put to the resolver between two statements of a coverage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions<'a> {
    /// Each question of each asker once; at least one.
    pub questions: Vec<Asker<'a>>,
}

/// A question, and who asked it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker<'a> {
    /// QCLASS.
    pub class: u16,
    /// How often it was asked.
    pub count: u64,
    /// The executable of the process, where that was still there.
    pub executable: Option<Octets<'a>>,
    /// When it was asked first, in microseconds since the Unix epoch.
    pub first: u64,
    /// When it was asked last.
    pub last: u64,
    /// QNAME in presentation format, without the last dot.
    pub name: Octets<'a>,
    /// The process that connected the socket, or sent by it first; none where that is not known.
    pub process: Option<u64>,
    /// QTYPE.
    pub kind: u16,
}

impl Questions<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(128 * (1 + self.questions.len()));
        w.fixed("{\"questions\":").list(&self.questions, |w, asker| {
            w.fixed("{\"class\":").number(asker.class);
            w.fixed(",\"count\":").number(asker.count);
            w.fixed(",\"executable\":").optional(asker.executable.as_ref());
            w.fixed(",\"first\":").number(asker.first).fixed(",\"last\":").number(asker.last);
            w.fixed(",\"name\":").octets(&asker.name).fixed(",\"process\":");
            match asker.process {
                Some(process) => w.number(process),
                None => w.fixed("null"),
            };
            w.fixed(",\"type\":").number(asker.kind).fixed("}");
        });
        w.fixed("}");
        w.bytes()
    }
}

impl Questions<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let questions = m.take("questions", |v| match list(v, asker)? {
                none if none.is_empty() => Err(Problem::Value("lists no question".into()).into()),
                some => Ok::<_, Refusal>(some),
            })?;
            Ok(Self { questions })
        })
    }
}

fn asker(value: &Value) -> Result<Asker<'static>, Refusal> {
    let mut m = value.members()?;
    let class = m.take("class", short)?;
    let count = m.take("count", |v| match v.unsigned()? {
        0 => Err(Problem::Value("is zero".into())),
        count => Ok(count),
    })?;
    let executable = m.take("executable", optional)?;
    let first = m.take("first", Value::unsigned)?;
    let last = m.take("last", |v| match v.unsigned()? {
        last if last < first => Err(Problem::Value("is before the first".into())),
        last => Ok(last),
    })?;
    let name = m.take("name", octets)?;
    let process = m.take("process", |v| v.optional(Value::unsigned))?;
    let kind = m.take("type", short)?;
    m.end()?;
    Ok(Asker { class, count, executable, first, last, name, process, kind })
}

fn short(value: &Value) -> Result<u16, Problem> {
    let number = value.unsigned()?;
    u16::try_from(number).map_err(|_| Problem::Value(format!("{number} is above 65535")))
}
