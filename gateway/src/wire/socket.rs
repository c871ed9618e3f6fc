//! A TCP socket that several owners can hold at once.
//!
//! TLS takes its transport by value, but a cut must reach beneath it: end the connection without
//! close_notify, or reset it once what was delivered is out. So the socket is shared, and every
//! owner can act on it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::buffer::Chunk;
use super::watching::{Watcher, Watching};

/// How long a reset waits for delivered bytes to be acknowledged.
const DRAIN: Duration = Duration::from_secs(5);

/// Bytes that are joined into one buffer to be sent, at most.
const JOINED: usize = 4096;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(JOINED));
}

/// A shared TCP socket; clones are the same connection.
#[derive(Clone, Debug)]
pub struct Socket(
    Arc<TcpStream>,
    #[expect(dead_code, reason = "its drop gives the place back")]
    Option<Arc<OwnedSemaphorePermit>>,
    Option<Arc<Watching>>,
);

impl Socket {
    /// Takes over `stream` and switches Nagle's algorithm off, since every write here is meant to
    /// leave at once.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY refused; small writes may be delayed");
        }
        Self(Arc::new(stream), None, None)
    }

    /// The same; `watcher` is told what passes, and of the end.
    #[must_use]
    pub fn watched(stream: TcpStream, watcher: Arc<dyn Watcher>) -> Self {
        let socket = Self::new(stream);
        let watching = Watching::new(&socket.0, watcher);
        Self { 2: Some(Arc::new(watching)), ..socket }
    }

    /// The same, one of a number of sockets that is bounded; `place` is given back when the last
    /// owner lets go.
    #[must_use]
    pub fn counted(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self { 1: Some(Arc::new(place)), ..Self::new(stream) }
    }

    /// The address of the other end, if it is still known.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }

    /// Sends FIN: nothing more will be written. TLS above it gets no close_notify.
    pub fn shutdown_write(&self) {
        // Only fails where the connection is gone already, which is what was wanted.
        let _ = shutdown(&*self.0, Shutdown::Write);
    }

    /// Resets the connection once the other end has acknowledged everything written, so that a
    /// body which only a close would end is seen to be cut.
    pub async fn reset_when_drained(self) {
        let deadline = tokio::time::Instant::now() + DRAIN;
        let mut pause = Duration::from_millis(1);
        while super::unsent::unsent_bytes(&*self.0).unwrap_or(0) > 0
            && tokio::time::Instant::now() < deadline
        {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        self.reset();
    }

    /// Resolves when the other end has reset the connection, or is found to be gone; a FIN is neither.
    /// For whoever only waits for others: a read or a write would be told by itself.
    pub async fn broken(&self) {
        if self.0.ready(Interest::ERROR).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resets the connection when its last owner lets go.
    pub fn reset(&self) {
        let _ = set_socket_linger(&*self.0, Some(Duration::ZERO));
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.try_read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Socket {
    /// What is there, in a pooled buffer that is taken only when something may be.
    pub(super) fn poll_chunk(&self, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            let mut chunk = Chunk::take();
            match self.try_read(chunk.storage_mut()) {
                Ok(count) => {
                    chunk.set(0..count);
                    return Poll::Ready(Ok(chunk));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Reads what is there. A read that does not fill its buffer has emptied the socket: the next one
    /// waits to be told of more instead of asking for it, which would be a system call in vain for
    /// each piece of a stream.
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut emptied = None;
        let read = self.0.try_io(Interest::READABLE, || {
            let (_, count) = recv(&*self.0, &mut *buffer, RecvFlags::empty())?;
            if (1..buffer.len()).contains(&count) {
                // Said this way, the readiness seen before the read is taken back, and no later one.
                emptied = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        let read = emptied.map_or(read, Ok);
        if let (Some(watching), Ok(count)) = (&self.2, &read) {
            watching.watcher.received(*count);
        }
        read
    }

    fn poll_send<F>(&self, context: &mut Context<'_>, send: F) -> Poll<io::Result<usize>>
    where
        F: Fn(&Arc<TcpStream>) -> io::Result<usize>,
    {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match send(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    if let (Some(watching), Ok(count)) = (&self.2, &result) {
                        watching.watcher.sent(*count);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| {
            let length = slices.iter().fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
            if length > JOINED {
                return stream.try_write_vectored(slices);
            }
            // The kernel takes one buffer with less ado than several, and the copy is short.
            SCRATCH.with_borrow_mut(|scratch| {
                scratch.clear();
                slices.iter().for_each(|slice| scratch.extend_from_slice(slice));
                stream.try_io(Interest::WRITABLE, || {
                    Ok(send(&**stream, scratch, SendFlags::NOSIGNAL)?)
                })
            })
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shutdown_write();
        Poll::Ready(Ok(()))
    }
}
