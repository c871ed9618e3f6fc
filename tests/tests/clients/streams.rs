//! Streams: the HTTP/2 side of a recorder. Each stream is recorded as it passes, and goes on to the
//! server in the protocol that this speaks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::recorder::{Behind, Kept};
use crate::transcript::Seen;

type Body = BoxBody<Bytes, hyper::Error>;

/// Serves a connection of HTTP/2 whose first bytes were read already.
pub(crate) async fn serve<S>(first: Vec<u8>, stream: S, port: u16, behind: Behind, kept: Kept)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (read, write) = tokio::io::split(stream);
    let whole = tokio::io::join(std::io::Cursor::new(first).chain(read), write);
    let service = service_fn(|request| {
        let seen = Arc::new(Mutex::new(received(&request)));
        kept.streams.lock().expect("no stream panics").push(Arc::clone(&seen));
        async move {
            let answer = match pass_on(request, port, behind, &seen).await {
                Ok(answer) => answer,
                Err(error) => {
                    eprintln!("a recorder cannot reach its server: {error}");
                    let nothing = Empty::new().map_err(|never| match never {}).boxed();
                    let mut answer = Response::new(nothing);
                    *answer.status_mut() = StatusCode::BAD_GATEWAY;
                    answer
                }
            };
            Ok::<_, Infallible>(answer)
        }
    });
    // A client may leave as it likes.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(whole), service)
        .await;
}

/// A request's head, as it came.
fn received(request: &Request<Incoming>) -> Seen {
    let uri = request.uri();
    let mut fields = pairs(request.headers());
    if let Some(authority) = uri.authority() {
        fields.insert(0, ("host".to_owned(), authority.to_string()));
    }
    Seen {
        method: request.method().to_string(),
        target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        version: "2",
        fields,
        request: Vec::new(),
        status: 0,
        response: Vec::new(),
        trailers: Vec::new(),
    }
}

async fn pass_on(
    request: Request<Incoming>,
    port: u16,
    behind: Behind,
    seen: &Arc<Mutex<Seen>>,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut head, body) = request.into_parts();
    let (body, ended) = read_to_its_end(body, seen);
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let stream = TokioIo::new(stream);
    let mut answer = if behind == Behind::Http2 {
        head.version = http::Version::HTTP_2;
        let executor = TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, stream).await?;
        tokio::spawn(connection);
        sender.send_request(Request::from_parts(head, body)).await?
    } else {
        head.version = http::Version::HTTP_11;
        if let Some(authority) = head.uri.authority() {
            head.headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
        }
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = target.parse::<Uri>()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        sender.send_request(Request::from_parts(head, body)).await?
    };
    seen.lock().expect("no stream panics").status = answer.status().as_u16();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    answer.headers_mut().remove("keep-alive");
    // A server may have all of a body before its end is here, and answer. The end of that answer
    // would reset a stream that the client has still to close, which some clients take for a fault.
    if answer.body().is_end_stream() {
        let _ended = ended.await;
        return Ok(answer.map(|body| tapped(body, seen, |seen| &mut seen.response)));
    }
    let asked = async move {
        let _ended = ended.await;
        None
    };
    let tap = |body| tapped(body, seen, |seen| &mut seen.response);
    Ok(answer.map(|body| tap(body).with_trailers(asked).boxed()))
}

/// The same body, read whether or not the server wants more of it, and what tells of its end.
fn read_to_its_end(body: Incoming, seen: &Arc<Mutex<Seen>>) -> (Body, oneshot::Receiver<()>) {
    let (ends, ended) = oneshot::channel();
    let at_once = body.is_end_stream();
    let mut body = tapped(body, seen, |seen| &mut seen.request);
    if at_once {
        return (body, ended);
    }
    let (mut sender, channel) = Channel::new(1);
    tokio::spawn(async move {
        let _tells_by_being_dropped = ends;
        while let Some(frame) = body.frame().await {
            match frame {
                // A server that has enough may close its side.
                Ok(frame) => drop(sender.send(frame).await),
                Err(error) => return sender.abort(error),
            }
        }
    });
    (channel.boxed(), ended)
}

/// The same body, each piece of which is kept as it passes.
fn tapped(body: Incoming, seen: &Arc<Mutex<Seen>>, which: fn(&mut Seen) -> &mut Vec<u8>) -> Body {
    let seen = Arc::clone(seen);
    let keep = move |frame: Frame<Bytes>| {
        let mut seen = seen.lock().expect("no stream panics");
        if let Some(data) = frame.data_ref() {
            which(&mut seen).extend_from_slice(data);
        }
        if let Some(trailers) = frame.trailers_ref() {
            seen.trailers.extend(pairs(trailers));
        }
        frame
    };
    body.map_frame(keep).boxed()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().escape_ascii().to_string();
    let keep = headers.iter().filter(|(name, _)| *name != "te");
    keep.map(|(name, value)| (name.to_string(), text(value))).collect()
}
