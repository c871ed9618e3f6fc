//! Byte streams: plain TCP, TLS over it, or a tunnel in either, read into pooled buffers.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio_rustls::TlsStream;

use super::buffer::Chunk;
use super::framed::{Cut, Framed};
use super::socket::Socket;

/// What bytes go over in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Sync + Unpin> Duplex for T {}

/// What lies beneath a stream, for ends that are cuts.
#[derive(Clone, Debug)]
pub enum Ground {
    /// A TCP connection of its own.
    Socket(Socket),
    /// One stream of an HTTP/2 connection.
    Frames(Cut),
}

impl Ground {
    /// Resets it when its last owner lets go.
    pub fn reset(&self) {
        match self {
            Self::Socket(socket) => socket.reset(),
            Self::Frames(cut) => cut.reset(),
        }
    }

    /// Ends it so that what is above it is seen to be cut; TLS gets no close_notify.
    pub fn shutdown_write(&self) {
        match self {
            Self::Socket(socket) => socket.shutdown_write(),
            Self::Frames(cut) => cut.reset(),
        }
    }

    /// Resolves when the other end is found to be gone; [`Socket::broken`]. Of one stream among others
    /// that is told only to who writes to it.
    pub async fn broken(&self) {
        match self {
            Self::Socket(socket) => socket.broken().await,
            Self::Frames(_) => std::future::pending().await,
        }
    }

    /// Resets it once what was written has arrived, as far as that can be known.
    pub async fn reset_when_drained(self) {
        match self {
            Self::Socket(socket) => socket.reset_when_drained().await,
            Self::Frames(cut) => cut.reset(),
        }
    }
}

/// One connection, to a client or to an upstream.
#[derive(Debug)]
pub enum Stream {
    /// Cleartext.
    Plain(Socket),
    /// TLS, with the gateway at either end, and the socket beneath it.
    Tls(Box<TlsStream<Socket>>, Socket),
    /// What a CONNECT made of a stream of HTTP/2, or TLS in a tunnel that is TLS itself or such a
    /// stream.
    Within(Box<dyn Duplex>, Ground),
}

impl Stream {
    /// What a CONNECT over HTTP/2 makes of its stream.
    #[must_use]
    pub fn framed(stream: Framed) -> Self {
        let ground = Ground::Frames(stream.cut());
        Self::Within(Box::new(stream), ground)
    }

    /// TLS in whatever this is, with the gateway at its near end.
    #[must_use]
    pub fn within(tls: tokio_rustls::server::TlsStream<Self>) -> Self {
        let ground = tls.get_ref().0.ground();
        Self::Within(Box::new(tls), ground)
    }

    /// The two directions together again; nothing where they are of two connections.
    #[must_use]
    pub fn join(reader: Reader, writer: Writer) -> Option<Self> {
        match (reader, writer.0) {
            (Reader::Plain(_), WriteSide::Plain(socket)) => Some(Self::Plain(socket)),
            (Reader::Within(reader), WriteSide::Within(writer, ground))
                if reader.is_pair_of(&writer) =>
            {
                Some(Self::Within(reader.unsplit(writer), ground))
            }
            _ => None,
        }
    }

    /// The two directions apart, so that both can move at once.
    #[must_use]
    pub fn split(self) -> (Reader, Writer) {
        match self {
            Self::Plain(socket) => {
                (Reader::Plain(socket.clone()), Writer(WriteSide::Plain(socket)))
            }
            Self::Tls(stream, socket) => Self::Within(stream, Ground::Socket(socket)).split(),
            Self::Within(stream, ground) => {
                let (reader, writer) = tokio::io::split(stream);
                (Reader::Within(reader), Writer(WriteSide::Within(writer, ground)))
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
            Self::Within(stream, _) => poll_chunk(stream, context),
        })
        .await
    }

    /// What lies beneath.
    #[must_use]
    pub fn ground(&self) -> Ground {
        match self {
            Self::Plain(socket) | Self::Tls(_, socket) => Ground::Socket(socket.clone()),
            Self::Within(_, ground) => ground.clone(),
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
            Self::Within(stream, _) => Pin::new(stream).poll_read(context, buffer),
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
            Self::Within(stream, _) => Pin::new(stream).poll_write(context, bytes),
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
            Self::Within(stream, _) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_flush(context),
            Self::Within(stream, _) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream, _) => Pin::new(stream).poll_shutdown(context),
            Self::Within(stream, _) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// The receiving direction of a [`Stream`].
#[derive(Debug)]
pub enum Reader {
    /// Cleartext.
    Plain(Socket),
    /// TLS, or what is in a tunnel.
    Within(ReadHalf<Box<dyn Duplex>>),
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
            Self::Within(reader) => poll_chunk(reader, context),
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
pub struct Writer(WriteSide);

#[derive(Debug)]
enum WriteSide {
    Plain(Socket),
    Within(WriteHalf<Box<dyn Duplex>>, Ground),
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
            let sent = match &mut self.0 {
                WriteSide::Plain(writer) => writer.write_vectored(rest).await?,
                WriteSide::Within(writer, _) => writer.write_vectored(rest).await?,
            };
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            io::IoSlice::advance_slices(&mut rest, sent);
        }
        match &mut self.0 {
            WriteSide::Plain(_) => Ok(()),
            WriteSide::Within(writer, _) => writer.flush().await,
        }
    }

    /// Ends this direction in good order: close_notify for TLS, then FIN.
    ///
    /// # Errors
    ///
    /// Whatever the transport reports.
    pub async fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            WriteSide::Plain(writer) => writer.shutdown().await,
            WriteSide::Within(writer, _) => writer.shutdown().await,
        }
    }

    /// Whether the end of what lies beneath, without a word before it, is seen to be a cut.
    #[must_use]
    pub fn says_its_end(&self) -> bool {
        !matches!(self.0, WriteSide::Plain(_))
    }

    /// What lies beneath, for ends that are cuts.
    #[must_use]
    pub fn ground(&self) -> Ground {
        match &self.0 {
            WriteSide::Plain(socket) => Ground::Socket(socket.clone()),
            WriteSide::Within(_, ground) => ground.clone(),
        }
    }
}
