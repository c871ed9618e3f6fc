//! Heads as they leave: hop-by-hop fields taken out and made anew, everything else as it came.

use bytes::Bytes;

use super::switching::{Switching, is_of_one_version};
use crate::route::{Scheme, Upstream};
use crate::wire::http1::Filter;
use crate::wire::http2::PROTOCOL;
use crate::wire::message::{FieldsBuilder, RequestHead, ResponseHead, Version};
use crate::wire::sink::Framing;

/// How a request leaves.
pub(super) struct Way<'a> {
    /// Where it goes.
    pub(super) upstream: &'a Upstream,
    /// The target to send.
    pub(super) target: Bytes,
    /// Whether over HTTP/2.
    pub(super) http2: bool,
    /// How its body is framed over HTTP/1; HTTP/2 has its own.
    pub(super) framing: Framing,
    /// What other protocol it asks for.
    pub(super) switching: Option<&'a Switching>,
    /// Fields that were for the gateway.
    pub(super) dropped: &'a [&'a str],
    /// Fields that the configuration adds.
    pub(super) appended: &'a [(&'static str, String)],
}

/// The request head to send.
#[must_use]
pub(super) fn request(received: &RequestHead, way: Way<'_>) -> RequestHead {
    let Way { upstream, target, http2, framing, switching, dropped, appended } = way;
    let filter = Filter::of(&received.fields);
    let upgrade = switching.filter(|_| !http2).map(|switching| &switching.protocols);
    // Between the versions each has its own words for it.
    let translated = switching.is_some() && (http2 || received.version == Version::Http2);
    let mut upgraded = false;
    let te_trailers = received.fields.lists("te", "trailers");
    let mut out = FieldsBuilder::new(http2);
    let mut hosted = false;
    let mut framed = framing != Framing::Chunked || http2;
    let mut connected = false;
    let mut cookies = false;
    let named = received.authority.as_deref().or_else(|| received.fields.first("host"));
    let authority = named.filter(|_| upstream.keeps_authority);
    let authority = authority.unwrap_or(upstream.authority.as_bytes());
    if let Some(switching) = switching.filter(|_| http2) {
        out.push(PROTOCOL.as_bytes(), switching.first());
    }

    if !http2 && received.fields.first("host").is_none() {
        out.push(b"Host", authority);
        hosted = true;
    }
    for (name, value) in received.fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if dropped.iter().any(|other| is(other)) || (translated && is_of_one_version(name)) {
            continue;
        }
        if is("host") {
            if !http2 && !hosted {
                out.push(name, authority);
                hosted = true;
            }
        } else if is("transfer-encoding") {
            if !framed {
                out.push(name, b"chunked");
                framed = true;
            }
        } else if is("connection") {
            if !connected && upgrade.is_some() {
                out.push(name, b"Upgrade");
                connected = true;
            } else if !connected && te_trailers && !http2 {
                out.push(name, b"TE");
                connected = true;
            }
        } else if is("upgrade") {
            if let Some(protocols) = upgrade.filter(|_| !upgraded) {
                out.push(name, protocols);
                upgraded = true;
            }
        } else if is("te") {
            if te_trailers {
                out.push(name, b"trailers");
            }
        } else if !filter.passes(name) {
            // For this hop only (RFC 9110 section 7.6.1), or a length beside a coding.
        } else if is("cookie") && received.version == Version::Http2 && !http2 {
            // HTTP/2 may send one cookie a field; HTTP/1 wants them in one (RFC 9113, 8.2.3).
            if !cookies {
                let all: Vec<&[u8]> = received.fields.all("cookie").collect();
                out.push(name, &all.join(b"; ".as_slice()));
                cookies = true;
            }
        } else {
            out.push(name, value);
        }
    }
    if !framed {
        out.push(b"Transfer-Encoding", b"chunked");
    }
    if let Some(switching) = switching.filter(|_| !http2) {
        switching.ask(&mut out);
    }
    // A method that means to have content says so when it has none (RFC 9110 section 8.6).
    let meant = matches!(&*received.method, b"POST" | b"PUT" | b"PATCH");
    if meant
        && framing == Framing::Bodiless
        && !http2
        && received.version == Version::Http2
        && received.fields.first("content-length").is_none()
    {
        out.push(b"Content-Length", b"0");
    }
    for (name, value) in appended {
        out.push(name.as_bytes(), value.as_bytes());
    }
    let method = match (switching, http2) {
        (Some(_), true) => Bytes::from_static(b"CONNECT"),
        (Some(_), false) => Bytes::from_static(b"GET"),
        (None, _) => received.method.clone(),
    };
    RequestHead {
        method,
        target,
        scheme: http2.then(|| scheme(upstream)),
        authority: http2.then(|| Bytes::copy_from_slice(authority)),
        version: if http2 { Version::Http2 } else { Version::Http11 },
        fields: out.finish(),
    }
}

/// The response head to send to a client that speaks `version`; `framing` is how its body will be
/// framed over HTTP/1, `close` whether the connection ends after it.
#[must_use]
pub(super) fn response(
    received: &ResponseHead,
    version: Version,
    framing: Framing,
    close: bool,
) -> ResponseHead {
    let http2 = version == Version::Http2;
    let filter = Filter::of(&received.fields);
    let switching = received.status == 101;
    // What a 426 demands, its Upgrade says, and its sender must send it (RFC 9110, 15.5.22).
    let demanding = received.status == 426
        && version == Version::Http11
        && received.fields.first("upgrade").is_some();
    let upgrade = switching || demanding;
    let mut out = FieldsBuilder::new(http2);
    let mut framed = framing != Framing::Chunked || http2;
    let mut connected = !(close || upgrade) || http2;
    let connection = match (upgrade, close && !switching) {
        (true, true) => "Upgrade, close",
        (true, false) => "Upgrade",
        (false, _) => "close",
    };
    for (name, value) in received.fields.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        if is("transfer-encoding") {
            if !framed {
                out.push(name, b"chunked");
                framed = true;
            }
        } else if is("connection") {
            if !connected {
                out.push(name, connection.as_bytes());
                connected = true;
            }
        } else if is("upgrade") && upgrade && !http2 {
            out.push(name, value);
        } else if !filter.passes(name) {
            // For this hop only (RFC 9110 section 7.6.1), or a length beside a coding.
        } else {
            out.push(name, value);
        }
    }
    if !framed {
        out.push(b"Transfer-Encoding", b"chunked");
    }
    let measured = received.fields.first("content-length").is_some();
    if framing == Framing::Length(0) && !http2 && !measured {
        out.push(b"Content-Length", b"0");
    }
    if !connected {
        out.push(b"Connection", connection.as_bytes());
    }
    ResponseHead {
        status: received.status,
        reason: if http2 { Bytes::new() } else { received.reason.clone() },
        version: if http2 { Version::Http2 } else { Version::Http11 },
        fields: out.finish(),
    }
}

fn scheme(upstream: &Upstream) -> Bytes {
    Bytes::from_static(if upstream.scheme == Scheme::Https { b"https" } else { b"http" })
}
