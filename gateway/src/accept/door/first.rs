//! The first bytes in a tunnel: TLS, HTTP, or something that is passed on unread.
//!
//! For a while only the client is listened to. Then its server is, too, since in many protocols that
//! speaks first; if it does, or the client sends what is neither, nothing more is looked at. A client
//! that is merely slow is still recognised.

use std::future::Future;
use std::io;

use rustls::server::{Accepted, Acceptor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::wire::http1::{Opening, opening};
use crate::wire::stream::Stream;

/// The longest first line of a request with an unknown method that is waited for.
const LINE: usize = 8 << 10;

/// Methods that are recognised before their line is complete.
const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"DELETE ",
    b"OPTIONS ",
    b"PATCH ",
    b"TRACE ",
    b"CONNECT ",
];

/// What a tunnel begins with.
pub(super) enum First {
    /// A client's hello, which is complete, and its bytes.
    Tls(Box<Accepted>, Vec<u8>),
    /// HTTP/2 with prior knowledge, or a request of HTTP/1.
    Http(Opening, Vec<u8>),
    /// Neither: what the client has sent, and what its server has.
    Unread(Vec<u8>, Vec<u8>),
    /// Nothing any more: the client left.
    Gone(Option<io::Error>),
    /// Nothing for too long, or the gateway stops.
    Over,
}

/// How long to wait for whom.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// From then on the server is listened to, too.
    pub(super) server: Instant,
    /// Until then a hello that has begun must be complete.
    pub(super) hello: Instant,
    /// Until then something must have come.
    pub(super) idle: Instant,
    /// Whether TLS may come; not in TLS.
    pub(super) tls: bool,
}

/// Reads until it is known what the tunnel holds. `server` is its other end, made by `dial` when it
/// is to be listened to and is not there yet.
pub(super) async fn first<D>(
    client: &mut Stream,
    mut seen: Vec<u8>,
    server: &mut Option<Stream>,
    dial: impl FnOnce() -> D,
    patience: Patience,
    stop: &mut watch::Receiver<bool>,
) -> First
where
    D: Future<Output = Option<Stream>>,
{
    let mut acceptor = Acceptor::default();
    let mut fed = 0;
    let mut dial = Some(dial);
    let mut listening = false;
    loop {
        let kind = kind(&seen, patience.tls);
        match kind {
            Kind::Http(opening) => return First::Http(opening, seen),
            Kind::Neither => return First::Unread(seen, Vec::new()),
            Kind::Tls => {
                let mut new = seen.get(fed..).unwrap_or_default();
                let read = acceptor.read_tls(&mut new);
                fed = seen.len().saturating_sub(new.len());
                match (read, acceptor.accept()) {
                    (Ok(_), Ok(Some(accepted))) => return First::Tls(Box::new(accepted), seen),
                    (Ok(_), Ok(None)) if fed < seen.len() => continue,
                    (Ok(_), Ok(None)) => {}
                    _ => return First::Unread(seen, Vec::new()),
                }
            }
            Kind::Undecided => {}
        }
        let due = match (kind, listening) {
            (Kind::Tls, _) => patience.hello,
            (_, false) => patience.server,
            (_, true) => patience.idle,
        };
        tokio::select! {
            read = client.read() => match read {
                Ok(chunk) if chunk.is_empty() && seen.is_empty() => return First::Gone(None),
                Ok(chunk) if chunk.is_empty() => return First::Unread(seen, Vec::new()),
                Ok(chunk) => seen.extend_from_slice(&chunk),
                Err(error) => return First::Gone(Some(error)),
            },
            Some(read) = heard(server), if listening => {
                // A server that only leaves is left to the relay.
                let said = read.map(|chunk| chunk.to_vec()).unwrap_or_default();
                return First::Unread(seen, said);
            }
            () = sleep_until(due) => {
                if !seen.is_empty() {
                    return First::Unread(seen, Vec::new());
                }
                if listening {
                    return First::Over;
                }
                listening = true;
                if let Some(dial) = dial.take().filter(|_| server.is_none()) {
                    *server = dial().await;
                }
            }
            () = stopped(stop) => return First::Over,
        }
    }
}

/// Resolves when the gateway is told to stop.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn heard(server: &mut Option<Stream>) -> Option<io::Result<crate::wire::buffer::Chunk>> {
    match server {
        Some(server) => Some(server.read().await),
        None => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tls,
    Http(Opening),
    Neither,
    Undecided,
}

/// What bytes from a client begin.
fn kind(seen: &[u8], tls: bool) -> Kind {
    match seen {
        [] => return Kind::Undecided,
        // A record of the handshake, of any version since SSL 3 (RFC 8446 section 5.1).
        [0x16] | [0x16, 0x03, ..] if tls => return Kind::Tls,
        _ => {}
    }
    match opening(seen) {
        Opening::Http2 => return Kind::Http(Opening::Http2),
        Opening::Undecided => return Kind::Undecided,
        Opening::Http1 => {}
    }
    // Empty lines may stand before a request (RFC 9112 section 2.2).
    let mut line = seen;
    while let Some(rest) = line.strip_prefix(b"\r\n") {
        line = rest;
    }
    if line.is_empty() || line == b"\r" {
        return Kind::Undecided;
    }
    if METHODS.iter().any(|method| line.starts_with(method)) {
        return Kind::Http(Opening::Http1);
    }
    if METHODS.iter().any(|method| method.starts_with(line)) {
        return Kind::Undecided;
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = line.iter().position(|byte| !token(byte));
    match method {
        None if line.len() <= 64 => Kind::Undecided,
        Some(at) if at > 0 && line.get(at) == Some(&b' ') => match memchr::memchr(b'\n', line) {
            Some(end) => {
                let line = line.get(..end).unwrap_or_default().trim_ascii_end();
                let version = line.len().checked_sub(9).and_then(|from| line.get(from..));
                match version.is_some_and(|version| version.starts_with(b" HTTP/1.")) {
                    true => Kind::Http(Opening::Http1),
                    false => Kind::Neither,
                }
            }
            None if line.len() <= LINE => Kind::Undecided,
            None => Kind::Neither,
        },
        _ => Kind::Neither,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_recognised_by_its_first_bytes_and_other_things_are_not() {
        let http1 = Kind::Http(Opening::Http1);
        for (bytes, expected) in [
            (b"GET / HTTP/1.1\r\n".as_slice(), http1),
            (b"POST ", http1),
            (b"\r\nGET /", http1),
            (b"PO", Kind::Undecided),
            (b"", Kind::Undecided),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind::Http(Opening::Http2)),
            (b"PRI * H", Kind::Undecided),
            (b"PURGE /x HTTP/1.1\r\n", http1),
            (b"PURGE /x", Kind::Undecided),
            (b"PURGE me\r\n", Kind::Neither),
            (b"SSH-2.0-OpenSSH_9.2 Debian\r\n", Kind::Neither),
            (b"EHLO mail.example\r\n", Kind::Neither),
            (b"\x00\x00\x00\x08", Kind::Neither),
            (b"\x16", Kind::Tls),
            (b"\x16\x03\x01\x02", Kind::Tls),
            (b"\x16\x04", Kind::Neither),
            (b" GET / HTTP/1.1\r\n", Kind::Neither),
        ] {
            assert_eq!(kind(bytes, true), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(kind(b"\x16\x03\x01", false), Kind::Neither);
        assert_eq!(kind(&[b'A'; 65], true), Kind::Neither);
    }
}
