//! Tunnels whose content is not captured: what passes is counted, and nothing of it is kept.
//!
//! In: a record that has the tunnel's number, and the two connections with what was read of them.
//! Out: a summary. The number is on disk before the first byte goes on. Whoever decided that it passes may
//! go on to look, and end it where what comes is captured after all.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use sealtap_common::leaf::{End, ErrorCode, Outcome, Tunnel, TunnelReason};

use super::Summary;
use crate::capture::Recorder;
use crate::capture::journal::{Down, Position};
use crate::capture::record::Direction;
use crate::wire::message::{Fields, ResponseHead, Version};
use crate::wire::stream::{Reader, Writer};

/// One end of a tunnel.
#[derive(Debug)]
pub struct Side {
    /// What comes from it.
    pub reader: Reader,
    /// What goes to it.
    pub writer: Writer,
    /// What was read of it already.
    pub seen: Vec<u8>,
}

/// Looks at what a client sends before it goes on.
pub trait Look: Send {
    /// What these bytes show, with those before.
    fn look(&mut self, bytes: &[u8]) -> Saw;
}

/// What was seen in what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Saw {
    /// Nothing that matters.
    Nothing,
    /// From here on it cannot be told what it is.
    Undecided,
    /// What is captured, and does not go on unread.
    Captured,
}

/// A tunnel that is not captured, under its number.
#[derive(Debug)]
pub struct Opaque {
    recorder: Option<Recorder>,
    reason: TunnelReason,
    /// Whether what came later made it [`TunnelReason::Undecided`].
    undecided: AtomicBool,
    alert: Option<u8>,
    from_client: AtomicU64,
    to_client: AtomicU64,
    begun: Position,
}

/// Why a direction ended.
enum Ending {
    /// Its sender said that nothing more comes.
    Finished,
    /// Its sender broke off.
    Broken,
    /// Its receiver took no more.
    Refused,
    /// It would have gone on unread, and is captured.
    Captured,
}

impl Opaque {
    /// Records that the tunnel begins: that the gateway said so to the client, what it leads to
    /// (address, and version of TLS where that was opened), and why it is not captured. `version` is
    /// the client's.
    ///
    /// # Errors
    ///
    /// [`Down`].
    pub fn begin(
        recorder: Recorder,
        reason: TunnelReason,
        alert: Option<u8>,
        leads_to: Option<(&str, Option<&str>)>,
        version: Version,
    ) -> Result<Self, Down> {
        if let Some((address, tls)) = leads_to {
            recorder.connected(address, tls)?;
        }
        let tunnel = Tunnel { alert, from_client: 0, reason, to_client: 0 };
        recorder.tunnelled(&tunnel)?;
        let head = established(version);
        let begun = recorder.answered(&head, &head, None)?;
        let (from_client, to_client) = (AtomicU64::new(0), AtomicU64::new(0));
        let (recorder, undecided) = (Some(recorder), AtomicBool::new(false));
        Ok(Self { recorder, reason, undecided, alert, from_client, to_client, begun })
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel {
            alert: self.alert,
            from_client: self.from_client.load(Ordering::Relaxed),
            reason: match self.undecided.load(Ordering::Relaxed) {
                true => TunnelReason::Undecided,
                false => self.reason,
            },
            to_client: self.to_client.load(Ordering::Relaxed),
        }
    }

    /// Records how the tunnel ended.
    pub fn close(
        mut self,
        outcome: Outcome,
        error: Option<ErrorCode>,
        mut summary: Summary,
    ) -> Summary {
        let Some(recorder) = self.recorder.take() else { return summary };
        let tunnel = self.tunnel();
        let end = match outcome {
            Outcome::Complete => End::Complete,
            Outcome::ClientCancelled => End::ClientCancelled,
            Outcome::UpstreamFailed => End::UpstreamFailed,
            Outcome::Refused | Outcome::Interrupted => End::Interrupted,
        };
        let _ = recorder.tunnelled(&tunnel);
        let _ = recorder.ended(Direction::Request, End::Complete, true, None);
        let _ = recorder.ended(Direction::Response, end, true, None);
        summary.tunnelled(&recorder, &tunnel, outcome, error);
        summary.recorded = recorder.closed(outcome, error).is_ok();
        summary
    }
}

impl Drop for Opaque {
    /// A tunnel that is cut off in the middle says how far it came; its record then ends itself.
    fn drop(&mut self) {
        if let Some(recorder) = &self.recorder {
            let _ = recorder.tunnelled(&self.tunnel());
        }
    }
}

