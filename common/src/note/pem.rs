//! An Ed25519 public key as PEM: what `openssl pkey -pubin` reads and writes.

use crate::encoding::{base64, base64_array};

/// The DER of a SubjectPublicKeyInfo up to the key's 32 bytes (RFC 8410, section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----\n";
const END: &str = "\n-----END PUBLIC KEY-----";

/// The PEM block, ended by a newline.
pub(super) fn public_key(key: &[u8; 32]) -> String {
    // 44 bytes make 60 characters: one line, so no wrapping is needed.
    format!("{BEGIN}{}{END}\n", base64(&[&SPKI[..], key].concat()))
}

/// The key in a PEM block, if that is exactly what the text is (a final newline may be absent).
pub(super) fn parse_public_key(text: &str) -> Option<[u8; 32]> {
    let body = text.strip_suffix('\n').unwrap_or(text).strip_prefix(BEGIN)?.strip_suffix(END)?;
    let der = base64_array::<44>(body).ok()?;
    der.strip_prefix(&SPKI)?.try_into().ok()
}
