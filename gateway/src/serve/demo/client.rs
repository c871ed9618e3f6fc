//! The app's HTTP client: one request a connection, over a plain socket.
//!
//! In: an address and a request. Out: the whole answer with the times at which it came. Can fail: an
//! answer that is cut off is an error, never a shorter answer.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that a call on this machine may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An answer in full.
pub(super) struct Answered {
    /// The status.
    pub(super) status: u16,
    /// The body without its framing.
    pub(super) body: Vec<u8>,
    /// From the request to the first byte of the body.
    pub(super) first: Duration,
    /// From the request to the end.
    pub(super) whole: Duration,
}

/// Sends one request and reads its answer to the end.
pub(super) async fn send(address: SocketAddr, head: &str, body: &[u8]) -> io::Result<Answered> {
    let late = |_| io::Error::from(ErrorKind::TimedOut);
    timeout(PATIENCE, exchange(address, head, body)).await.map_err(late)?
}

async fn exchange(address: SocketAddr, head: &str, body: &[u8]) -> io::Result<Answered> {
    let mut stream = TcpStream::connect(address).await?;
    let began = Instant::now();
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    let mut bytes = Vec::new();
    let mut first = None;
    loop {
        if first.is_none() && parse(&bytes)?.is_some_and(|head| bytes.len() > head.length) {
            first = Some(began.elapsed());
        }
        if let Some(answer) = whole(&bytes)? {
            let whole = began.elapsed();
            let (status, body) = answer;
            return Ok(Answered { status, body, first: first.unwrap_or(whole), whole });
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

struct Head {
    length: usize,
    status: u16,
    /// Bytes of the body; nothing where it is chunked.
    body: Option<usize>,
}

/// Status and body, once all of it is there.
fn whole(bytes: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
    let Some(head) = parse(bytes)? else { return Ok(None) };
    let rest = bytes.get(head.length..).unwrap_or_default();
    let body = match head.body {
        Some(length) => rest.get(..length).map(<[u8]>::to_vec),
        None => chunked(rest)?,
    };
    Ok(body.map(|body| (head.status, body)))
}

fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes).map_err(|error| malformed(&error.to_string()))? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    let field = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let body = match (field("transfer-encoding"), field("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => None,
        (None, Some(length)) => Some(length.parse().map_err(|_| malformed("no length"))?),
        _ => return Err(malformed("an answer that does not say where it ends")),
    };
    Ok(Some(Head { length, status: response.code.unwrap_or_default(), body }))
}

/// The content of chunks, once the last one is there.
fn chunked(mut rest: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    loop {
        let parsed = httparse::parse_chunk_size(rest).map_err(|_| malformed("no chunk size"))?;
        let httparse::Status::Complete((line, size)) = parsed else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| malformed("a chunk without bounds"))?;
        let chunk = rest.get(line..).and_then(|rest| rest.split_at_checked(size));
        let Some((chunk, after)) = chunk else { return Ok(None) };
        if after.len() < 2 {
            return Ok(None);
        }
        rest = after.strip_prefix(b"\r\n").ok_or_else(|| malformed("a chunk without its end"))?;
        if size == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk);
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_cut_off_is_never_whole() {
        let length = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\na\r\n b c";
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na\r\n\r\n4\r\n b c\r\n0\r\n\r\n";
        for answer in [length, chunks] {
            let bytes = answer.as_bytes();
            for cut in 0..bytes.len() {
                assert!(whole(&bytes[..cut]).unwrap().is_none(), "{cut} of {answer:?}");
            }
            assert_eq!(whole(bytes).unwrap(), Some((200, b"a\r\n b c".to_vec())), "{answer:?}");
        }
    }

    #[test]
    fn an_answer_must_say_where_it_ends() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            assert!(whole(answer.as_bytes()).is_err(), "{answer:?}");
        }
    }
}
