//! The small local model server: HTTP/1.1 on a socket of its own, which notes what it received.
//!
//! It shares no code with the gateway's own HTTP, so that the two cannot agree on a mistake. Its
//! notes are the other side of the comparison: which bytes a model really got.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::answers::{Answer, answer};

/// Far more than the app ever sends.
const LONGEST: usize = 1 << 20;
/// Between two words of a stream.
pub(super) const PAUSE: Duration = Duration::from_millis(15);

/// One request as the model server received it.
#[derive(Clone)]
pub(super) struct Received {
    /// Method and target, a space between.
    pub(super) line: String,
    /// The `Authorization` field.
    pub(super) authorization: Option<Vec<u8>>,
    /// The body's bytes.
    pub(super) bytes: usize,
    /// The SHA-256 of the body.
    pub(super) sha256: [u8; 32],
}

type Notes = Arc<Mutex<Vec<Received>>>;

/// A running model server; ends when dropped.
pub(super) struct Model {
    /// Where it listens.
    pub(super) address: SocketAddr,
    notes: Notes,
    serving: JoinHandle<()>,
}

impl Model {
    /// Listens on a free port of this machine and serves until dropped.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let notes = Notes::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&notes)));
        Ok(Self { address, notes, serving })
    }

    /// What it has received so far, in order.
    pub(super) fn received(&self) -> Vec<Received> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, notes: Notes) {
    while let Ok((stream, _)) = listener.accept().await {
        let notes = Arc::clone(&notes);
        // A conversation that breaks off shows at the app, which says so.
        tokio::spawn(async move { converse(stream, &notes).await });
    }
}

async fn converse(mut stream: TcpStream, notes: &Notes) -> io::Result<()> {
    // Each word is on its way at once, and not with the one after it.
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let received = Received {
            line: format!("{} {}", request.method, request.target),
            authorization: request.authorization,
            bytes: request.body.len(),
            sha256: Sha256::digest(&request.body).into(),
        };
        notes.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        write(&mut stream, answer(&request.method, &request.target, &request.body)).await?;
    }
    Ok(())
}

struct Request {
    method: String,
    target: String,
    authorization: Option<Vec<u8>>,
    body: Vec<u8>,
}

/// The next request, or nothing where the connection ends.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let (mut request, head, length) = loop {
        if let Some(parsed) = parse(buffer)? {
            break parsed;
        }
        if more(stream, buffer).await? == 0 {
            return if buffer.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
        }
    };
    let end = head.saturating_add(length);
    while buffer.len() < end {
        if more(stream, buffer).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let rest = buffer.split_off(end);
    request.body = buffer.split_off(head);
    *buffer = rest;
    Ok(Some(request))
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() > LONGEST {
        return Err(io::Error::new(ErrorKind::InvalidData, "a request longer than a mebibyte"));
    }
    stream.read_buf(buffer).await
}

/// The head of a request, its length, and the length of its body, once the head is whole.
fn parse(buffer: &[u8]) -> io::Result<Option<(Request, usize, usize)>> {
    let malformed = |what: String| io::Error::new(ErrorKind::InvalidData, what);
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let length = match head.parse(buffer).map_err(|error| malformed(error.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let field = |name: &str| {
        head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|it| it.value)
    };
    if field("transfer-encoding").is_some() {
        return Err(malformed("a body without Content-Length".to_owned()));
    }
    let body = match field("content-length") {
        None => 0,
        Some(value) => std::str::from_utf8(value)
            .ok()
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| malformed("a Content-Length that is no number".to_owned()))?,
    };
    let request = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        authorization: field("authorization").map(<[u8]>::to_vec),
        body: Vec::new(),
    };
    Ok(Some((request, length, body)))
}

async fn write(stream: &mut TcpStream, answer: Answer) -> io::Result<()> {
    match answer {
        Answer::Whole(status, value) => {
            let body = value.to_string();
            let reason = if status == 200 { "OK" } else { "Refused" };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all([head, body].concat().as_bytes()).await
        }
        Answer::Events(events) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            for event in events {
                let length = event.len();
                stream.write_all(format!("{length:x}\r\n{event}\r\n").as_bytes()).await?;
                tokio::time::sleep(PAUSE).await;
            }
            stream.write_all(b"0\r\n\r\n").await
        }
    }
}
