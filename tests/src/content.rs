//! Content: bodies known by their length and SHA-256, made from a seed where they are large.
//!
//! A 64 MiB body passes through a test without being held in memory: the sender makes it piece by
//! piece, each receiver hashes it piece by piece, and only the digests are compared.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Bodies up to this many bytes are kept whole, so that a failing test can show them.
const KEEP: usize = 8 << 20;

/// Length and SHA-256 of a sequence of bytes, and the bytes themselves while they are few.
#[derive(Clone)]
pub struct Content {
    hasher: Sha256,
    length: u64,
    bytes: Option<Vec<u8>>,
}

impl Default for Content {
    fn default() -> Self {
        Self { hasher: Sha256::new(), length: 0, bytes: Some(Vec::new()) }
    }
}

impl Content {
    /// The content of exactly these bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        let mut content = Self::default();
        content.push(bytes.as_ref());
        content
    }

    /// The content that [`Pattern`] makes.
    pub fn of_pattern(seed: u64, length: u64) -> Self {
        let mut content = Self::default();
        Pattern::new(seed, length).for_each(|piece| content.push(&piece));
        content
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        match &mut self.bytes {
            Some(kept) if kept.len() + bytes.len() <= KEEP => kept.extend_from_slice(bytes),
            kept => *kept = None,
        }
    }

    /// How many bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The SHA-256 in lowercase hex.
    pub fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// The bytes themselves.
    ///
    /// # Panics
    /// If there were too many to keep.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().expect("a body of more than 8 MiB is kept as its digest only")
    }

    /// Whether this is the beginning of `whole`, or all of it. Both must be small enough to keep.
    pub fn begins(&self, whole: &Self) -> bool {
        whole.bytes().starts_with(self.bytes())
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.sha256() == other.sha256()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bytes {}", self.length, &self.sha256()[..12])?;
        match &self.bytes {
            Some(bytes) if bytes.len() <= 512 => {
                write!(formatter, " \"{}\"", bytes.escape_ascii())
            }
            Some(bytes) => {
                write!(formatter, " \"{}\"...", bytes[..256].escape_ascii())
            }
            None => Ok(()),
        }
    }
}

/// Pseudo-random bytes in pieces of at most 64 KiB; the same seed gives the same bytes.
pub struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    /// `length` bytes from `seed`.
    pub fn new(seed: u64, length: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, left: length }
    }

    /// All of it at once, for small lengths.
    pub fn bytes(seed: u64, length: u64) -> Vec<u8> {
        Self::new(seed, length).flatten().collect()
    }
}

impl Iterator for Pattern {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let size = usize::try_from(self.left.min(65_536)).expect("a piece fits");
        if size == 0 {
            return None;
        }
        self.left -= size as u64;
        let mut piece = Vec::with_capacity(size + 8);
        while piece.len() < size {
            // xorshift64
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            piece.extend_from_slice(&self.state.to_le_bytes());
        }
        piece.truncate(size);
        Some(piece)
    }
}

/// Lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
