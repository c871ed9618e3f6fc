//! Writes heads, chunk lines and trailers.
//!
//! Comes in: parts that may stem from HTTP/2 or from configuration. Goes out: bytes that read
//! back as the same parts. Refuses what would not (a line end in a value is another field to the
//! next hop) or what could be read in two ways, and then leaves the output as it was.

use super::fields::{is_value, is_visible};
use super::{WriteError, is_forbidden_trailer, is_token};
use crate::wire::message::{ResponseHead, Version};

/// What follows a chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The chunk of size 0; trailers and an empty line follow it.
pub const LAST_CHUNK: &[u8] = b"0\r\n";

/// Appends a request's head.
///
/// # Errors
/// The part that cannot be written; `out` is then unchanged.
pub fn write_request_head<'a>(
    out: &mut Vec<u8>,
    method: &[u8],
    target: &[u8],
    version: Version,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), WriteError> {
    if !is_token(method) {
        return Err(WriteError::Method);
    }
    if target.is_empty() || !is_visible(target) {
        return Err(WriteError::Target);
    }
    let version = name(version)?;
    let start = out.len();
    for part in [method, b" ", target, b" ", version, b"\r\n"] {
        out.extend_from_slice(part);
    }
    let mut framing = Framing { framed: false, host: Some(false) };
    write_fields(out, start, fields, |name| framing.count(name))
}

/// Appends a response's head: status line of `head`, and `fields` instead of its own.
///
/// # Errors
/// The part that cannot be written; `out` is then unchanged.
pub fn write_response_head<'a>(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), WriteError> {
    if !(100..=999).contains(&head.status) {
        return Err(WriteError::Status);
    }
    if !is_value(&head.reason) {
        return Err(WriteError::Reason);
    }
    let version = name(head.version)?;
    let start = out.len();
    let digit = |divisor: u16| b'0' + u8::try_from(head.status / divisor % 10).unwrap_or(0);
    let status = [b' ', digit(100), digit(10), digit(1), b' '];
    for part in [version, &status, &head.reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
    let mut framing = Framing { framed: false, host: None };
    write_fields(out, start, fields, |name| framing.count(name))
}

/// Appends trailers and the empty line that ends a chunked body; [`LAST_CHUNK`] goes before.
///
/// # Errors
/// The part that cannot be written; `out` is then unchanged.
pub fn write_trailers<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Result<(), WriteError> {
    let start = out.len();
    let allowed = |name: &[u8]| match is_forbidden_trailer(name) {
        true => Err(WriteError::Trailer),
        false => Ok(()),
    };
    write_fields(out, start, fields, allowed)
}

/// Appends the line before a chunk of `length` bytes, which must not be 0 (that ends the body).
pub fn write_chunk_head(out: &mut Vec<u8>, length: usize) {
    let digits = length.checked_ilog2().unwrap_or(0) / 4;
    for place in (0..=digits).rev() {
        let nibble = u8::try_from((length >> (4 * place)) & 0xf).unwrap_or(0);
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
    out.extend_from_slice(b"\r\n");
}

fn name(version: Version) -> Result<&'static [u8], WriteError> {
    match version {
        Version::Http10 => Ok(b"HTTP/1.0"),
        Version::Http11 => Ok(b"HTTP/1.1"),
        Version::Http2 => Err(WriteError::Version),
    }
}

/// Which fields that frame or route stand in a head already.
struct Framing {
    framed: bool,
    /// Whether there is a host; in a response the field means nothing.
    host: Option<bool>,
}

impl Framing {
    /// Lets one length or coding pass, and one host of a request.
    fn count(&mut self, name: &[u8]) -> Result<(), WriteError> {
        let (text, seen) = match (name.len(), &mut self.host) {
            (4, Some(host)) => ("host", host),
            (14, _) => ("content-length", &mut self.framed),
            (17, _) => ("transfer-encoding", &mut self.framed),
            _ => return Ok(()),
        };
        if !name.eq_ignore_ascii_case(text.as_bytes()) {
            return Ok(());
        }
        if std::mem::replace(seen, true) { Err(WriteError::Ambiguous) } else { Ok(()) }
    }
}

/// Appends field lines and the empty line; on failure cuts `out` back to `start`.
fn write_fields<'a>(
    out: &mut Vec<u8>,
    start: usize,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    mut allowed: impl FnMut(&[u8]) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    for (name, value) in fields {
        if let Err(error) = check(name, value).and_then(|()| allowed(name)) {
            out.truncate(start);
            return Err(error);
        }
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether a field can be written so that it reads back as it is.
pub(super) fn is_writable(name: &[u8], value: &[u8]) -> bool {
    check(name, value).is_ok()
}

fn check(name: &[u8], value: &[u8]) -> Result<(), WriteError> {
    if !is_token(name) {
        return Err(WriteError::Name);
    }
    // Outer whitespace is no part of a value: a reader would drop it.
    let outer = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if outer(value.first()) || outer(value.last()) || !is_value(value) {
        return Err(WriteError::Value);
    }
    Ok(())
}
