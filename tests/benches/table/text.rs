//! Content: text that no two messages share, and a checksum that is cheap enough to take always.
//!
//! A message is made of 8-byte words drawn at random, so that it compresses about as well as prose
//! and so that neither a cache nor deduplication finds anything it has seen before.

use std::sync::OnceLock;

/// Words in the vocabulary; a power of two.
const WORDS: usize = 8192;

/// An odd constant with well-mixed bits (the golden ratio in 64 bits).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Pseudo-random numbers: small, fast, and not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Numbers that depend on `seed` and on this process, so that two runs share nothing.
    pub(crate) fn new(seed: u64) -> Self {
        let process = u64::from(std::process::id());
        let clock = crate::clock::now_ns();
        Self((seed ^ process.rotate_left(40) ^ clock).wrapping_mul(MIX) | 1)
    }

    /// The next number (xorshift64*).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Appends `length` bytes of text.
pub(crate) fn push_text(out: &mut Vec<u8>, length: usize, random: &mut Random) {
    let vocabulary = vocabulary();
    let end = out.len() + length;
    out.reserve(length + 32);
    while out.len() < end {
        let mut draws = random.next();
        for _ in 0..4 {
            out.extend_from_slice(&vocabulary[draws as usize % WORDS]);
            draws >>= 13;
        }
    }
    out.truncate(end);
}

/// A chat request of exactly `size` bytes, in messages of at most 4 KiB of text.
pub(crate) fn request(out: &mut Vec<u8>, size: usize, random: &mut Random) {
    out.clear();
    out.extend_from_slice(
        br#"{"model":"bench-1","stream":false,"messages":[{"role":"user","content":""#,
    );
    let (between, end) = (br#""},{"role":"user","content":""#, br#""}],"temperature":1}"#);
    while out.len() + end.len() < size {
        let left = size - end.len() - out.len();
        let take = left.min(4096);
        push_text(out, take, random);
        if left - take > between.len() {
            out.extend_from_slice(between);
        }
    }
    out.extend_from_slice(end);
}

/// A chat answer of exactly `size` bytes.
pub(crate) fn answer(out: &mut Vec<u8>, size: usize, random: &mut Random) {
    out.clear();
    out.extend_from_slice(br#"{"id":"c","object":"chat.completion","model":"bench-1","choices":[{"index":0,"message":{"role":"assistant","content":""#);
    let end = br#""},"finish_reason":"stop"}]}"#;
    let left = size.saturating_sub(out.len() + end.len());
    push_text(out, left, random);
    out.extend_from_slice(end);
}

/// A checksum of `bytes`: it finds what is missing, doubled, out of place or from elsewhere.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of eight"));
        sum = (sum ^ word).wrapping_mul(MIX).rotate_left(29);
    }
    for byte in words.remainder() {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(MIX).rotate_left(29);
    }
    sum
}

fn vocabulary() -> &'static [[u8; 8]; WORDS] {
    static VOCABULARY: OnceLock<Box<[[u8; 8]; WORDS]>> = OnceLock::new();
    VOCABULARY.get_or_init(|| {
        // The same words in every process: only their order is random.
        let mut random = Random(MIX);
        let mut words = Box::new([[b' '; 8]; WORDS]);
        for word in words.iter_mut() {
            let letters = 4 + random.next() as usize % 4;
            for letter in &mut word[..letters] {
                *letter = b"etaoinshrdlucmfwypvbgkjq"[(random.next() % 24) as usize];
            }
        }
        words
    })
}
