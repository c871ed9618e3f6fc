//! What keeps the authority from being opened or from vouching.

use std::path::PathBuf;

use super::name::{LeafName, NameError};
use crate::owned::OwnedError;
use crate::seal::keys::KeysError;

/// Why there is no authority, or no leaf.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read or written, or others may read it.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The directory of keys, or the one of certificates, is not this user's alone.
    #[error(transparent)]
    Owned(#[from] OwnedError),
    /// The key's file belongs to someone else.
    #[error(
        "{} belongs to user {owner}, and this is user {own}: run as user {owner}, or make a new \
         authority with `sealtap ca --rotate`",
        path.display()
    )]
    Foreign {
        /// The key's file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        own: u32,
    },
    /// The certificate is there and its key is not.
    #[error(
        "{} is missing although its certificate is there: restore it from a backup, or make a new \
         authority with `sealtap ca --rotate`",
        path.display()
    )]
    KeyMissing {
        /// The key's file.
        path: PathBuf,
    },
    /// The certificate is not one of an authority, or not of this key.
    #[error("{}: {why}; restore it from a backup, or run `sealtap ca --rotate`", path.display())]
    Unfit {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The authority's certificate is out of date, or not yet in date.
    #[error(
        "{} is not valid now: check the clock, or run `sealtap ca --rotate`, hand the new \
         certificate on, and reload",
        path.display()
    )]
    OutOfDate {
        /// The certificate's file.
        path: PathBuf,
    },
    /// Nothing that a certificate could be for.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Clients would refuse a leaf of that name.
    #[error(
        "{name} is outside of what this authority may vouch for: list its domain in `ca.domains` \
         (addresses in `ca.networks`) and run `sealtap ca --rotate`"
    )]
    NotPermitted {
        /// The name asked for.
        name: LeafName,
    },
    /// The library of certificates refused.
    #[error("cannot make a certificate for {what}: {why}")]
    Mint {
        /// What it was to be for.
        what: String,
        /// What the library said.
        why: String,
    },
}

/// Turns an error of the library into one that says what was being made.
pub(super) fn minting<E: std::fmt::Display>(
    what: impl std::fmt::Display,
) -> impl FnOnce(E) -> AuthorityError {
    move |error| AuthorityError::Mint { what: what.to_string(), why: error.to_string() }
}
