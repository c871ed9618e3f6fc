//! HTTP/2 bodies and heads, over the `h2` crate.
//!
//! `h2` keeps fields in an `http::HeaderMap`: names are lower-case as the protocol demands, their
//! order is kept, but the values of a repeated name stand together at its first place. That and
//! the targets `http::Uri` refuses are the two departures ARCHITECTURE.md records.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::capture::Tapped;

use super::buffer::Payload;
use super::http1::WriteError;
use super::message::{Fields, ResponseHead};
use super::sink::SendError;
use super::source::{Cut, Event};

/// The pseudo-header by which extended CONNECT (RFC 8441) names what to change to. It stands in front
/// of a head's fields: no field can have its name.
pub const PROTOCOL: &str = ":protocol";

/// How long a cut stream keeps its frames before it is reset. All of them have their window, so
/// they leave as soon as the socket takes them.
const DELIVERY: Duration = Duration::from_millis(50);

/// The receiving side of one HTTP/2 stream.
#[derive(Debug)]
pub struct FrameSource {
    stream: RecvStream,
    /// What [`FrameSource::is_at_hand`] found: the next frame, or that there are no more.
    found: Option<Option<Result<Bytes, h2::Error>>>,
}

impl FrameSource {
    /// The body that `stream` brings.
    #[must_use]
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, found: None }
    }

    /// The stream, of which nothing was read.
    pub fn into_stream(self) -> RecvStream {
        self.stream
    }

    /// Whether the next event is there already.
    pub async fn is_at_hand(&mut self) -> bool {
        if self.found.is_none() && !self.stream.is_end_stream() {
            let Self { stream, found } = self;
            *found = poll_fn(|context| match stream.poll_data(context) {
                Poll::Ready(data) => Poll::Ready(Some(data)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        self.found.is_some() || self.stream.is_end_stream()
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// [`Cut`].
    pub async fn next(&mut self) -> Result<Event, Cut> {
        loop {
            let found = match self.found.take() {
                Some(found) => found,
                None => self.stream.data().await,
            };
            let Some(data) = found else { break };
            let data = data.map_err(cut)?;
            // Whoever asks for the next frame has sent on the one before, so the sender is ahead
            // of the receiver by its window and this frame.
            self.stream.flow_control().release_capacity(data.len()).map_err(cut)?;
            if data.is_empty() {
                continue;
            }
            let last = self.stream.is_end_stream();
            return Ok(Event::Data { payload: Payload::Frame(data), last });
        }
        let trailers = self.stream.trailers().await.map_err(cut)?;
        let trailers = trailers.map(|map| fields(&map));
        Ok(Event::End(trailers.filter(|fields| !fields.is_empty())))
    }
}

/// What a failed stream means for its body.
#[must_use]
pub fn cut(error: h2::Error) -> Cut {
    match error.reason() {
        // What `h2` itself ended, it ended because the other side broke a rule.
        Some(reason) if error.is_library() => Cut::Protocol(reason),
        Some(reason) if error.is_reset() || error.is_go_away() => Cut::Reset(reason),
        _ => match error.into_io() {
            Some(error) => Cut::Transport(error),
            None => Cut::Ended,
        },
    }
}

/// The sending side of one HTTP/2 stream.
#[derive(Debug)]
pub struct FrameSink {
    state: Sending,
    /// Bytes that an answer's Content-Length still promises.
    promised: Option<u64>,
    /// The last of those, which leaves with the end: who counts would take the answer for whole
    /// before it is.
    held: Bytes,
}

#[derive(Debug)]
enum Sending {
    /// The head is sent, the body may follow.
    Body(SendStream<Bytes>),
    /// An answer's head, which leaves with what follows it.
    Head(Box<Head>),
    /// Everything is sent.
    Done(SendStream<Bytes>),
    /// The stream is gone.
    Gone,
}

/// The head of an answer that is not sent yet.
#[derive(Debug)]
struct Head {
    respond: SendResponse<Bytes>,
    response: Response<()>,
    /// Whether it is the whole answer: it carries END_STREAM then, and waits for the disk.
    alone: bool,
}

impl FrameSink {
    /// A body sent on `stream`.
    #[must_use]
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self { state: Sending::Body(stream), promised: None, held: Bytes::new() }
    }

    /// A request that was its head alone; kept to end its stream with a code.
    #[must_use]
    pub fn sent(stream: SendStream<Bytes>) -> Self {
        Self { state: Sending::Done(stream), promised: None, held: Bytes::new() }
    }

    /// An answer, of which nothing is sent yet; `alone` says that it is its head alone.
    #[must_use]
    pub fn answer(respond: SendResponse<Bytes>, response: Response<()>, alone: bool) -> Self {
        let length = response.headers().get(http::header::CONTENT_LENGTH);
        let promised = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let state = Sending::Head(Box::new(Head { respond, response, alone }));
        Self { state, promised, held: Bytes::new() }
    }

    /// Whether anything was sent.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, Sending::Head(_))
    }

    /// Sends the head of an answer that has a body, unless it is sent.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn flush(&mut self) -> Result<(), SendError> {
        if !matches!(&self.state, Sending::Head(head) if !head.alone) {
            return Ok(());
        }
        if let Sending::Head(head) = std::mem::replace(&mut self.state, Sending::Gone) {
            let Head { mut respond, response, .. } = *head;
            let stream = respond.send_response(response, false).map_err(refusal)?;
            self.state = Sending::Body(stream);
        }
        Ok(())
    }

    /// Sends data, waiting for the window.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub async fn data(&mut self, tapped: Tapped<'_>) -> Result<(), SendError> {
        self.send(tapped, false).await
    }

    /// Sends data whose last frame carries END_STREAM, or trailers that do.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub async fn last(
        &mut self,
        tapped: Tapped<'_>,
        trailers: Option<&Fields>,
    ) -> Result<(), SendError> {
        let more = trailers.is_some_and(|fields| !fields.is_empty());
        if more || tapped.bytes().is_empty() {
            self.send(tapped, false).await?;
            return self.finish(trailers).await;
        }
        self.send(tapped, true).await?;
        if let Sending::Body(stream) = std::mem::replace(&mut self.state, Sending::Gone) {
            self.state = Sending::Done(stream);
        }
        Ok(())
    }

    async fn send(&mut self, tapped: Tapped<'_>, end: bool) -> Result<(), SendError> {
        self.flush()?;
        let stream = match &mut self.state {
            Sending::Body(stream) => stream,
            Sending::Head(_) => {
                let count = u64::try_from(tapped.bytes().len()).unwrap_or(u64::MAX);
                return Err(SendError::TooLong(count));
            }
            Sending::Done(_) | Sending::Gone => {
                return Err(SendError::Reset(Reason::STREAM_CLOSED));
            }
        };
        let mut rest = tapped.to_bytes();
        if let Some(promised) = &mut self.promised {
            let length = u64::try_from(rest.len()).unwrap_or(u64::MAX);
            let fulfils = *promised > 0 && length >= *promised;
            *promised = promised.saturating_sub(length);
            if fulfils && !end {
                self.held = rest.split_off(rest.len().saturating_sub(1));
            }
        }
        send_all(stream, rest, end).await
    }

    /// Whether trailers can follow.
    #[must_use]
    pub fn takes_trailers(&self) -> bool {
        match &self.state {
            Sending::Body(_) => true,
            Sending::Head(head) => !head.alone,
            Sending::Done(_) | Sending::Gone => false,
        }
    }

    /// Sends END_STREAM, with the trailers where there are any.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub async fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), SendError> {
        let trailers = trailers.filter(|fields| !fields.is_empty());
        if trailers.is_some() {
            self.flush()?;
        }
        match std::mem::replace(&mut self.state, Sending::Gone) {
            Sending::Body(mut stream) => {
                let held = std::mem::take(&mut self.held);
                if !held.is_empty() {
                    send_all(&mut stream, held, trailers.is_none()).await?;
                    if trailers.is_none() {
                        self.state = Sending::Done(stream);
                        return Ok(());
                    }
                }
                match trailers {
                    Some(fields) => {
                        let map = header_map(fields).map_err(|_| WriteError::Unsayable)?;
                        stream.send_trailers(map).map_err(refusal)?;
                    }
                    None => stream.send_data(Bytes::new(), true).map_err(refusal)?,
                }
                self.state = Sending::Done(stream);
            }
            Sending::Head(head) => {
                let Head { mut respond, response, .. } = *head;
                let stream = respond.send_response(response, true).map_err(refusal)?;
                self.state = Sending::Done(stream);
            }
            Sending::Done(_) | Sending::Gone => {}
        }
        Ok(())
    }

    /// Ends the stream with an error code once what was sent before is on its way: a reset drops
    /// every frame of its stream that `h2` still holds, and `h2` does not say when it holds none.
    pub async fn cut(&mut self, reason: Reason) {
        // A stream that is gone needs no head.
        let _ = self.flush();
        if matches!(self.state, Sending::Body(_)) {
            tokio::time::sleep(DELIVERY).await;
        }
        self.reset(reason);
    }

    /// Ends the stream with an error code, at once.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.state {
            Sending::Body(stream) | Sending::Done(stream) => stream.send_reset(reason),
            Sending::Head(head) => head.respond.send_reset(reason),
            Sending::Gone => {}
        }
    }

    /// Resolves when the other end resets the stream.
    pub async fn refused(&mut self) -> Reason {
        let reset = match &mut self.state {
            Sending::Body(stream) => poll_fn(|context| stream.poll_reset(context)).await,
            Sending::Head(head) => poll_fn(|context| head.respond.poll_reset(context)).await,
            Sending::Done(_) | Sending::Gone => std::future::pending().await,
        };
        // Where the connection failed, whoever writes next learns how.
        reset.unwrap_or_else(|error| error.reason().unwrap_or(Reason::CANCEL))
    }
}

