//! Text forms of binary values: strict base64, and the 16-byte identifiers in lowercase hex.
//!
//! In: text from a record. Out: exactly the bytes it stands for. Every value has one text only:
//! padding is required, unused bits must be zero, hex is lowercase. Nothing here panics on any input.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a text form was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Wrong alphabet, missing or excess padding, or nonzero unused bits.
    #[error("not canonical padded base64")]
    Base64,
    /// Decoded, but to another number of bytes than the field holds.
    #[error("base64 holds {found} bytes where {expected} belong")]
    Length {
        /// Bytes the field holds.
        expected: usize,
        /// Bytes that were found.
        found: usize,
    },
    /// Not 32 lowercase hexadecimal digits.
    #[error("an id is 32 lowercase hexadecimal digits")]
    Id,
}

/// Standard base64 with padding.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard base64, refusing everything but the one canonical text.
///
/// # Errors
/// [`EncodingError::Base64`] when the text is not the one that encoding would give.
pub fn base64_decode(text: &str) -> Result<Vec<u8>, EncodingError> {
    // The engine itself demands canonical padding and zero trailing bits.
    STANDARD.decode(text).map_err(|_| EncodingError::Base64)
}

/// Decodes strict base64 that must hold exactly `N` bytes.
///
/// # Errors
/// As [`base64_decode`], and [`EncodingError::Length`].
pub fn base64_array<const N: usize>(text: &str) -> Result<[u8; N], EncodingError> {
    let bytes = base64_decode(text)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| EncodingError::Length { expected: N, found })
}

/// A random 16-byte identifier of an exchange, a run or a boot; as text, 32 lowercase hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; 16]);

impl Id {
    /// The 32 hex digits as ASCII bytes.
    #[must_use]
    pub fn hex(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
        }
        out
    }
}

/// The lowercase hexadecimal digit of a value below 16.
pub(crate) fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' - 10 + nibble }
}

/// The value of one lowercase hexadecimal digit.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = EncodingError;

    fn from_str(text: &str) -> Result<Self, EncodingError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 16 || !rest.is_empty() {
            return Err(EncodingError::Id);
        }
        let mut id = [0; 16];
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
                return Err(EncodingError::Id);
            };
            *byte = high << 4 | low;
        }
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_has_one_text_per_value() {
        assert_eq!(base64_decode("AAE=").unwrap(), [0, 1]);
        for bad in ["AAE", "AAF=", "AAE==", "AAE=\n", "A", "AA-_", " AAE=", "AAE=AAE="] {
            assert_eq!(base64_decode(bad), Err(EncodingError::Base64), "{bad:?}");
        }
        assert_eq!(base64_array::<3>("AAE="), Err(EncodingError::Length { expected: 3, found: 2 }));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_the_one_text(bytes: Vec<u8>, text in "[A-Za-z0-9+/=_ -]{0,12}") {
            prop_assert_eq!(base64_decode(&base64(&bytes)), Ok(bytes));
            if let Ok(bytes) = base64_decode(&text) {
                prop_assert_eq!(base64(&bytes), text);
            }
        }

        #[test]
        fn any_id_survives(bytes: [u8; 16], text in "[0-9a-fA-F]{31,33}") {
            prop_assert_eq!(Id(bytes).to_string().parse(), Ok(Id(bytes)));
            if let Ok(id) = text.parse::<Id>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn ids_are_lowercase_hex() {
        let text = "000102030405060708090a0b0c0d0eff";
        let id: Id = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.hex().as_slice(), text.as_bytes());
        for bad in
            ["", "00", "000102030405060708090A0B0C0D0EFF", &format!("{text}0"), &"é".repeat(16)]
        {
            assert_eq!(bad.parse::<Id>(), Err(EncodingError::Id));
        }
    }
}
