//! One exchange's side towards its upstream: where the request goes and the answer comes from.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::ext::Protocol;
use http::{Method, Request, Uri};

use super::pool::Lease;
use super::respond::{MAX_INTERIM_BYTES, MAX_INTERIMS};
use super::switching::without_protocol;
use crate::wire::buffer::Chunk;
use crate::wire::head::{ReadHeadError, read_head};
use crate::wire::http1::{
    BodyDecoder, HeadError, HeadScanner, ResponseFraming, WriteError, parse_response,
};
use crate::wire::http2::{FrameSink, FrameSource, fields, header_map};
use crate::wire::message::{RequestHead, ResponseHead, Version};
use crate::wire::source::{ByteSource, Cut, Source};
use crate::wire::stream::Reader;

/// How long the body of an answer is, as far as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerLength {
    /// There is none.
    None,
    /// Exactly so many bytes.
    Exactly(u64),
    /// Delimited by the protocol's framing.
    Framed,
    /// Delimited by the end of the connection alone.
    UntilClose,
    /// No longer HTTP.
    Switched,
}

/// What an upstream says before its body.
#[derive(Debug)]
pub(super) enum Answer {
    /// An interim answer; another follows.
    Interim(ResponseHead),
    /// The final answer.
    Final {
        /// Its head.
        head: ResponseHead,
        /// Its body.
        source: Source,
        /// How long the body is.
        length: AnswerLength,
        /// Whether the connection may be used again afterwards.
        reusable: bool,
    },
}

/// Why no answer came.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    /// The upstream stopped.
    #[error("the upstream closed before its answer: {0}")]
    Cut(Cut),
    /// What came is no HTTP.
    #[error("the upstream's answer is not valid HTTP: {0}")]
    Malformed(HeadError),
    /// What came cannot be said to the client.
    #[error("the upstream's answer cannot be sent on: {0}")]
    Unsayable(WriteError),
    /// A 101 that nobody asked for, or to a protocol that nobody asked for.
    #[error("the upstream changed to a protocol that it was not asked to change to")]
    Unasked,
    /// A success that a client of HTTP/2 would take for the change that was not made.
    #[error("the upstream answered {0} and did not change to the protocol that it was asked for")]
    Misleading(u16),
    /// One interim answer after the other.
    #[error(
        "the upstream sent more than {MAX_INTERIMS} interim answers, or more than \
         {MAX_INTERIM_BYTES} bytes of them, and no final one"
    )]
    Endless,
    /// Nothing behind an interim answer.
    #[error("the upstream sent an interim answer and then nothing within {0:?}")]
    Silent(Duration),
}

impl From<ReadHeadError> for AnswerError {
    fn from(error: ReadHeadError) -> Self {
        match error {
            ReadHeadError::Ended | ReadHeadError::Cut => Self::Cut(Cut::Ended),
            ReadHeadError::Transport(error) => Self::Cut(Cut::Transport(error)),
            ReadHeadError::Malformed(error) => Self::Malformed(error),
        }
    }
}

/// Where the answer will come from.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An HTTP/1 connection and what is read of it so far.
    Http1 {
        /// The receiving direction; taken when the final head is complete.
        reader: Option<Reader>,
        /// Bytes read beyond the last head.
        carry: Chunk,
        /// The request's method, which decides whether the answer has a body.
        method: Bytes,
        /// Whether a byte of an answer has been read.
        touched: bool,
    },
    /// A stream of an HTTP/2 connection.
    Http2 {
        /// The answer to come.
        response: Box<ResponseFuture>,
        /// The request's method, as above.
        method: Bytes,
        /// Whether it asks for another protocol.
        extended: bool,
        /// The stream's place on the connection, held as long as the exchange lasts.
        #[expect(dead_code, reason = "its drop gives the place back")]
        lease: Lease,
    },
}

impl Incoming {
    /// The next answer.
    ///
    /// # Errors
    ///
    /// [`AnswerError`].
    pub(super) async fn next(&mut self) -> Result<Answer, AnswerError> {
        match self {
            Self::Http1 { reader, carry, method, touched } => {
                next_http1(reader, carry, method, touched).await
            }
            Self::Http2 { response, method, extended, .. } => {
                next_http2(response, method, *extended).await
            }
        }
    }

    /// Whether not a byte of an answer has been read, an interim one included.
    #[must_use]
    pub(super) fn is_untouched(&self) -> bool {
        match self {
            Self::Http1 { touched, .. } => !touched,
            // Whether the upstream has begun to act on it, HTTP/2 does not say.
            Self::Http2 { .. } => false,
        }
    }
}

