//! The witness's HTTP: one path, small bodies, short waits.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sealtap_common::note::PublicKey;
use sealtap_common::witness::{AddCheckpoint, Refusal, SIZE_TYPE};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::memory::{CosignError, Memory};

/// Bytes of a request's body, at most: 63 hashes and a note with a few signatures.
const BODY: usize = 64 * 1024;

/// How long a request may take to arrive, head and body each; also how long a connection may idle.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Connections at a time, at most.
const CONNECTIONS: usize = 256;

/// The logs that are served, and what is remembered of them.
pub(super) struct Server {
    /// Keys by origin.
    pub(super) logs: BTreeMap<String, Vec<PublicKey>>,
    pub(super) memory: Memory,
}

/// Serves until dropped.
pub(super) async fn accept(listener: TcpListener, server: Arc<Server>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&server, request));
            let connection = Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ARRIVAL)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended badly");
            }
            drop(place);
        });
    }
}

async fn answer(
    server: &Arc<Server>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() != "/add-checkpoint" {
        return Ok(text(
            StatusCode::NOT_FOUND,
            "a witness takes POST /add-checkpoint\n".to_owned(),
        ));
    }
    if request.method() != Method::POST {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "POST it\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("POST"));
        return Ok(refused);
    }
    let body = match timeout(ARRIVAL, Limited::new(request.into_body(), BODY).collect()).await {
        Err(_) => return Ok(text(StatusCode::REQUEST_TIMEOUT, "too slow\n".to_owned())),
        Ok(Err(error)) => {
            return Ok(text(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("not a whole request: {error}\n"),
            ));
        }
        Ok(Ok(body)) => body.to_bytes(),
    };
    // Writing and syncing are not for the threads that serve connections.
    let server = Arc::clone(server);
    let cosigned = tokio::task::spawn_blocking(move || server.add_checkpoint(&body)).await;
    Ok(cosigned.unwrap_or_else(|_| {
        text(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed\n".to_owned())
    }))
}

impl Server {
    /// The answer to one request.
    fn add_checkpoint(&self, body: &[u8]) -> Response<Full<Bytes>> {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(refusal) => return refused("", refusal),
        };
        let origin = request.origin();
        let keys: Vec<&PublicKey> = self.logs.get(origin).into_iter().flatten().collect();
        match self.memory.cosign(&request, &keys) {
            Ok(line) => {
                tracing::debug!(origin, "cosigned");
                text(StatusCode::OK, line.emit())
            }
            Err(CosignError::Refused(refusal)) => refused(origin, refusal),
            Err(CosignError::Memory(error)) => {
                tracing::error!(%error, origin, "not cosigned");
                let said = "the witness cannot remember the checkpoint\n".to_owned();
                text(StatusCode::INTERNAL_SERVER_ERROR, said)
            }
        }
    }
}

fn refused(origin: &str, refusal: Refusal) -> Response<Full<Bytes>> {
    match refusal {
        // What only a log that was forked or rolled back leads to, and its operator must see.
        Refusal::Forked { .. } | Refusal::Inconsistent => {
            tracing::error!(origin, %refusal, "refused");
        }
        _ => tracing::info!(origin, %refusal, "refused"),
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.size() {
        Some(size) => answer_of(status, SIZE_TYPE, format!("{size}\n")),
        None => text(status, format!("{refusal}\n")),
    }
}

fn text(status: StatusCode, said: String) -> Response<Full<Bytes>> {
    answer_of(status, "text/plain; charset=utf-8", said)
}

fn answer_of(status: StatusCode, kind: &'static str, said: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(said)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
