//! The chunked transfer coding (RFC 9112 section 7.1), read byte by byte around the payload.

use bytes::Bytes;

use super::body::{Decoded, data, widen};
use super::{BodyError, fields, is_forbidden_trailer};
use crate::wire::message::Fields;

/// The most bytes of chunk extensions in one body. They are dropped (RFC 9112 section 7.1.1), so
/// without a bound a peer could send for ever and deliver nothing.
pub const MAX_EXTENSIONS: usize = 16 * 1024;

/// The longest trailer section, in bytes. It is held until it is complete.
pub const MAX_TRAILERS: usize = 64 * 1024;

/// Hexadecimal digits that a chunk size may have: 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// Where in the coding the next byte stands.
#[derive(Debug, Default)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    Trailers,
}

#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    /// The size being read, then the bytes left of the chunk.
    size: u64,
    digits: u8,
    extensions: usize,
    trailers: Vec<u8>,
    /// Where the trailer line now being read starts.
    line: usize,
}

impl Chunked {
    pub(super) fn decode<'a>(
        &mut self,
        input: &'a [u8],
    ) -> Result<(usize, Decoded<'a>), BodyError> {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            match self.at {
                At::Data => {
                    let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                    self.size = self.size.saturating_sub(widen(length));
                    if self.size == 0 {
                        self.at = At::DataReturn;
                    }
                    let (length, decoded) = data(rest, length);
                    return Ok((used + length, decoded));
                }
                At::Trailers => {
                    let (length, ended) = self.trailer_line(rest)?;
                    used += length;
                    if ended {
                        return Ok((used, Decoded::End(self.take_trailers()?)));
                    }
                }
                At::Size | At::Extension | At::SizeLineFeed | At::DataReturn | At::DataLineFeed => {
                    if let Some(byte) = rest.first() {
                        self.step(*byte)?;
                    }
                    used += 1;
                }
            }
        }
        Ok((used, Decoded::More))
    }

    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        match self.at {
            At::Size => self.size_byte(byte)?,
            At::Extension => match byte {
                b'\r' => self.at = At::SizeLineFeed,
                b'\n' => return Err(BodyError::BareLineFeed),
                byte if !fields::is_value_byte(byte) => return Err(BodyError::ExtensionControl),
                _ => self.extension_byte()?,
            },
            At::SizeLineFeed => {
                if byte != b'\n' {
                    return Err(BodyError::BareCarriageReturn);
                }
                self.digits = 0;
                self.at = if self.size == 0 { At::Trailers } else { At::Data };
            }
            At::DataReturn => match byte {
                b'\r' => self.at = At::DataLineFeed,
                b'\n' => return Err(BodyError::BareLineFeed),
                _ => return Err(BodyError::ChunkEndMissing),
            },
            At::DataLineFeed => match byte {
                b'\n' => self.at = At::Size,
                _ => return Err(BodyError::ChunkEndMissing),
            },
            At::Data | At::Trailers => {}
        }
        Ok(())
    }

    fn size_byte(&mut self, byte: u8) -> Result<(), BodyError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\n' => return Err(BodyError::BareLineFeed),
            b'\r' | b';' if self.digits == 0 => return Err(BodyError::ChunkSizeMissing),
            b'\r' => {
                self.at = At::SizeLineFeed;
                return Ok(());
            }
            b';' => {
                self.at = At::Extension;
                return self.extension_byte();
            }
            _ => return Err(BodyError::ChunkSizeInvalid),
        };
        if self.digits == MAX_SIZE_DIGITS {
            return Err(BodyError::ChunkSizeTooLong);
        }
        self.digits += 1;
        // Sixteen digits fill 64 bits exactly, so nothing is shifted out.
        self.size = (self.size << 4) | u64::from(digit);
        Ok(())
    }

    fn extension_byte(&mut self) -> Result<(), BodyError> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS { Err(BodyError::ExtensionsTooLong) } else { Ok(()) }
    }

    /// Takes bytes up to the end of a trailer line; true once that line is the empty one.
    fn trailer_line(&mut self, rest: &[u8]) -> Result<(usize, bool), BodyError> {
        if self.trailers.is_empty() && rest.starts_with(b"\r\n") {
            return Ok((2, true));
        }
        let end = memchr::memchr(b'\n', rest);
        let piece = end.and_then(|end| rest.get(..=end)).unwrap_or(rest);
        if self.trailers.len() + piece.len() > MAX_TRAILERS {
            return Err(BodyError::TrailersTooLong);
        }
        self.trailers.extend_from_slice(piece);
        if end.is_none() {
            return Ok((piece.len(), false));
        }
        let line = self.trailers.get(self.line..).unwrap_or_default();
        if !line.ends_with(b"\r\n") {
            return Err(BodyError::BareLineFeed);
        }
        let empty = line.len() == 2;
        self.line = self.trailers.len();
        Ok((piece.len(), empty))
    }

    fn take_trailers(&mut self) -> Result<Option<Fields>, BodyError> {
        let block = Bytes::from(std::mem::take(&mut self.trailers));
        if block.len() <= 2 {
            return Ok(None);
        }
        let trailers = fields::parse(&block, 0, 1).map_err(BodyError::TrailerInvalid)?;
        if trailers.iter().any(|(name, _)| is_forbidden_trailer(name)) {
            return Err(BodyError::TrailerForbidden);
        }
        Ok(Some(trailers))
    }
}
