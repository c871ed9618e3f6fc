//! The first bytes in a tunnel: TLS, HTTP, or something that is passed on unread.
//!
//! For a while only the client is listened to. Then its server is, too, since in many protocols that
//! speaks first; if it does, or the client sends what is neither, nothing more is looked at. A client
//! that is merely slow is still recognised.
//!
//! What is captured is not let go unread because it comes slowly or is spelled oddly: bytes that can still
//! become HTTP are waited for, and TLS that cannot be read is never [`First::Unread`]. What stays open
//! until patience ends is said to be that, [`First::Undecided`].

use std::future::Future;
use std::io;
use std::time::Duration;

use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::kind::{Head, Kind, Looked};
use crate::wire::http1::{MAX_HEAD, Opening};
use crate::wire::stream::Stream;

/// What a tunnel begins with.
pub(super) enum First {
    /// A client's hello, which is complete, and its bytes.
    Tls(Box<Accepted>, Vec<u8>),
    /// HTTP/2 with prior knowledge, or a request of HTTP/1; its whole head, where its name decides.
    Http(Opening, Vec<u8>),
    /// TLS, as it seems, whose hello cannot be read: what the client has sent, and the alert that
    /// answers it.
    Illegible(Vec<u8>, Vec<u8>),
    /// TLS, as it seems, whose hello was not complete in time; or a request whose name decides, and whose
    /// head was not, or is longer than one may be.
    Stalled,
    /// What could still have become a request when patience ended, or when the server spoke: what the
    /// client has sent, and what its server has.
    Undecided(Vec<u8>, Vec<u8>),
    /// Neither: what the client has sent, and what its server has.
    Unread(Vec<u8>, Vec<u8>),
    /// Nothing any more: the client left.
    Gone(Option<io::Error>),
    /// Nothing for too long, or the gateway stops.
    Over,
}

/// Whether what is in a tunnel is captured if it is HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// It is.
    Yes,
    /// Where its first request names a host that is.
    ByName,
    /// It is not.
    No,
}

/// How long to wait for whom.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// From then on the server is listened to, too.
    pub(super) server: Instant,
    /// How long a hello that has begun, or what looks like a request, may take to be complete.
    pub(super) hello: Duration,
    /// How long a client may be silent whose bytes may be a request's or anything: it may be waiting for an
    /// answer to them.
    pub(super) silence: Duration,
    /// Until then something must have come.
    pub(super) idle: Instant,
    /// Whether TLS may come; not in TLS.
    pub(super) tls: bool,
    /// What HTTP would be captured.
    pub(super) captured: Captured,
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
    let (mut looked, mut head) = (Looked::default(), Head::default());
    let mut fed = 0;
    let mut dial = Some(dial);
    let mut listening = false;
    let mut begun = None;
    let captured = patience.captured;
    loop {
        let kind = match looked.kind(&seen, patience.tls) {
            Kind::Request if captured == Captured::No => Kind::Undecided,
            kind => kind,
        };
        match kind {
            Kind::Http(Opening::Http1) if captured == Captured::ByName && !head.is_whole(&seen) => {
                // Behind what no server takes for a head anything could stand.
                if seen.len() > MAX_HEAD {
                    return First::Stalled;
                }
            }
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
                    (_, accepted) => return First::Illegible(seen, answer(accepted)),
                }
            }
            Kind::Request | Kind::Undecided => {}
        }
        // From its first byte on: a client may be silent before for as long as it likes.
        let begins = || Instant::now() + patience.hello;
        let hello = if seen.is_empty() { None } else { Some(*begun.get_or_insert_with(begins)) };
        let silence = Instant::now() + patience.silence;
        let due = match (hello, kind) {
            (Some(hello), Kind::Tls) => hello,
            _ if !listening => patience.server,
            (None, _) => patience.idle,
            // It came after the server began to be listened to; that may be waiting for just this.
            _ if captured == Captured::No => patience.server,
            (Some(hello), Kind::Undecided) => hello.min(silence),
            (Some(hello), _) => hello,
        };
        tokio::select! {
            read = client.read() => match read {
                Ok(chunk) if chunk.is_empty() && seen.is_empty() => return First::Gone(None),
                Ok(chunk) if chunk.is_empty() => return match kind {
                    Kind::Tls => First::Stalled,
                    Kind::Http(opening) => First::Http(opening, seen),
                    _ => First::Unread(seen, Vec::new()),
                },
                Ok(chunk) => seen.extend_from_slice(&chunk),
                Err(error) => return First::Gone(Some(error)),
            },
            Some(read) = heard(server), if listening && kind != Kind::Tls => {
                // A server that only leaves is left to the relay.
                let said = read.map(|chunk| chunk.to_vec()).unwrap_or_default();
                return match captured {
                    Captured::Yes | Captured::ByName if !seen.is_empty() => {
                        First::Undecided(seen, said)
                    }
                    _ => First::Unread(seen, said),
                };
            }
            () = sleep_until(due) => {
                let unheard = captured == Captured::No && !seen.is_empty();
                match kind {
                    Kind::Tls => return First::Stalled,
                    _ if !listening && !unheard => {}
                    _ if seen.is_empty() => return First::Over,
                    _ if unheard => return First::Unread(seen, Vec::new()),
                    Kind::Http(_) => return First::Stalled,
                    // It hears that its head is late, as it would outside of a tunnel.
                    Kind::Request if captured == Captured::Yes => {
                        return First::Http(Opening::Http1, seen);
                    }
                    _ => return First::Undecided(seen, Vec::new()),
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

/// The alert that tells a client what is wrong with its hello; nothing where there is none to tell.
fn answer(accepted: Result<Option<Accepted>, (rustls::Error, AcceptedAlert)>) -> Vec<u8> {
    let mut alert = Vec::new();
    if let Err((error, mut told)) = accepted {
        tracing::debug!(%error, "a client's TLS cannot be read");
        // Into memory nothing fails.
        let _ = told.write_all(&mut alert);
    }
    alert
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
