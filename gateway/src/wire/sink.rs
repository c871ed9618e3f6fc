//! One message body going out, over either version of HTTP.
//!
//! A sink sends what it is given at once, except a message's end: with Content-Length that is the
//! final byte, chunked the terminating chunk, over HTTP/2 the frame with END_STREAM, for anything
//! close-delimited the close. [`Sink::finish`] sends it, and is called only when everything that
//! was captured is on disk; so is [`Sink::last`], which sends a message's last bytes with its end.

use std::io;
use std::time::Duration;

use crate::capture::Tapped;

use super::http1::{
    CHUNK_END, LAST_CHUNK, WriteError, write_chunk_head, write_response_head, write_trailers,
};
use super::http2::FrameSink;
use super::message::{Fields, ResponseHead};
use super::stream::Writer;

/// How long a cut waits for what is still queued.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What ends an HTTP/1 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// The head alone.
    Bodiless,
    /// So many more bytes.
    Length(u64),
    /// The terminating chunk.
    Chunked,
    /// The end of the connection.
    UntilClose,
    /// Nothing: bytes of another protocol, after an upgrade.
    Raw,
}

/// Where a body is sent.
#[derive(Debug)]
pub enum Sink {
    /// An HTTP/1 connection.
    Http1(ByteSink),
    /// An HTTP/2 stream.
    Http2(FrameSink),
}

