//! Parses a request's head.
//!
//! The request line is read here and not by `httparse`, which refuses targets that are not UTF-8.

use bytes::Bytes;

use super::framing::Announced;
use super::notable::{Notable, Value};
use super::{
    Connection, HeadError, MAX_HEAD, RequestFraming, TargetForm, fields, target, target_form,
};
use crate::wire::message::{RequestHead, Version};

/// A request's head and what it says about the bytes around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, target, version and fields, exactly as sent.
    pub head: RequestHead,
    /// How the body is delimited.
    pub framing: RequestFraming,
    /// What the client says about its connection.
    pub connection: Connection,
    /// The client may wait for a 100 before it sends its body; never so in HTTP/1.0.
    pub expect_continue: bool,
}

/// Parses one head, from the first byte of its request line to its empty line.
///
/// # Errors
/// The first cause found; [`HeadError::status`] is the status to answer with.
pub fn parse_request(head: Bytes) -> Result<Request, HeadError> {
    let line = start_line(&head)?;
    let RequestLine { method, target, version } = split_line(line)?;
    let form = target_form(method, target)?;
    let (method, target) = (head.slice_ref(method), head.slice_ref(target));
    let fields = fields::parse(&head, line.len() + 2, 2)?;
    let notable = Notable::read(&fields);
    check_host(notable.host, version)?;
    let connection = Connection::read(&fields, &notable, version)?;
    let announced = Announced::read(&fields, &notable, version)?;
    let framing = framing(announced, matches!(form, TargetForm::Authority(_)))?;
    let expect_continue = version == Version::Http11
        && notable.expect.is_some()
        && fields.lists("expect", "100-continue");
    let head = RequestHead { method, target, scheme: None, authority: None, version, fields };
    Ok(Request { head, framing, connection, expect_continue })
}

/// The first line without its line end, which must be CR LF.
pub(super) fn start_line(head: &Bytes) -> Result<&[u8], HeadError> {
    if head.len() > MAX_HEAD {
        return Err(HeadError::TooLarge);
    }
    let Some(at) = memchr::memchr3(b'\r', b'\n', 0, head) else {
        return Err(HeadError::Incomplete);
    };
    match (head.get(at), head.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(head.get(..at).unwrap_or_default()),
        (Some(b'\r'), _) => Err(HeadError::BareCarriageReturn { at }),
        (Some(b'\n'), _) => Err(HeadError::BareLineFeed { at }),
        _ => Err(HeadError::Nul { at }),
    }
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
}

fn split_line(line: &[u8]) -> Result<RequestLine<'_>, HeadError> {
    if line.contains(&b'\t') {
        return Err(HeadError::RequestLineWhitespace);
    }
    let mut spaces = memchr::memchr_iter(b' ', line);
    let (Some(first), Some(second)) = (spaces.next(), spaces.next()) else {
        return Err(HeadError::RequestLineIncomplete);
    };
    if spaces.next().is_some() || second == first + 1 {
        return Err(HeadError::RequestLineWhitespace);
    }
    let method = line.get(..first).unwrap_or_default();
    let target = line.get(first + 1..second).unwrap_or_default();
    if !fields::is_token(method) {
        return Err(HeadError::MethodInvalid);
    }
    if !fields::is_visible(target) {
        return Err(HeadError::TargetControl);
    }
    Ok(RequestLine {
        method,
        target,
        version: version(line.get(second + 1..).unwrap_or_default())?,
    })
}

/// Reads `HTTP/1.0` or `HTTP/1.1`.
pub(super) fn version(text: &[u8]) -> Result<Version, HeadError> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(HeadError::VersionUnsupported)
        }
        _ => Err(HeadError::VersionInvalid),
    }
}

fn check_host(host: Value<'_>, version: Version) -> Result<(), HeadError> {
    match (host.first, host.repeated) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(HeadError::HostMissing),
        (Some(_), true) => Err(HeadError::HostRepeated),
        (Some(host), false) if target::is_host(host) => Ok(()),
        (Some(_), false) => Err(HeadError::HostInvalid),
    }
}

fn framing(announced: Announced, connect: bool) -> Result<RequestFraming, HeadError> {
    let framing = match (announced.length, announced.chunked) {
        (Some(_), true) => return Err(HeadError::LengthWithTransferEncoding),
        (Some(_), false) if announced.leading_zero => return Err(HeadError::LengthLeadingZero),
        (Some(length), false) => RequestFraming::Length(length),
        (None, true) => RequestFraming::Chunked,
        (None, false) => RequestFraming::None,
    };
    match framing {
        // Bytes after CONNECT belong to the tunnel; a body before them would be read as such.
        RequestFraming::Chunked | RequestFraming::Length(1..) if connect => {
            Err(HeadError::BodyForbidden)
        }
        framing => Ok(framing),
    }
}
