//! Connections that the kernel led here: where they were meant to go, and who made them.
//!
//! In: a TCP connection to a listener of its own, on the loopback, which no client is told of. Out: the
//! connection on its way to where it was meant to go, like one in a tunnel; or back to the listener,
//! where it was meant for that. One of which the kernel noted nothing was led here by nobody: it is
//! refused and counted, so that nobody borrows the gateway.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use sealtap_common::kernel::Flow;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Tunnel;
use super::carrier::{Carrier, Led};
use crate::accept::accepted::{Client, Door};
use crate::accept::listener::listen;
use crate::journey::Journey;
use crate::kernel::{Observer, address_of, flow_of};
use crate::wire::socket::Socket;
use crate::wire::stream::Stream;
use crate::wire::watching::Watcher;

/// How often a port is looked for that both families have free.
const TRIES: u32 = 32;

/// Why there is no such listener.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the loopback for redirected connections: {0}")]
pub struct RedirectedError(#[from] io::Error);

/// The listener.
#[derive(Debug)]
pub struct Redirected {
    v4: TcpListener,
    v6: Option<TcpListener>,
    door: Arc<LedHere>,
}

/// What each connection passes.
pub(in crate::accept) struct LedHere {
    observer: Arc<Observer>,
    front: SocketAddr,
    port: u16,
    led: Arc<Led>,
}

impl std::fmt::Debug for LedHere {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LedHere").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Redirected {
    /// Listens on a free port of the loopback, in both families where there are two; `front` is where
    /// clients are told to go, and what comes belongs to `coverage`.
    ///
    /// # Errors
    ///
    /// [`RedirectedError`].
    pub async fn bind(
        observer: Arc<Observer>,
        front: SocketAddr,
        coverage: [u8; 16],
    ) -> Result<Self, RedirectedError> {
        let has_v6 = listen((Ipv6Addr::LOCALHOST, 0).into()).is_ok();
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            let v4 = listen((Ipv4Addr::LOCALHOST, 0).into())?;
            let port = v4.local_addr()?.port();
            let v6 = match has_v6 {
                true => match listen((Ipv6Addr::LOCALHOST, port).into()) {
                    Ok(v6) => Some(v6),
                    Err(error) => {
                        last = error;
                        continue;
                    }
                },
                false => None,
            };
            let door = LedHere { observer, front, port, led: Arc::new(Led::new(coverage)) };
            return Ok(Self { v4, v6, door: Arc::new(door) });
        }
        Err(last.into())
    }

    /// The port, the same in both families.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.door.port
    }

    /// What became of what came.
    #[must_use]
    pub fn led(&self) -> Arc<Led> {
        Arc::clone(&self.door.led)
    }

    pub(in crate::accept) fn door(&self) -> Arc<LedHere> {
        Arc::clone(&self.door)
    }

    /// The next connection.
    pub(in crate::accept) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let v6 = async {
            match &self.v6 {
                Some(v6) => v6.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.v4.accept() => accepted,
            accepted = v6 => accepted,
        }
    }
}

impl LedHere {
    /// Serves a connection; gives it back, and what follows it, where it was meant for the listener of
    /// the front.
    pub(in crate::accept) async fn enter(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        journey: &Arc<Journey>,
        stop: &watch::Receiver<bool>,
    ) -> Option<(Socket, Arc<Carrier>)> {
        let (flow, notes) = (flow_of(&stream), journey.tap.notes());
        let meant = flow.and_then(|flow| Some((flow, address_of(&flow.destination)?)));
        let Some((flow, destination)) = meant else {
            self.led.refuse(&notes, from, None);
            tracing::warn!(client.address = %from, "refused: nobody led this connection here");
            Socket::new(stream).reset();
            return None;
        };
        if destination.ip().is_loopback() && destination.port() == self.port {
            self.led.refuse(&notes, from, Some(&flow));
            tracing::warn!(
                process = flow.process,
                "refused: meant for the redirected ones' listener"
            );
            Socket::new(stream).reset();
            return None;
        }
        let Some(carrier) = self.led.take(&notes, from, &flow) else {
            tracing::warn!(client.address = %from, "refused: the journal takes nothing");
            Socket::new(stream).reset();
            return None;
        };
        let socket = Socket::watched(stream, Arc::clone(&carrier) as Arc<dyn Watcher>);
        if self.is_front(destination) {
            let (observer, looking) = (Arc::clone(&self.observer), Arc::clone(&carrier));
            tokio::spawn(async move { attribute(&observer, &flow, &looking).await });
            return Some((socket, carrier));
        }
        let looked = attribute(&self.observer, &flow, &carrier);
        let _connected = journey.observe.traffic().connect();
        tracing::debug!(client.address = %from, %destination, "redirected connection accepted");
        let client = Client::new(from, journey.new_run(), Door::Front);
        let client = Arc::new(client.led(Some(Arc::clone(&carrier))));
        let run = client.run();
        let served = async {
            match journey.ask_redirected(&client, destination).await {
                Some(asked) => {
                    let (mut asked, stop) = (*asked, stop.clone());
                    let dialled = asked.dialled.take();
                    let tunnel = Tunnel { asked, journey, stop };
                    tunnel.enter(Stream::Plain(socket), Vec::new(), dialled).await;
                }
                None => socket.reset(),
            }
        };
        // The look comes first: the process may be gone any moment.
        tokio::join!(looked, served);
        journey.connection_ended(run);
        None
    }

    fn is_front(&self, destination: SocketAddr) -> bool {
        let (front, meant) = (self.front.ip().to_canonical(), destination.ip());
        let same = meant == front || front.is_unspecified() && meant.is_loopback();
        same && destination.port() == self.front.port()
    }
}

/// Finds out who made the connection, while it goes on.
async fn attribute(observer: &Observer, flow: &Flow, carrier: &Carrier) {
    let found = observer.look(flow).await.ok().flatten();
    let executable = found.as_ref().and_then(|process| process.executable.as_deref());
    tracing::debug!(process = flow.process, executable, "connection attributed");
    carrier.learned(found.as_ref());
}
