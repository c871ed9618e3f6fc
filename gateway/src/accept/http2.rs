//! An HTTP/2 connection of a client: many requests at once.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accepted::{Accepted, BodyLength, Client, Reply};
use crate::journey::Journey;
use crate::wire::http2::{FrameSource, fields};
use crate::wire::message::{RequestHead, Version};
use crate::wire::source::Source;
use crate::wire::stream::Stream;

/// Serves requests until the connection ends; when `stop` turns true no new ones are taken.
pub(super) async fn serve(
    stream: Stream,
    seen: Vec<u8>,
    client: Arc<Client>,
    journey: Arc<Journey>,
    mut stop: watch::Receiver<bool>,
) {
    let handshake = h2::server::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(1_000)
        .max_header_list_size(1 << 18)
        .handshake::<_, Bytes>(Replayed { seen, at: 0, stream });
    let mut connection = match handshake.await {
        Ok(connection) => connection,
        Err(error) => {
            tracing::debug!(client = %client.address, %error, "HTTP/2 handshake failed");
            return;
        }
    };
    let mut exchanges = JoinSet::new();
    let mut stopping = false;
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
                continue;
            }
            Some(_) = exchanges.join_next(), if !exchanges.is_empty() => continue,
        };
        match next {
            Some(Ok((request, respond))) => {
                let accepted = accept(request, respond, &client, &journey);
                let journey = Arc::clone(&journey);
                exchanges.spawn(async move {
                    journey.travel(accepted).await;
                });
            }
            Some(Err(error)) => {
                tracing::debug!(client = %client.address, %error, "HTTP/2 connection failed");
                break;
            }
            None => break,
        }
    }
    // Whoever still runs learns from the failed connection, and records it.
    while exchanges.join_next().await.is_some() {}
}

fn accept(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    client: &Arc<Client>,
    journey: &Journey,
) -> Accepted {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let head = RequestHead {
        method: text(parts.method.as_str()),
        target: text(target),
        scheme: parts.uri.scheme_str().map(text),
        authority: parts.uri.authority().map(|authority| text(authority.as_str())),
        version: Version::Http2,
        fields: fields(&parts.headers),
    };
    let announced = head.fields.first("content-length");
    let announced = announced.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    let length = match announced {
        _ if body.is_end_stream() => BodyLength::None,
        Some(length) => BodyLength::Exactly(length),
        None => BodyLength::Unknown,
    };
    Accepted {
        head,
        length,
        body: Source::Http2(FrameSource::new(body)),
        reply: Reply::Http2(respond),
        client: Arc::clone(client),
        upgrade: false,
        started_us: journey.now_us(),
    }
}

/// A stream whose first bytes were read already, to learn what it speaks.
struct Replayed {
    seen: Vec<u8>,
    at: usize,
    stream: Stream,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.seen.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        this.at += count;
        if this.at == this.seen.len() {
            (this.seen, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
