//! Bodies read piece by piece, by their framing, with chunk lines checked to the letter.

use crate::content::Content;
use crate::http1::{Body, End, Framing, parse_field};
use crate::wire::{Read1, Wire};

enum State {
    /// So many bytes are still to come.
    Left(u64),
    /// All that comes belongs to the body.
    UntilClose,
    /// A chunk line is next.
    ChunkLine,
    /// So many bytes of a chunk are still to come, then CRLF.
    Chunk(u64),
    /// Trailer lines are next.
    Trailers,
    /// Nothing more belongs to the body.
    Done(End),
}

/// A body being read from a [`Wire`].
pub struct BodyReader<'a> {
    wire: &'a mut Wire,
    state: State,
    body: Body,
}

impl<'a> BodyReader<'a> {
    pub(super) fn new(wire: &'a mut Wire, framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done(End::Complete),
            Framing::Length(length) => State::Left(length),
            Framing::Chunked => State::ChunkLine,
            Framing::UntilClose => State::UntilClose,
        };
        let body = Body {
            content: Content::default(),
            chunks: Vec::new(),
            trailers: Vec::new(),
            end: End::Complete,
        };
        Self { wire, state, body }
    }

    /// Reads until at least so many bytes of payload have come, and gives all so far.
    ///
    /// # Panics
    /// If the body ends before.
    pub fn at_least(&mut self, length: u64) -> &Content {
        while self.body.content.length() < length {
            if let State::Done(end) = self.state {
                panic!("the body ended ({end:?}) within {length} bytes: {:?}", self.body.content);
            }
            self.step();
        }
        &self.body.content
    }

    /// Reads to the end.
    pub fn finish(mut self) -> Body {
        loop {
            if let State::Done(end) = self.state {
                self.body.end = end;
                return self.body;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        match self.state {
            State::Left(left) => {
                let taken = self.take(left);
                self.state = match (taken, left - taken) {
                    (_, 0) => State::Done(End::Complete),
                    (0, left) => self.fill(State::Left(left)),
                    (_, left) => State::Left(left),
                };
            }
            State::UntilClose => {
                if self.take(u64::MAX) > 0 {
                    return;
                }
                self.state = match self.wire.fill() {
                    Read1::Bytes => State::UntilClose,
                    Read1::End(End::Cut) => State::Done(End::Complete),
                    Read1::End(end) => State::Done(end),
                };
            }
            State::ChunkLine => {
                self.state = match self.line() {
                    Err(state) => state,
                    Ok(line) => self.chunk_line(&line),
                };
            }
            State::Chunk(0) => {
                self.state = match self.line() {
                    Err(state) => state,
                    Ok(line) => {
                        assert!(line.is_empty(), "a chunk is longer than its line says: {line:?}");
                        State::ChunkLine
                    }
                };
            }
            State::Chunk(left) => {
                let taken = self.take(left);
                self.state = if taken == 0 {
                    self.fill(State::Chunk(left))
                } else {
                    State::Chunk(left - taken)
                };
            }
            State::Trailers => {
                self.state = match self.line() {
                    Err(state) => state,
                    Ok(line) if line.is_empty() => State::Done(End::Complete),
                    Ok(line) => {
                        self.body.trailers.push(parse_field(&line));
                        State::Trailers
                    }
                };
            }
            State::Done(_) => {}
        }
    }

    fn chunk_line(&mut self, line: &[u8]) -> State {
        let digits = line.split(|byte| *byte == b';').next().expect("a split has a first part");
        let text = std::str::from_utf8(digits).expect("a chunk size is ASCII");
        let size = u64::from_str_radix(text, 16)
            .unwrap_or_else(|error| panic!("chunk line {:?}: {error}", line.escape_ascii()));
        if size == 0 {
            return State::Trailers;
        }
        self.body.chunks.push(size);
        State::Chunk(size)
    }

    /// Moves up to `most` unread bytes into the body.
    fn take(&mut self, most: u64) -> u64 {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.wire.unread.len());
        self.body.content.push(&self.wire.unread[..most]);
        self.wire.unread.drain(..most);
        most as u64
    }

    /// The next line without its CRLF, or the state to be in when it did not come.
    fn line(&mut self) -> Result<Vec<u8>, State> {
        loop {
            let unread = &mut self.wire.unread;
            if let Some(at) = unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = unread.drain(..at).collect();
                unread.drain(..2);
                return Ok(line);
            }
            if let Read1::End(end) = self.wire.fill() {
                return Err(State::Done(end));
            }
        }
    }

    fn fill(&mut self, on: State) -> State {
        match self.wire.fill() {
            Read1::Bytes => on,
            Read1::End(end) => State::Done(end),
        }
    }
}
