//! Recorder: what stands before a server and keeps every byte that reaches it or leaves it.
//!
//! It relays HTTP/1 connections without touching them, in cleartext or with TLS taken off, and reads
//! them as exchanges afterwards. Direct calls and calls through a door reach the same recorder, so
//! that `Host` is the same in both. HTTP/2 is served and passed on stream by stream (`streams.rs`).

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealtap_tests::gate::poll;
use sealtap_tests::tls::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::streams;
use crate::transcript::{self, Seen};

/// How an HTTP/2 connection in cleartext begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a server may take to close behind its client.
const GRACE: Duration = Duration::from_secs(2);

/// Which protocols the server behind a recorder speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// HTTP/1.1; the recorder speaks HTTP/2 as well.
    Http1,
    /// HTTP/2 in cleartext and nothing else.
    Http2,
}

/// A recorder and the runtime that serves it.
pub(crate) struct Recorder {
    address: SocketAddr,
    scheme: &'static str,
    kept: Kept,
    _runtime: Arc<Runtime>,
}

/// What was recorded since it was last taken.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    connections: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
    /// Exchanges of HTTP/2, in the order they began.
    pub(crate) streams: Arc<Mutex<Vec<Arc<Mutex<Seen>>>>>,
    /// Held by each connection that is open.
    open: Arc<()>,
}

/// Both directions of a connection of HTTP/1.
#[derive(Default)]
struct Connection {
    sent: Vec<u8>,
    answered: Vec<u8>,
}

impl Recorder {
    /// Stands before the server on a port of this machine; with TLS, under a certificate for
    /// `localhost` of this authority.
    pub(crate) fn start(
        runtime: &Arc<Runtime>,
        port: u16,
        behind: Behind,
        tls: Option<&Authority>,
    ) -> Self {
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)));
        let listener = listener.expect("a port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let offered: &[&str] = if behind == Behind::Http2 { &["h2"] } else { &["h2", "http/1.1"] };
        let acceptor = tls.map(|authority| TlsAcceptor::from(authority.server(offered)));
        let kept = Kept::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let server = serve(listener, port, behind, acceptor, kept.clone());
        runtime.spawn(server);
        Self { address, scheme, kept, _runtime: Arc::clone(runtime) }
    }

    /// The base URL of the server behind it.
    pub(crate) fn base(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.address.port())
    }

    /// Every exchange since the last time, in the order of connections and within them.
    ///
    /// Whoever spoke to it must have ended: it waits until every connection has.
    pub(crate) fn take(&self) -> Vec<Seen> {
        // The recorder holds one, and the task that accepts another.
        poll("the end of every connection to a recorder", || {
            (Arc::strong_count(&self.kept.open) <= 2).then_some(())
        });
        let connections = std::mem::take(&mut *self.kept.connections.lock().expect("no panic"));
        let mut seen = Vec::new();
        for connection in connections {
            let connection = connection.lock().expect("no relay panics");
            seen.extend(transcript::read(&connection.sent, &connection.answered));
        }
        let streams = std::mem::take(&mut *self.kept.streams.lock().expect("no panic"));
        seen.extend(streams.iter().map(|stream| stream.lock().expect("no stream panics").clone()));
        seen
    }
}

async fn serve(
    listener: TcpListener,
    port: u16,
    behind: Behind,
    acceptor: Option<TlsAcceptor>,
    kept: Kept,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, kept) = (acceptor.clone(), kept.clone());
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else {
                return accepted(stream, port, behind, kept).await;
            };
            // A client that does not trust the certificate says so itself.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            accepted(stream, port, behind, kept).await;
        });
    }
}

/// Tells HTTP/2 from HTTP/1 by its first bytes, and serves either.
async fn accepted<S>(mut stream: S, port: u16, behind: Behind, kept: Kept)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut first = Vec::new();
    while first.len() < PREFACE.len() && PREFACE.starts_with(&first) {
        let mut byte = [0; 64];
        let room = PREFACE.len() - first.len();
        match stream.read(&mut byte[..room]).await {
            Ok(0) | Err(_) => break,
            Ok(count) => first.extend_from_slice(&byte[..count]),
        }
    }
    if first == PREFACE {
        return streams::serve(first, stream, port, behind, kept).await;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = server.set_nodelay(true);
    let connection = Arc::new(Mutex::new(Connection::default()));
    kept.connections.lock().expect("no relay panics").push(Arc::clone(&connection));
    relay(first, stream, server, &connection).await;
}

/// Passes bytes on in both directions, and keeps them before it does.
async fn relay<S>(first: Vec<u8>, client: S, server: TcpStream, kept: &Mutex<Connection>)
where
    S: AsyncRead + AsyncWrite,
{
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        kept.lock().expect("no relay panics").sent.extend_from_slice(&first);
        let _ = to_server.write_all(&first).await;
        copy(&mut from_client, &mut to_server, |bytes| {
            kept.lock().expect("no relay panics").sent.extend_from_slice(bytes);
        })
        .await;
    };
    let down = async {
        copy(&mut from_server, &mut to_client, |bytes| {
            kept.lock().expect("no relay panics").answered.extend_from_slice(bytes);
        })
        .await;
    };
    tokio::pin!(down);
    tokio::select! {
        () = up => {
            // The client is gone; what the server still says nobody hears.
            let _ = tokio::time::timeout(GRACE, down).await;
        }
        () = &mut down => {}
    }
}

async fn copy<R, W>(from: &mut R, to: &mut W, keep: impl Fn(&[u8]))
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        keep(&buffer[..count]);
        if to.write_all(&buffer[..count]).await.is_err() || to.flush().await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
