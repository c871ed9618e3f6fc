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

    /// A request's head as it went upstream, and how it came.
    #[must_use]
    pub(super) fn request(&self, received: &RequestHead, sent: &RequestHead) -> Vec<u8> {
        let authority = authority(sent);
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

    /// A response's head as it went to the client, and how it came; `authority` is the upstream's.
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
    pub(super) fn trailers(&self, received: &Fields, sent: &Fields) -> Vec<u8> {
        let fields = self.fields(sent, b"");
        let received_fields = unit::received(&fields, &self.fields(received, b""));
        unit::Trailers { fields, received_fields }.encode()
    }

    /// One interim answer, as a list of one head; `seal` joins the lists.
    #[must_use]
    pub(super) fn interim(&self, sent: &ResponseHead) -> Vec<u8> {
        unit::Interim { heads: vec![(status(sent), self.fields(&sent.fields, b""))] }.encode()
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
            let shown = if self.secrets.is_field(name) {
                Shown::Secret(self.secrets.tag(authority, name, value))
            } else {
                Shown::Plain(Cow::Borrowed(value))
            };
            (Cow::Borrowed(name), shown)
        };
        fields.iter().map(show).collect()
    }

    /// The target, cut around the values of secret query parameters.
    fn target<'a>(&self, target: &'a [u8], authority: &[u8]) -> Vec<Shown<'a>> {
        let mut parts = Vec::new();
        let mut plain = 0;
        let mut at = match target.iter().position(|byte| *byte == b'?') {
            Some(query) => query + 1,
            None => target.len(),
        };
        while let Some(rest) = target.get(at..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|byte| *byte == b'&').unwrap_or(rest.len());
            let parameter = rest.get(..length).unwrap_or_default();
            if let Some(equals) = parameter.iter().position(|byte| *byte == b'=') {
                let (name, value) = parameter.split_at(equals);
                let value = value.get(1..).unwrap_or_default();
                if !value.is_empty() && self.secrets.is_parameter(name) {
                    let start = at + equals + 1;
                    let before = target.get(plain..start).unwrap_or_default();
                    parts.push(Shown::Plain(Cow::Borrowed(before)));
                    parts.push(Shown::Secret(self.secrets.tag(authority, name, value)));
                    plain = at + length;
                }
            }
            at += length + 1;
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

/// Tags bind a secret to whom it was sent.
fn authority(head: &RequestHead) -> &[u8] {
    head.authority.as_deref().or_else(|| head.fields.first("host")).unwrap_or_default()
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