/// Why a body could not be sent on.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The transport failed: the other end is gone.
    #[error("the connection failed while sending: {0}")]
    Transport(#[from] io::Error),
    /// The stream was reset by the other end.
    #[error("the stream was reset by the other end: {0}")]
    Reset(h2::Reason),
    /// Fields that HTTP/1 cannot carry.
    #[error("the message cannot be written as HTTP/1: {0}")]
    Unwritable(#[from] WriteError),
    /// More bytes came than the message's Content-Length allows.
    #[error("the body is longer than its Content-Length by {0} bytes at least")]
    TooLong(u64),
    /// Fewer bytes came than the message's Content-Length promises.
    #[error("the body ended {0} bytes short of its Content-Length")]
    TooShort(u64),
}

impl Sink {
    /// Sends `tapped`, keeping back what would end the message.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the other end is gone, or the bytes do not fit the announced length.
    pub async fn data(&mut self, tapped: Tapped<'_>) -> Result<(), SendError> {
        match self {
            Self::Http1(sink) => sink.data(tapped.bytes()).await,
            Self::Http2(sink) => sink.data(tapped).await,
        }
    }

    /// Sends `tapped` up to `count` bytes, then waits for `durable`, then sends the rest, unless
    /// `durable` says that it must not be released.
    ///
    /// # Errors
    ///
    /// As for [`Sink::data`].
    pub async fn split_data<F>(
        &mut self,
        tapped: Tapped<'_>,
        count: usize,
        durable: F,
    ) -> Result<(), SendError>
    where
        F: Future<Output = bool>,
    {
        match self {
            Self::Http1(sink) => {
                let (first, rest) = tapped.bytes().split_at_checked(count).unwrap_or_default();
                sink.data(first).await?;
                sink.flush().await?;
                if durable.await { sink.data(rest).await } else { Ok(()) }
            }
            Self::Http2(sink) => {
                if durable.await {
                    sink.data(tapped).await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Sends `tapped` and the message's end together, with the trailers where there are any;
    /// everything must be on disk already.
    ///
    /// # Errors
    ///
    /// As for [`Sink::data`] and [`Sink::finish`].
    pub async fn last(
        &mut self,
        tapped: Tapped<'_>,
        trailers: Option<&Fields>,
    ) -> Result<(), SendError> {
        match self {
            Self::Http1(sink) => sink.last(tapped.bytes(), trailers).await,
            Self::Http2(sink) => sink.last(tapped, trailers).await,
        }
    }

    /// Sends whatever is still queued, because nothing more is at hand.
    ///
    /// # Errors
    ///
    /// [`SendError::Transport`].
    pub async fn flush(&mut self) -> Result<(), SendError> {
        match self {
            Self::Http1(sink) => sink.flush().await,
            Self::Http2(sink) => sink.flush(),
        }
    }

    /// Sends the message's end.
    ///
    /// # Errors
    ///
    /// As for [`Sink::data`]; [`SendError::TooShort`] where bytes are missing.
    pub async fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), SendError> {
        match self {
            Self::Http1(sink) => sink.finish(trailers).await,
            Self::Http2(sink) => sink.finish(trailers).await,
        }
    }

    /// Whether trailers can follow the body: over HTTP/1 only chunks have a place for them.
    #[must_use]
    pub fn takes_trailers(&self) -> bool {
        match self {
            Self::Http1(sink) => sink.framing == Framing::Chunked,
            Self::Http2(sink) => sink.takes_trailers(),
        }
    }

    /// Whether anything of the message may have been sent.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        match self {
            Self::Http1(sink) => sink.begun,
            Self::Http2(sink) => sink.has_begun(),
        }
    }

    /// Ends a request so that it is seen to be cut. Where nothing of it was sent, nothing is: its
    /// head may not be on disk yet.
    pub async fn abort(&mut self, reason: h2::Reason) {
        if let Self::Http1(sink) = self
            && !sink.begun
        {
            sink.queued.clear();
        }
        self.cut(Some(reason)).await;
    }

    /// Ends the message so that it is seen to be cut; over HTTP/2 with `reason`.
    pub async fn cut(&mut self, reason: Option<h2::Reason>) {
        match self {
            Self::Http1(sink) => sink.cut().await,
            Self::Http2(sink) => sink.cut(reason.unwrap_or(h2::Reason::INTERNAL_ERROR)).await,
        }
    }

    /// Resolves when the other end has said that it wants no more; never for HTTP/1, where only
    /// a failing write says so.
    pub async fn refused(&mut self) -> h2::Reason {
        match self {
            Self::Http1(_) => std::future::pending().await,
            Self::Http2(sink) => sink.refused().await,
        }
    }
}

/// The sending side of one HTTP/1 message.
#[derive(Debug)]
pub struct ByteSink {
    writer: Writer,
    /// Bytes to send with whatever comes next: heads, mostly.
    queued: Vec<u8>,
    framing: Framing,
    /// The final byte of a Content-Length body.
    held: Option<u8>,
    /// Whether a byte of this message may have left.
    begun: bool,
}

impl ByteSink {
    /// A sink that will send `queued` (a head) before anything else.
    #[must_use]
    pub fn new(writer: Writer, queued: Vec<u8>, framing: Framing) -> Self {
        Self { writer, queued, framing, held: None, begun: false }
    }

    /// The writer, for the next message or for a cut.
    #[must_use]
    pub fn into_writer(self) -> Writer {
        self.writer
    }

    /// The writer.
    pub fn writer_mut(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// What ends this message.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Queues a written head and says how its body will be framed.
    pub fn head(&mut self, framing: Framing, head: Vec<u8>) {
        if self.queued.is_empty() {
            self.queued = head;
        } else {
            self.queued.extend_from_slice(&head);
        }
        self.framing = framing;
        // Of this message, whatever interim answers went before it.
        self.begun = false;
    }

    /// Sends a written interim head at once.
    ///
    /// # Errors
    ///
    /// [`SendError::Transport`].
    pub async fn interim(&mut self, head: &[u8]) -> Result<(), SendError> {
        self.queued.extend_from_slice(head);
        self.send_queued().await
    }

    /// Sends what is queued, whatever it is.
    ///
    /// # Errors
    ///
    /// [`SendError::Transport`].
    pub async fn send_queued(&mut self) -> Result<(), SendError> {
        // Taken before the wait: a write that is given up half-way must not be begun anew by a cut,
        // and a stream at rest holds no buffer.
        let queued = std::mem::take(&mut self.queued);
        if !queued.is_empty() {
            self.begun = true;
            self.writer.write_all([&queued, &[], &[], &[]]).await?;
        }
        Ok(())
    }

    /// Sends a whole answer that is not captured, because nothing can be.
    ///
    /// # Errors
    ///
    /// [`SendError::Transport`], [`SendError::Unwritable`].
    pub async fn refuse(&mut self, head: &ResponseHead, body: &[u8]) -> Result<(), SendError> {
        write_response_head(&mut self.queued, head, head.fields.iter())?;
        self.queued.extend_from_slice(body);
        self.send_queued().await
    }

    async fn data(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.begun = true;
        match self.framing {
            Framing::Bodiless => return Err(SendError::TooLong(count)),
            Framing::Length(remaining) => {
                let after = remaining.checked_sub(count).ok_or(SendError::TooLong(count))?;
                self.framing = Framing::Length(after);
                let now = if after == 0 {
                    let (last, before) = bytes.split_last().unwrap_or((&0, &[]));
                    self.held = Some(*last);
                    before
                } else {
                    bytes
                };
                let queued = std::mem::take(&mut self.queued);
                self.writer.write_all([&queued, now, &[], &[]]).await?;
            }
            Framing::Chunked => {
                write_chunk_head(&mut self.queued, bytes.len());
                let queued = std::mem::take(&mut self.queued);
                self.writer.write_all([&queued, bytes, CHUNK_END, &[]]).await?;
            }
            Framing::UntilClose | Framing::Raw => {
                let queued = std::mem::take(&mut self.queued);
                self.writer.write_all([&queued, bytes, &[], &[]]).await?;
            }
        }
        Ok(())
    }

    async fn last(&mut self, bytes: &[u8], trailers: Option<&Fields>) -> Result<(), SendError> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.framing {
            Framing::Length(remaining) if remaining == count => {
                self.begun = true;
                let queued = std::mem::take(&mut self.queued);
                self.writer.write_all([&queued, bytes, &[], &[]]).await?;
            }
            Framing::Chunked => {
                let mut end = LAST_CHUNK.to_vec();
                write_trailers(&mut end, trailers.iter().flat_map(|fields| fields.iter()))?;
                self.begun = true;
                write_chunk_head(&mut self.queued, bytes.len());
                let queued = std::mem::take(&mut self.queued);
                self.writer.write_all([&queued, bytes, CHUNK_END, &end]).await?;
            }
            _ => {
                self.data(bytes).await?;
                return self.finish(trailers).await;
            }
        }
        self.framing = Framing::Length(0);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), SendError> {
        // A bodiless message ends with its head, which therefore waits for `finish`.
        if self.queued.is_empty() || matches!(self.framing, Framing::Bodiless | Framing::Length(0))
        {
            return Ok(());
        }
        self.send_queued().await
    }

    async fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), SendError> {
        match self.framing {
            Framing::Bodiless => {}
            Framing::Length(0) => self.queued.extend(self.held.take()),
            Framing::Length(missing) => return Err(SendError::TooShort(missing)),
            Framing::Chunked => {
                self.queued.extend_from_slice(LAST_CHUNK);
                write_trailers(&mut self.queued, trailers.iter().flat_map(|fields| fields.iter()))?;
            }
            Framing::UntilClose | Framing::Raw => {}
        }
        self.send_queued().await?;
        if matches!(self.framing, Framing::UntilClose | Framing::Raw) {
            self.writer.finish().await?;
        }
        Ok(())
    }

    /// Ends the message so that it is seen to be cut: what was queued and is no end goes out, then
    /// Content-Length, chunked and raw bytes stop with a FIN, close-delimited with a reset once
    /// delivered bytes are out; TLS gets no close_notify.
    async fn cut(&mut self) {
        if self.held.is_none() && !matches!(self.framing, Framing::Bodiless) {
            // Whoever does not read is not waited for.
            let _ = tokio::time::timeout(LAST_WORDS, self.flush()).await;
        }
        let ground = self.writer.ground();
        if matches!(self.framing, Framing::UntilClose) && !self.writer.says_its_end() {
            ground.reset_when_drained().await;
        } else {
            ground.shutdown_write();
        }
    }
}
