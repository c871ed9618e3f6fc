//! `permessage-deflate` (RFC 7692): what was agreed on, and payloads inflated as they pass.
//!
//! In: the `Sec-WebSocket-Extensions` of a 101, then compressed payload in pieces. Out: what was
//! compressed, piece by piece, through one window of 32 KiB. What a direction may inflate to is
//! bounded, so that nobody's few bytes keep a reader busy; beyond that, and after bytes that are no
//! deflate stream, the direction is given up.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// The longest distance a deflate stream refers back to; smaller windows are parts of it.
const WINDOW: usize = 32 * 1024;
/// Bytes that one direction of a session may inflate to.
const MOST: u64 = 256 * 1024 * 1024;

/// What both sides agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// Each of the client's messages stands by itself.
    pub client_no_context_takeover: bool,
    /// Each of the upstream's messages stands by itself.
    pub server_no_context_takeover: bool,
}

impl Deflate {
    /// Reads the extensions of a 101; `None` where `permessage-deflate` is not among them, or with
    /// parameters that RFC 7692 does not know.
    pub fn agreed<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let lists = values.into_iter().flat_map(|value| value.split(|byte| *byte == b','));
        for extension in lists {
            let mut parts = extension.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            if parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"permessage-deflate")) {
                return Self::parameters(parts);
            }
        }
        None
    }

    fn parameters<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut agreed =
            Self { client_no_context_takeover: false, server_no_context_takeover: false };
        for part in parts {
            let mut pair = part.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
            let (name, value) = (pair.next()?.to_ascii_lowercase(), pair.next());
            match (name.as_slice(), value) {
                (b"client_no_context_takeover", None) => agreed.client_no_context_takeover = true,
                (b"server_no_context_takeover", None) => agreed.server_no_context_takeover = true,
                // A smaller window is one that this reader's covers.
                (b"client_max_window_bits" | b"server_max_window_bits", Some(value)) => {
                    let digits = value.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
                    let digits = std::str::from_utf8(digits.unwrap_or(value)).ok()?;
                    let bits = digits.parse::<u8>().ok()?;
                    if !(8..=15).contains(&bits) || digits.starts_with(['0', '+']) {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        Some(agreed)
    }
}

/// Inflates one direction of a session, message after message.
pub struct Inflater {
    state: Box<DecompressorOxide>,
    /// The last bytes that were inflated, written in a circle.
    window: Vec<u8>,
    at: usize,
    /// Whether a message may refer to those before it.
    takeover: bool,
    /// What may still be inflated.
    left: u64,
    given_up: bool,
}

impl Inflater {
    /// What a sender cuts off the end of each message (RFC 7692 section 7.2.2).
    pub const END: &'static [u8] = &[0, 0, 0xff, 0xff];

    /// Before the first message.
    #[must_use]
    pub fn new(no_context_takeover: bool) -> Self {
        Self::bounded(no_context_takeover, MOST)
    }

    /// Before the first message of a direction that may inflate to `left` bytes.
    pub(super) fn bounded(no_context_takeover: bool, left: u64) -> Self {
        let (state, window) = (Box::default(), vec![0; WINDOW]);
        Self { state, window, at: 0, takeover: !no_context_takeover, left, given_up: false }
    }

    /// Inflates the next bytes into `out`; `false` once the direction is given up.
    #[must_use]
    pub fn push(&mut self, mut input: &[u8], out: &mut dyn FnMut(&[u8])) -> bool {
        while !self.given_up {
            let flags = TINFL_FLAG_HAS_MORE_INPUT;
            let (status, used, made) =
                decompress(&mut self.state, input, &mut self.window, self.at, flags);
            let until = self.at.saturating_add(made);
            out(self.window.get(self.at..until).unwrap_or_default());
            self.at = until % WINDOW;
            input = input.get(used..).unwrap_or_default();
            let made = u64::try_from(made).unwrap_or(u64::MAX);
            self.given_up = made > self.left;
            self.left = self.left.saturating_sub(made);
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if input.is_empty() => break,
                // A last block ends a stream; what follows is another over the same window.
                TINFLStatus::Done => {
                    self.state.init();
                    if input.is_empty() {
                        break;
                    }
                }
                _ => self.given_up = true,
            }
        }
        !self.given_up
    }

    /// Says that the message is over.
    pub fn message_ends(&mut self) {
        if !self.takeover {
            self.state.init();
            self.at = 0;
        }
    }
}
