//! WebSocket: messages found again in the raw bytes of one direction (RFC 6455, section 5).
//!
//! Bytes go in as they come, in pieces of any size; messages come out with their opcode, length and
//! the SHA-256 of their unmasked payload. Nothing is kept of a payload but its hash. Payloads are
//! not inflated: with `permessage-deflate` the hash is that of the compressed bytes. It never fails:
//! what is cut off or no frame at all is listed as such.

use sha2::{Digest as _, Sha256};

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
    /// Whether its last byte came.
    pub complete: bool,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Opcode 0 where no message was begun.
    Continuation,
    /// Opcode 1.
    Text,
    /// Opcode 2.
    Binary,
    /// Opcode 8.
    Close,
    /// Opcode 9.
    Ping,
    /// Opcode 10.
    Pong,
    /// Any other opcode.
    Reserved(u8),
    /// Bytes that are no frames, to the end.
    Unparsed,
}

impl Op {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Reserved(_) => "reserved",
            Self::Unparsed => "unparsed",
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => Self::Reserved(other),
        }
    }
}

/// A message under way.
struct Pending {
    op: Op,
    length: u64,
    hash: Sha256,
    compressed: bool,
}

impl Pending {
    fn new(op: Op, compressed: bool) -> Self {
        Self { op, length: 0, hash: Sha256::new(), compressed }
    }

    fn take(&mut self, payload: &[u8]) {
        self.hash.update(payload);
        self.length = self.length.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
    }

    fn finish(self, complete: bool) -> Message {
        let Self { op, length, hash, compressed } = self;
        Message { op, length, sha256: hash.finalize().into(), compressed, complete }
    }
}

/// A frame whose payload is coming.
struct Frame {
    control: bool,
    last: bool,
    left: u64,
    mask: Option<[u8; 4]>,
    at: usize,
}

/// Walks the frames of one direction.
#[derive(Default)]
pub struct Walker {
    header: Vec<u8>,
    frame: Option<Frame>,
    data: Option<Pending>,
    control: Option<Pending>,
    unparsed: Option<Pending>,
    plain: Vec<u8>,
}

impl Walker {
    /// A walker at the first byte after the upgrade.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and hands every message that ends in them to `each`.
    pub fn feed(&mut self, mut bytes: &[u8], each: &mut dyn FnMut(Message)) {
        while !bytes.is_empty() {
            if let Some(unparsed) = &mut self.unparsed {
                unparsed.take(bytes);
                return;
            }
            if self.frame.is_some() {
                bytes = self.payload(bytes, each);
                continue;
            }
            // A byte at a time: a header is two to fourteen bytes long.
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.header.push(*byte);
            bytes = rest;
            match parse(&self.header) {
                Parsed::More => {}
                Parsed::Frame(head, frame) => {
                    self.begin(head, frame, each);
                    self.header.clear();
                }
                Parsed::NoFrame => {
                    let mut unparsed = Pending::new(Op::Unparsed, false);
                    unparsed.take(&self.header);
                    self.unparsed = Some(unparsed);
                }
            }
        }
    }

    /// Ends the direction: hands over what was begun and did not end.
    pub fn finish(mut self, each: &mut dyn FnMut(Message)) {
        if !self.header.is_empty() && self.unparsed.is_none() {
            let mut cut = Pending::new(Op::Unparsed, false);
            cut.take(&self.header);
            self.unparsed = Some(cut);
        }
        for pending in [self.control, self.data, self.unparsed].into_iter().flatten() {
            each(pending.finish(false));
        }
    }

    fn begin(&mut self, head: Head, frame: Frame, each: &mut dyn FnMut(Message)) {
        if frame.control {
            self.control = Some(Pending::new(head.op, head.compressed));
        } else if head.op != Op::Continuation || self.data.is_none() {
            // A new message where the one before did not end: that one stays incomplete.
            if let Some(cut) = self.data.replace(Pending::new(head.op, head.compressed)) {
                each(cut.finish(false));
            }
        }
        let is_empty = frame.left == 0;
        self.frame = Some(frame);
        if is_empty {
            self.end_frame(each);
        }
    }

    /// Takes payload of the frame under way and gives back what lies behind it.
    fn payload<'a>(&mut self, bytes: &'a [u8], each: &mut dyn FnMut(Message)) -> &'a [u8] {
        let Some(frame) = &mut self.frame else { return bytes };
        let most = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(most);
        let pending = if frame.control { &mut self.control } else { &mut self.data };
        if let Some(pending) = pending {
            match frame.mask {
                None => pending.take(payload),
                Some(mask) => {
                    let keys = mask.iter().cycle().skip(frame.at);
                    self.plain.clear();
                    self.plain.extend(payload.iter().zip(keys).map(|(byte, key)| byte ^ key));
                    pending.take(&self.plain);
                }
            }
        }
        frame.at = (frame.at + most) % 4;
        frame.left = frame.left.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
        if frame.left == 0 {
            self.end_frame(each);
        }
        rest
    }

    fn end_frame(&mut self, each: &mut dyn FnMut(Message)) {
        let Some(frame) = self.frame.take() else { return };
        let ended = if frame.control {
            self.control.take()
        } else if frame.last {
            self.data.take()
        } else {
            None
        };
        if let Some(ended) = ended {
            each(ended.finish(true));
        }
    }
}

struct Head {
    op: Op,
    compressed: bool,
}

enum Parsed {
    More,
    Frame(Head, Frame),
    NoFrame,
}

/// Reads a frame's header once all of it is there.
fn parse(header: &[u8]) -> Parsed {
    let [first, second, rest @ ..] = header else { return Parsed::More };
    let (length, rest) = match second & 0x7f {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Parsed::More,
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Parsed::More,
        },
        short => (u64::from(short), rest),
    };
    // The highest bit of a long length must be 0, so these are no frames.
    if length > u64::MAX >> 1 {
        return Parsed::NoFrame;
    }
    let mask = if second & 0x80 == 0 {
        None
    } else {
        match rest.first_chunk::<4>() {
            Some(mask) => Some(*mask),
            None => return Parsed::More,
        }
    };
    let code = first & 0x0f;
    let head = Head { op: Op::from_code(code), compressed: first & 0x40 != 0 };
    let frame =
        Frame { control: code & 0x08 != 0, last: first & 0x80 != 0, left: length, mask, at: 0 };
    Parsed::Frame(head, frame)
}
