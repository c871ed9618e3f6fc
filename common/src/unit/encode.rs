//! Units to canonical bytes, written straight in member order.

use super::{
    Context, Field, Interim, Octets, Received, RequestHead, RequestLine, ResponseHead, Shown,
    StatusLine, Trailers,
};
use crate::encoding::base64;
use crate::json::{write_octets, write_unsigned};

/// Canonical text as it grows.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn fixed(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(super) fn octets(&mut self, octets: &[u8]) -> &mut Self {
        write_octets(&mut self.0, octets);
        self
    }

    pub(super) fn optional(&mut self, octets: Option<&Octets<'_>>) -> &mut Self {
        match octets {
            Some(octets) => self.octets(octets),
            None => self.fixed("null"),
        }
    }

    pub(super) fn number(&mut self, number: impl Into<u64>) -> &mut Self {
        write_unsigned(&mut self.0, number.into());
        self
    }

    pub(super) fn list<T>(
        &mut self,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T),
    ) -> &mut Self {
        self.fixed("[");
        for (n, item) in items.iter().enumerate() {
            if n > 0 {
                self.fixed(",");
            }
            write(self, item);
        }
        self.fixed("]")
    }

    fn shown(&mut self, value: &Shown<'_>) {
        match value {
            Shown::Plain(octets) => self.octets(octets),
            Shown::Secret(tag) => self.fixed("{\"secret\":\"").fixed(&base64(tag)).fixed("\"}"),
        };
    }

    fn field(&mut self, (name, value): &Field<'_>) {
        self.fixed("[").octets(name).fixed(",").shown(value);
        self.fixed("]");
    }

    fn fields(&mut self, fields: &[Field<'_>]) -> &mut Self {
        self.list(fields, Self::field)
    }

    fn received(&mut self, fields: &[Received<'_>]) -> &mut Self {
        self.list(fields, |w, field| match field {
            Received::Same(index) => {
                w.number(*index);
            }
            Received::Own(field) => w.field(field),
        })
    }

    /// The members of a request line from `method` on, around which the others sort.
    fn scheme_to_version(&mut self, line: &RequestLine<'_>) -> &mut Self {
        self.fixed("\"scheme\":").optional(line.scheme.as_ref());
        self.fixed(",\"target\":").list(&line.target, Self::shown);
        self.fixed(",\"version\":\"").fixed(line.version.as_str()).fixed("\"}")
    }

    fn reason_to_end(&mut self, line: &StatusLine<'_>) -> &mut Self {
        self.fixed("\"reason\":").octets(&line.reason);
        self.status_to_end(line)
    }

    fn status_to_end(&mut self, line: &StatusLine<'_>) -> &mut Self {
        self.fixed(",\"status\":").number(line.status);
        self.fixed(",\"version\":\"").fixed(line.version.as_str()).fixed("\"}")
    }
}

impl RequestHead<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(1024));
        w.fixed("{\"authority\":").optional(self.line.authority.as_ref());
        w.fixed(",\"fields\":").fields(&self.fields);
        w.fixed(",\"method\":").octets(&self.line.method);
        w.fixed(",\"received\":{\"authority\":").optional(self.received_line.authority.as_ref());
        w.fixed(",\"fields\":").received(&self.received_fields);
        w.fixed(",\"method\":").octets(&self.received_line.method);
        w.fixed(",").scheme_to_version(&self.received_line);
        w.fixed(",").scheme_to_version(&self.line);
        w.0
    }
}

impl ResponseHead<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(1024));
        w.fixed("{\"fields\":").fields(&self.fields);
        w.fixed(",\"reason\":").octets(&self.line.reason);
        w.fixed(",\"received\":{\"fields\":").received(&self.received_fields);
        w.fixed(",").reason_to_end(&self.received_line);
        w.status_to_end(&self.line);
        w.0
    }
}

impl Trailers<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(256));
        w.fixed("{\"fields\":").fields(&self.fields);
        w.fixed(",\"received\":{\"fields\":").received(&self.received_fields).fixed("}}");
        w.0
    }
}

impl Interim<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(256));
        w.fixed("{\"heads\":").list(&self.heads, |w, (line, fields)| {
            w.fixed("{\"fields\":").fields(fields).fixed(",").reason_to_end(line);
        });
        w.fixed("}");
        w.0
    }
}

impl Context<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(256));
        w.fixed("{\"client\":").octets(&self.client);
        w.fixed(",\"ingress\":\"").fixed(self.ingress.as_str());
        w.fixed("\",\"run\":{\"by\":\"").fixed(self.run_by.as_str());
        w.fixed("\",\"name\":").optional(self.run_name.as_ref());
        w.fixed("},\"upstream\":{\"address\":").optional(self.upstream_address.as_ref());
        w.fixed(",\"name\":").optional(self.upstream_name.as_ref());
        w.fixed(",\"tls\":").optional(self.upstream_tls.as_ref());
        w.fixed(",\"url\":").optional(self.upstream_url.as_ref()).fixed("}}");
        w.0
    }
}
