//! The witness's own key: 0600, made at the first start, never printed.

use std::path::Path;

use ed25519_dalek::SigningKey;
use sealtap_common::note::WitnessSigner;

use crate::seal::keys::{KeysError, own_file};
use crate::seal::log::disk::{Access, Disk, remove_if_there, settle_directories};

/// The key's file.
const FILE: &str = "witness.key";

/// The key in `directory`, made there if this is the first start; `name` is what it is to be called.
///
/// # Errors
/// [`KeysError`]; a key that is there is never changed.
pub(super) fn load_or_create(
    disk: &dyn Disk,
    directory: &Path,
    name: Option<&str>,
) -> Result<WitnessSigner, KeysError> {
    let failed = own_file::failed;
    settle_directories(disk, directory, Access::Private).map_err(failed("create", directory))?;
    own_file::check_access(directory, "700")?;
    let path = directory.join(FILE);
    // Half of a key that nothing uses, from a crash before the rename.
    let temporary = own_file::temporary(directory, FILE);
    remove_if_there(disk, &temporary).map_err(failed("remove", &temporary))?;
    if !own_file::exists(&path)? {
        let name = match name {
            Some(name) => name.to_owned(),
            None => format!("sealtap.local/witness/{}", *own_file::random_hex::<8>()?),
        };
        let seed = own_file::random::<32>()?;
        let signer = WitnessSigner::new(&name, SigningKey::from_bytes(&seed)).map_err(|error| {
            KeysError::Origin { origin: name.clone(), reason: error.to_string() }
        })?;
        own_file::create(disk, directory, FILE, &signer.skey())?;
    }
    let text = own_file::read(&path)?;
    let signer = WitnessSigner::parse(text.trim_end()).map_err(|error| {
        own_file::garbage(&path, "a witness's PRIVATE+KEY+... line", error.to_string())
    })?;
    match name {
        Some(name) if name != signer.public().name() => Err(KeysError::OriginMismatch {
            path,
            found: signer.public().name().to_owned(),
            want: name.to_owned(),
        }),
        _ => Ok(signer),
    }
}
