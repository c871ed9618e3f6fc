//! Frames of HTTP/2 as a client sends them: the blocks of fields in them.
//!
//! In: a client's bytes, as they come, from the preface on (RFC 9113 section 3.4). Out: each block of fields as it was
//! sent, compressed, once it is whole, and whether it is of a new stream. Everything else is skipped. Fails where
//! no server goes on reading either, and where a block is longer than is kept.

/// The client's preface, in bytes.
const PREFACE: usize = 24;

/// The header of each frame, in bytes (RFC 9113 section 4.1).
const HEADER: usize = 9;

/// The longest block that is kept: no longer than a head of HTTP/1 (`heads`).
const BLOCK: usize = 1 << 20;

/// Types of frames, and flags of theirs (RFC 9113 sections 6.2 and 6.10).
pub(super) const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// Tells a client's frames apart.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    /// Bytes until that ends.
    left: usize,
    /// What came of it, where it is kept.
    taken: Vec<u8>,
    /// The block that goes on, and of which stream it is.
    open: Option<(u32, Block)>,
    /// The highest stream so far.
    highest: u32,
}

/// What the next bytes are of.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// What is skipped.
    Other,
    /// A frame's header.
    Header,
    /// The payload of a frame with fields, with these flags.
    Fields(u8),
}

/// A block of fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// Whether a stream begins with it: else they are trailers.
    pub(super) begins: bool,
    pub(super) fields: Vec<u8>,
}

/// What came are no frames of HTTP/2, or longer ones than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Default for Frames {
    fn default() -> Self {
        let (place, taken, open) = (Place::Other, Vec::new(), None);
        Self { place, left: PREFACE, taken, open, highest: 0 }
    }
}

