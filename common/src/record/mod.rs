//! Run records: what a run was, as an in-toto Statement in a DSSE envelope.
//!
//! In: the leaves of a run, one by one ([`Tally`]); its closing leaf and the log's name. Out: the
//! statement's one text, the bytes that are signed, the envelope; or why bytes are no envelope. A
//! record says nothing that its closing leaf does not say, so it can be made again from the log.

mod envelope;
mod statement;
mod tally;
#[cfg(test)]
mod tests;

pub use envelope::{Envelope, EnvelopeError, PAYLOAD_TYPE, pre_authentication};
pub use statement::{NOT_ASSERTED, PREDICATE_TYPE, STATEMENT_TYPE, statement};
pub use tally::{Closing, Tally};

use sha2::{Digest as _, Sha256};

use crate::leaf::RunClosed;
use crate::note::{PublicKey, Signer};
use crate::tree::Hash;

/// Follows the log's origin in the name of the key that signs run records.
pub const KEY_SUFFIX: &str = "/run-record";

/// The name of the key that signs the run records of the log with this origin.
#[must_use]
pub fn key_name(origin: &str) -> String {
    format!("{origin}{KEY_SUFFIX}")
}

/// What the envelope calls a key: its name and id, as its vkey begins.
#[must_use]
pub fn key_id(key: &PublicKey) -> String {
    let id: String = key.id().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}+{id}", key.name())
}

/// What a run-record leaf holds of a record: SHA-256 of its pre-authentication encoding.
#[must_use]
pub fn record_hash(payload: &[u8]) -> Hash {
    Sha256::digest(pre_authentication(payload)).into()
}

/// Signs the record of the run that `closed`, the leaf at `index` of the log `origin`, ends.
#[must_use]
pub fn sign(origin: &str, index: u64, closed: &RunClosed, signer: &Signer) -> Envelope {
    let payload = statement(origin, index, closed);
    let signature = signer.sign(&pre_authentication(&payload));
    Envelope { payload, key_id: key_id(signer.public()), signature }
}
