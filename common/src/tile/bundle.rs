//! Entry bundles: up to 256 leaves, each behind its length as a big-endian `u16`.

/// The longest entry that a bundle can carry, in bytes.
pub const MAX_ENTRY: usize = 65_535;

/// Why an entry bundle was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The entry does not fit its length prefix.
    #[error("an entry of {0} bytes is over the limit of 65535")]
    TooLong(usize),
    /// The bundle ends inside an entry.
    #[error("the bundle ends inside entry {0}")]
    Truncated(usize),
}

/// Appends one entry to a bundle.
///
/// # Errors
/// [`BundleError::TooLong`] over 65,535 bytes; the bundle is then unchanged.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), BundleError> {
    let length = u16::try_from(entry.len()).map_err(|_| BundleError::TooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle, in order.
///
/// # Errors
/// [`BundleError::Truncated`] when the bytes do not end where an entry ends.
pub fn entries(bundle: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(usize::from(super::FULL_WIDTH));
    let mut rest = bundle;
    while !rest.is_empty() {
        let (entry, after) = split_entry(rest).ok_or(BundleError::Truncated(entries.len()))?;
        entries.push(entry);
        rest = after;
    }
    Ok(entries)
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
