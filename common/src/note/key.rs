//! The keys of notes: their names, ids and texts (vkey, skey), signing and strict verification.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::SignatureLine;
use super::text::{self, key_id};

/// The signature type byte of Ed25519 in C2SP signed-note.
const ED25519: u8 = 0x01;

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty or has a space, a plus sign or a control character.
    #[error("a key name is not empty and has no space, plus sign or control character")]
    Name,
    /// Not the shape of a vkey, skey or PEM block.
    #[error("not a key: want NAME+HASH+BASE64 (a vkey) or a PEM public key")]
    Shape,
    /// The hash in the text is not the hash of this name and key.
    #[error("the key's hash does not match its name and value: the text was mistyped or changed")]
    Hash,
    /// Not an Ed25519 key, or one of the weak points that strict verification refuses.
    #[error("not a usable Ed25519 key")]
    Value,
}

/// A named Ed25519 public key. Only a key that strict verification can use becomes one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// Names a public key given as its 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::Name`] or [`KeyError::Value`].
    pub fn new(name: &str, bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Value)?;
        // Decompression also takes texts that are not canonical; the one text is what it prints.
        if key.is_weak() || key.as_bytes() != bytes {
            return Err(KeyError::Value);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads a vkey: `NAME+HASH+BASE64`.
    ///
    /// # Errors
    /// [`KeyError`] names what is wrong with it.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        text::parse_vkey(vkey, ED25519)
    }

    /// The vkey: `NAME+HASH+BASE64`.
    #[must_use]
    pub fn vkey(&self) -> String {
        text::print_vkey(self, ED25519)
    }

    /// The key's name; for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key id: the first four bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, ED25519, self.key.as_bytes())
    }

    /// The key as a PEM `PUBLIC KEY` block (RFC 8410).
    #[must_use]
    pub fn pem(&self) -> String {
        super::pem::public_key(self.key.as_bytes())
    }

    /// Reads a PEM `PUBLIC KEY` block; PEM has no name, so the caller says it.
    ///
    /// # Errors
    /// [`KeyError`] names what is wrong with it.
    pub fn from_pem(name: &str, pem: &str) -> Result<Self, KeyError> {
        Self::new(name, &super::pem::parse_public_key(pem).ok_or(KeyError::Shape)?)
    }

    /// Whether a signature line claims to be this key's.
    #[must_use]
    pub fn made(&self, line: &SignatureLine) -> bool {
        line.name == self.name && line.id == self.id()
    }

    /// Strict Ed25519 verification of a message.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

/// A named Ed25519 private key. The caller keeps the key's file; this never prints itself.
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
}

impl Signer {
    /// Names a private key.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, key: SigningKey) -> Result<Self, KeyError> {
        let public = PublicKey::new(name, key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }

    /// Reads a private key's text: `PRIVATE+KEY+NAME+HASH+BASE64`.
    ///
    /// # Errors
    /// [`KeyError`] names what is wrong with it.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        text::parse_skey(skey, ED25519)
    }

    /// The private key's text, in memory that is wiped when dropped.
    #[must_use]
    pub fn skey(&self) -> Zeroizing<String> {
        text::print_skey(&self.public, self.key.as_bytes(), ED25519)
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.public.name
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn seed(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The Ed25519 signature of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Whether a text may name a key.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}