/// An answer's head as `h2` takes it.
///
/// # Errors
///
/// `http` refuses the status, or a name or value among the fields.
pub fn respond_with(head: &ResponseHead) -> Result<Response<()>, http::Error> {
    let mut response = Response::builder().status(head.status).body(())?;
    *response.headers_mut() = header_map(&head.fields)?;
    Ok(response)
}

/// Sends `rest` as the window allows; its last frame carries END_STREAM if it is the `end`.
async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut rest: Bytes,
    end: bool,
) -> Result<(), SendError> {
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let window = loop {
            match poll_fn(|context| stream.poll_capacity(context)).await {
                Some(Ok(0)) => {}
                Some(Ok(window)) => break window,
                Some(Err(error)) => return Err(refusal(error)),
                None => return Err(SendError::Reset(Reason::STREAM_CLOSED)),
            }
        };
        let now = rest.split_to(window.min(rest.len()));
        stream.send_data(now, end && rest.is_empty()).map_err(refusal)?;
    }
    Ok(())
}

fn refusal(error: h2::Error) -> SendError {
    match error.reason() {
        Some(reason) => SendError::Reset(reason),
        None => match error.into_io() {
            Some(error) => SendError::Transport(error),
            None => SendError::Reset(Reason::CANCEL),
        },
    }
}

/// The fields of `map`, in its order.
#[must_use]
pub fn fields(map: &HeaderMap) -> Fields {
    Fields::from_pairs(map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// `fields` as a map. Names become lower-case, as HTTP/2 demands. No value enters a compression table:
/// `h2` does not tell which ones came as never to be indexed, and those must go on so (RFC 7541
/// section 7.1.3), credentials above all, since others share the connection and its table would
/// answer their guesses.
///
/// # Errors
///
/// A name or value that `http` refuses, such as a name of 64 KiB; nothing is left out in silence.
pub fn header_map(fields: &Fields) -> Result<HeaderMap, http::Error> {
    let mut map = HeaderMap::try_with_capacity(fields.len())?;
    for (name, value) in fields.iter() {
        let mut value = HeaderValue::from_bytes(value)?;
        value.set_sensitive(true);
        map.try_append(HeaderName::from_bytes(name)?, value)?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_enters_a_compression_table() {
        let names: [&[u8]; 3] = [b"Authorization", b"x-api-key", b"accept"];
        let fields = Fields::from_pairs(names.map(|name| (name, b"v".as_slice())));
        let map = header_map(&fields).unwrap();
        assert!(map.values().all(HeaderValue::is_sensitive) && map.len() == 3);
    }
}
