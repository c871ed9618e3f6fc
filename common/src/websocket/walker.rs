//! Follows the frames of one direction, byte by byte through their headers.
//!
//! It follows whatever has one reading. Reserved bits belong to extensions and do not change
//! where a frame ends; neither does a mask that should or should not be there, nor a length
//! written longer than needed. Lost is only what has no meaning: reserved opcodes, control frames
//! that are fragmented or too long, fragments out of turn, lengths of 2^63 and more.

/// Control frames carry at most this many bytes (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;
/// Set in the first frame of a message that an extension, such as compression, has changed.
const RSV1: u8 = 0x40;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// Text, of one or several frames.
    Text,
    /// Binary, of one or several frames.
    Binary,
    /// The close of this direction: nothing follows it.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

impl Opcode {
    /// The number it has on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// The opcode with this number on the wire.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    /// Whether it is a control frame: one frame, which may stand between fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// One complete message, as a range of the direction's bytes, frame headers included. Control
/// frames that stood between its fragments lie in its range and are messages of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Offset of its first byte, counted from the first byte after the upgrade.
    pub start: u64,
    /// Offset after its last byte.
    pub end: u64,
    /// What it is.
    pub opcode: Opcode,
    /// Whether its first frame says that an extension changed the payload (RSV1).
    pub compressed: bool,
}

/// Bytes of a message's payload, as they stand on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How many: they are the last of the bytes that the step used.
    pub length: usize,
    /// The mask, turned so that its first byte is that of the first byte here.
    pub mask: Option<[u8; 4]>,
    /// What they belong to.
    pub opcode: Opcode,
    /// Whether that message says that an extension changed its payload.
    pub compressed: bool,
}

/// How far one call followed the bytes, and what it met there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that were followed; never 0 where there was a byte.
    pub used: usize,
    /// Payload in them.
    pub payload: Option<Payload>,
    /// The message that ends with the last of them.
    pub message: Option<Message>,
}

/// Where in a frame the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    First,
    Second,
    /// Bytes of the extended length still to come, and its value so far.
    Length {
        left: u8,
        value: u64,
    },
    /// Bytes of the mask still to come, and the length of the payload behind it.
    Mask {
        left: u8,
        length: u64,
    },
    /// Bytes of payload still to come.
    Payload(u64),
    Lost,
}

/// Follows one direction of one WebSocket.
#[derive(Clone, Debug)]
pub struct Walker {
    at: At,
    /// Bytes followed so far; once lost, where the frame starts that made no sense.
    position: u64,
    /// The header bytes of the frame being followed.
    header: Vec<u8>,
    frame: Frame,
    /// The fragmented data message that is open.
    open: Option<Begun>,
}

/// A message from its first frame on.
#[derive(Clone, Copy, Debug)]
struct Begun {
    start: u64,
    opcode: Opcode,
    compressed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    start: u64,
    /// The message that it belongs to.
    message: Option<Begun>,
    last: bool,
    masked: bool,
    mask: [u8; 4],
}

impl Default for Walker {
    fn default() -> Self {
        let frame = Frame::default();
        Self { at: At::First, position: 0, header: Vec::with_capacity(14), frame, open: None }
    }
}

impl Walker {
    /// A walker before the first byte after the upgrade.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows `input` up to the end of the first stretch of payload, the end of the first message,
    /// or the byte from which on nothing has a meaning, whichever comes first; else to its end.
    pub fn next(&mut self, input: &[u8]) -> Step {
        let mut used = 0;
        while let Some(rest) = input.get(used..)
            && let Some(byte) = rest.first()
        {
            match self.at {
                At::Lost => return Step { used: input.len(), payload: None, message: None },
                At::Payload(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    let payload = self.payload(length);
                    let left = left.saturating_sub(widen(length));
                    self.at = At::Payload(left);
                    self.position = self.position.saturating_add(widen(length));
                    let message = if left == 0 { self.frame_end() } else { None };
                    return Step { used: used + length, payload, message };
                }
                At::First | At::Second | At::Length { .. } | At::Mask { .. } => {
                    self.header_byte(*byte);
                    used += 1;
                    let message = match self.at {
                        At::Payload(0) => self.frame_end(),
                        At::Lost => return Step { used, payload: None, message: None },
                        _ => None,
                    };
                    if message.is_some() {
                        return Step { used, payload: None, message };
                    }
                }
            }
        }
        Step { used, payload: None, message: None }
    }

