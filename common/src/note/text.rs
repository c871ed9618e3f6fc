//! The texts of keys: vkeys and skeys of either signature type, and the ids in them.
//!
//! In: a text and the signature type that is wanted. Out: the one key it stands for, or why not. A key
//! of another type is refused: a witness's key never passes for a log's.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{KeyError, PublicKey, Signer};
use crate::encoding::{base64, base64_array, hex_digit, hex_value};

/// Starts the text of a private key, as Go's `sumdb/note` writes it.
const PRIVATE: &str = "PRIVATE+KEY+";

/// The first four bytes of SHA-256(name, newline, signature type, key).
pub(super) fn key_id(name: &str, kind: u8, key: &[u8; 32]) -> [u8; 4] {
    let hash =
        Sha256::new().chain_update(name).chain_update([b'\n', kind]).chain_update(key).finalize();
    let [a, b, c, d, ..] = <[u8; 32]>::from(hash);
    [a, b, c, d]
}

pub(super) fn print_vkey(key: &PublicKey, kind: u8) -> String {
    let hash = print_hash(key_id(key.name(), kind, key.bytes()));
    format!("{}+{hash}+{}", key.name(), base64(&[&[kind][..], key.bytes()].concat()))
}

pub(super) fn parse_vkey(vkey: &str, kind: u8) -> Result<PublicKey, KeyError> {
    let mut parts = vkey.splitn(3, '+');
    let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Shape);
    };
    let [found, bytes @ ..] = base64_array::<33>(key).map_err(|_| KeyError::Shape)?;
    if found != kind {
        return Err(KeyError::Value);
    }
    let public = PublicKey::new(name, &bytes)?;
    let id = key_id(name, kind, &bytes);
    if parse_hash(hash)? == id { Ok(public) } else { Err(KeyError::Hash) }
}

pub(super) fn print_skey(public: &PublicKey, seed: &[u8; 32], kind: u8) -> Zeroizing<String> {
    let mut value = Zeroizing::new([kind; 33]);
    if let Some((_, rest)) = value.split_first_chunk_mut::<1>() {
        rest.copy_from_slice(seed);
    }
    let text = Zeroizing::new(base64(value.as_slice()));
    let hash = print_hash(key_id(public.name(), kind, public.bytes()));
    Zeroizing::new(format!("{PRIVATE}{}+{hash}+{}", public.name(), text.as_str()))
}

pub(super) fn parse_skey(skey: &str, kind: u8) -> Result<Signer, KeyError> {
    let mut parts = skey.strip_prefix(PRIVATE).ok_or(KeyError::Shape)?.splitn(3, '+');
    let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(KeyError::Shape);
    };
    let value = Zeroizing::new(base64_array::<33>(key).map_err(|_| KeyError::Shape)?);
    let (found, seed) = value.split_first_chunk::<1>().ok_or(KeyError::Shape)?;
    let seed: &[u8; 32] = seed.try_into().map_err(|_| KeyError::Shape)?;
    if *found != [kind] {
        return Err(KeyError::Value);
    }
    let signer = Signer::new(name, ed25519_dalek::SigningKey::from_bytes(seed))?;
    let id = key_id(name, kind, signer.public().bytes());
    if parse_hash(hash)? == id { Ok(signer) } else { Err(KeyError::Hash) }
}

fn print_hash(id: [u8; 4]) -> String {
    id.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|n| char::from(hex_digit(n))).collect()
}

fn parse_hash(text: &str) -> Result<[u8; 4], KeyError> {
    let mut id = [0; 4];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != id.len() || !rest.is_empty() {
        return Err(KeyError::Shape);
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        let digits = hex_value(*high).zip(hex_value(*low));
        let (high, low) = digits.ok_or(KeyError::Shape)?;
        *byte = high << 4 | low;
    }
    Ok(id)
}
