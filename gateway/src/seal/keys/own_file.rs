//! What other keys than the gateway's are kept with: the same files, the same care.

pub(crate) use super::file::{
    check_access, create, exists, failed, garbage, read, read_signer, temporary,
};
use super::{KeysError, file};
pub(crate) use super::{new_signer, random};

use zeroize::Zeroizing;

/// Random bytes as lowercase hex.
///
/// # Errors
/// [`KeysError::Io`]: the system gives none.
pub(crate) fn random_hex<const N: usize>() -> Result<Zeroizing<String>, KeysError> {
    Ok(file::hex(&*random::<N>()?))
}
