//! Parses a response's head.
//!
//! The status line is read here and not by `httparse`, which gives a reason phrase with bytes
//! from 0x80 up as an empty one.

use bytes::Bytes;

use super::framing::Announced;
use super::notable::Notable;
use super::request::{start_line, version};
use super::{Connection, HeadError, ResponseFraming, fields};
use crate::wire::message::{ResponseHead, Version};

/// A response's head and what it says about the bytes around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status, reason, version and fields, exactly as sent.
    pub head: ResponseHead,
    /// How the body is delimited, given the request's method.
    pub framing: ResponseFraming,
    /// What the server says about its connection.
    pub connection: Connection,
}

impl Response {
    /// Whether a final response is still to come: 1xx other than 101.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.head.status < 200 && self.head.status != 101
    }
}

/// Parses one head, from the first byte of its status line to its empty line, as the answer to a
/// request with `method`. Whether a 101 was asked for is the caller's to check.
///
/// # Errors
/// The first cause found.
pub fn parse_response(head: Bytes, method: &[u8]) -> Result<Response, HeadError> {
    let line = start_line(&head)?;
    let (version, status, reason) = split_line(line)?;
    let reason = head.slice_ref(reason);
    let fields = fields::parse(&head, line.len() + 2, 2)?;
    let notable = Notable::read(&fields);
    let mut connection = Connection::read(&fields, &notable, version)?;
    let announced = Announced::read(&fields, &notable, version)?;
    let framing = framing(announced, status, method, connection.close)?;
    connection.close |= framing == ResponseFraming::UntilClose;
    let head = ResponseHead { status, reason, version, fields };
    Ok(Response { head, framing, connection })
}

fn split_line(line: &[u8]) -> Result<(Version, u16, &[u8]), HeadError> {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or_default();
    let version = version(name)?;
    let [b' ', hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] = rest
    else {
        return Err(HeadError::StatusInvalid);
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let status = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
    // Servers leave out the reason, and some the space before it: both read as an empty reason.
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(HeadError::StatusInvalid),
    };
    if !fields::is_value(reason) {
        return Err(HeadError::ReasonControl);
    }
    Ok((version, status, reason))
}

fn framing(
    announced: Announced,
    status: u16,
    method: &[u8],
    close: bool,
) -> Result<ResponseFraming, HeadError> {
    let Announced { length, chunked, .. } = announced;
    if method == b"CONNECT" && (200..300).contains(&status) {
        // RFC 9110 section 9.3.6: both fields are ignored here.
        return Ok(ResponseFraming::Upgraded);
    }
    if status < 200 || status == 204 {
        // Neither field may stand here. A length of 0 is common and says the same; anything else
        // could be a body, which the next response would be read from.
        if chunked || length.is_some_and(|length| length > 0) {
            return Err(HeadError::BodyForbidden);
        }
        return Ok(match status {
            101 => ResponseFraming::Upgraded,
            _ => ResponseFraming::None,
        });
    }
    // With `close` no other response follows that could be misread, so the rule of RFC 9112
    // section 6.3 is safe: chunked wins, and `Filter` lets the length go no further.
    if chunked && length.is_some() && !close {
        return Err(HeadError::LengthWithTransferEncoding);
    }
    if method == b"HEAD" || status == 304 {
        return Ok(ResponseFraming::None);
    }
    Ok(match (chunked, length) {
        (true, _) => ResponseFraming::Chunked,
        (false, Some(length)) => ResponseFraming::Length(length),
        (false, None) => ResponseFraming::UntilClose,
    })
}
