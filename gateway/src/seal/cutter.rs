//! Cuts a body into segments while its bytes come, and commits to each.
//!
//! Plain bytes are cut in pieces of 64 KiB. An event stream is cut where an event ends, as soon as
//! a group of events has [`GROUP`] bytes; events too long for a piece are cut like plain bytes.
//! The same bytes give the same segments however they arrive.

use std::cell::RefCell;

use sealtap_common::commit::{
    Body, BodyKey, BodyRoot, Dialect, PIECE, UnitKind, commit, commit_parts,
};
use sealtap_common::leaf::Prefix;

use super::sealed::Segment;

/// A segment that outgrows this gathers in memory for a whole piece, which is used again afterwards:
/// growing step by step, and the pages of fresh memory, cost more than the copy itself.
const SMALL: usize = 16 * 1024;

/// How many such pieces of memory a thread keeps for the next segments.
const SPARE: usize = 32;

thread_local! {
    static PIECES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes from which on a group of events is closed at the next event's end.
pub const GROUP: usize = 4096;

/// One body on its way to a commitment.
#[derive(Debug)]
pub struct Cutter {
    key: BodyKey,
    dialect: Dialect,
    root: BodyRoot,
    /// The bytes of the segment that is not closed yet; fewer than a piece.
    partial: Vec<u8>,
    segments: Vec<Segment>,
    lines: Lines,
}

impl Cutter {
    /// A cutter for a body of `dialect`, committed under `key`.
    #[must_use]
    pub fn new(key: [u8; 32], dialect: Dialect) -> Self {
        Self {
            key: BodyKey::new(key),
            dialect,
            root: BodyRoot::new(),
            partial: Vec::new(),
            segments: Vec::new(),
            lines: Lines::default(),
        }
    }

    /// Takes the bytes that come next.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.dialect {
            Dialect::Bytes => self.pieces(bytes),
            Dialect::EventStream => self.events(bytes),
        }
    }

    /// The body so far: its closed segments, which are final, and the bytes behind them.
    #[must_use]
    pub fn prefix(&self) -> Prefix {
        let length = self.root.length() + u64::try_from(self.partial.len()).unwrap_or(u64::MAX);
        let tail = || commit(&self.key.tail_salt(length), &self.partial);
        Prefix {
            length,
            root: self.root.root(),
            segments: self.root.next_index(),
            tail: (!self.partial.is_empty()).then(tail),
        }
    }

    /// Closes the last segment: the body as a leaf names it, and its segments.
    #[must_use]
    pub fn finish(mut self) -> (Body, Vec<Segment>) {
        if !self.partial.is_empty() {
            let kind = match self.dialect {
                Dialect::Bytes => UnitKind::Bytes,
                Dialect::EventStream => UnitKind::EventGroup,
            };
            self.close(&[], kind);
        }
        (self.root.finish(self.dialect), self.segments)
    }

    /// Cuts when a piece is full; in an event stream when more comes than a piece holds, because an
    /// event may end right there. What comes whole is not copied.
    fn pieces(&mut self, mut bytes: &[u8]) {
        let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
        let most = match self.dialect {
            Dialect::Bytes => piece.saturating_sub(1),
            Dialect::EventStream => piece,
        };
        while self.partial.len() + bytes.len() > most {
            let room = piece.saturating_sub(self.partial.len());
            let (head, tail) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.close(head, UnitKind::Bytes);
            bytes = tail;
        }
        if self.partial.len() + bytes.len() > SMALL && self.partial.capacity() < piece {
            let spare = PIECES.with_borrow_mut(Vec::pop);
            let mut whole = spare.unwrap_or_else(|| Vec::with_capacity(piece));
            whole.extend_from_slice(&self.partial);
            self.partial = whole;
        }
        self.partial.extend_from_slice(bytes);
    }

    fn events(&mut self, bytes: &[u8]) {
        let mut from = 0;
        let mut lines = self.lines;
        lines.walk(bytes, |boundary| {
            self.pieces(bytes.get(from..boundary).unwrap_or_default());
            if self.partial.len() >= GROUP {
                self.close(&[], UnitKind::EventGroup);
            }
            from = boundary;
        });
        self.lines = lines;
        self.pieces(bytes.get(from..).unwrap_or_default());
    }

    /// Closes the segment that ends with `tail`.
    fn close(&mut self, tail: &[u8], kind: UnitKind) {
        let length = u64::try_from(self.partial.len() + tail.len()).unwrap_or(u64::MAX);
        if length == 0 {
            return;
        }
        let salt = self.key.salt(self.root.next_index());
        let parts = [self.partial.as_slice(), tail];
        let Ok(commitment) = commit_parts(&salt, length, parts) else { return };
        // Fails only past four billion segments, which no disk holds.
        if let Ok(tuple) = self.root.push(length, kind, commitment) {
            self.segments.push(Segment { offset: tuple.offset, length, kind: tuple.kind });
        }
        let mut used = std::mem::take(&mut self.partial);
        if u64::try_from(used.capacity()).is_ok_and(|capacity| capacity >= PIECE) {
            used.clear();
            PIECES.with_borrow_mut(|pieces| {
                if pieces.len() < SPARE {
                    pieces.push(used);
                }
            });
        }
    }
}

