//! An HTTP/2 stream as a byte stream: what a CONNECT over HTTP/2 makes of it (RFC 9113 section 8.5).
//!
//! In: the two directions of a stream whose heads have passed. Out: bytes as over a socket; the end of
//! the one direction is END_STREAM, and so is a shutdown of the other. A cut resets the stream with
//! CONNECT_ERROR, and leaves the connection and its other streams alone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are put into one frame, at most.
const FRAME: usize = 16 << 10;

/// One stream, both directions.
#[derive(Debug)]
pub struct Framed {
    receive: RecvStream,
    send: SendStream<Bytes>,
    /// What came and was not read.
    rest: Bytes,
    /// Whether the sending direction has ended.
    ended: bool,
    cut: Cut,
}

/// Says that a stream is to end with a reset; clones are of one stream.
#[derive(Clone, Debug, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Resets the stream when its last owner lets go.
    pub fn reset(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Framed {
    /// The stream that these are the directions of.
    #[must_use]
    pub fn new(receive: RecvStream, send: SendStream<Bytes>) -> Self {
        Self { receive, send, rest: Bytes::new(), ended: false, cut: Cut::default() }
    }

    /// What cuts it.
    #[must_use]
    pub fn cut(&self) -> Cut {
        self.cut.clone()
    }
}

impl Drop for Framed {
    fn drop(&mut self) {
        if self.cut.0.load(Ordering::Relaxed) {
            self.send.send_reset(Reason::CONNECT_ERROR);
        } else if !self.ended {
            // As a socket sends FIN when it is let go. Where it fails nobody is left to hear it.
            let _ = self.send.send_data(Bytes::new(), true);
        }
    }
}

impl AsyncRead for Framed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(this.receive.poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                Some(Ok(data)) => this.rest = data,
            }
        }
        let now = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..now).unwrap_or_default());
        this.rest.advance(now);
        let given = this.receive.flow_control().release_capacity(now);
        Poll::Ready(given.map_err(failed))
    }
}

impl AsyncWrite for Framed {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let wanted = bytes.len().min(FRAME);
        this.send.reserve_capacity(wanted);
        // What is granted already is not told again.
        let mut window = this.send.capacity();
        while window == 0 {
            window = match ready!(this.send.poll_capacity(context)) {
                Some(Ok(window)) => window,
                Some(Err(error)) => return Poll::Ready(Err(failed(error))),
                None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let now = bytes.get(..window.min(wanted)).unwrap_or(bytes);
        this.send.send_data(Bytes::copy_from_slice(now), false).map_err(failed)?;
        Poll::Ready(Ok(now.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.ended, true) {
            this.send.send_data(Bytes::new(), true).map_err(failed)?;
        }
        Poll::Ready(Ok(()))
    }
}

fn failed(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}
