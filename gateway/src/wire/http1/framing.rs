//! How a body is delimited (RFC 9112 section 6.3), with every ambiguity refused.

use super::HeadError;
use super::notable::Notable;
use crate::wire::message::{Fields, Version};

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// Nothing follows the head, and the head does not say so.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
}

/// How a response's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFraming {
    /// Nothing follows the head, whatever it says: HEAD, 1xx, 204, 304.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks, then trailers.
    Chunked,
    /// Everything until the connection ends.
    UntilClose,
    /// No longer HTTP: 101, or 2xx to CONNECT. Everything until the connection ends.
    Upgraded,
}

impl From<RequestFraming> for ResponseFraming {
    fn from(framing: RequestFraming) -> Self {
        match framing {
            RequestFraming::None => Self::None,
            RequestFraming::Length(length) => Self::Length(length),
            RequestFraming::Chunked => Self::Chunked,
        }
    }
}

/// What the framing fields of one message announce, before its method or status is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) length: Option<u64>,
    pub(super) leading_zero: bool,
    pub(super) chunked: bool,
}

impl Announced {
    pub(super) fn read(
        fields: &Fields,
        notable: &Notable<'_>,
        version: Version,
    ) -> Result<Self, HeadError> {
        let mut announced = Self::default();
        if let Some(value) = notable.length.first {
            if notable.length.repeated {
                return Err(HeadError::LengthRepeated);
            }
            announced.length = Some(parse_length(value)?);
            announced.leading_zero = value.len() > 1 && value.starts_with(b"0");
        }
        if let Some(value) = notable.coding.first {
            if version == Version::Http10 {
                return Err(HeadError::TransferEncodingInHttp10);
            }
            if !value.eq_ignore_ascii_case(b"chunked") || notable.coding.repeated {
                return Err(coding_fault(fields));
            }
            announced.chunked = true;
        }
        Ok(announced)
    }
}

/// The length that `Content-Length` announces, if it does: for heads that came by HTTP/2, where it
/// frames nothing but must agree with the data, and would frame the message in HTTP/1.
///
/// # Errors
/// Two of them, or one that is not digits alone.
pub fn declared_length(fields: &Fields) -> Result<Option<u64>, HeadError> {
    let mut lengths = fields.all("content-length");
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(HeadError::LengthRepeated),
        (Some(value), None) => parse_length(value).map(Some),
        (None, _) => Ok(None),
    }
}

fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.contains(&b',') {
        return Err(HeadError::LengthList);
    }
    if value.is_empty() {
        return Err(HeadError::LengthInvalid);
    }
    let mut length: u64 = 0;
    let mut overflow = false;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(HeadError::LengthInvalid);
        }
        match length.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(byte - b'0'))) {
            Some(sum) => length = sum,
            None => overflow = true,
        }
    }
    if overflow { Err(HeadError::LengthOverflow) } else { Ok(length) }
}

/// Names what is wrong with `Transfer-Encoding` fields that are not exactly one `chunked`.
fn coding_fault(fields: &Fields) -> HeadError {
    let members = || {
        fields
            .all("transfer-encoding")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
    };
    let chunked = |member: &[u8]| member.eq_ignore_ascii_case(b"chunked");
    if members().any(<[u8]>::is_empty) {
        HeadError::TransferEncodingEmpty
    } else if members().filter(|member| chunked(member)).count() > 1 {
        HeadError::ChunkedTwice
    } else if members().any(chunked) && !members().last().is_some_and(chunked) {
        HeadError::ChunkedNotFinal
    } else {
        HeadError::TransferCodingUnknown
    }
}
