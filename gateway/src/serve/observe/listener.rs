//! The listener of its own, for whoever may scrape and may not send traffic.
//!
//! In: `[observe] listen`. Out: `/metrics` and `/healthz` over HTTP/1, and 404 for all else. Nothing
//! that comes in here is recorded, since none of it goes anywhere. A request has ten seconds, and no
//! more than sixteen connections are served at once.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Observe;
use crate::accept::ListenError;

/// Connections at once.
const MOST: usize = 16;
/// How long one connection may take, from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);

/// A bound listener.
#[derive(Debug)]
pub struct ObserveListener(TcpListener);

impl ObserveListener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let bound = TcpListener::bind(address).await;
        bound.map(Self).map_err(|source| ListenError { address, source })
    }

    /// Takes a listener that was bound before; it does not block.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn bound(listener: std::net::TcpListener) -> std::io::Result<Self> {
        Ok(Self(TcpListener::from_std(listener)?))
    }

    /// The address bound.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Serves until it is dropped.
    pub async fn serve(self, observe: Arc<Observe>) {
        let places = Arc::new(Semaphore::new(MOST));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = self.0.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let observe = Arc::clone(&observe);
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(|request| {
                    let response = answer(&observe, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                // A scraper that breaks off or takes too long has had its chance.
                let _ = timeout(PATIENCE, served).await;
            });
        }
    }
}

fn answer(observe: &Observe, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let asked = [Method::GET, Method::HEAD].contains(request.method());
    let (status, kind, body) = match observe.page(path.as_bytes()) {
        Some(page) if asked => (page.status, page.content_type, page.body),
        Some(_) => (405, "text/plain", Bytes::from_static(b"GET or HEAD\n")),
        None => (404, "text/plain", Bytes::from_static(b"/metrics and /healthz are here\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == 405 {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