    /// Whether a message has begun and not ended: a direction that ends here was cut.
    #[must_use]
    pub fn is_inside_message(&self) -> bool {
        self.open.is_some() || !matches!(self.at, At::First | At::Lost)
    }

    /// Offset of the first frame that made no sense, if one came. From there on bytes are raw.
    #[must_use]
    pub fn lost_at(&self) -> Option<u64> {
        matches!(self.at, At::Lost).then_some(self.position)
    }

    /// The bytes so far of a header that is not whole, or of the one that made no sense.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        match self.at {
            At::Payload(_) => &[],
            _ => &self.header,
        }
    }

    fn header_byte(&mut self, byte: u8) {
        if let At::First = self.at {
            self.header.clear();
            self.frame.start = self.position;
        }
        self.header.push(byte);
        self.at = match self.at {
            At::First => self.first(byte),
            At::Second => {
                self.frame.masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    126 => At::Length { left: 2, value: 0 },
                    127 => At::Length { left: 8, value: 0 },
                    length => self.length(u64::from(length)),
                }
            }
            At::Length { left, value } => {
                let value = (value << 8) | u64::from(byte);
                match left {
                    1 => self.length(value),
                    _ => At::Length { left: left - 1, value },
                }
            }
            At::Mask { left, length } => {
                let [_, second, third, fourth] = self.frame.mask;
                self.frame.mask = [second, third, fourth, byte];
                match left {
                    1 => At::Payload(length),
                    _ => At::Mask { left: left - 1, length },
                }
            }
            At::Payload(_) | At::Lost => At::Lost,
        };
        match self.at {
            At::Lost => self.position = self.frame.start,
            _ => self.position = self.position.saturating_add(1),
        }
    }

    fn first(&mut self, byte: u8) -> At {
        self.frame.last = byte & 0x80 != 0;
        let opcode = Opcode::from_code(byte & 0x0f);
        let begun =
            |opcode| Begun { start: self.frame.start, opcode, compressed: byte & RSV1 != 0 };
        self.frame.message = match (opcode, self.open) {
            (None, Some(open)) if byte & 0x0f == 0 => Some(open),
            (Some(opcode), _) if opcode.is_control() && self.frame.last => Some(begun(opcode)),
            (Some(opcode), None) if !opcode.is_control() => Some(begun(opcode)),
            _ => None,
        };
        if self.frame.message.is_some() { At::Second } else { At::Lost }
    }

    fn length(&self, length: u64) -> At {
        let control = self.frame.message.is_some_and(|message| message.opcode.is_control());
        if length > i64::MAX.unsigned_abs() || (control && length > MAX_CONTROL) {
            At::Lost
        } else if self.frame.masked {
            At::Mask { left: 4, length }
        } else {
            At::Payload(length)
        }
    }

    /// The next `length` bytes of payload; turns the mask on to what follows them.
    fn payload(&mut self, length: usize) -> Option<Payload> {
        let Begun { opcode, compressed, .. } = self.frame.message?;
        let mask = self.frame.masked.then_some(self.frame.mask);
        self.frame.mask.rotate_left(length % 4);
        Some(Payload { length, mask, opcode, compressed })
    }

    /// The message that ends with the frame that just ended.
    fn frame_end(&mut self) -> Option<Message> {
        self.at = At::First;
        self.header.clear();
        let begun = self.frame.message?;
        let Begun { start, opcode, compressed } = begun;
        if !opcode.is_control() {
            self.open = if self.frame.last { None } else { Some(begun) };
        }
        self.frame.last.then_some(Message { start, end: self.position, opcode, compressed })
    }
}

/// A count of bytes as an offset; `usize` is never wider.
fn widen(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