/// What the gateway says to a CONNECT that it lets through.
#[must_use]
pub(crate) fn established(version: Version) -> ResponseHead {
    let (version, reason) = match version {
        Version::Http2 => (Version::Http2, &b""[..]),
        _ => (Version::Http11, &b"Connection established"[..]),
    };
    let reason = Bytes::from_static(reason);
    ResponseHead { status: 200, reason, version, fields: Fields::default() }
}

/// Passes on what comes from either side until both have ended, or one has failed, or `look` has seen
/// what does not pass.
pub async fn opaque(
    opaque: Opaque,
    client: Side,
    upstream: Side,
    mut look: Option<Box<dyn Look>>,
    summary: Summary,
) -> Summary {
    if let Some(recorder) = &opaque.recorder
        && recorder.durable(opaque.begun).await.is_err()
    {
        return opaque.close(Outcome::Interrupted, Some(ErrorCode::JournalFailed), summary);
    }
    let Side { reader: mut from_client, writer: mut to_client, seen: from_client_seen } = client;
    let Side { reader: mut from_upstream, writer: mut to_upstream, seen: from_upstream_seen } =
        upstream;
    let asked_by = to_client.ground();
    let may_pass = |bytes: &[u8]| {
        let saw = look.as_mut().map_or(Saw::Nothing, |look| look.look(bytes));
        opaque.undecided.fetch_or(saw > Saw::Nothing, Ordering::Relaxed);
        if saw == Saw::Captured {
            tracing::warn!("cut off: what was to pass unread is captured");
        }
        saw < Saw::Captured
    };
    let (sent, answered) = (&opaque.from_client, &opaque.to_client);
    let up = pass(&mut from_client, &mut to_upstream, from_client_seen, sent, may_pass);
    let down = pass(&mut from_upstream, &mut to_client, from_upstream_seen, answered, |_| true);
    let mut ended = (None, None);
    {
        let (mut up, mut down) = (pin!(up), pin!(down));
        while ended.0.is_none() || ended.1.is_none() {
            let ending = tokio::select! {
                ending = &mut up, if ended.0.is_none() => ended.0.insert(ending),
                ending = &mut down, if ended.1.is_none() => ended.1.insert(ending),
                // Nobody reads from it any more, and a silent server would be waited for in vain.
                () = asked_by.broken(), if ended.0.is_some() => ended.0.insert(Ending::Broken),
            };
            // A FIN ends one direction; anything worse ends both.
            if !matches!(ending, Ending::Finished) {
                break;
            }
        }
    }
    let (outcome, error) = match ended {
        (Some(Ending::Finished), Some(Ending::Finished)) => (Outcome::Complete, None),
        // Not its client's doing but for what it named.
        (Some(Ending::Captured), _) => {
            (Outcome::ClientCancelled, Some(ErrorCode::DestinationRefused))
        }
        (Some(Ending::Broken), _) | (_, Some(Ending::Refused)) => (Outcome::ClientCancelled, None),
        _ => (Outcome::UpstreamFailed, Some(ErrorCode::UpstreamClosed)),
    };
    if outcome != Outcome::Complete {
        // Whoever is left is told that it was no good end.
        to_client.ground().reset();
        to_upstream.ground().reset();
    }
    opaque.close(outcome, error, summary)
}

/// Passes one direction on, `seen` first, as long as it may.
async fn pass(
    from: &mut Reader,
    to: &mut Writer,
    seen: Vec<u8>,
    count: &AtomicU64,
    mut may_pass: impl FnMut(&[u8]) -> bool,
) -> Ending {
    let add = |bytes: usize| {
        count.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    };
    if !seen.is_empty() {
        if !may_pass(&seen) {
            return Ending::Captured;
        }
        if to.write_all([&seen, b"", b"", b""]).await.is_err() {
            return Ending::Refused;
        }
        add(seen.len());
    }
    drop(seen);
    loop {
        let chunk = match from.read().await {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => chunk,
            // TLS without close_notify; what is in the tunnel has ends of its own.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(_) => return Ending::Broken,
        };
        if !may_pass(&chunk) {
            return Ending::Captured;
        }
        if to.write_all([&*chunk, b"", b"", b""]).await.is_err() {
            return Ending::Refused;
        }
        add(chunk.len());
    }
    // Its end ends a line as well.
    if !may_pass(b"\n") {
        return Ending::Captured;
    }
    match to.finish().await {
        Ok(()) => Ending::Finished,
        Err(_) => Ending::Refused,
    }
}