impl Frames {
    /// Takes what came; the blocks that are whole by now are added to `whole`, also those before a mistake.
    pub(super) fn take(&mut self, bytes: &[u8], whole: &mut Vec<Block>) -> Result<(), Malformed> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let some;
            (some, rest) = rest.split_at_checked(self.left).unwrap_or((rest, &[]));
            self.left = self.left.saturating_sub(some.len());
            if !matches!(self.place, Place::Other) {
                self.taken.extend_from_slice(some);
            }
            // A frame may have no payload.
            while self.left == 0 {
                whole.extend(self.ended()?);
            }
        }
        Ok(())
    }

    /// One thing came as a whole, and what follows begins.
    fn ended(&mut self) -> Result<Option<Block>, Malformed> {
        let taken = std::mem::take(&mut self.taken);
        match self.place {
            Place::Header => self.begin(&taken).map(|()| None),
            Place::Other => {
                (self.place, self.left) = (Place::Header, HEADER);
                Ok(None)
            }
            Place::Fields(flags) => {
                (self.place, self.left) = (Place::Header, HEADER);
                let (stream, mut block) = self.open.take().ok_or(Malformed)?;
                let fields = fragment(flags, &taken).ok_or(Malformed)?;
                block.fields.extend_from_slice(fields);
                if flags & END_HEADERS != 0 {
                    return Ok(Some(block));
                }
                self.open = Some((stream, block));
                Ok(None)
            }
        }
    }

    /// What a frame's header says.
    fn begin(&mut self, header: &[u8]) -> Result<(), Malformed> {
        let &[first, second, third, kind, flags, a, b, c, d] = header else {
            return Err(Malformed);
        };
        let length = u32::from_be_bytes([0, first, second, third]);
        self.left = usize::try_from(length).map_err(|_| Malformed)?;
        // The first bit says nothing.
        let stream = u32::from_be_bytes([a & 0x7f, b, c, d]);
        self.place = match (kind, &self.open) {
            (HEADERS, None) => {
                let begins = stream > self.highest;
                self.highest = self.highest.max(stream);
                self.open = Some((stream, Block { begins, fields: Vec::new() }));
                Place::Fields(flags & (END_HEADERS | PADDED | PRIORITY))
            }
            // It has no other flags.
            (CONTINUATION, Some((of, _))) if *of == stream => Place::Fields(flags & END_HEADERS),
            // Nothing may come in between.
            (CONTINUATION, _) | (_, Some(_)) => return Err(Malformed),
            _ => Place::Other,
        };
        let kept = self.open.as_ref().map_or(0, |(_, block)| block.fields.len());
        let is_kept = !matches!(self.place, Place::Other);
        if is_kept && kept.saturating_add(self.left) > BLOCK {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// The fields in a payload, without padding and priority.
fn fragment(flags: u8, payload: &[u8]) -> Option<&[u8]> {
    let (padding, rest) = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => (usize::from(*padding), rest),
        None if flags & PADDED != 0 => return None,
        _ => (0, payload),
    };
    let rest = if flags & PRIORITY != 0 { rest.get(5..)? } else { rest };
    rest.get(..rest.len().checked_sub(padding)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let header = [0, length[0], length[1], kind, flags, 0, 0, 0, stream];
        [&header, payload].concat()
    }

    fn taken(frames: &[Vec<u8>]) -> (Vec<Block>, Result<(), Malformed>) {
        let all = [[b'x'; PREFACE].to_vec(), frames.concat()].concat();
        let (mut at_once, mut single) = (Vec::new(), Vec::new());
        let told = Frames::default().take(&all, &mut at_once);
        let mut frames = Frames::default();
        let each = all.iter().map(|byte| frames.take(&[*byte], &mut single)).find(Result::is_err);
        assert_eq!((&single, each.unwrap_or(Ok(()))), (&at_once, told));
        (at_once, told)
    }

    fn block(begins: bool, fields: &[u8]) -> Block {
        Block { begins, fields: fields.to_vec() }
    }

    #[test]
    fn blocks_are_found_among_other_frames() {
        let frames = [
            frame(4, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, b"one"),
            frame(0, 1, 1, b"data"),
            frame(HEADERS, END_HEADERS | PADDED | PRIORITY, 3, b"\x02.....two\0\0"),
            frame(HEADERS, 0, 5, b"th"),
            frame(CONTINUATION, 0, 5, b""),
            frame(CONTINUATION, END_HEADERS | PADDED, 5, b"ree"),
            frame(HEADERS, END_HEADERS | 1, 3, b"trailers"),
            frame(HEADERS, 0, 7, b"open"),
        ];
        let expected = [
            block(true, b"one"),
            block(true, b"two"),
            block(true, b"three"),
            block(false, b"trailers"),
        ];
        let (blocks, told) = taken(&frames);
        assert_eq!((blocks.as_slice(), told), (expected.as_slice(), Ok(())));
    }

    #[test]
    fn what_no_server_reads_on_ends_it() {
        let one = || frame(HEADERS, END_HEADERS, 1, b"one");
        for odd in [
            vec![frame(HEADERS, 0, 3, b""), frame(0, 0, 3, b"")],
            vec![frame(HEADERS, 0, 3, b""), frame(CONTINUATION, END_HEADERS, 1, b"")],
            vec![frame(CONTINUATION, END_HEADERS, 1, b"")],
            vec![frame(HEADERS, END_HEADERS | PADDED, 3, b"\x04abc")],
            vec![frame(HEADERS, END_HEADERS | PADDED, 3, b"")],
            vec![frame(HEADERS, END_HEADERS | PRIORITY, 3, b"abc")],
            vec![[&[0x10, 0, 1, HEADERS, END_HEADERS, 0, 0, 0, 3], [b'x'; 99].as_slice()].concat()],
            [vec![frame(HEADERS, 0, 3, b"")], vec![frame(CONTINUATION, 0, 3, &[b'x'; 0x8000]); 33]]
                .concat(),
        ] {
            // What came before counts.
            let (blocks, told) = taken(&[vec![one()], odd].concat());
            assert_eq!(
                (blocks.as_slice(), told),
                ([block(true, b"one")].as_slice(), Err(Malformed))
            );
        }
    }
}
