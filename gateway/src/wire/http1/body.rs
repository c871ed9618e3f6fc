//! Follows a body through the bytes of its connection.
//!
//! Comes in: any slice of the stream. Goes out: the payload in it, as a slice of the same bytes.
//! It never buffers payload and never allocates, but for trailers.

use super::chunked::Chunked;
use super::{BodyError, ResponseFraming};
use crate::wire::message::Fields;

/// What the front of the input was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Framing, or nothing: feed what follows.
    More,
    /// Payload, never empty.
    Data(&'a [u8]),
    /// The body is complete, with the trailers of a chunked one if it had any.
    End(Option<Fields>),
}

/// Decodes one body; make a new one for the next.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Ended,
}

impl BodyDecoder {
    /// A decoder for a body delimited as `framing` says.
    #[must_use]
    pub fn new(framing: impl Into<ResponseFraming>) -> Self {
        let state = match framing.into() {
            ResponseFraming::None => State::Ended,
            ResponseFraming::Length(length) => State::Length(length),
            ResponseFraming::Chunked => State::Chunked(Chunked::default()),
            ResponseFraming::UntilClose | ResponseFraming::Upgraded => State::UntilClose,
        };
        Self { state }
    }

    /// Decodes from the front of `input`: how many bytes were consumed, and what they were.
    /// [`Decoded::More`] means that all of `input` is consumed. A body without bytes, and one
    /// whose last byte was given out, ends with nothing consumed; call it with an empty `input`
    /// to learn so.
    ///
    /// # Errors
    /// What makes the framing ambiguous or unbounded; the stream cannot be followed further.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Decoded<'a>), BodyError> {
        match &mut self.state {
            State::Ended => Ok((0, Decoded::End(None))),
            State::Length(0) => {
                self.state = State::Ended;
                Ok((0, Decoded::End(None)))
            }
            State::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left = left.saturating_sub(widen(length));
                Ok(data(input, length))
            }
            State::UntilClose => Ok(data(input, input.len())),
            State::Chunked(chunked) => {
                let (consumed, decoded) = chunked.decode(input)?;
                if matches!(decoded, Decoded::End(_)) {
                    self.state = State::Ended;
                }
                Ok((consumed, decoded))
            }
        }
    }

    /// What the end of the stream means here: [`Decoded::End`] where the body is complete or only
    /// the end of the stream ends it.
    ///
    /// # Errors
    /// [`BodyError::Cut`] where more was to come.
    pub fn eof(&mut self) -> Result<Decoded<'static>, BodyError> {
        match self.state {
            State::Ended | State::Length(0) | State::UntilClose => {
                self.state = State::Ended;
                Ok(Decoded::End(None))
            }
            State::Length(_) | State::Chunked(_) => Err(BodyError::Cut),
        }
    }

    /// Whether the end has been given out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Bytes still to come of a body with a length; `None` for every other framing.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Ended | State::Chunked(_) | State::UntilClose => None,
        }
    }
}

/// A count of bytes as the wire counts them; `usize` is never wider.
pub(super) fn widen(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

pub(super) fn data(input: &[u8], length: usize) -> (usize, Decoded<'_>) {
    match input.get(..length) {
        Some(data) if !data.is_empty() => (length, Decoded::Data(data)),
        _ => (0, Decoded::More),
    }
}
