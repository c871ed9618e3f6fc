//! WebSocket frames (RFC 6455) as bytes, and payloads compressed as RFC 7692 says.

use miniz_oxide::MZFlush;
use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;

/// Compresses the messages of one direction.
pub struct Compressor {
    state: Box<CompressorOxide>,
    alone: bool,
}

impl Compressor {
    /// A compressor that refers back to earlier messages unless each stands `alone`.
    pub fn new(alone: bool) -> Self {
        // Negative window bits ask for no zlib header around the stream.
        let flags = create_comp_flags_from_zip_params(6, -15, 0);
        Self { state: Box::new(CompressorOxide::new(flags)), alone }
    }

    /// The payload of the next message.
    ///
    /// # Panics
    /// If the compressor fails.
    pub fn message(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; plain.len() + 64];
        let done = deflate(&mut self.state, plain, &mut payload, MZFlush::Sync);
        assert!(done.status.is_ok() && done.bytes_consumed == plain.len(), "{done:?}");
        payload.truncate(done.bytes_written);
        assert!(payload.ends_with(&[0, 0, 0xff, 0xff]), "a flush ends with an empty block");
        payload.truncate(payload.len() - 4);
        if self.alone {
            self.state.reset();
        }
        payload
    }
}

/// One frame before masking.
#[derive(Clone, Debug)]
pub struct Frame {
    first: u8,
    payload: Vec<u8>,
}

impl Frame {
    fn new(opcode: u8, payload: &[u8]) -> Self {
        Self { first: 0x80 | opcode, payload: payload.to_vec() }
    }

    /// A text message.
    pub fn text(text: &str) -> Self {
        Self::new(1, text.as_bytes())
    }

    /// A binary message.
    pub fn binary(payload: &[u8]) -> Self {
        Self::new(2, payload)
    }

    /// The last part of a message in parts.
    pub fn continuation(text: &str) -> Self {
        Self::new(0, text.as_bytes())
    }

    /// A ping.
    pub fn ping(payload: &[u8]) -> Self {
        Self::new(9, payload)
    }

    /// A pong.
    pub fn pong(payload: &[u8]) -> Self {
        Self::new(10, payload)
    }

    /// A Close with its code and reason.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A frame of a message of this opcode, or 0 for a part that is not its first.
    pub fn data(opcode: u8, payload: &[u8]) -> Self {
        Self::new(opcode, payload)
    }

    /// The same frame with the bit that says its message is compressed.
    #[must_use]
    pub fn compressed(mut self) -> Self {
        self.first |= 0x40;
        self
    }

    /// The same frame as a part that others follow.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.first &= 0x7f;
        self
    }

    /// As a server sends it.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head(0).as_slice(), &self.payload].concat()
    }

    /// As a client sends it, masked.
    pub fn masked(&self) -> Vec<u8> {
        const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
        let mut bytes = self.head(0x80);
        bytes.extend_from_slice(&MASK);
        bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn head(&self, mask: u8) -> Vec<u8> {
        let length = self.payload.len();
        let mut head = vec![self.first];
        match (u16::try_from(length), u8::try_from(length)) {
            (_, Ok(short @ 0..=125)) => head.push(mask | short),
            (Ok(middle), _) => {
                head.push(mask | 126);
                head.extend_from_slice(&middle.to_be_bytes());
            }
            _ => {
                head.push(mask | 127);
                head.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        head
    }
}
