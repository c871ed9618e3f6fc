//! Follows the frames of a WebSocket (RFC 6455) through the raw bytes of one direction.
//!
//! Comes in: slices of what one side sends after the upgrade, cut anywhere. Goes out: where each
//! message ends, so that its last byte can wait for durability, and the index of messages. It never
//! alters, buffers, unmasks or inflates anything, and it never fails: bytes that are no frames turn
//! it to [`Walker::lost_at`], after which they are followed no more and pass as raw bytes.
//!
//! It follows whatever has one reading. Reserved bits belong to extensions and do not change
//! where a frame ends; neither does a mask that should or should not be there, nor a length
//! written longer than needed. Lost is only what has no meaning: reserved opcodes, control frames
//! that are fragmented or too long, fragments out of turn, lengths of 2^63 and more.

/// Control frames carry at most this many bytes (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;

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
    pub fn code(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it is a control frame: one frame, which may stand between fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
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
    /// Bytes of mask and payload still to come.
    Payload(u64),
    Lost,
}

/// Follows one direction of one WebSocket.
#[derive(Clone, Debug)]
pub struct Walker {
    at: At,
    /// Bytes followed so far; once lost, where the frame starts that made no sense.
    position: u64,
    /// The frame being followed.
    frame: Frame,
    /// The fragmented data message that is open.
    open: Option<(u64, Opcode)>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    start: u64,
    /// `None` for a continuation.
    opcode: Option<Opcode>,
    last: bool,
    masked: bool,
}

impl Default for Walker {
    fn default() -> Self {
        let frame = Frame { start: 0, opcode: None, last: false, masked: false };
        Self { at: At::First, position: 0, frame, open: None }
    }
}

impl Walker {
    /// A walker before the first byte after the upgrade.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows `input` up to the end of the first message in it: how many bytes were followed, and
    /// the message that ends with the last of them. Without a message all of `input` was followed.
    pub fn next(&mut self, input: &[u8]) -> (usize, Option<Message>) {
        let mut used = 0;
        while let Some(rest) = input.get(used..)
            && let Some(byte) = rest.first()
        {
            let length = match self.at {
                At::Lost => return (input.len(), None),
                At::Payload(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.at = At::Payload(left.saturating_sub(widen(length)));
                    length
                }
                At::First | At::Second | At::Length { .. } => {
                    self.at = self.header_byte(*byte);
                    1
                }
            };
            used += length;
            match self.at {
                At::Lost => self.position = self.frame.start,
                _ => self.position = self.position.saturating_add(widen(length)),
            }
            if let At::Payload(0) = self.at {
                self.at = At::First;
                if let Some(message) = self.frame_end() {
                    return (used, Some(message));
                }
            }
        }
        (used, None)
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

    fn header_byte(&mut self, byte: u8) -> At {
        match self.at {
            At::First => {
                self.frame.start = self.position;
                self.frame.last = byte & 0x80 != 0;
                self.frame.opcode = match byte & 0x0f {
                    0 => None,
                    1 => Some(Opcode::Text),
                    2 => Some(Opcode::Binary),
                    8 => Some(Opcode::Close),
                    9 => Some(Opcode::Ping),
                    10 => Some(Opcode::Pong),
                    _ => return At::Lost,
                };
                let in_turn = match self.frame.opcode {
                    None => self.open.is_some(),
                    Some(opcode) if opcode.is_control() => self.frame.last,
                    Some(_) => self.open.is_none(),
                };
                if in_turn { At::Second } else { At::Lost }
            }
            At::Second => {
                self.frame.masked = byte & 0x80 != 0;
                match byte & 0x7f {
                    126 => At::Length { left: 2, value: 0 },
                    127 => At::Length { left: 8, value: 0 },
                    length => self.payload(u64::from(length)),
                }
            }
            At::Length { left, value } => {
                let value = (value << 8) | u64::from(byte);
                match left {
                    1 => self.payload(value),
                    _ => At::Length { left: left - 1, value },
                }
            }
            At::Payload(_) | At::Lost => At::Lost,
        }
    }

    fn payload(&self, length: u64) -> At {
        let control = self.frame.opcode.is_some_and(Opcode::is_control);
        if length > i64::MAX.unsigned_abs() || (control && length > MAX_CONTROL) {
            return At::Lost;
        }
        At::Payload(if self.frame.masked { length + 4 } else { length })
    }

    /// The message that ends with the frame that just ended.
    fn frame_end(&mut self) -> Option<Message> {
        let Frame { start, opcode, last, .. } = self.frame;
        let (start, opcode) = match opcode {
            Some(opcode) => (start, opcode),
            None => self.open?,
        };
        if !opcode.is_control() {
            self.open = if last { None } else { Some((start, opcode)) };
        }
        last.then_some(Message { start, end: self.position, opcode })
    }
}

/// A count of bytes as an offset; `usize` is never wider.
fn widen(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
