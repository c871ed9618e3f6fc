//! A client's HTTP/2 connection, watched frame by frame for what `h2` does not tell.
//!
//! `h2` answers some requests itself: a reset for a malformed head or for one stream too many, a 431
//! for a head that is too long. Its API says nothing of them, but the frames do: a stream that the
//! client opened, that was never handed out, and that the server ended. Only frame headers are
//! looked at, and of a request that was refused so nothing is kept but that it came.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::stream::Stream;

/// The preface in front of a client's first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// Bytes of a frame's header (RFC 9113 section 4.1).
const HEADER: usize = 9;

/// Opened streams that are remembered until they are handed out or refused; `h2` allows no more.
const REMEMBERED: usize = 4_096;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// How `h2` refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// With a reset.
    Reset,
    /// With a 431: its fields are too long.
    TooLarge,
}

/// What the frames of one connection have said.
#[derive(Debug, Default)]
pub(super) struct Watch {
    received: Frames,
    sent: Frames,
    /// The highest stream the client has opened.
    highest: u32,
    /// Streams that were opened and neither handed out nor refused yet.
    open: BTreeSet<u32>,
    refused: Vec<(u32, Refusal)>,
    /// Bytes received so far.
    bytes: u64,
}

impl Watch {
    fn arrived(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or_default());
        let Self { received, highest, open, .. } = self;
        received.feed(bytes, |kind, stream| {
            if kind == HEADERS && stream % 2 == 1 && stream > *highest {
                *highest = stream;
                if open.len() < REMEMBERED {
                    open.insert(stream);
                }
            }
        });
    }

    fn left(&mut self, bytes: &[u8]) {
        let Self { sent, open, refused, .. } = self;
        sent.feed(bytes, |kind, stream| {
            let refusal = match kind {
                HEADERS => Refusal::TooLarge,
                RST_STREAM => Refusal::Reset,
                _ => return,
            };
            if open.remove(&stream) {
                refused.push((stream, refusal));
            }
        });
    }
}

/// A handle on what the frames have said.
#[derive(Clone, Debug)]
pub(super) struct Watching(Arc<Mutex<Watch>>);

impl Watching {
    /// The request on `stream` was handed out: whatever becomes of it is recorded.
    pub(super) fn handed_out(&self, stream: u32) {
        let mut watch = self.lock();
        watch.open.remove(&stream);
        watch.refused.retain(|(refused, _)| *refused != stream);
    }

    /// The next request that `h2` has refused by itself.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.lock().refused.pop().map(|(_, refusal)| refusal)
    }

    /// The connection failed: how many requests had begun and were never handed out.
    pub(super) fn abandoned(&self) -> usize {
        std::mem::take(&mut self.lock().open).len()
    }

    /// Bytes received so far.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the frames in a stream of bytes.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    filled: usize,
    /// Bytes to pass over before the next header.
    skip: usize,
}

impl Frames {
    fn feed(&mut self, mut bytes: &[u8], mut frame: impl FnMut(u8, u32)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = HEADER.saturating_sub(self.filled).min(bytes.len());
            let (now, rest) = bytes.split_at_checked(wanted).unwrap_or_default();
            if let Some(place) = self.header.get_mut(self.filled..self.filled + wanted) {
                place.copy_from_slice(now);
            }
            self.filled += wanted;
            bytes = rest;
            if self.filled == HEADER {
                let [a, b, c, kind, _, s1, s2, s3, s4] = self.header;
                self.skip = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap_or_default();
                self.filled = 0;
                frame(kind, u32::from_be_bytes([s1, s2, s3, s4]) & 0x7fff_ffff);
            }
        }
    }
}

/// A connection whose first bytes may have been read already, to learn what it speaks.
pub(super) struct Watched {
    seen: Vec<u8>,
    at: usize,
    stream: Stream,
    watch: Arc<Mutex<Watch>>,
}

impl Watched {
    /// Watches `stream`, of which `seen` was read before.
    pub(super) fn new(stream: Stream, seen: Vec<u8>) -> (Self, Watching) {
        let received = Frames { skip: PREFACE, ..Frames::default() };
        let watch = Arc::new(Mutex::new(Watch { received, ..Watch::default() }));
        let watching = Watching(Arc::clone(&watch));
        (Self { seen, at: 0, stream, watch }, watching)
    }

    fn with(&self, act: impl FnOnce(&mut Watch)) {
        act(&mut self.watch.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let rest = this.seen.get(this.at..).unwrap_or_default();
        let polled = if rest.is_empty() {
            Pin::new(&mut this.stream).poll_read(context, buffer)
        } else {
            let count = rest.len().min(buffer.remaining());
            buffer.put_slice(rest.get(..count).unwrap_or_default());
            this.at += count;
            if this.at == this.seen.len() {
                (this.seen, this.at) = (Vec::new(), 0);
            }
            Poll::Ready(Ok(()))
        };
        let new = buffer.filled().get(before..).unwrap_or_default();
        this.with(|watch| watch.arrived(new));
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.with(|watch| watch.left(bytes.get(..count).unwrap_or(bytes)));
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(mut count)) = polled {
            self.with(|watch| {
                for slice in slices {
                    let sent = slice.get(..count.min(slice.len())).unwrap_or_default();
                    watch.left(sent);
                    count -= sent.len();
                }
            });
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, 0];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend(std::iter::repeat_n(HEADERS, payload));
        bytes
    }

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let bytes = [frame(HEADERS, 1, 20), frame(0, 1, 70_000), frame(HEADERS, 3, 0)].concat();
        for step in [1, 2, 8, 9, 10, 64, bytes.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            bytes.chunks(step).for_each(|part| frames.feed(part, |k, s| found.push((k, s))));
            assert_eq!(found, [(HEADERS, 1), (0, 1), (HEADERS, 3)], "{step}");
        }
    }

    #[test]
    fn what_was_opened_ended_and_never_handed_out_was_refused() {
        let mut watch = Watch::default();
        for stream in [1, 3, 5, 7] {
            watch.arrived(&frame(HEADERS, stream, 4));
        }
        watch.open.remove(&1);
        watch.left(&frame(HEADERS, 1, 4));
        watch.left(&frame(RST_STREAM, 3, 4));
        watch.left(&frame(HEADERS, 5, 4));
        watch.left(&frame(RST_STREAM, 5, 4));
        assert_eq!(watch.refused, [(3, Refusal::Reset), (5, Refusal::TooLarge)]);
        assert_eq!(watch.open.into_iter().collect::<Vec<_>>(), [7]);
    }
}
