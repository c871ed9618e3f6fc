//! Finds where a head ends, however its bytes arrive.
//!
//! Comes in: the front of a connection's buffer, longer at each call. Goes out: the head's length.
//! Fails at the first byte that no strict parser accepts in a head, without waiting for its end.
//! It never looks at a byte twice and never past the head.

use super::HeadError;

/// The longest head, in bytes, that is read. Agents put tokens and baggage into fields; 256 KiB
/// leaves room for all that servers in use accept (their limits lie between 8 and 128 KiB).
pub const MAX_HEAD: usize = 256 * 1024;

/// The connection preface of HTTP/2 (RFC 9113 section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection's first bytes say about its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The whole preface of HTTP/2 is there.
    Http2,
    /// Not the preface: read it as HTTP/1.
    Http1,
    /// All bytes so far agree with the preface; more are needed.
    Undecided,
}

/// Tells HTTP/2 with prior knowledge from HTTP/1 by a connection's first bytes.
#[must_use]
pub fn opening(buffer: &[u8]) -> Opening {
    if buffer.starts_with(HTTP2_PREFACE) {
        Opening::Http2
    } else if HTTP2_PREFACE.starts_with(buffer) {
        Opening::Undecided
    } else {
        Opening::Http1
    }
}

/// Finds the end of one head incrementally; make a new one for the next head.
#[derive(Clone, Debug, Default)]
pub struct HeadScanner {
    /// How far earlier calls looked.
    scanned: usize,
    /// Where the line now being read starts.
    line: usize,
    /// Length of the empty lines before the start line.
    leading: usize,
    response: bool,
}

impl HeadScanner {
    /// A scanner for a request's head, before which empty lines may stand (RFC 9112 section 2.2).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A scanner for a response's head, before which nothing may stand.
    #[must_use]
    pub fn for_response() -> Self {
        Self { response: true, ..Self::default() }
    }

    /// Length in bytes of the empty lines before the start line: the caller drops them, and gives
    /// `buffer[leading..end]` to the parser.
    #[must_use]
    pub fn leading(&self) -> usize {
        self.leading
    }

    /// Looks for the end in `buffer`, which starts with the same bytes at every call; `None` asks
    /// for more. The end counts from the buffer's start, so it includes the leading empty lines.
    ///
    /// # Errors
    /// At once on a bare line feed, bare carriage return, NUL, or more than [`MAX_HEAD`] bytes.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, HeadError> {
        let window = buffer.get(..MAX_HEAD).unwrap_or(buffer);
        loop {
            let unseen = window.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr3(b'\r', b'\n', 0, unseen) else {
                self.scanned = window.len();
                break;
            };
            let at = self.scanned + found;
            match (window.get(at), window.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    let empty = at == self.line;
                    let at_start = self.line == self.leading;
                    self.scanned = at + 2;
                    self.line = at + 2;
                    if empty && !at_start {
                        return Ok(Some(at + 2));
                    }
                    if empty {
                        if self.response {
                            return Err(HeadError::EmptyLineBeforeStatus);
                        }
                        self.leading = at + 2;
                    }
                }
                (Some(b'\r'), Some(_)) => return Err(HeadError::BareCarriageReturn { at }),
                (Some(b'\r'), None) => {
                    self.scanned = at;
                    break;
                }
                (Some(b'\n'), _) => return Err(HeadError::BareLineFeed { at }),
                _ => return Err(HeadError::Nul { at }),
            }
        }
        if buffer.len() >= MAX_HEAD { Err(HeadError::TooLarge) } else { Ok(None) }
    }
}
