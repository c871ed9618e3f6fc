//! Authorities: the hosts that a client names in requests of HTTP/2 without TLS.
//!
//! In: its bytes, as they come. Out: whether one of the requests so far names a captured host, as its `:authority` or
//! as `host`. Fields are read by the server of `h2`, which is shown each block of them as a request of its own
//! whose body never comes, and answers nobody: what the client's true server allows it (windows, streams, lengths) says
//! nothing here. What `h2` takes for no request is not read; what follows it is.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::server::{Builder, Connection};
use http::Request;
use http::header::HOST;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Block, END_HEADERS, Frames, HEADERS};
use super::heads::{Captures, lists};
use crate::forward::{Look, Saw};

/// What a client begins with, and the least that follows it: no settings of its own, and that it heard the server's.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00";

/// Its table of fields, in bytes, may be as large as a server is known to allow.
const TABLE: u32 = 1 << 16;

/// The longest head that is read, in bytes, as `h2` counts it.
const HEAD: u32 = 1 << 20;

/// The longest frame that there can be (RFC 9113 section 4.2).
const FRAME: u32 = (1 << 24) - 1;

/// Looks for names of captured hosts in requests of HTTP/2.
pub(super) struct Authorities {
    captures: Captures,
    frames: Frames,
    /// None once what comes cannot be read.
    reader: Option<Reader>,
    requests: u64,
}

impl Authorities {
    /// Nothing came so far.
    pub(super) fn new(captures: Captures) -> Self {
        Self { captures, frames: Frames::default(), reader: Reader::new(), requests: 0 }
    }

    /// Whether a request came whose names were read.
    pub(super) fn have_come(&self) -> bool {
        self.requests > 0
    }

    /// Whether a request names a captured host.
    fn is_captured(&self, request: &Request<()>) -> bool {
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let hosts = request.headers().get_all(HOST).iter().map(|host| host.as_bytes());
        authority.into_iter().chain(hosts).any(|hosts| lists(&self.captures, hosts))
    }

    /// What a block of fields says.
    fn block(&mut self, block: &Block) -> Saw {
        let Some(reader) = &mut self.reader else { return Saw::Nothing };
        match reader.read(block) {
            Some(Some(request)) => {
                self.requests = self.requests.saturating_add(1);
                if self.is_captured(&request) { Saw::Captured } else { Saw::Nothing }
            }
            // Others may take it for one.
            Some(None) if block.begins => Saw::Undecided,
            Some(None) => Saw::Nothing,
            None => {
                self.reader = None;
                Saw::Undecided
            }
        }
    }
}

impl Look for Authorities {
    fn look(&mut self, bytes: &[u8]) -> Saw {
        if self.reader.is_none() {
            return Saw::Undecided;
        }
        let mut blocks = Vec::new();
        let told = self.frames.take(bytes, &mut blocks);
        let saw = blocks.iter().map(|block| self.block(block)).max().unwrap_or(Saw::Nothing);
        if told.is_err() {
            self.reader = None;
            return saw.max(Saw::Undecided);
        }
        saw
    }
}

/// Reads blocks of fields.
struct Reader {
    wire: Wire,
    connection: Connection<Wire, Bytes>,
    /// The next stream's number.
    stream: u32,
}

impl Reader {
    /// None where `h2` takes not even the beginning, which it does.
    fn new() -> Option<Self> {
        let wire = Wire::default();
        wire.push(BEGIN);
        let handshake = Builder::new()
            .header_table_size(TABLE)
            .max_header_list_size(HEAD)
            .max_frame_size(FRAME)
            .enable_connect_protocol()
            // As many as come: each is over before the next.
            .max_local_error_reset_streams(None)
            .handshake(wire.clone());
        match pin!(handshake).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(connection) => Some(Self { wire, connection: connection.ok()?, stream: 1 }),
            Poll::Pending => None,
        }
    }

    /// The request that a block is; within, none where it is none, and without, where no more can be read.
    fn read(&mut self, block: &Block) -> Option<Option<Request<()>>> {
        let [zero, length @ ..] = u32::try_from(block.fields.len()).ok()?.to_be_bytes();
        let next = self.stream.checked_add(2).filter(|next| next >> 31 == 0 && zero == 0)?;
        let stream = std::mem::replace(&mut self.stream, next).to_be_bytes();
        self.wire.push(&length);
        self.wire.push(&[HEADERS, END_HEADERS]);
        self.wire.push(&stream);
        self.wire.push(&block.fields);
        let mut context = Context::from_waker(Waker::noop());
        let mut found = None;
        loop {
            match self.connection.poll_accept(&mut context) {
                // Nobody answers: the stream is over.
                Poll::Ready(Some(Ok((request, _)))) => found = Some(request.map(drop)),
                Poll::Ready(_) => return None,
                Poll::Pending => return Some(found),
            }
        }
    }
}

/// What `h2` reads from, and writes to in vain.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<BytesMut>>);

impl Wire {
    fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = bytes.len().min(buffer.remaining());
        if length == 0 {
            // It is asked again when there is more.
            return Poll::Pending;
        }
        buffer.put_slice(bytes.get(..length).unwrap_or_default());
        bytes.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
