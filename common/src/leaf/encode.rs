//! Leaves to canonical bytes, written straight in member order without a tree of values.

use super::{
    Adopted, Body, Clock, Exchange, Extensions, Gap, GapAction, Heartbeat, KeyChange, Kind, Leaf,
    Ranges, Request, Response, Restart, RunLink, Unit,
};
use crate::encoding::{Id, base64};
use crate::json::{MAX_INTEGER, write_string, write_unsigned};
use crate::tile::MAX_ENTRY;
use crate::tree::Hash;

/// Why a leaf cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Over 65,535 bytes; a heartbeat can be split, an exchange never comes near.
    #[error("the leaf has {0} bytes, over the limit of 65535: split its open ranges")]
    TooLong(usize),
    /// A number over 2^53-1.
    #[error("the number {0} is over 2^53-1, the largest that a leaf can carry")]
    Integer(u64),
}

impl Leaf {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        match self {
            Self::Exchange(leaf) => leaf.encode(),
            Self::Restart(leaf) => leaf.encode(),
            Self::Heartbeat(leaf) => leaf.encode(),
            Self::Gap(leaf) => leaf.encode(),
            Self::Adopted(leaf) => leaf.encode(),
            Self::Retention(leaf) => leaf.encode(),
            Self::Progress(leaf) => leaf.encode(),
            Self::KeyChange(leaf) => leaf.encode(),
            Self::RunOpened(leaf) => leaf.encode(),
            Self::RunClosed(leaf) => leaf.encode(),
            Self::RunRecord(leaf) => leaf.encode(),
            Self::Coverage(leaf) => leaf.encode(),
            Self::Connection(leaf) => leaf.encode(),
            Self::Bypass(leaf) => leaf.encode(),
            Self::DnsQueries(leaf) => leaf.encode(),
            Self::Unchecked(leaf) => Ok(leaf.bytes.clone()),
        }
    }
}

/// The bytes so far, and the first number that was too large.
pub(super) struct Writer {
    out: Vec<u8>,
    too_large: Option<u64>,
}

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), too_large: None }
    }

    /// Text that is the same in every leaf: braces, member names, the members before a value.
    pub(super) fn fixed(&mut self, text: &str) -> &mut Self {
        self.out.extend_from_slice(text.as_bytes());
        self
    }

    /// A registered word, which needs no escapes.
    pub(super) fn word(&mut self, word: &str) -> &mut Self {
        self.fixed("\"").fixed(word).fixed("\"")
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        if number > MAX_INTEGER {
            self.too_large = self.too_large.or(Some(number));
        }
        write_unsigned(&mut self.out, number);
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.fixed(if flag { "true" } else { "false" })
    }

    pub(super) fn id(&mut self, id: &Id) -> &mut Self {
        self.out.push(b'"');
        self.out.extend_from_slice(&id.hex());
        self.out.push(b'"');
        self
    }

    pub(super) fn hash(&mut self, hash: &Hash) -> &mut Self {
        self.word(&base64(hash))
    }

    pub(super) fn optional<T>(
        &mut self,
        value: Option<T>,
        write: impl FnOnce(&mut Self, T),
    ) -> &mut Self {
        match value {
            Some(value) => write(self, value),
            None => self.out.extend_from_slice(b"null"),
        }
        self
    }

    pub(super) fn unit(&mut self, unit: &Unit) -> &mut Self {
        self.fixed("{\"length\":").number(unit.length);
        self.fixed(",\"root\":").hash(&unit.root).fixed("}")
    }

    pub(super) fn optional_unit(&mut self, unit: Option<&Unit>) -> &mut Self {
        self.optional(unit, |w, unit| {
            w.unit(unit);
        })
    }

    pub(super) fn body(&mut self, body: &Body) -> &mut Self {
        self.fixed("{\"dialect\":").word(body.dialect.as_str());
        self.fixed(",\"length\":").number(body.length).fixed(",\"root\":").hash(&body.root);
        self.fixed(",\"segments\":").number(u64::from(body.segments)).fixed("}")
    }

    pub(super) fn ext(&mut self, ext: &Extensions) -> &mut Self {
        self.fixed("{");
        for (n, (name, commitment)) in ext.iter().enumerate() {
            if n > 0 {
                self.out.push(b',');
            }
            write_string(&mut self.out, name);
            self.fixed(":").hash(commitment);
        }
        self.fixed("}")
    }

    pub(super) fn ranges(&mut self, ranges: &Ranges) -> &mut Self {
        self.fixed("[");
        for (n, (first, last)) in ranges.as_slice().iter().enumerate() {
            self.fixed(if n > 0 { ",[" } else { "[" }).number(*first);
            self.fixed(",").number(*last).fixed("]");
        }
        self.fixed("]")
    }

    pub(super) fn clock(&mut self, clock: &Clock) -> &mut Self {
        self.fixed("{\"boottime\":").number(clock.boottime);
        self.fixed(",\"wall\":").number(clock.wall).fixed("}")
    }

    pub(super) fn request(&mut self, request: &Request) -> &mut Self {
        self.fixed("{\"body\":").body(&request.body);
        self.fixed(",\"end\":").word(request.end.as_str());
        self.fixed(",\"head\":").optional_unit(request.head.as_ref());
        self.fixed(",\"same\":").flag(request.same);
        self.fixed(",\"trailers\":").optional_unit(request.trailers.as_ref()).fixed("}")
    }

    pub(super) fn response(&mut self, response: &Response) {
        self.fixed("{\"body\":").body(&response.body);
        self.fixed(",\"end\":").word(response.end.as_str());
        self.fixed(",\"head\":").optional_unit(response.head.as_ref());
        self.fixed(",\"interim\":").optional_unit(response.interim.as_ref());
        self.fixed(",\"same\":").flag(response.same);
        self.fixed(",\"source\":").word(response.source.as_str());
        self.fixed(",\"trailers\":").optional_unit(response.trailers.as_ref()).fixed("}");
    }

    pub(super) fn run(&mut self, run: &RunLink) -> &mut Self {
        self.fixed("{\"id\":").id(&run.id).fixed(",\"position\":").number(run.position);
        self.fixed(",\"previous\":").optional(run.previous.as_ref(), |w, hash| {
            w.hash(hash);
        });
        self.fixed("}")
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.too_large {
            Some(number) => Err(EncodeError::Integer(number)),
            None if self.out.len() > MAX_ENTRY => Err(EncodeError::TooLong(self.out.len())),
            None => Ok(self.out),
        }
    }
}

