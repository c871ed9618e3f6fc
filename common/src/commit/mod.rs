//! Salted commitments to byte ranges, and the root that binds a whole body.
//!
//! In: a body's 32-byte key and its bytes in order. Out: one commitment per segment and the body
//! root. A commitment says nothing about its bytes to whoever lacks the salt, and one salt reveals
//! no other. Keys and salts are exactly 32 bytes and are wiped when dropped.

mod body;
#[cfg(test)]
mod tests;

pub use body::{Body, BodyRoot, Dialect, TilingError, Tuple, Unit, UnitKind, unit};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use crate::tree::Hash;

const SALT_LABEL: &[u8] = b"sealtap/v1/salt\0";
const SEGMENT_LABEL: &[u8] = b"sealtap/v1/segment\0";
const TAIL_LABEL: &[u8] = b"sealtap/v1/tail\0";
const HEADER_LABEL: &[u8] = b"sealtap/v1/header";

/// The longest segment in bytes; of a `bytes/1` body every segment but the last has this length.
pub const PIECE: u64 = 65_536;

/// The secret from which one body's salts come. Whoever has it can open every segment of the body.
#[derive(Clone, PartialEq, Eq)]
pub struct BodyKey(Zeroizing<[u8; 32]>);

impl BodyKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes, to store or to disclose.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The salt of the segment with this index.
    #[must_use]
    pub fn salt(&self, index: u32) -> Salt {
        let mut mac = keyed(&self.0);
        mac.update(SALT_LABEL);
        mac.update(&index.to_be_bytes());
        Salt::new(mac.finalize().into_bytes().into())
    }

    /// The salt of the bytes behind the last closed segment, when the body had `length` bytes.
    #[must_use]
    pub fn tail_salt(&self, length: u64) -> Salt {
        let mut mac = keyed(&self.0);
        mac.update(TAIL_LABEL);
        mac.update(&length.to_be_bytes());
        Salt::new(mac.finalize().into_bytes().into())
    }
}

/// The secret that opens one segment.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(Zeroizing<[u8; 32]>);

impl Salt {
    /// Takes a disclosed salt.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The salt's bytes, to disclose.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BodyKey(..)")
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// The bytes that came do not add up to the length that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a segment announced as {announced} bytes was fed {fed}")]
pub struct LengthMismatch {
    /// Length given to [`SegmentHasher::new`].
    pub announced: u64,
    /// Bytes given to [`SegmentHasher::update`].
    pub fed: u64,
}

/// Commits to a segment whose bytes come in pieces. The length comes first because the commitment
/// covers it first.
pub struct SegmentHasher {
    mac: Hmac<Sha256>,
    announced: u64,
    fed: u64,
}

impl SegmentHasher {
    /// Begins a segment of `length` bytes.
    #[must_use]
    pub fn new(salt: &Salt, length: u64) -> Self {
        let mut mac = keyed(&salt.0);
        mac.update(SEGMENT_LABEL);
        mac.update(&length.to_be_bytes());
        Self { mac, announced: length, fed: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.mac.update(bytes);
        // A usize is at most 64 bits wide, and no segment nears 2^64 bytes.
        self.fed = self.fed.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// The commitment.
    ///
    /// # Errors
    /// [`LengthMismatch`] when the bytes fed are not as many as announced.
    pub fn finish(self) -> Result<Hash, LengthMismatch> {
        if self.fed != self.announced {
            return Err(LengthMismatch { announced: self.announced, fed: self.fed });
        }
        Ok(self.mac.finalize().into_bytes().into())
    }
}

/// The commitment to a segment held in one piece.
#[must_use]
pub fn commit(salt: &Salt, bytes: &[u8]) -> Hash {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let mut hasher = SegmentHasher::new(salt, length);
    hasher.update(bytes);
    hasher.mac.finalize().into_bytes().into()
}

/// The commitment to a segment of `length` bytes held in several pieces.
///
/// # Errors
/// [`LengthMismatch`] when the pieces do not add up to `length`.
pub fn commit_parts<'a>(
    salt: &Salt,
    length: u64,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Hash, LengthMismatch> {
    let mut hasher = SegmentHasher::new(salt, length);
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

/// The tag that stands for a secret header or parameter value: equal tags of one authority and name
/// mean equal values. The key is the gateway's own and is never disclosed.
#[must_use]
pub fn secret_tag(key: &[u8; 32], authority: &[u8], name: &[u8], value: &[u8]) -> Hash {
    let mut mac = keyed(key);
    for part in [HEADER_LABEL, authority, &name.to_ascii_lowercase(), value] {
        // Nothing in a head nears 4 GiB.
        mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA-256 under a 32-byte key. HMAC pads its key with zeros to the block of 64 bytes; doing
/// it here makes the key's length a matter of types.
fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0_u8; 64];
    for (padded, byte) in block.iter_mut().zip(key) {
        *padded = *byte;
    }
    let mac = Hmac::<Sha256>::new(&block.into());
    block.zeroize();
    mac
}