/// Follows the lines of an event stream, which end with CR LF, LF or CR (WHATWG HTML, server-sent
/// events); an empty line ends an event.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    /// The current line has bytes.
    filled: bool,
    /// The last byte was a CR; whether the line it ended was empty.
    after_return: Option<bool>,
}

impl Lines {
    /// Calls `boundary` with each place in `bytes` where an event has just ended.
    fn walk(&mut self, bytes: &[u8], mut boundary: impl FnMut(usize)) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(byte) = rest.first() else { break };
            if *byte == b'\n' {
                let empty = self.after_return.take().unwrap_or(!self.filled);
                self.filled = false;
                at += 1;
                if empty {
                    boundary(at);
                }
                continue;
            }
            // A CR that no LF follows ended a line by itself.
            if self.after_return.take() == Some(true) {
                boundary(at);
            }
            if *byte == b'\r' {
                self.after_return = Some(!self.filled);
                self.filled = false;
                at += 1;
            } else {
                self.filled = true;
                at += memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(dialect: Dialect, chunks: &[&[u8]]) -> (Body, Vec<Segment>) {
        let mut cutter = Cutter::new([7; 32], dialect);
        for chunk in chunks {
            cutter.push(chunk);
        }
        cutter.finish()
    }

    #[test]
    fn plain_bytes_are_cut_in_pieces() {
        let bytes = vec![b'x'; 65_536 * 2 + 1];
        let (body, segments) = cut(Dialect::Bytes, &[&bytes]);
        let lengths: Vec<u64> = segments.iter().map(|segment| segment.length).collect();
        assert_eq!(lengths, [65_536, 65_536, 1]);
        assert!(body.is_consistent());
        assert_eq!(body.length, 131_073);
    }

    #[test]
    fn an_empty_body_has_no_segment() {
        let (body, segments) = cut(Dialect::Bytes, &[]);
        assert!(segments.is_empty() && body.is_consistent() && body.length == 0);
    }

    #[test]
    fn events_are_grouped_and_never_split() {
        let event = format!("data: {}\n\n", "y".repeat(1_000));
        let bytes = event.repeat(10);
        let (_, segments) = cut(Dialect::EventStream, &[bytes.as_bytes()]);
        let length = event.len() as u64;
        let lengths: Vec<u64> = segments.iter().map(|segment| segment.length).collect();
        assert_eq!(lengths, [length * 5, length * 5]);
        assert!(segments.iter().all(|segment| segment.kind == UnitKind::EventGroup.number()));
    }

    #[test]
    fn an_event_longer_than_a_piece_is_cut_like_bytes() {
        let bytes = format!("data: {}\r\n\r\ndata: z\r\n\r\n", "y".repeat(150_000));
        let (body, segments) = cut(Dialect::EventStream, &[bytes.as_bytes()]);
        let kinds: Vec<u16> = segments.iter().map(|segment| segment.kind).collect();
        assert_eq!(kinds.first(), Some(&UnitKind::Bytes.number()));
        assert_eq!(kinds.last(), Some(&UnitKind::EventGroup.number()));
        assert_eq!(body.length, bytes.len() as u64);
    }

    proptest! {
        #[test]
        fn segments_do_not_depend_on_how_bytes_arrive(
            pieces in prop::collection::vec("(data: [a-z]{0,3000}|:|\n|\r|\r\n|\n\n|\r\r|\r\n\r\n)", 0..60),
            cuts in prop::collection::vec(1_usize..5_000, 0..40),
        ) {
            let bytes = pieces.concat().into_bytes();
            for dialect in [Dialect::Bytes, Dialect::EventStream] {
                let mut chunks = Vec::new();
                let mut rest = bytes.as_slice();
                for cut in &cuts {
                    let (head, tail) = rest.split_at((*cut).min(rest.len()));
                    chunks.push(head);
                    rest = tail;
                }
                chunks.push(rest);
                let (whole, at_once) = cut(dialect, &[&bytes]);
                let (piecewise, in_pieces) = cut(dialect, &chunks);
                prop_assert_eq!(whole, piecewise);
                prop_assert_eq!(&at_once, &in_pieces);
                let total: u64 = at_once.iter().map(|segment| segment.length).sum();
                prop_assert_eq!(total, bytes.len() as u64);
            }
        }
    }
}