impl Exchange {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(2048);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"context\":").unit(&self.context);
        w.fixed(",\"ended\":").number(self.ended);
        w.fixed(",\"error\":").optional(self.error, |w, code| {
            w.word(code.as_str());
        });
        w.fixed(",\"exchange\":").id(&self.exchange).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(self.kind().as_str());
        w.fixed(",\"number\":").number(self.number);
        w.fixed(",\"outcome\":").word(self.outcome.as_str());
        w.fixed(",\"policy\":").word(self.policy.as_str());
        w.fixed(",\"request\":").request(&self.request);
        w.fixed(",\"response\":").optional(self.response.as_ref(), Writer::response);
        w.fixed(",\"run\":").run(&self.run).fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"started\":").number(self.started);
        if let Some(tunnel) = &self.tunnel {
            w.fixed(",\"tunnel\":");
            super::tunnel::encode(&mut w, tunnel);
        }
        w.fixed(",\"v\":1}");
        w.finish()
    }
}

impl Restart {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(512);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"clock\":").clock(&self.clock);
        w.fixed(",\"ext\":").ext(&self.ext).fixed(",\"kind\":").word(Kind::Restart.as_str());
        w.fixed(",\"policy\":").word(self.policy.as_str());
        w.fixed(",\"previous\":").optional(self.previous.as_ref(), |w, previous| {
            w.fixed("{\"boot\":").id(&previous.boot).fixed(",\"clean\":").flag(previous.clean);
            w.fixed(",\"highest\":").number(previous.highest);
            w.fixed(",\"open\":").ranges(&previous.open);
            w.fixed(",\"torn\":").number(previous.torn).fixed("}");
        });
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }
}

impl Heartbeat {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(512);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"clock\":").clock(&self.clock);
        w.fixed(",\"closing\":").flag(self.closing).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"highest\":").number(self.highest);
        w.fixed(",\"kind\":").word(Kind::Heartbeat.as_str());
        w.fixed(",\"open\":").ranges(&self.open).fixed(",\"part\":").number(self.part);
        w.fixed(",\"parts\":").number(self.parts).fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"v\":1}");
        w.finish()
    }
}

impl Gap {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(256);
        w.fixed("{\"action\":").word(GapAction::as_str(self.action));
        w.fixed(",\"began\":").number(self.began).fixed(",\"boot\":").id(&self.boot);
        w.fixed(",\"count\":").number(self.count);
        w.fixed(",\"ended\":").optional(self.ended, |w, ended| {
            w.number(ended);
        });
        w.fixed(",\"ext\":").ext(&self.ext).fixed(",\"kind\":").word(Kind::Gap.as_str());
        w.fixed(",\"reason\":").word(self.reason.as_str());
        w.fixed(",\"sealed\":").number(self.sealed).fixed(",\"v\":1}");
        w.finish()
    }
}

impl Adopted {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(256);
        w.fixed("{\"boot\":").id(&self.boot).fixed(",\"ext\":").ext(&self.ext);
        w.fixed(",\"kind\":").word(Kind::Adopted.as_str());
        w.fixed(",\"reason\":\"lock_missing\",\"sealed\":").number(self.sealed);
        w.fixed(",\"size\":").number(self.size).fixed(",\"v\":1}");
        w.finish()
    }
}

impl KeyChange {
    /// The leaf's canonical bytes.
    ///
    /// # Errors
    /// [`EncodeError`] when a number or the leaf as a whole is over the format's limit.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::new(640);
        w.fixed("{\"ext\":").ext(&self.ext).fixed(",\"kind\":").word(Kind::KeyChange.as_str());
        w.fixed(",\"new\":").word(&base64(&self.new));
        w.fixed(",\"new_signature\":").word(&base64(&self.new_signature));
        w.fixed(",\"old\":").word(&base64(&self.old));
        w.fixed(",\"old_signature\":").word(&base64(&self.old_signature));
        w.fixed(",\"role\":").word(self.role.as_str());
        w.fixed(",\"sealed\":").number(self.sealed);
        w.fixed(",\"size\":").number(self.size).fixed(",\"v\":1}");
        w.finish()
    }
}
