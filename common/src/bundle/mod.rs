//! A bundle: one run in one file, to travel with its output and be checked offline.
//!
//! In: the bytes of a bundle, and keys that the caller trusts. Out: a [`BundleReport`]. The file is
//! a tar archive of which every byte is fixed by its content, so that `tar` and `openssl` can read
//! it and no byte of it can change unnoticed. It is read once, front to back; a body of any length
//! is never held as a whole. FORMAT.md, section "Bundles", is the normative text.

mod archive;
mod beside;
mod chain;
mod check;
mod content;
mod covered;
mod part;
mod proof;
mod report;
mod session;
mod window;

pub use archive::{ArchiveError, Entry, Reader, Writer};
pub use check::{TrustedKeys, verify, verify_under};
pub use covered::Reached;
pub use part::Part;
pub use proof::{ProofTextError, TlogProof, consistency_text};
pub use report::{BundleReport, Disclosed, RunState};

use crate::commit::{BodyKey, Salt};

/// The first entry: how to check the bundle by hand. Its text is part of the format.
pub const VERIFY_TEXT: &str = include_str!("verify.txt");
/// Name of the entry with that text.
pub const VERIFY: &str = "VERIFY";
/// Name of the log's signed checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// Name of a checkpoint of the log with cosignatures.
pub const COSIGNED: &str = "checkpoint.cosigned";
/// Name of a checkpoint of the log that was dated.
pub const DATED: &str = "timestamp.checkpoint";
/// Name of the RFC 3161 reply that dates it.
pub const TIMESTAMP: &str = "timestamp.tsr";
/// Name of the run record's envelope.
pub const RECORD: &str = "record.dsse.json";

/// Name of the proof that the checkpoint in the entry `name` is of an earlier tree of the same log.
#[must_use]
pub fn consistency(name: &str) -> String {
    format!("{name}.proof")
}

/// The folder of the leaf with this index.
#[must_use]
pub fn leaf_folder(index: u64) -> String {
    format!("leaves/{index:012}")
}

/// The text of a key or a salt: its 32 bytes in lowercase hexadecimal, and a newline.
fn secret_text(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(65);
    for byte in bytes {
        text.push(char::from(crate::encoding::hex_digit(byte >> 4)));
        text.push(char::from(crate::encoding::hex_digit(byte & 15)));
    }
    text.push('\n');
    text
}

/// The text of a key, as a bundle holds it.
#[must_use]
pub fn key_text(key: &BodyKey) -> String {
    secret_text(key.bytes())
}

/// The text of a salt, as a bundle holds it.
#[must_use]
pub fn salt_text(salt: &Salt) -> String {
    secret_text(salt.bytes())
}

/// Reads the text of a key or a salt.
fn parse_secret(text: &[u8]) -> Option<[u8; 32]> {
    let (pairs, rest) = text.strip_suffix(b"\n")?.as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let high = crate::encoding::hex_value(*high)?;
        *byte = high << 4 | crate::encoding::hex_value(*low)?;
    }
    Some(bytes)
}
