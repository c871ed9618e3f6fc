//! Upstream: a scripted HTTP/1 server on a raw socket.
//!
//! Each accepted connection runs the script in a thread of its own. A script reads requests and
//! sends whatever bytes the case is about; what it read is logged. A script that panics fails the
//! test when the upstream is finished.

use std::any::Any;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::ServerConfig;

use crate::gate::poll;
use crate::http1::{End, Framing, Head, Message};
use crate::wire::Wire;

type Script = dyn Fn(Session) + Send + Sync;

#[derive(Default)]
struct Shared {
    closing: AtomicBool,
    requests: Mutex<Vec<Message>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

/// A running upstream.
pub struct Upstream {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

impl Upstream {
    /// An upstream without TLS.
    pub fn start(script: impl Fn(Session) + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(script))
    }

    /// An upstream with TLS.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(Session) + Send + Sync + 'static,
    ) -> Self {
        Self::listen(Some(config), Arc::new(script))
    }

    /// An upstream that answers each request, one after the other on each connection.
    pub fn answering(answer: impl Fn(&mut Session, &Message) + Send + Sync + 'static) -> Self {
        Self::start(move |mut session| {
            while let Some(request) = session.next_request() {
                answer(&mut session, &request);
            }
        })
    }

    /// The same with TLS.
    pub fn answering_tls(
        config: Arc<ServerConfig>,
        answer: impl Fn(&mut Session, &Message) + Send + Sync + 'static,
    ) -> Self {
        Self::start_tls(config, move |mut session| {
            while let Some(request) = session.next_request() {
                answer(&mut session, &request);
            }
        })
    }

    fn listen(config: Option<Arc<ServerConfig>>, script: Arc<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::default());
        let tls = config.is_some();
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, config.as_ref(), &script, &shared))
        };
        Self { address, tls, shared, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL: by name with TLS, because its certificate has one.
    pub fn url(&self) -> String {
        if self.tls {
            format!("https://{}", self.authority())
        } else {
            format!("http://{}", self.authority())
        }
    }

    /// Its host and port as they stand in its URL.
    pub fn authority(&self) -> String {
        if self.tls {
            format!("localhost:{}", self.address.port())
        } else {
            self.address.to_string()
        }
    }

    /// The requests read so far.
    pub fn requests(&self) -> Vec<Message> {
        self.shared.requests.lock().expect("no holder of the log panics").clone()
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().expect("no holder of the list panics").len()
    }

    /// Waits for all connections to end, and gives the requests. Who keeps connections open to
    /// this upstream must close them first.
    pub fn finish(self) -> Vec<Message> {
        self.shared.closing.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        let connections = match self.acceptor.join() {
            Ok(()) => std::mem::take(&mut *self.shared.connections.lock().expect("not poisoned")),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        for connection in connections {
            poll("the end of a connection to the upstream", || {
                connection.is_finished().then_some(())
            });
            if let Err(panic) = connection.join() {
                panic!("the upstream's script failed: {}", message(&*panic));
            }
        }
        self.shared.requests.lock().expect("no holder of the log panics").clone()
    }
}

fn accept(
    listener: &TcpListener,
    config: Option<&Arc<ServerConfig>>,
    script: &Arc<Script>,
    shared: &Arc<Shared>,
) {
    loop {
        let (stream, _) = listener.accept().expect("a listener accepts");
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let wire = match config {
            None => Wire::plain(stream),
            Some(config) => Wire::server_tls(stream, Arc::clone(config)),
        };
        let session = Session { wire, shared: Arc::clone(shared) };
        let script = Arc::clone(script);
        // Nobody counts them between its beginning and here.
        let mut connections = shared.connections.lock().expect("no holder of the list panics");
        connections.push(std::thread::spawn(move || script(session)));
    }
}

/// One connection to the upstream.
pub struct Session {
    wire: Wire,
    shared: Arc<Shared>,
}

impl Session {
    /// The next request on this connection, read and logged; `None` when the peer is done.
    pub fn next_request(&mut self) -> Option<Message> {
        let head = self.next_head()?;
        Some(self.rest_of_request(head))
    }

    /// The next head on this connection; `None` when the peer is done.
    pub fn next_head(&mut self) -> Option<Head> {
        match self.wire.try_head() {
            Ok(head) => Some(head),
            Err(End::Cut | End::Reset | End::Truncated) if self.wire.nothing_unread() => None,
            Err(end) => panic!("the gateway ended within a request head: {end:?}"),
        }
    }

    /// Reads the body that belongs to `head`, and logs the request, whole or not.
    pub fn rest_of_request(&mut self, head: Head) -> Message {
        let body = self.wire.body(head.request_framing()).finish();
        let request = Message { interim: Vec::new(), head, body };
        self.log(request.clone());
        request
    }

    /// Reads a request that must come, and logs it.
    pub fn request(&mut self) -> Message {
        self.next_request().expect("a request comes")
    }

    /// Logs a request that the script read by itself.
    pub fn log(&self, request: Message) {
        self.shared.requests.lock().expect("no holder of the log panics").push(request);
    }

    /// Reads until the peer is gone, whatever it sends.
    pub fn drain(mut self) {
        let _ = self.wire.body(Framing::UntilClose).finish();
    }

    /// The connection itself.
    pub fn into_wire(self) -> Wire {
        self.wire
    }
}

impl Deref for Session {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
