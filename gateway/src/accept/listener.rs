//! The listener: one task a connection, until it is told to stop.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsStream;

use super::accepted::{Client, Door};
use super::door::{Carrier, Redirected};
use super::{http1, http2};
use crate::journey::Journey;
use crate::wire::buffer::Chunk;
use crate::wire::http1::{Opening, opening};
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;

/// Connections that end within this after a stop are not worth a word.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address wanted.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Connections that wait to be accepted; the system may allow fewer. Whoever of a burst finds no room
/// tries again after a second.
const WAITING: u32 = 4096;

/// Listens at `address`, within a runtime.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // What is left of connections to a gateway before must not keep this one from beginning.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
}

/// A bound listener.
pub struct Listener {
    listener: TcpListener,
    redirected: Option<Redirected>,
    /// A connection that was taken before there was anybody to serve it.
    first: Option<(TcpStream, SocketAddr)>,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let listener = listen(address).map_err(|source| ListenError { address, source })?;
        Ok(Self { listener, redirected: None, first: None })
    }

    /// Takes a listener that was bound before; it does not block.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub fn bound(listener: std::net::TcpListener) -> Result<Self, ListenError> {
        let listener = TcpListener::from_std(listener);
        let listener = listener
            .map_err(|source| ListenError { address: (Ipv4Addr::UNSPECIFIED, 0).into(), source })?;
        Ok(Self { listener, redirected: None, first: None })
    }

    /// The address bound, with the port the system chose where 0 was asked for.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Takes connections that the kernel leads here as well.
    pub fn redirect(&mut self, redirected: Redirected) {
        self.redirected = Some(redirected);
    }

    /// Waits for a connection, which [`Self::serve`] then begins with.
    pub async fn called(&mut self) {
        while self.first.is_none() {
            match self.listener.accept().await {
                Ok(connection) => self.first = Some(connection),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The next connection, and whether it came to this listener or by the kernel.
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr, bool)> {
        if let Some((stream, from)) = self.first.take() {
            return Ok((stream, from, false));
        }
        let led = async {
            match &self.redirected {
                Some(redirected) => redirected.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.listener.accept() => accepted.map(|(stream, from)| (stream, from, false)),
            accepted = led => accepted.map(|(stream, from)| (stream, from, true)),
        }
    }

    /// Serves connections until `stop` turns true, then lets open exchanges end for `grace`.
    pub async fn serve(
        mut self,
        journey: Arc<Journey>,
        mut stop: watch::Receiver<bool>,
        grace: Duration,
    ) {
        let mut connections = JoinSet::new();
        let mut failing = false;
        let mut said = None;
        loop {
            let most = journey.settings.load().clients;
            let wanted = journey.settings.load().limits.connections;
            if std::mem::replace(&mut said, wanted) != wanted {
                say_whether_there_is_room(wanted, most);
            }
            let accepted = tokio::select! {
                // Beyond the limit clients wait in the system's queue.
                accepted = self.accept(), if connections.len() < most => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            };
            match accepted {
                Ok((stream, address, led)) => {
                    let (journey, stop) = (Arc::clone(&journey), stop.clone());
                    failing = false;
                    notice_the_vanished(&stream);
                    let redirected = self.redirected.as_ref().filter(|_| led).map(Redirected::door);
                    connections.spawn(async move {
                        let socket = match redirected {
                            Some(door) => {
                                // By itself on the heap, or each connection would be as large.
                                let led = Box::pin(door.enter(stream, address, &journey, &stop));
                                let led = led.await;
                                led.map(|(socket, carrier)| (socket, Some(carrier)))
                            }
                            None => Some((Socket::new(stream), None)),
                        };
                        if let Some(socket) = socket {
                            connection(socket, address, journey, stop).await;
                        }
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: the next try would fail at once as well.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop((self.listener, self.redirected));
        let at_once = grace.min(AT_ONCE);
        if timeout(at_once, all_ended(&mut connections)).await.is_err() {
            let open = connections.len();
            let seconds = grace.as_secs();
            tracing::info!(
                open,
                "stopping: connections with open exchanges have up to {seconds} s to end them; \
                 Ctrl-C ends at once, and the next start seals what is left"
            );
            let left = grace.saturating_sub(at_once);
            if timeout(left, all_ended(&mut connections)).await.is_err() {
                tracing::warn!(open = connections.len(), "open exchanges are cut off");
            }
        }
        connections.shutdown().await;
    }
}

async fn all_ended(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

fn say_whether_there_is_room(wanted: Option<u32>, most: usize) {
    let Some(connections) = wanted else { return };
    if usize::try_from(connections).is_ok_and(|wanted| wanted > most) {
        tracing::warn!(
            connections,
            most,
            "the limit of open files has no room for so many connections of clients: raise it \
             (LimitNOFILE, ulimit -n)"
        );
    }
}

/// Has the system find out when a client is gone without a word, so that what waits for an answer
/// does not wait for nobody.
fn notice_the_vanished(stream: &TcpStream) {
    use rustix::net::sockopt;
    let set = sockopt::set_socket_keepalive(stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(stream, Duration::from_secs(60)))
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, Duration::from_secs(15)))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, 4));
    if let Err(error) = set {
        tracing::debug!(%error, "TCP keepalive refused");
    }
}

async fn connection(
    (socket, led): (Socket, Option<Arc<Carrier>>),
    address: SocketAddr,
    journey: Arc<Journey>,
    stop: watch::Receiver<bool>,
) {
    let _connected = journey.observe.traffic().connect();
    tracing::debug!(client.address = %address, "connection accepted");
    let client = Arc::new(Client::new(address, journey.new_run(), Door::Front).led(led));
    let run = client.run();
    let settings = journey.settings();
    let limit = settings.timeouts.client_head;
    let stream = match &settings.tls {
        None => Stream::Plain(socket.clone()),
        Some(acceptor) => match timeout(limit, acceptor.accept(socket.clone())).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(TlsStream::Server(stream)), socket.clone()),
            Ok(Err(error)) => {
                tracing::debug!(client.address = %address, %error, "TLS handshake failed");
                return;
            }
            Err(_) => return,
        },
    };
    // Not held as long as the connection: one that was put in its place is not needed any more.
    drop(settings);
    match stream {
        Stream::Plain(socket) => prior_knowledge(socket, client, &journey, stop).await,
        Stream::Tls(tls, _) if tls.get_ref().1.alpn_protocol() == Some(b"h2") => {
            let stream = Stream::Tls(tls, socket);
            http2::serve(stream, Vec::new(), client, Arc::clone(&journey), stop).await;
        }
        stream => http1::serve(stream, Chunk::empty(), client, &journey, stop).await,
    }
    journey.connection_ended(run);
    tracing::debug!(client.address = %address, "connection ended");
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 by the first bytes.
async fn prior_knowledge(
    socket: Socket,
    client: Arc<Client>,
    journey: &Arc<Journey>,
    mut stop: watch::Receiver<bool>,
) {
    let (mut reader, writer) = Stream::Plain(socket.clone()).split();
    drop(writer);
    let mut seen = Chunk::empty();
    let mut deadline = Instant::now() + journey.settings.load().timeouts.client_idle;
    loop {
        let chunk = tokio::select! {
            chunk = timeout_at(deadline, reader.read()) => chunk,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Ok(Ok(chunk)) = chunk else { return };
        let ended = chunk.is_empty();
        if seen.is_empty() {
            deadline = Instant::now() + journey.settings.load().timeouts.client_head;
        }
        seen = if seen.is_empty() { chunk } else { Chunk::copy_of(&[&*seen, &*chunk].concat()) };
        match opening(&seen) {
            Opening::Http2 => {
                drop(reader);
                let stream = Stream::Plain(socket);
                return http2::serve(stream, seen.to_vec(), client, Arc::clone(journey), stop)
                    .await;
            }
            Opening::Undecided if !ended => {}
            Opening::Undecided | Opening::Http1 => {
                drop(reader);
                return http1::serve(Stream::Plain(socket), seen, client, journey, stop).await;
            }
        }
    }
}
