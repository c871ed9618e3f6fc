//! Upstream: a scripted HTTP/2 server, in clear text or with TLS.
//!
//! Each stream runs the script as a task of its own. Requests the script read to their end are
//! logged; a script that panics fails the test when the upstream is finished.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts;
use http::{Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::gate::PATIENCE;
use crate::http2::{self, Body};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Script = dyn Fn(Exchange) -> Task + Send + Sync;

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<(Parts, Body)>>,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
    connections: AtomicUsize,
    /// Whether it allows extended CONNECT.
    extended: bool,
}

/// A running upstream.
pub struct Upstream {
    address: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// One stream at the upstream.
pub struct Exchange {
    /// The head.
    pub head: Parts,
    /// The body, until it is taken.
    pub body: Option<RecvStream>,
    /// Where the answer goes.
    pub respond: SendResponse<Bytes>,
    /// Notified, the connection says GOAWAY and ends with its open streams.
    pub go_away: Arc<Notify>,
    shared: Arc<Shared>,
}

impl Upstream {
    /// An upstream whose streams run `script`; with a configuration, over TLS.
    pub fn start<F, T>(config: Option<Arc<ServerConfig>>, script: F) -> Self
    where
        F: Fn(Exchange) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        Self::listen(config, Arc::new(move |exchange| Box::pin(script(exchange))), false)
    }

    /// The same, and it allows extended CONNECT (RFC 8441).
    pub fn start_extended<F, T>(config: Option<Arc<ServerConfig>>, script: F) -> Self
    where
        F: Fn(Exchange) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        Self::listen(config, Arc::new(move |exchange| Box::pin(script(exchange))), true)
    }

    fn listen(config: Option<Arc<ServerConfig>>, script: Arc<Script>, extended: bool) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::new(Shared { extended, ..Shared::default() });
        let tls = config.is_some();
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime can be built").block_on(async move {
                    let listener = TcpListener::from_std(listener).expect("a listener");
                    let accepting = tokio::spawn(accept(listener, config, script, shared.clone()));
                    let _ = stopped.await;
                    accepting.abort();
                    join(&shared).await;
                });
            })
        };
        Self { address, tls, shared, stop, thread }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its host and port as they stand in its URL.
    pub fn authority(&self) -> String {
        if self.tls {
            format!("localhost:{}", self.address.port())
        } else {
            self.address.to_string()
        }
    }

    /// Its URL: `https`, or `h2c` for prior knowledge.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "h2c" }, self.authority())
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits for the scripts to end, and gives the requests that were read.
    pub fn finish(self) -> Vec<(Parts, Body)> {
        let _ = self.stop.send(());
        self.thread.join().expect("the upstream's script succeeds");
        std::mem::take(&mut *self.shared.requests.lock().expect("not poisoned"))
    }
}

async fn join(shared: &Shared) {
    loop {
        let tasks = std::mem::take(&mut *shared.tasks.lock().expect("not poisoned"));
        if tasks.is_empty() {
            return;
        }
        for task in tasks {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            ended.expect("the script ends").expect("the script succeeds");
        }
    }
}

async fn accept(
    listener: TcpListener,
    config: Option<Arc<ServerConfig>>,
    script: Arc<Script>,
    shared: Arc<Shared>,
) {
    loop {
        let (stream, _) = listener.accept().await.expect("a listener accepts");
        stream.set_nodelay(true).expect("Nagle can be switched off");
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(greet(stream, config.clone(), Arc::clone(&script), Arc::clone(&shared)));
    }
}

async fn greet(
    stream: TcpStream,
    config: Option<Arc<ServerConfig>>,
    script: Arc<Script>,
    shared: Arc<Shared>,
) {
    match config {
        None => serve(stream, script, shared).await,
        Some(config) => {
            if let Ok(stream) = TlsAcceptor::from(config).accept(stream).await {
                serve(stream, script, shared).await;
            }
        }
    }
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    stream: T,
    script: Arc<Script>,
    shared: Arc<Shared>,
) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
    if shared.extended {
        builder.enable_connect_protocol();
    }
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    let go_away = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            () = go_away.notified() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (head, body) = Request::into_parts(request);
        let exchange = Exchange {
            head,
            body: Some(body),
            respond,
            go_away: Arc::clone(&go_away),
            shared: Arc::clone(&shared),
        };
        let task = tokio::spawn(script(exchange));
        shared.tasks.lock().expect("not poisoned").push(task);
    }
}

impl Exchange {
    /// Reads the body to its end and logs the request.
    pub async fn read(&mut self) -> Body {
        let stream = self.body.take().expect("the body is read once");
        let body = http2::read(stream).await;
        self.log(body.clone());
        body
    }

    /// Logs a request whose body the script read by itself.
    pub fn log(&self, body: Body) {
        let requests = &mut *self.shared.requests.lock().expect("not poisoned");
        requests.push((self.head.clone(), body));
    }

    /// Sends the answer's head.
    pub fn answer(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        end: bool,
    ) -> h2::SendStream<Bytes> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let response = response.body(()).expect("the head is sound");
        self.respond.send_response(response, end).expect("the answer is taken")
    }
}
