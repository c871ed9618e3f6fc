//! Small requests of the gateway's own, to witnesses and timestamp authorities.
//!
//! In: a URL, a body. Out: status, media type and a bounded body. One HTTP/1.1 connection is kept and
//! used again; one that turns out closed is replaced once. Fails with [`PostError`]. Nothing of the
//! traffic passes here, and time limits are the caller's.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use crate::config::{Scheme, Url};

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// No connection.
    #[error("{authority} cannot be reached: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// What the system, or TLS, says.
        source: io::Error,
    },
    /// The connection broke, or carried no HTTP.
    #[error("{authority} did not answer: {source}")]
    Http {
        /// Host and port.
        authority: String,
        /// What hyper says.
        source: hyper::Error,
    },
    /// The answer is longer than any that belongs here.
    #[error("the answer of {authority} is too long or was cut: {reason}")]
    Body {
        /// Host and port.
        authority: String,
        /// What is wrong.
        reason: String,
    },
    /// The URL cannot be asked for.
    #[error("the URL of {authority} cannot stand in a request: {source}")]
    Target {
        /// Host and port.
        authority: String,
        /// What is wrong with it.
        source: http::Error,
    },
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type, without parameters, in lower case.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// Where requests go.
pub struct Endpoint {
    url: Url,
    authority: String,
    tls: Option<Arc<ClientConfig>>,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Endpoint {
    /// The endpoint at `url`; `tls` is needed for https.
    #[must_use]
    pub fn new(url: Url, tls: Option<Arc<ClientConfig>>) -> Self {
        let host =
            if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
        let authority = format!("{host}:{}", url.port);
        Self { url, authority, tls, kept: Mutex::default() }
    }

    /// Posts `body` to the URL with `suffix` behind it, and reads up to `limit` bytes of the answer.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn post(
        &self,
        suffix: &str,
        content_type: &str,
        body: Bytes,
        limit: usize,
    ) -> Result<Answer, PostError> {
        let mut kept = self.kept.lock().await;
        if let Some(mut sender) = kept.take()
            && sender.ready().await.is_ok()
        {
            let request = self.request(suffix, content_type, body.clone())?;
            // Closed while it was idle: once more on a new one.
            if let Ok(response) = sender.send_request(request).await {
                let answer = self.answer(response, limit).await?;
                *kept = Some(sender);
                return Ok(answer);
            }
        }
        let mut sender = self.connect().await?;
        let request = self.request(suffix, content_type, body)?;
        let response = sender.send_request(request).await.map_err(|source| self.broken(source))?;
        let answer = self.answer(response, limit).await?;
        *kept = Some(sender);
        Ok(answer)
    }

    fn request(
        &self,
        suffix: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, PostError> {
        let target = format!("{}{suffix}", self.url.prefix);
        Request::post(if target.is_empty() { "/".to_owned() } else { target })
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("sealtap/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|source| PostError::Target { authority: self.authority.clone(), source })
    }

    async fn answer(
        &self,
        response: http::Response<hyper::body::Incoming>,
        limit: usize,
    ) -> Result<Answer, PostError> {
        let status = response.status().as_u16();
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default();
        let content_type = content_type.trim().to_ascii_lowercase();
        let body = Limited::new(response.into_body(), limit).collect().await;
        let body = body.map_err(|error| PostError::Body {
            authority: self.authority.clone(),
            reason: error.to_string(),
        })?;
        Ok(Answer { status, content_type, body: body.to_bytes() })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        let failed = |source| PostError::Connect { authority: self.authority.clone(), source };
        let host = (self.url.host.as_str(), self.url.port);
        let stream = TcpStream::connect(host).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        match (&self.tls, self.url.scheme) {
            (Some(tls), Scheme::Https) => {
                let name = ServerName::try_from(self.url.host.clone())
                    .map_err(|error| failed(io::Error::other(error)))?;
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
                self.speak(stream.await.map_err(failed)?).await
            }
            _ => self.speak(stream).await,
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, PostError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|source| self.broken(source))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the gateway's own ended");
            }
        });
        Ok(sender)
    }

    fn broken(&self, source: hyper::Error) -> PostError {
        PostError::Http { authority: self.authority.clone(), source }
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}
