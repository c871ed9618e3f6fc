//! A change of protocol, in the words of either version of HTTP: `Upgrade` in HTTP/1.1 (RFC 9110
//! section 7.8), extended CONNECT in HTTP/2 (RFC 8441).
//!
//! In: a request that asks for a change. Out: the heads by which the next hop is asked and the client
//! answered, whatever either speaks. What a WebSocket proves by its key, the gateway checks or proves
//! in the place of a side that has no such field. Never changes a byte behind the heads.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::wire::http1::{Filter, is_asked_for, offered};
use crate::wire::http2::PROTOCOL;
use crate::wire::message::{Fields, FieldsBuilder, RequestHead, ResponseHead, Version};

/// What RFC 6455 section 1.3 has a server append to a client's key.
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client asks its connection, or its stream, to be changed to.
#[derive(Debug)]
pub(super) struct Switching {
    /// The protocols, as a list; over HTTP/2 there is one.
    pub(super) protocols: Bytes,
    /// `Sec-WebSocket-Key`: the client's own, or the gateway's where the client has none.
    key: Option<Bytes>,
    /// Whether the client speaks HTTP/2.
    http2: bool,
}

impl Switching {
    /// What the request with this head asks for; `random` makes a key where one is wanted.
    pub(super) fn asked(received: &RequestHead, random: impl FnOnce() -> [u8; 16]) -> Option<Self> {
        let http2 = received.version == Version::Http2;
        let protocols = match http2 {
            true => Bytes::copy_from_slice(received.fields.first(PROTOCOL)?),
            false => offered(&received.fields)?,
        };
        let key = received.fields.first("sec-websocket-key").map(Bytes::copy_from_slice);
        let key = match http2 && is_websocket(&protocols) {
            true => Some(STANDARD.encode(random()).into()),
            false => key,
        };
        Some(Self { protocols, key, http2 })
    }

    /// The one protocol that HTTP/2 can be asked for.
    pub(super) fn first(&self) -> &[u8] {
        self.protocols.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
    }

    /// Fields by which an HTTP/1 server is asked, where the client did not send them.
    pub(super) fn ask(&self, out: &mut FieldsBuilder) {
        if self.http2 {
            out.push(b"Connection", b"Upgrade");
            out.push(b"Upgrade", &self.protocols);
            if let Some(key) = &self.key {
                out.push(b"Sec-WebSocket-Key", key);
            }
        }
    }

    /// Whether a final answer with this head, behind which HTTP has ended, is what was asked for.
    pub(super) fn is_made_by(&self, answered: &ResponseHead) -> bool {
        if answered.version == Version::Http2 {
            return (200..300).contains(&answered.status);
        }
        // A client of HTTP/1 checks its own key.
        let proven = match self.accepted().filter(|_| self.http2) {
            Some(accepted) => {
                answered.fields.first("sec-websocket-accept") == Some(accepted.as_bytes())
            }
            None => true,
        };
        answered.status == 101 && is_asked_for(&self.protocols, &answered.fields) && proven
    }

    /// Whether this final answer, behind which HTTP goes on, would tell the client the opposite.
    pub(super) fn misleads(&self, answered: &ResponseHead) -> bool {
        self.http2 && (200..300).contains(&answered.status)
    }

    /// Whether what was made is a WebSocket.
    pub(super) fn is_websocket(&self, answered: &ResponseHead) -> bool {
        match answered.version {
            Version::Http2 => is_websocket(self.first()),
            _ => answered.fields.lists("upgrade", "websocket"),
        }
    }

    /// The head that tells the client so, where client and upstream speak different versions, or
    /// HTTP/2 both.
    pub(super) fn told(&self, received: &ResponseHead) -> ResponseHead {
        let filter = Filter::of(&received.fields);
        let mut out = FieldsBuilder::new(self.http2);
        for (name, value) in received.fields.iter() {
            let proof = name.eq_ignore_ascii_case(b"sec-websocket-accept");
            if filter.passes(name) && !proof {
                out.push(name, value);
            }
        }
        if self.http2 {
            let status = if received.status == 101 { 200 } else { received.status };
            let (reason, version) = (Bytes::new(), Version::Http2);
            return ResponseHead { status, reason, version, fields: out.finish() };
        }
        out.push(b"Connection", b"Upgrade");
        out.push(b"Upgrade", self.first());
        if let Some(accepted) = self.accepted() {
            out.push(b"Sec-WebSocket-Accept", accepted.as_bytes());
        }
        let reason = Bytes::from_static(b"Switching Protocols");
        ResponseHead { status: 101, reason, version: Version::Http11, fields: out.finish() }
    }

    /// What a server proves with that it read the key (RFC 6455 section 4.2.2).
    fn accepted(&self) -> Option<String> {
        let key = self.key.as_ref().filter(|_| is_websocket(&self.protocols))?;
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, SUFFIX].concat());
        Some(STANDARD.encode(hash))
    }
}

/// Whether a field belongs to one version's way of asking alone.
pub(super) fn is_of_one_version(name: &[u8]) -> bool {
    name == PROTOCOL.as_bytes() || name.eq_ignore_ascii_case(b"sec-websocket-key")
}

fn is_websocket(protocols: &[u8]) -> bool {
    let mut members = protocols.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.any(|member| member.eq_ignore_ascii_case(b"websocket"))
}

/// The fields without `:protocol`, which `h2` takes by itself, and its value.
pub(super) fn without_protocol(fields: &Fields) -> (Option<&str>, Fields) {
    let protocol = fields.first(PROTOCOL).and_then(|value| std::str::from_utf8(value).ok());
    let rest = fields.iter().filter(|(name, _)| *name != PROTOCOL.as_bytes());
    (protocol, Fields::from_pairs(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of RFC 6455 section 1.3.
    #[test]
    fn a_key_is_proven_as_the_standard_says() {
        let fields = Fields::from_pairs([
            (b"Upgrade".as_slice(), b"websocket".as_slice()),
            (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        let head = RequestHead {
            method: Bytes::from_static(b"GET"),
            target: Bytes::from_static(b"/"),
            scheme: None,
            authority: None,
            version: Version::Http11,
            fields,
        };
        let switching = Switching::asked(&head, || [0; 16]).unwrap();
        assert_eq!(switching.accepted().unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
