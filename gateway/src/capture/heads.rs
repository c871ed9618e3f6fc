//! Heads as they are committed: what left, how it differs from what came, secrets tagged.

use std::borrow::Cow;

use sealtap_common::unit::{self, Field, RequestLine, Shown, StatusLine};

use super::secrets::Secrets;
use crate::wire::message::{Fields, RequestHead, ResponseHead, Version};

/// Makes committed units of heads.
#[derive(Debug)]
pub(super) struct Heads {
    secrets: Secrets,
}

impl Heads {
    /// Units in which `secrets` are tagged.
    #[must_use]
    pub(super) fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }

    /// A request's head as it went upstream, and how it came; tags bind a secret to `authority`,
    /// whom the exchange is with.
    #[must_use]
    pub(super) fn request(
        &self,
        received: &RequestHead,
        sent: &RequestHead,
        authority: &[u8],
    ) -> Vec<u8> {
        let fields = self.fields(&sent.fields, authority);
        let incoming = self.fields(&received.fields, authority);
        let received_fields = unit::received(&fields, &incoming);
        let head = unit::RequestHead {
            line: self.line(sent, authority),
            fields,
            received_line: self.line(received, authority),
            received_fields,
        };
        head.encode()
    }

    /// A response's head as it went to the client, and how it came.
    #[must_use]
    pub(super) fn response(
        &self,
        received: &ResponseHead,
        sent: &ResponseHead,
        authority: &[u8],
    ) -> Vec<u8> {
        let fields = self.fields(&sent.fields, authority);
        let incoming = self.fields(&received.fields, authority);
        let received_fields = unit::received(&fields, &incoming);
        let head = unit::ResponseHead {
            line: status(sent),
            fields,
            received_line: status(received),
            received_fields,
        };
        head.encode()
    }

    /// Trailers as they went on, and how they came.
    #[must_use]
    pub(super) fn trailers(&self, received: &Fields, sent: &Fields, authority: &[u8]) -> Vec<u8> {
        let fields = self.fields(sent, authority);
        let received_fields = unit::received(&fields, &self.fields(received, authority));
        unit::Trailers { fields, received_fields }.encode()
    }

    /// One interim answer, as a list of one head; `seal` joins the lists.
    #[must_use]
    pub(super) fn interim(&self, sent: &ResponseHead, authority: &[u8]) -> Vec<u8> {
        let fields = self.fields(&sent.fields, authority);
        unit::Interim { heads: vec![(status(sent), fields)] }.encode()
    }

    fn line<'a>(&self, head: &'a RequestHead, authority: &[u8]) -> RequestLine<'a> {
        RequestLine {
            authority: head.authority.as_deref().map(Cow::Borrowed),
            method: Cow::Borrowed(&head.method),
            scheme: head.scheme.as_deref().map(Cow::Borrowed),
            target: self.target(&head.target, authority),
            version: version(head.version),
        }
    }

    fn fields<'a>(&self, fields: &'a Fields, authority: &[u8]) -> Vec<Field<'a>> {
        let show = |(name, value): (&'a [u8], &'a [u8])| {
            let shown = if self.secrets.is_secret(name, value) {
                Shown::Secret(self.secrets.tag(authority, name, value))
            } else {
                Shown::Plain(Cow::Borrowed(value))
            };
            (Cow::Borrowed(name), shown)
        };
        fields.iter().map(show).collect()
    }

    /// The target, cut around its secrets.
    fn target<'a>(&self, target: &'a [u8], authority: &[u8]) -> Vec<Shown<'a>> {
        let mut parts = Vec::new();
        let mut plain = 0;
        for (range, name) in self.secrets.in_target(target) {
            let before = target.get(plain..range.start).unwrap_or_default();
            if !before.is_empty() {
                parts.push(Shown::Plain(Cow::Borrowed(before)));
            }
            let value = target.get(range.clone()).unwrap_or_default();
            parts.push(Shown::Secret(self.secrets.tag(authority, &name, value)));
            plain = range.end;
        }
        match target.get(plain..) {
            Some(rest) if !rest.is_empty() || parts.is_empty() => {
                parts.push(Shown::Plain(Cow::Borrowed(rest)));
            }
            _ => {}
        }
        parts
    }
}

fn status(head: &ResponseHead) -> StatusLine<'_> {
    StatusLine {
        reason: Cow::Borrowed(&head.reason),
        status: head.status,
        version: version(head.version),
    }
}

fn version(version: Version) -> unit::Version {
    match version {
        Version::Http10 => unit::Version::Http10,
        Version::Http11 => unit::Version::Http11,
        Version::Http2 => unit::Version::Http2,
    }
}
