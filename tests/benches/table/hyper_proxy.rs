//! Plain hyper: a pass-through that records nothing, with kept connections on both sides.
//!
//! The yardstick for what any proxy on this runtime must spend. It streams both bodies, drops
//! hop-by-hop fields, and does no more.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Idle connections to the upstream.
#[derive(Clone)]
struct Pool {
    upstream: SocketAddr,
    host: HeaderValue,
    idle: Arc<Mutex<Vec<SendRequest<Incoming>>>>,
}

impl Pool {
    async fn take(&self) -> Result<SendRequest<Incoming>, Failure> {
        loop {
            let idle = self.idle.lock().expect("nothing panics with it").pop();
            let Some(mut sender) = idle else { break };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn give_back(&self, sender: SendRequest<Incoming>) {
        self.idle.lock().expect("nothing panics with it").push(sender);
    }

    async fn forward(
        self,
        mut request: Request<Incoming>,
    ) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Failure> {
        const HOP_BY_HOP: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];
        let fields = request.headers_mut();
        HOP_BY_HOP.iter().for_each(|name| drop(fields.remove(name)));
        fields.insert(HOST, self.host.clone());
        let mut sender = self.take().await?;
        let mut response = sender.send_request(request).await?;
        HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
        Ok(response.map(|body| Returning { body, lent: Some((self, sender)) }.boxed()))
    }
}

/// A body at whose end its connection goes back to the pool.
struct Returning {
    body: Incoming,
    lent: Option<(Pool, SendRequest<Incoming>)>,
}

impl Returning {
    fn give_back(&mut self) {
        if let Some((pool, sender)) = self.lent.take() {
            pool.give_back(sender);
        }
    }
}

impl Drop for Returning {
    /// A body without bytes is never asked for any.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Listens, and passes everything through to `upstream`.
pub(crate) async fn serve(listen: SocketAddr, upstream: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let host = HeaderValue::from_str(&upstream.to_string()).expect("an address is a value");
    let pool = Pool { upstream, host, idle: Arc::default() };
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let pool = pool.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let pool = pool.clone();
                    async move {
                        Ok::<_, Infallible>(pool.forward(request).await.unwrap_or_else(bad_gateway))
                    }
                });
                let served = hyper::server::conn::http1::Builder::new();
                // A client that goes away in the middle is no concern of a pass-through.
                let _ = served.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    };
    tokio::select! {
        failed = accepting => failed,
        () = crate::parent_gone() => Ok(()),
    }
}

fn bad_gateway(failure: Failure) -> Response<BoxBody<Bytes, hyper::Error>> {
    eprintln!("bad gateway: {failure}");
    let body = Empty::new().map_err(|never: Infallible| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
