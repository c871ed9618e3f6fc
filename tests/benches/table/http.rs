//! As much HTTP/1.1 as the bench speaks: heads, and bodies by length or in chunks.
//!
//! It runs in processes whose cost is not counted, yet they share the machine with what is
//! measured, so it reads into one buffer and looks at each byte of a head once.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The field that carries a body's checksum.
pub(crate) const CHECK: &str = "x-check";

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
}

/// What the bench reads of a head.
#[derive(Debug)]
pub(crate) struct Head {
    /// The start line.
    pub(crate) line: String,
    /// How the body is framed; without any field it is empty.
    pub(crate) framing: Framing,
    /// The body's checksum, if it was sent.
    pub(crate) check: Option<u64>,
}

impl Head {
    /// The status of an answer.
    pub(crate) fn status(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The target of a request.
    pub(crate) fn target(&self) -> &str {
        self.status()
    }
}

/// What bytes go through: a socket, or TLS over one.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<Stream: AsyncRead + AsyncWrite + Send + Unpin> Duplex for Stream {}

/// One connection.
pub(crate) struct Connection {
    stream: Box<dyn Duplex>,
    buffer: Vec<u8>,
    /// What of `buffer` is not used yet.
    start: usize,
    end: usize,
}

impl Connection {
    /// Wraps a stream.
    pub(crate) fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Wraps what is ready to be written to.
    pub(crate) fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: vec![0; 16 * 1024], start: 0, end: 0 }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        // TLS may hold back what the socket did not take.
        self.stream.flush().await
    }

    /// Says that nothing more comes, and waits until the other side has done the same.
    pub(crate) async fn close(mut self) -> Result<()> {
        self.stream.shutdown().await?;
        // A peer may end TLS without saying so.
        while self.stream.read(&mut self.buffer).await.unwrap_or_default() > 0 {}
        Ok(())
    }

    /// Waits until something can be read. False at the end of the stream.
    pub(crate) async fn fill(&mut self) -> Result<bool> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                return Err(wrong("a line or a head is longer than the buffer"));
            }
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    /// The next head; nothing where the other side is done.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(length) = memchr::memmem::find(unread, b"\r\n\r\n") {
                let text = std::str::from_utf8(&unread[..length]).map_err(|_| wrong("a head"))?;
                let head = parse(text)?;
                self.start += length + 4;
                return Ok(Some(head));
            }
            if !self.fill().await? {
                return if self.start == self.end { Ok(None) } else { Err(cut()) };
            }
        }
    }

    /// Reads the whole body into `body`.
    pub(crate) async fn body(&mut self, framing: Framing, body: &mut Vec<u8>) -> Result<()> {
        body.clear();
        match framing {
            Framing::Length(length) => self.take(length, body).await,
            Framing::Chunked => {
                while self.chunk(body).await? {}
                Ok(())
            }
        }
    }

    /// Appends the next chunk's payload to `body`. False at the last chunk.
    pub(crate) async fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let size = loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(length) = memchr::memmem::find(unread, b"\r\n") {
                let line = std::str::from_utf8(&unread[..length]).unwrap_or_default();
                let digits = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).map_err(|_| wrong("a chunk"))?;
                self.start += length + 2;
                break size;
            }
            if !self.fill().await? {
                return Err(cut());
            }
        };
        self.take(size, body).await?;
        while self.end - self.start < 2 {
            if !self.fill().await? {
                return Err(cut());
            }
        }
        if self.buffer[self.start..self.start + 2] != *b"\r\n" {
            return Err(wrong("the end of a chunk"));
        }
        self.start += 2;
        Ok(size > 0)
    }

    async fn take(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let end = body.len() + length;
        let at_hand = (self.end - self.start).min(length);
        body.extend_from_slice(&self.buffer[self.start..self.start + at_hand]);
        self.start += at_hand;
        body.reserve(end - body.len());
        while body.len() < end {
            let left = (end - body.len()) as u64;
            if (&mut self.stream).take(left).read_buf(body).await? == 0 {
                return Err(cut());
            }
        }
        Ok(())
    }
}

/// An error of the bench's own making.
pub(crate) fn wrong(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}

fn cut() -> Error {
    Error::new(ErrorKind::UnexpectedEof, "the connection ended in the middle of a message")
}

fn parse(text: &str) -> Result<Head> {
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let (mut framing, mut check) = (Framing::Length(0), None);
    for field in lines {
        let (name, value) = field.split_once(':').ok_or_else(|| wrong("a field"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            framing = Framing::Length(value.parse().map_err(|_| wrong("a length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case(CHECK) {
            check = Some(u64::from_str_radix(value, 16).map_err(|_| wrong("a checksum"))?);
        }
    }
    Ok(Head { line, framing, check })
}
