//! Cosignatures (C2SP tlog-cosignature, Ed25519, type 0x04): a witness's word that, as of a time, this
//! is the largest tree of the log it has seen, and one that grew out of all it saw before.
//!
//! In: the text of a checkpoint and a time or a signature line. Out: the line, or the time that the
//! witness stated. A witness's key is a type of its own, so that it cannot be taken for a log's.

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::text::{self, key_id};
use super::{KeyError, PublicKey, SignatureLine, Signer};

/// The signature type byte of an Ed25519 cosignature.
const COSIGNATURE: u8 = 0x04;

/// Bytes of a cosignature after its key id: a time and an Ed25519 signature.
pub const COSIGNATURE_LENGTH: usize = 8 + 64;

/// A witness's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessKey(PublicKey);

impl WitnessKey {
    /// Reads a vkey of type 0x04: `NAME+HASH+BASE64`.
    ///
    /// # Errors
    /// [`KeyError`] names what is wrong with it.
    pub fn parse(vkey: &str) -> Result<Self, KeyError> {
        text::parse_vkey(vkey, COSIGNATURE).map(Self)
    }

    /// The vkey: `NAME+HASH+BASE64`.
    #[must_use]
    pub fn vkey(&self) -> String {
        text::print_vkey(&self.0, COSIGNATURE)
    }

    /// The witness's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The key's 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        self.0.bytes()
    }

    /// The key id that this key's signature lines bear.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(self.name(), COSIGNATURE, self.bytes())
    }

    /// Whether a signature line claims to be this key's.
    #[must_use]
    pub fn made(&self, line: &SignatureLine) -> bool {
        line.name == self.name() && line.id == self.id()
    }

    /// The time in seconds since the Unix epoch at which this witness cosigned `text` (all of the
    /// checkpoint, final newline included), if the line is its cosignature and holds, strictly.
    #[must_use]
    pub fn cosigned(&self, text: &str, line: &SignatureLine) -> Option<u64> {
        let (time, signature) = line.signature.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let holds = self.made(line)
            && line.signature.len() == COSIGNATURE_LENGTH
            && i64::try_from(time).is_ok()
            && self.0.verify(message(text, time).as_bytes(), signature);
        holds.then_some(time)
    }
}

/// A witness's private key. The caller keeps the key's file; this never prints itself.
#[derive(Debug)]
pub struct WitnessSigner {
    signer: Signer,
    public: WitnessKey,
}

impl WitnessSigner {
    /// Names a private key.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: &str, key: SigningKey) -> Result<Self, KeyError> {
        Signer::new(name, key).map(Self::of)
    }

    /// Reads a private key's text of type 0x04.
    ///
    /// # Errors
    /// [`KeyError`] names what is wrong with it.
    pub fn parse(skey: &str) -> Result<Self, KeyError> {
        text::parse_skey(skey, COSIGNATURE).map(Self::of)
    }

    fn of(signer: Signer) -> Self {
        let public = WitnessKey(signer.public().clone());
        Self { signer, public }
    }

    /// The private key's text, in memory that is wiped when dropped.
    #[must_use]
    pub fn skey(&self) -> Zeroizing<String> {
        text::print_skey(&self.public.0, self.signer.seed(), COSIGNATURE)
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &WitnessKey {
        &self.public
    }

    /// Cosigns a checkpoint's text at `time`, in seconds since the Unix epoch.
    #[must_use]
    pub fn cosign(&self, text: &str, time: u64) -> SignatureLine {
        let signature = self.signer.sign(message(text, time).as_bytes());
        SignatureLine {
            name: self.public.name().to_owned(),
            id: self.public.id(),
            signature: [&time.to_be_bytes()[..], &signature].concat(),
        }
    }
}

/// What a witness signs.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}
