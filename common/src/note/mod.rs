//! Signed notes (C2SP signed-note): a text, a blank line, signature lines.
//!
//! In: text and a [`Signer`], or the bytes of a note. Out: the note's one text form, or why it was
//! refused. Signatures are Ed25519, always checked with `verify_strict`: small-order keys and
//! non-canonical signatures are refused. Keys are given by the caller, never found in a note.

mod cosignature;
mod key;
mod pem;
#[cfg(test)]
mod tests;
mod text;

pub use cosignature::{COSIGNATURE_LENGTH, WitnessKey, WitnessSigner};
pub use key::{KeyError, PublicKey, Signer};

use crate::encoding::{base64, base64_decode};

/// Starts every signature line: em dash, space.
const PREFIX: &str = "\u{2014} ";

/// A parsed note: a text with its signatures, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The signed text, ending in a newline.
    pub text: String,
    /// The signature lines in order; at least one.
    pub signatures: Vec<SignatureLine>,
}

/// One signature line: who, which key, and the signature itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureLine {
    /// The key's name.
    pub name: String,
    /// The key's id: the first four bytes of its hash.
    pub id: [u8; 4],
    /// What follows the id: 64 bytes for an Ed25519 signature.
    pub signature: Vec<u8>,
}

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not UTF-8, or holds a control character other than newline.
    #[error("a note is UTF-8 text without control characters other than newline")]
    Text,
    /// No blank line between a text and its signatures, or no signature, or no final newline.
    #[error("a note is a text, a blank line, and signature lines, each ended by a newline")]
    Shape,
    /// A signature line that does not parse to its own canonical text.
    #[error("signature line {0} is malformed: want \u{2014} NAME BASE64")]
    Line(usize),
    /// No line carries this key's name and id.
    #[error("no signature by {0}: the note was signed by another key")]
    Unsigned(String),
    /// A line carries the key's name and id but the signature does not hold.
    #[error("the signature by {0} does not hold: text or signature was changed")]
    Forged(String),
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`] for any bytes that [`Note::emit`] would not give.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let all = std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?;
        if all.bytes().any(|byte| byte < 0x20 && byte != b'\n' || byte == 0x7f) {
            return Err(NoteError::Text);
        }
        let (text, lines) = all.rsplit_once("\n\n").ok_or(NoteError::Shape)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Shape)?;
        if text.is_empty() {
            return Err(NoteError::Shape);
        }
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(n, line)| parse_line(line).ok_or(NoteError::Line(n + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The note's bytes: text, blank line, signature lines.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut out = format!("{}\n", self.text);
        for line in &self.signatures {
            out.push_str(&line.emit());
        }
        out
    }

    /// Signs a text (which must end in a newline) with one key.
    #[must_use]
    pub fn sign(text: &str, signer: &Signer) -> Self {
        let line = SignatureLine {
            name: signer.name().to_owned(),
            id: signer.public().id(),
            signature: signer.sign(text.as_bytes()).to_vec(),
        };
        Self { text: text.to_owned(), signatures: vec![line] }
    }

    /// Checks that `key` signed the text: exactly one line bears its name and id, and it holds.
    ///
    /// # Errors
    /// [`NoteError::Unsigned`] or [`NoteError::Forged`], both naming the key.
    pub fn verify(&self, key: &PublicKey) -> Result<(), NoteError> {
        let mut found = false;
        for line in self.signatures.iter().filter(|line| key.made(line)) {
            if found || !key.verify(self.text.as_bytes(), &line.signature) {
                return Err(NoteError::Forged(key.name().to_owned()));
            }
            found = true;
        }
        if found { Ok(()) } else { Err(NoteError::Unsigned(key.name().to_owned())) }
    }
}

impl SignatureLine {
    /// The line as it stands in a note, its newline included.
    #[must_use]
    pub fn emit(&self) -> String {
        let bytes = [&self.id[..], &self.signature].concat();
        format!("{PREFIX}{} {}\n", self.name, base64(&bytes))
    }

    /// Reads one line, without its newline; `None` for any text that [`Self::emit`] would not give.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        parse_line(line)
    }
}

fn parse_line(line: &str) -> Option<SignatureLine> {
    let (name, signature) = line.strip_prefix(PREFIX)?.split_once(' ')?;
    let bytes = base64_decode(signature).ok()?;
    let (id, signature) = bytes.split_first_chunk::<4>()?;
    (key::is_name(name) && !signature.is_empty()).then(|| SignatureLine {
        name: name.to_owned(),
        id: *id,
        signature: signature.to_vec(),
    })
}
