//! Client: HTTP/2 with prior knowledge or by ALPN.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response, Uri};
use rustls::ClientConfig;
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::content::Content;
use crate::gate::PATIENCE;
use crate::http2::{self, Body};

/// A connection.
pub struct Client {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
    authority: String,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The head.
    pub head: http::response::Parts,
    /// The body.
    pub body: Body,
}

impl Client {
    /// Connects in clear text.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the other side accepts");
        stream.set_nodelay(true).expect("Nagle can be switched off");
        Self::over(stream, "http", address.to_string()).await
    }

    /// Connects in clear text through a tunnel of the proxy at `proxy` to `authority`.
    pub async fn tunnel(proxy: SocketAddr, authority: &str) -> Self {
        let stream = tunnel(proxy, authority).await;
        Self::over(stream, "http", authority.to_owned()).await
    }

    /// Connects with TLS to `name` through a tunnel of the proxy at `proxy` to `authority`; the
    /// configuration must offer `h2`.
    pub async fn tunnel_tls(
        proxy: SocketAddr,
        authority: &str,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Self {
        let stream = tunnel(proxy, authority).await;
        let name = name.to_owned().try_into().expect("a name");
        let stream = TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        Self::over(stream, "https", authority.to_owned()).await
    }

    /// Connects with TLS to the name `localhost`; the configuration must offer `h2`.
    pub async fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).await.expect("the other side accepts");
        let name = "localhost".try_into().expect("localhost is a name");
        let stream = TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        Self::over(stream, "https", format!("localhost:{}", address.port())).await
    }

    /// Speaks TLS to `name` over `stream`, a tunnel to `authority`; the configuration must offer `h2`.
    pub async fn inside(
        stream: DuplexStream,
        authority: &str,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Self {
        let name = name.to_owned().try_into().expect("a name");
        let stream = TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        Self::over(stream, "https", authority.to_owned()).await
    }

    /// Asks for a tunnel to `authority` in a stream of this connection: what was answered, and the
    /// bytes of the stream, which end where it was reset.
    pub async fn ask_for_tunnel(&mut self, authority: &str) -> (u16, DuplexStream) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let request = Request::builder().method("CONNECT").uri(authority);
        let request = request.body(()).expect("the head is sound");
        let (response, mut send) = self.start(request, false).await;
        let response = tokio::time::timeout(PATIENCE, response).await.expect("an answer in time");
        let (head, mut body) = response.expect("an answer").into_parts();
        let (near, far) = tokio::io::duplex(1 << 16);
        let (mut from, mut to) = tokio::io::split(far);
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 14];
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let bytes = Bytes::copy_from_slice(&buffer[..count]);
                if http2::send(&mut send, bytes, false).await.is_err() {
                    return;
                }
            }
            let _ = send.send_data(Bytes::new(), true);
        });
        tokio::spawn(async move {
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
                if to.write_all(&data).await.is_err() {
                    return;
                }
            }
            let _ = to.shutdown().await;
        });
        (head.status.as_u16(), near)
    }

    async fn over<T>(stream: T, scheme: &'static str, authority: String) -> Self
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (send, connection) = builder.handshake(stream).await.expect("the preface is taken");
        Self { send, driver: tokio::spawn(connection), scheme, authority }
    }

    /// A request head with this path and query.
    pub fn head(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
        let uri = Uri::builder()
            .scheme(self.scheme)
            .authority(self.authority.as_str())
            .path_and_query(target)
            .build()
            .expect("the target is one the http crate knows");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("the head is sound")
    }

    /// The head of an extended CONNECT (RFC 8441) for `protocol`.
    pub fn extended(&self, protocol: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
        let mut request = self.head("CONNECT", target, fields);
        request.extensions_mut().insert(h2::ext::Protocol::from(protocol));
        request
    }

    /// Waits until the server has said that it allows extended CONNECT.
    pub async fn allowed_extended(&self) {
        let allowed = async {
            while !self.send.is_extended_connect_protocol_enabled() {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, allowed).await.expect("extended CONNECT is allowed");
    }

    /// Starts a request; with `end`, it has no body.
    pub async fn start(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = tokio::time::timeout(PATIENCE, self.send.clone().ready()).await;
        self.send = ready.expect("a stream in time").expect("the connection takes a stream");
        self.send.send_request(request, end).expect("the request can be sent")
    }

    /// Sends a whole request and reads the whole answer.
    pub async fn call(
        &mut self,
        request: Request<()>,
        body: &[u8],
        trailers: Option<HeaderMap>,
    ) -> Answer {
        let end = body.is_empty() && trailers.is_none();
        let (response, mut stream) = self.start(request, end).await;
        if !end {
            let bytes = Bytes::copy_from_slice(body);
            http2::send(&mut stream, bytes, trailers.is_none()).await.expect("the body is taken");
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers).expect("the trailers are taken");
        }
        answer(response).await
    }

    /// Ends the connection in good order once every stream has ended.
    pub async fn close(self) {
        drop(self.send);
        let ended = tokio::time::timeout(PATIENCE, self.driver).await;
        let _ = ended.expect("the connection ends").expect("the driver does not panic");
    }

    /// Ends the connection at once, in the middle of whatever is open.
    pub fn abort(self) {
        self.driver.abort();
    }
}

/// Reads a whole answer.
pub async fn answer(response: ResponseFuture) -> Answer {
    try_answer(response).await.expect("an answer comes")
}

/// Reads a whole answer, or gives the code of the reset that came instead of its head.
pub async fn try_answer(response: ResponseFuture) -> Result<Answer, Reason> {
    let response: Response<_> = response.await.map_err(|error| http2::reset_code(&error))?;
    let (head, stream) = response.into_parts();
    Ok(Answer { head, body: http2::read(stream).await })
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The payload.
    pub fn content(&self) -> &Content {
        &self.body.content
    }
}

/// A tunnel of the proxy at `proxy` to `authority`.
async fn tunnel(proxy: SocketAddr, authority: &str) -> TcpStream {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = TcpStream::connect(proxy).await.expect("the proxy accepts");
    stream.set_nodelay(true).expect("Nagle can be switched off");
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the proxy reads");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the proxy answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", head.escape_ascii());
    stream
}
