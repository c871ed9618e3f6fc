//! What the gateway answers when it cannot forward: JSON that says what, where and what to do.

use std::borrow::Cow;

use std::time::Duration;

use bytes::Bytes;
use sealtap_common::leaf::ErrorCode;
use serde_json::json;

use super::connect::ConnectError;
use super::upstream::{AnswerError, SendHeadError};
use crate::capture::journal::Down;
use crate::route::Forbidden;
use crate::wire::message::{Fields, ResponseHead, Version};

/// An answer of the gateway's own.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The registered error code.
    pub code: ErrorCode,
    /// What went wrong and what to do, for the client's developer.
    pub message: Cow<'static, str>,
    /// Further members of the JSON body.
    pub details: Vec<(&'static str, serde_json::Value)>,
}

impl Answer {
    /// An answer with `status` and a message.
    #[must_use]
    pub fn new(status: u16, code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), details: Vec::new() }
    }

    /// No connection to the upstream came about.
    pub(crate) fn unreachable(error: &ConnectError) -> Self {
        let (status, code) = match error {
            ConnectError::Timeout { .. } => (504, ErrorCode::UpstreamTimeout),
            ConnectError::Tls { .. } | ConnectError::Trust(_) => (502, ErrorCode::UpstreamTls),
            ConnectError::Exhausted { .. } => (503, ErrorCode::UpstreamUnreachable),
            ConnectError::Unreachable { .. } => (502, ErrorCode::UpstreamUnreachable),
            ConnectError::Http2 { .. } => (502, ErrorCode::UpstreamProtocol),
            ConnectError::Forbidden { why: Forbidden::Loop(_), .. } => {
                (508, ErrorCode::DestinationRefused)
            }
            ConnectError::Forbidden { .. } => (403, ErrorCode::DestinationRefused),
        };
        Self::new(status, code, error.to_string())
    }

    /// The upstream ended without an answer.
    pub(super) fn unanswered(error: &AnswerError) -> Self {
        let code = match error {
            AnswerError::Silent(_) => {
                return Self::new(504, ErrorCode::UpstreamTimeout, error.to_string());
            }
            AnswerError::Cut(cut) if !cut.is_fault() => ErrorCode::UpstreamClosed,
            AnswerError::Cut(_)
            | AnswerError::Malformed(_)
            | AnswerError::Unsayable(_)
            | AnswerError::Unasked
            | AnswerError::Misleading(_)
            | AnswerError::Endless => ErrorCode::UpstreamProtocol,
        };
        Self::new(502, code, error.to_string())
    }

    /// The request could not be sent over the upstream's HTTP/2 connection.
    pub(super) fn unsent(error: &SendHeadError) -> Self {
        Self::new(502, ErrorCode::UpstreamProtocol, error.to_string())
    }

    /// The request's own head or body is at fault, or its upstream's HTTP has no words for it.
    pub(super) fn malformed(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, ErrorCode::MalformedRequest, why)
    }

    /// HTTP/2, which the upstream speaks, has no words for the request; `length` is its target's.
    pub(super) fn unsayable(length: usize, why: String) -> Self {
        // The most that `http::Uri` holds, and with it `h2`.
        if length > usize::from(u16::MAX) - 1 {
            return Self::new(414, ErrorCode::HeadTooLarge, why);
        }
        Self::malformed(why)
    }

    /// The upstream speaks HTTP/2 and has no words for a change of protocol.
    pub(super) fn no_extended_connect() -> Self {
        let message = "the upstream speaks HTTP/2 and does not allow extended CONNECT (RFC 8441); \
                       `protocol = \"http1\"` asks it over HTTP/1.1, if it speaks that too";
        Self::new(502, ErrorCode::UpstreamProtocol, message)
    }

    /// The connection to the upstream broke while the head was sent.
    pub(super) fn closed(why: &str) -> Self {
        Self::new(502, ErrorCode::UpstreamClosed, format!("the upstream closed: {why}"))
    }

    /// The upstream took too long.
    pub(super) fn late(limit: Duration) -> Self {
        let message = format!("the upstream sent no answer within {limit:?} of the request");
        Self::new(504, ErrorCode::UpstreamTimeout, message)
    }

    /// Nothing can be captured, so nothing is forwarded.
    pub(super) fn journal_down(down: &Down) -> Self {
        let message = format!("nothing is forwarded that cannot be recorded: {down}");
        Self::new(503, ErrorCode::JournalFailed, message)
    }

    /// Head and body of the answer.
    #[must_use]
    pub fn render(&self) -> (ResponseHead, Bytes) {
        let mut error =
            json!({ "type": "sealtap", "code": self.code.as_str(), "message": self.message });
        if let Some(members) = error.as_object_mut() {
            members.extend(
                self.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone())),
            );
        }
        let mut body = json!({ "error": error }).to_string();
        body.push('\n');
        let length = body.len().to_string();
        let mut pairs: Vec<(&[u8], &[u8])> =
            vec![(b"Content-Type", b"application/json"), (b"Content-Length", length.as_bytes())];
        if self.status == 407 {
            pairs.push((b"Proxy-Authenticate", b"Basic realm=\"sealtap\""));
        }
        if self.status == 503 {
            pairs.push((b"Retry-After", b"1"));
        }
        let head = ResponseHead {
            status: self.status,
            reason: Bytes::from_static(reason(self.status)),
            version: Version::Http11,
            fields: Fields::from_pairs(pairs),
        };
        (head, body.into())
    }
}

fn reason(status: u16) -> &'static [u8] {
    match status {
        400 => b"Bad Request",
        403 => b"Forbidden",
        404 => b"Not Found",
        407 => b"Proxy Authentication Required",
        408 => b"Request Timeout",
        414 => b"URI Too Long",
        421 => b"Misdirected Request",
        431 => b"Request Header Fields Too Large",
        501 => b"Not Implemented",
        502 => b"Bad Gateway",
        503 => b"Service Unavailable",
        508 => b"Loop Detected",
        505 => b"HTTP Version Not Supported",
        504 => b"Gateway Timeout",
        _ => b"",
    }
}
