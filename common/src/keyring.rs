//! The keys that a verifier is given: a vkey, or the text that `sealtap keys` prints.
//!
//! In: text. Out: the log's public key, which comes first in that text. Never looks for a key
//! anywhere else.

use crate::bundle::TrustedKeys;
use crate::note::{KeyError, PublicKey};
use crate::record::{KEY_SUFFIX, key_name};

/// Why a text gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// No line is a vkey.
    #[error("it holds no vkey (NAME+HASH+BASE64): give what `sealtap keys` prints")]
    None,
    /// The first line that is not blank is no vkey.
    #[error("its first line is not a vkey ({0}): give what `sealtap keys` prints")]
    Vkey(KeyError),
    /// The PEM block after the first vkey holds another key.
    #[error("its first vkey and its first PEM block are not the same key")]
    Pem,
}

/// The log's key out of what `sealtap keys` prints: a vkey, then the same key as PEM. Keys after
/// those serve other purposes and are not trusted for a log.
///
/// # Errors
/// [`KeyringError`] when the text does not begin with a vkey, or contradicts itself.
pub fn log_key(text: &str) -> Result<PublicKey, KeyringError> {
    let text = text.trim_start();
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if first.is_empty() {
        return Err(KeyringError::None);
    }
    let key = PublicKey::parse(first.trim_end()).map_err(KeyringError::Vkey)?;
    let rest = rest.trim_start();
    if rest.starts_with("-----BEGIN ") && !rest.starts_with(&key.pem()) {
        return Err(KeyringError::Pem);
    }
    Ok(key)
}

/// Adds the keys of a text to those trusted: the log's as [`log_key`] finds it; behind it, the one
/// for that log's run records, if it stands there. A vkey alone, of either kind, is such a text.
///
/// # Errors
/// [`KeyringError`] as [`log_key`].
pub fn trusted(text: &str, keys: &mut TrustedKeys) -> Result<(), KeyringError> {
    let first = log_key(text)?;
    let records = key_name(first.name());
    let behind = text.lines().filter_map(|line| PublicKey::parse(line.trim()).ok());
    keys.run_record.extend(behind.filter(|key| key.name() == records));
    if first.name().ends_with(KEY_SUFFIX) {
        keys.run_record.push(first.clone());
    }
    keys.log.push(first);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::note::Signer;

    fn key(name: &str, seed: u8) -> PublicKey {
        Signer::new(name, SigningKey::from_bytes(&[seed; 32])).unwrap().public().clone()
    }

    #[test]
    fn the_first_key_is_the_logs() {
        let (log, run) = (key("log", 1), key("log/run", 2));
        let printed = format!("{}\n{}{}\n{}", log.vkey(), log.pem(), run.vkey(), run.pem());
        assert_eq!(log_key(&printed), Ok(log.clone()));
        assert_eq!(log_key(&format!("\n{}", log.vkey())), Ok(log.clone()));
        let mixed = format!("{}\n{}", log.vkey(), run.pem());
        assert_eq!(log_key(&mixed), Err(KeyringError::Pem));
        let mut keys = TrustedKeys::default();
        let records = key("log/run-record", 3);
        let printed = format!("{}\n{}{}\n{}", log.vkey(), log.pem(), records.vkey(), records.pem());
        trusted(&printed, &mut keys).unwrap();
        assert_eq!((keys.log, keys.run_record), (vec![log.clone()], vec![records]));
        assert_eq!(log_key(" \n"), Err(KeyringError::None));
        assert_eq!(log_key(&log.pem()), Err(KeyringError::Vkey(KeyError::Shape)));
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text: String) {
            prop_assert!(log_key(&text).is_err());
        }
    }
}
