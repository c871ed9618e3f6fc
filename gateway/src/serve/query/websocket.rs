//! WebSocket: messages found again in the raw bytes of one direction.
//!
//! Bytes go in as they come, in pieces of any size; messages come out with their opcode, length and
//! the SHA-256 of their unmasked payload, and where compression was agreed on, with the same of what
//! was compressed. Of a payload only its beginning is kept, for the reader's eye. It never fails:
//! what is cut off or no frame at all is listed as such.

use sealtap_common::websocket::{Entry, Opcode, Walker};
use sha2::{Digest as _, Sha256};

use super::deflate::Inflater;

/// Bytes of a text that are kept to be shown.
const SHOWN: usize = 240;

/// One message, or one control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub op: Op,
    /// Its payload's length in bytes, over all its fragments.
    pub length: u64,
    /// The SHA-256 of its payload, unmasked.
    pub sha256: [u8; 32],
    /// Whether its first frame says that an extension (compression) changed the payload.
    pub compressed: bool,
    /// What was compressed, where that could be told.
    pub decoded: Option<Decoded>,
    /// The beginning of a text as it reads, at most 240 bytes.
    pub text: Option<String>,
    /// Whether its last byte came.
    pub complete: bool,
    /// What the sealed index says of it.
    pub sealed: Option<Entry>,
}

/// A payload before compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A message as RFC 6455 has them.
    Frames(Opcode),
    /// Bytes that are no frames, to the end.
    Unparsed,
}

impl Op {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frames(opcode) => opcode.as_str(),
            Self::Unparsed => "unparsed",
        }
    }
}

/// Bytes that are counted and hashed as they pass.
#[derive(Default)]
struct Sum {
    length: u64,
    hash: Sha256,
}

impl Sum {
    fn take(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

/// A message under way.
struct Pending {
    op: Op,
    compressed: bool,
    payload: Sum,
    /// What was inflated; `None` where nothing was compressed or it could not be read.
    decoded: Option<Sum>,
    beginning: Vec<u8>,
}

impl Pending {
    fn new(op: Op, compressed: bool) -> Self {
        let decoded = compressed.then(Sum::default);
        Self { op, compressed, payload: Sum::default(), decoded, beginning: Vec::new() }
    }

    /// Takes unmasked payload.
    fn take(&mut self, payload: &[u8], inflater: Option<&mut Inflater>) {
        self.payload.take(payload);
        if self.compressed {
            self.inflate(payload, inflater);
        } else {
            keep(&mut self.beginning, payload);
        }
    }

    fn inflate(&mut self, payload: &[u8], inflater: Option<&mut Inflater>) {
        let Some(sum) = &mut self.decoded else { return };
        let beginning = &mut self.beginning;
        let inflated = inflater.is_some_and(|inflater| {
            inflater.push(payload, &mut |plain| {
                sum.take(plain);
                keep(beginning, plain);
            })
        });
        if !inflated {
            self.decoded = None;
        }
    }

    fn finish(mut self, complete: bool, inflater: Option<&mut Inflater>) -> Message {
        if self.compressed
            && complete
            && let Some(inflater) = inflater
        {
            self.inflate(Inflater::END, Some(&mut *inflater));
            inflater.message_ends();
        }
        let Self { op, compressed, payload, decoded, beginning } = self;
        let decoded =
            decoded.map(|Sum { length, hash }| Decoded { length, sha256: hash.finalize().into() });
        let readable = op == Op::Frames(Opcode::Text) && (!compressed || decoded.is_some());
        let text = readable.then(|| String::from_utf8_lossy(whole(&beginning)).into_owned());
        let Sum { length, hash } = payload;
        Message {
            op,
            length,
            sha256: hash.finalize().into(),
            compressed,
            decoded,
            text,
            complete,
            sealed: None,
        }
    }
}

fn keep(beginning: &mut Vec<u8>, bytes: &[u8]) {
    let room = SHOWN.saturating_sub(beginning.len()).min(bytes.len());
    beginning.extend_from_slice(bytes.get(..room).unwrap_or_default());
}

/// Without a character at the end that was cut in its middle.
fn whole(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => {
            bytes.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => bytes,
    }
}

/// Lists the messages of one direction.
#[derive(Default)]
pub struct Lister {
    walker: Walker,
    inflater: Option<Inflater>,
    data: Option<Pending>,
    control: Option<Pending>,
    unparsed: Option<Pending>,
    plain: Vec<u8>,
}

impl Lister {
    /// At the first byte after the upgrade, with what was agreed on for this direction.
    #[must_use]
    pub fn new(inflater: Option<Inflater>) -> Self {
        Self { inflater, ..Self::default() }
    }

    /// Takes the next bytes and hands every message that ends in them to `each`.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Message)) {
        while !bytes.is_empty() {
            if let Some(unparsed) = &mut self.unparsed {
                return unparsed.take(bytes, None);
            }
            let step = self.walker.next(bytes);
            let (used, rest) = bytes.split_at_checked(step.used).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.walker.lost_at().is_some() {
                // What was used belongs to the frame that made no sense, but for its beginning,
                // which may have come before.
                let mut unparsed = Pending::new(Op::Unparsed, false);
                unparsed.take(self.walker.header(), None);
                self.unparsed = Some(unparsed);
                continue;
            }
            if let Some(payload) = step.payload {
                let at = used.len().saturating_sub(payload.length);
                self.plain.clear();
                self.plain.extend_from_slice(used.get(at..).unwrap_or_default());
                if let Some(mask) = payload.mask {
                    let keys = mask.iter().cycle();
                    self.plain.iter_mut().zip(keys).for_each(|(byte, key)| *byte ^= key);
                }
                let slot =
                    if payload.opcode.is_control() { &mut self.control } else { &mut self.data };
                let begin = || Pending::new(Op::Frames(payload.opcode), payload.compressed);
                slot.get_or_insert_with(begin).take(&self.plain, self.inflater.as_mut());
            }
            if let Some(message) = step.message {
                let slot =
                    if message.opcode.is_control() { &mut self.control } else { &mut self.data };
                let ended = slot.take();
                let begin = || Pending::new(Op::Frames(message.opcode), message.compressed);
                each(ended.unwrap_or_else(begin).finish(true, self.inflater.as_mut()));
            }
        }
    }

    /// Ends the direction: hands over what was begun and did not end.
    pub fn finish(mut self, each: &mut dyn FnMut(Message)) {
        if self.unparsed.is_none() && self.control.is_none() && !self.walker.header().is_empty() {
            let mut cut = Pending::new(Op::Unparsed, false);
            cut.take(self.walker.header(), None);
            self.unparsed = Some(cut);
        }
        for pending in [self.control, self.data, self.unparsed].into_iter().flatten() {
            each(pending.finish(false, None));
        }
    }
}
