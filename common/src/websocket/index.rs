//! The index of a session's messages: range, opcode and time of each, per direction.
//!
//! An [`Indexer`] makes one side from the bytes of one direction. The gateway tells it when bytes
//! came; a verifier tells it nothing and compares all but the times, which are the gateway's word.

use std::collections::VecDeque;

use super::walker::{Opcode, Walker};
use crate::json::{self, FieldError, Problem, Refusal, Value, write_unsigned};
use crate::unit::UnitError;

/// The name under which a leaf's `ext` binds the index: the root of its unit.
pub const EXTENSION: &str = "websocket-messages";

/// Messages of one direction that are listed; further ones are only counted. It bounds what a
/// session of empty messages can make a gateway hold.
pub const LISTED: usize = 100_000;

/// One message in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of its first byte in the direction's body.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// What it is.
    pub opcode: Opcode,
    /// When its last byte came, in microseconds since the Unix epoch.
    pub time: u64,
}

/// The messages of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// How many messages are complete.
    pub count: u64,
    /// The first [`LISTED`] of them, in the order of their ends.
    pub messages: Vec<Entry>,
    /// The offset from which on bytes are no frames.
    pub raw: Option<u64>,
}

/// What was said by whom and when, in one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageIndex {
    /// The client's messages.
    pub request: Side,
    /// The upstream's.
    pub response: Side,
}

/// Makes one side of an index while its bytes pass.
#[derive(Clone, Debug, Default)]
pub struct Indexer {
    walker: Walker,
    side: Side,
    /// Ends of reads that are still ahead, and when they came.
    marks: VecDeque<(u64, u64)>,
    /// The time of the last message.
    time: u64,
}

impl Indexer {
    /// For a direction in which nothing can have come before `time`.
    #[must_use]
    pub fn since(time: u64) -> Self {
        Self { time, ..Self::default() }
    }

    /// Says that the bytes up to `end`, which are yet to be pushed, came at `time`.
    pub fn mark(&mut self, end: u64, time: u64) {
        self.marks.push_back((end, time));
    }

    /// Takes the bytes that come next.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let step = self.walker.next(bytes);
            bytes = bytes.get(step.used..).unwrap_or_default();
            let Some(message) = step.message else { continue };
            while self.marks.front().is_some_and(|(end, _)| *end < message.end) {
                self.marks.pop_front();
            }
            // A clock that was set back does not turn messages around.
            self.time = self.time.max(self.marks.front().map_or(0, |(_, time)| *time));
            self.side.count = self.side.count.saturating_add(1);
            if self.side.messages.len() < LISTED {
                let (start, end, opcode) = (message.start, message.end, message.opcode);
                self.side.messages.push(Entry { start, end, opcode, time: self.time });
            }
        }
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Side {
        Side { raw: self.walker.lost_at(), ..self.side }
    }
}

impl Side {
    /// What of `derived`, made anew from the bytes, is said otherwise here; times are not compared.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn check(&self, derived: &Self) -> Result<(), String> {
        if (self.count, self.raw) != (derived.count, derived.raw) {
            let raw = |raw: Option<u64>| raw.map_or("none".to_owned(), |at| format!("from {at}"));
            return Err(format!(
                "it says {} messages and raw bytes {}, the body has {} and {}",
                self.count,
                raw(self.raw),
                derived.count,
                raw(derived.raw)
            ));
        }
        let place = |entry: &Entry| (entry.start, entry.end, entry.opcode);
        let mut pairs = (1_u64..).zip(self.messages.iter().zip(&derived.messages));
        match pairs.find(|(_, (said, found))| place(said) != place(found)) {
            Some((number, (said, found))) => Err(format!(
                "message {number} is said to be {} at {}..{}, the body has {} at {}..{}",
                said.opcode.as_str(),
                said.start,
                said.end,
                found.opcode.as_str(),
                found.start,
                found.end
            )),
            None => Ok(()),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"count\":");
        write_unsigned(out, self.count);
        out.extend_from_slice(b",\"messages\":[");
        for (n, entry) in self.messages.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            let numbers = [entry.start, entry.end, u64::from(entry.opcode.code()), entry.time];
            for (n, number) in numbers.into_iter().enumerate() {
                out.push(if n > 0 { b',' } else { b'[' });
                write_unsigned(out, number);
            }
            out.push(b']');
        }
        out.extend_from_slice(b"],\"raw\":");
        match self.raw {
            Some(raw) => write_unsigned(out, raw),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

impl MessageIndex {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.request.messages.len() + self.response.messages.len();
        let mut out = Vec::with_capacity(128 + entries * 40);
        out.extend_from_slice(b"{\"request\":");
        self.request.write(&mut out);
        out.extend_from_slice(b",\"response\":");
        self.response.write(&mut out);
        out.push(b'}');
        out
    }

    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        let value = json::parse(bytes)?;
        let mut m = value.members().map_err(|problem| FieldError::new("unit", problem))?;
        let request = m.take("request", side)?;
        let response = m.take("response", side)?;
        m.end()?;
        Ok(Self { request, response })
    }
}

fn side(value: &Value) -> Result<Side, Refusal> {
    let mut m = value.members()?;
    let count = m.take("count", Value::unsigned)?;
    let messages = m.take("messages", |v| messages(v, count))?;
    let raw = m.take("raw", |v| v.optional(Value::unsigned))?;
    m.end()?;
    Ok(Side { count, messages, raw })
}

fn messages(value: &Value, count: u64) -> Result<Vec<Entry>, Problem> {
    let items = value.array()?;
    let listed = usize::try_from(count).unwrap_or(usize::MAX).min(LISTED);
    if items.len() != listed {
        let found = items.len();
        return Err(Problem::Value(format!("{found} messages are listed, not {listed}")));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(listed);
    for item in items {
        let [start, end, code, time] = item.array()? else {
            return Err(Problem::Type("an array of start, end, opcode and time"));
        };
        let code = code.unsigned()?;
        let opcode = u8::try_from(code).ok().and_then(Opcode::from_code);
        let opcode =
            opcode.ok_or_else(|| Problem::Value(format!("{code} is no opcode of a message")))?;
        let (start, end, time) = (start.unsigned()?, end.unsigned()?, time.unsigned()?);
        let last = entries.last().map_or((0, 0), |last| (last.end, last.time));
        if start >= end || end <= last.0 || time < last.1 {
            return Err(Problem::Value("messages out of order".to_owned()));
        }
        entries.push(Entry { start, end, opcode, time });
    }
    Ok(entries)
}