async fn next_http1(
    slot: &mut Option<Reader>,
    carry: &mut Chunk,
    method: &Bytes,
    touched: &mut bool,
) -> Result<Answer, AnswerError> {
    let Some(reader) = slot.as_mut() else { return Err(AnswerError::Cut(Cut::Ended)) };
    let head = read_head(reader, carry, HeadScanner::for_response()).await;
    *touched |= !matches!(head, Err(ReadHeadError::Ended | ReadHeadError::Transport(_)));
    let head = head?;
    let response = parse_response(head, method).map_err(AnswerError::Malformed)?;
    if response.is_interim() {
        return Ok(Answer::Interim(response.head));
    }
    let length = match response.framing {
        ResponseFraming::None => AnswerLength::None,
        ResponseFraming::Length(length) => AnswerLength::Exactly(length),
        ResponseFraming::Chunked => AnswerLength::Framed,
        ResponseFraming::UntilClose => AnswerLength::UntilClose,
        ResponseFraming::Upgraded => AnswerLength::Switched,
    };
    let carry = std::mem::replace(carry, Chunk::empty());
    let Some(reader) = slot.take() else { return Err(AnswerError::Cut(Cut::Ended)) };
    let source = ByteSource::new(reader, carry, BodyDecoder::new(response.framing));
    let reusable = !response.connection.close && length != AnswerLength::Switched;
    Ok(Answer::Final { head: response.head, source: Source::Http1(source), length, reusable })
}

async fn next_http2(
    response: &mut ResponseFuture,
    method: &Bytes,
    extended: bool,
) -> Result<Answer, AnswerError> {
    let interim = poll_fn(|context| response.poll_informational(context)).await;
    if let Some(interim) = interim {
        let interim = interim.map_err(|error| AnswerError::Cut(crate::wire::http2::cut(error)))?;
        let (parts, ()) = interim.into_parts();
        return Ok(Answer::Interim(head(&parts)));
    }
    let response =
        response.await.map_err(|error| AnswerError::Cut(crate::wire::http2::cut(error)))?;
    let (parts, body) = response.into_parts();
    let head = head(&parts);
    let bodiless = &**method == b"HEAD" || matches!(head.status, 204 | 304);
    let length = if extended && (200..300).contains(&head.status) {
        AnswerLength::Switched
    } else if bodiless || body.is_end_stream() {
        AnswerLength::None
    } else {
        match announced(&head) {
            Some(length) => AnswerLength::Exactly(length),
            None => AnswerLength::Framed,
        }
    };
    let source = Source::Http2(FrameSource::new(body));
    Ok(Answer::Final { head, source, length, reusable: true })
}

fn head(parts: &http::response::Parts) -> ResponseHead {
    ResponseHead {
        status: parts.status.as_u16(),
        reason: Bytes::new(),
        version: Version::Http2,
        fields: fields(&parts.headers),
    }
}

fn announced(head: &ResponseHead) -> Option<u64> {
    std::str::from_utf8(head.fields.first("content-length")?).ok()?.parse().ok()
}

/// Why a request cannot be sent over HTTP/2.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendHeadError {
    /// `http` refuses the target, the method or a field that the client sent.
    #[error("HTTP/2, which the upstream speaks, cannot carry this request: {0}")]
    Unsayable(#[from] http::Error),
    /// `http` would send another target than this one, in silence: it cuts fragments off.
    #[error(
        "HTTP/2, which the upstream speaks, cannot carry this target as it is: leave out its \
         fragment, or write # as %23"
    )]
    Altered,
    /// The connection takes no more streams.
    #[error("the HTTP/2 connection takes no more streams: {0}")]
    Closed(#[from] h2::Error),
}

/// Sends a request's head over a shared connection.
///
/// # Errors
///
/// [`SendHeadError`]; nothing was sent then.
pub(super) async fn send_head(
    lease: Lease,
    head: &RequestHead,
    end_of_stream: bool,
) -> Result<(Incoming, FrameSink), SendHeadError> {
    let method = Method::from_bytes(&head.method).map_err(http::Error::from)?;
    let uri = Uri::builder()
        .scheme(head.scheme.as_deref().unwrap_or(b"https"))
        .authority(head.authority.as_deref().unwrap_or_default())
        .path_and_query(&*head.target)
        .build()?;
    if uri.path_and_query().map(|target| target.as_str().as_bytes()) != Some(&*head.target) {
        return Err(SendHeadError::Altered);
    }
    let mut request = Request::builder().method(method).uri(uri).body(())?;
    let (protocol, fields) = without_protocol(&head.fields);
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    *request.headers_mut() = header_map(&fields)?;
    let mut sender = lease.sender.clone().ready().await?;
    let (response, stream) = sender.send_request(request, end_of_stream)?;
    let sink = if end_of_stream { FrameSink::sent(stream) } else { FrameSink::new(stream) };
    let method = head.method.clone();
    let extended = protocol.is_some();
    Ok((Incoming::Http2 { response: Box::new(response), method, extended, lease }, sink))
}
