//! Byte streams: plain TCP or TLS over it, read into pooled buffers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio_rustls::TlsStream;

use super::buffer::Chunk;
use super::socket::Socket;

/// One connection, to a client or to an upstream.
#[derive(Debug)]
pub enum Stream {
    /// Cleartext.
    Plain(Socket),
    /// TLS, with the gateway at either end, and the socket beneath it.
    Tls(Box<TlsStream<Socket>>, Socket),
}

impl Stream {
    /// The two directions apart, so that both can move at once.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        match self {
            Self::Plain(socket) => {
                let half = WriteSide::Plain(socket.clone());
                (Reader::Plain(socket.clone()), Writer { side: half, socket })
            }
            Self::Tls(stream, socket) => {
                let (reader, writer) = tokio::io::split(stream);
                (Reader::Tls(reader), Writer { side: WriteSide::Tls(writer), socket })
            }
        }
    }

    /// The next bytes, as [`Reader::read`] gives them, before the two directions are apart.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports.
    pub async fn read(&mut self) -> io::Result<Chunk> {
        poll_fn(|context| match self {
            Self::Plain(socket) => socket.poll_chunk(context),
            Self::Tls(stream, _) => poll_chunk(stream, context),
        })
        .await
    }

    /// The socket beneath.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) | Self::Tls(_, socket) => socket,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream, _) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream, _) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream, _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The receiving direction of a [`Stream`].
#[derive(Debug)]
pub enum Reader {
    /// Cleartext.
    Plain(Socket),
    /// TLS.
    Tls(ReadHalf<Box<TlsStream<Socket>>>),
}

impl Reader {
    /// The next bytes, in a pooled buffer that is held only once they are there; empty at the end
    /// of the stream.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports; for TLS an end without close_notify is `UnexpectedEof`.
    pub async fn read(&mut self) -> io::Result<Chunk> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    /// What is there right now: `None` where nothing is, an empty chunk at the end of the stream.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports.
    pub async fn read_now(&mut self) -> io::Result<Option<Chunk>> {
        poll_fn(|context| match self.poll_chunk(context) {
            Poll::Pending => Poll::Ready(Ok(None)),
            Poll::Ready(result) => Poll::Ready(result.map(Some)),
        })
        .await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Chunk>> {
        match self {
            Self::Plain(socket) => socket.poll_chunk(context),
            Self::Tls(reader) => poll_chunk(reader, context),
        }
    }
}

fn poll_chunk(
    reader: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
) -> Poll<io::Result<Chunk>> {
    let mut chunk = Chunk::take();
    let mut buffer = ReadBuf::new(chunk.storage_mut());
    let polled = Pin::new(reader).poll_read(context, &mut buffer);
    let length = buffer.filled().len();
    match polled {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Ready(Ok(())) => {
            chunk.set(0..length);
            Poll::Ready(Ok(chunk))
        }
    }
}

/// The sending direction of a [`Stream`].
#[derive(Debug)]
pub struct Writer {
    side: WriteSide,
    socket: Socket,
}

#[derive(Debug)]
enum WriteSide {
    Plain(Socket),
    Tls(WriteHalf<Box<TlsStream<Socket>>>),
}

impl Writer {
    /// Sends all of `parts`, in order, with as few system calls as the transport allows.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports; part of the bytes may have been sent then.
    pub async fn write_all(&mut self, parts: [&[u8]; 4]) -> io::Result<()> {
        let mut slices = parts.map(io::IoSlice::new);
        let mut rest: &mut [io::IoSlice<'_>] = &mut slices;
        io::IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let sent = match &mut self.side {
                WriteSide::Plain(writer) => writer.write_vectored(rest).await?,
                WriteSide::Tls(writer) => writer.write_vectored(rest).await?,
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            io::IoSlice::advance_slices(&mut rest, sent);
        }
        if let WriteSide::Tls(writer) = &mut self.side {
            writer.flush().await?;
        }
        Ok(())
    }

    /// Ends this direction in good order: close_notify for TLS, then FIN.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports.
    pub async fn finish(&mut self) -> io::Result<()> {
        match &mut self.side {
            WriteSide::Plain(writer) => writer.shutdown().await,
            WriteSide::Tls(writer) => writer.shutdown().await,
        }
    }

    /// Whether TLS runs over the socket.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.side, WriteSide::Tls(_))
    }

    /// The socket beneath, for ends that are cuts.
    #[must_use]
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}
