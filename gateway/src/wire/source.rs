//! One message body coming in, over either version of HTTP.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use super::buffer::{Chunk, Payload};
use super::http1::{BodyDecoder, BodyError, Decoded};
use super::http2::FrameSource;
use super::message::Fields;
use super::stream::Reader;

/// What a body does next.
#[derive(Debug)]
pub enum Event {
    /// These bytes arrived; `last` where the framing says that no more will.
    Data {
        /// The bytes.
        payload: Payload,
        /// Whether the message is known to be complete with them.
        last: bool,
    },
    /// The message is complete.
    End(Option<Fields>),
}

/// Why a body stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The sender ended its side of the connection in the middle of the message.
    #[error("the connection ended in the middle of the message")]
    Ended,
    /// The connection failed.
    #[error("the connection failed while receiving: {0}")]
    Transport(io::Error),
    /// The stream was reset by the sender.
    #[error("the stream was reset by the sender: {0}")]
    Reset(h2::Reason),
    /// The framing is broken.
    #[error("the body's framing is broken: {0}")]
    Framing(BodyError),
    /// The sender broke the rules of HTTP/2, and its stream or connection was ended for it.
    #[error("the sender broke HTTP/2: {0}")]
    Protocol(h2::Reason),
}

impl Cut {
    /// Whether the sender may still be reading: it only ended its own side.
    #[must_use]
    pub fn is_half_close(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Whether the sender is at fault with what it sent, not with going away.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Framing(_) | Self::Protocol(_))
    }
}

/// Where a body comes from.
#[derive(Debug)]
pub enum Source {
    /// An HTTP/1 connection.
    Http1(ByteSource),
    /// An HTTP/2 stream.
    Http2(FrameSource),
}

impl Source {
    /// The next event; after [`Event::End`] or a cut there is none.
    ///
    /// # Errors
    ///
    /// [`Cut`].
    pub async fn next(&mut self) -> Result<Event, Cut> {
        match self {
            Self::Http1(source) => source.next().await,
            Self::Http2(source) => source.next().await,
        }
    }

    /// What is known by now to be wrong with the rest of the body; what lies before it is given up.
    pub async fn fault(&mut self) -> Option<Cut> {
        loop {
            let mut next = pin!(self.next());
            let at_hand = poll_fn(|context| match next.as_mut().poll(context) {
                Poll::Ready(event) => Poll::Ready(Some(event)),
                Poll::Pending => Poll::Ready(None),
            });
            match at_hand.await? {
                Ok(Event::Data { .. }) => {}
                Ok(Event::End(_)) => return None,
                Err(cut) => return Some(cut).filter(Cut::is_fault),
            }
        }
    }

    /// Takes the trailers, where they were read together with the last data; the message is complete
    /// then. An HTTP/2 stream brings them by themselves.
    pub fn trailers_at_hand(&mut self) -> Option<Fields> {
        match self {
            Self::Http1(source) => source.ended.take().flatten(),
            Self::Http2(_) => None,
        }
    }

    /// Whether the next event is at hand without waiting for the network.
    pub async fn is_at_hand(&mut self) -> bool {
        match self {
            Self::Http1(source) => source.has_more(),
            Self::Http2(source) => source.is_at_hand().await,
        }
    }
}

/// The receiving side of one HTTP/1 message.
#[derive(Debug)]
pub struct ByteSource {
    reader: Reader,
    /// Bytes that were read and not looked at yet.
    carry: Chunk,
    decoder: BodyDecoder,
    /// Trailers, once the end was seen together with the last data.
    ended: Option<Option<Fields>>,
    /// What broke the framing behind data that was still good.
    broken: Option<BodyError>,
}

impl ByteSource {
    /// A body that begins with `carry` and goes on with what `reader` brings.
    #[must_use]
    pub fn new(reader: Reader, carry: Chunk, decoder: BodyDecoder) -> Self {
        Self { reader, carry, decoder, ended: None, broken: None }
    }

    /// The reader, and what it read beyond this message.
    #[must_use]
    pub fn into_parts(self) -> (Reader, Chunk) {
        (self.reader, self.carry)
    }

    /// The reader, to watch or drain the connection.
    pub fn reader_mut(&mut self) -> &mut Reader {
        &mut self.reader
    }

    fn has_more(&self) -> bool {
        !self.carry.is_empty()
            || self.ended.is_some()
            || self.broken.is_some()
            || self.decoder.is_ended()
            || self.decoder.remaining() == Some(0)
    }

    async fn next(&mut self) -> Result<Event, Cut> {
        if let Some(trailers) = self.ended.take() {
            return Ok(Event::End(trailers));
        }
        if let Some(error) = self.broken.take() {
            return Err(Cut::Framing(error));
        }
        loop {
            if let Some(event) = self.decode()? {
                return Ok(event);
            }
            // An error is a cut for every framing: TLS reports one where its peer left without
            // close_notify, and a body that only the close ends may then have been shortened.
            self.carry = self.reader.read().await.map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Cut::Ended,
                _ => Cut::Transport(error),
            })?;
            if self.carry.is_empty() {
                self.carry = Chunk::empty();
                return match self.decoder.eof() {
                    Ok(_) => Ok(Event::End(None)),
                    Err(_) => Err(Cut::Ended),
                };
            }
        }
    }

    /// Decodes what is at hand. The payload pieces of a chunked body are moved together, so that
    /// one read makes one event however finely it was chunked.
    fn decode(&mut self) -> Result<Option<Event>, Cut> {
        let range = self.carry.range();
        let storage = self.carry.storage_mut();
        let (mut at, mut filled) = (range.start, range.start);
        let mut ended = None;
        loop {
            let input = storage.get(at..range.end).unwrap_or_default();
            let (consumed, decoded) = match self.decoder.decode(input) {
                Ok(decoded) => decoded,
                Err(error) if filled == range.start => return Err(Cut::Framing(error)),
                Err(error) => {
                    self.broken = Some(error);
                    at = range.end;
                    break;
                }
            };
            match decoded {
                Decoded::Data(bytes) => {
                    let start = at + (bytes.as_ptr().addr() - input.as_ptr().addr());
                    let length = bytes.len();
                    if start != filled {
                        storage.copy_within(start..start + length, filled);
                    }
                    filled += length;
                    at += consumed;
                }
                Decoded::More => {
                    at += consumed;
                    break;
                }
                Decoded::End(trailers) => {
                    at += consumed;
                    ended = Some(trailers);
                    break;
                }
            }
        }
        let rest = at..range.end;
        if filled == range.start {
            if rest.is_empty() {
                self.carry = Chunk::empty();
            } else {
                self.carry.set(rest);
            }
            return Ok(ended.map(Event::End));
        }
        let mut payload = std::mem::replace(&mut self.carry, Chunk::empty());
        if !rest.is_empty() {
            // What lies beyond this message: another request sent ahead, or trailers to come.
            self.carry = Chunk::copy_of(payload.storage_mut().get(rest).unwrap_or_default());
        }
        payload.set(range.start..filled);
        let last = matches!(ended, Some(None));
        self.ended = ended;
        Ok(Some(Event::Data { payload: Payload::Chunk(payload), last }))
    }
}
