//! Why the demonstration could not go on, or did not come out as told.

use std::io;
use std::path::{Path, PathBuf};

use sealtap_common::keyring::KeyringError;
use sealtap_common::leaf::DecodeError;

use crate::command::Failure;
use crate::config::UrlError;
use crate::data::DataError;
use crate::gateway::{ServeError, StartError};
use crate::route::TableError;
use crate::seal::keys::KeysError;
use crate::seal::log::ReadError;
use crate::serve::bundle::BundleError;
use crate::serve::query::QueryError;
use crate::store::StoreError;

/// What ended the demonstration.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// The directory is there and is not a demonstration's.
    #[error("there is something that no demonstration made")]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A gateway is at work in the directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The system refused a step on a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused threads or sockets.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The model server's address made no upstream.
    #[error("the model server's address is no upstream: {0}")]
    Url(#[from] UrlError),
    /// The table of upstreams.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The gateway did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The gateway did not stop as it should.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A call of the app.
    #[error("the app's call {target} failed: {source}")]
    Call {
        /// The request's target.
        target: String,
        /// What happened.
        source: io::Error,
    },
    /// The record could not be asked.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The store could not be checked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A leaf could not be read.
    #[error(transparent)]
    Leaf(#[from] DecodeError),
    /// The gateway's keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The run could not be put into one file.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The public key in the file of keys.
    #[error("the file of public keys {0}")]
    Keyring(#[from] KeyringError),
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    /// Everything ran and something came out differently.
    #[error("this did not come out as told: {told}; found: {found}")]
    NotAsTold {
        /// What should have been.
        told: String,
        /// What was.
        found: String,
    },
}

impl DemoError {
    /// A failure on the file at `path`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// A refusal of the system.
    pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        match &error {
            DemoError::Output(source) => Self::writing(source),
            DemoError::NotOurs { path } => Self::of(&error)
                .at(path.display().to_string())
                .fix("run the demonstration in another directory, or move that one away"),
            DemoError::NotAsTold { .. } => Self::of(&error)
                .at(crate::command::demo::DIRECTORY)
                .fix("what was made is left there; please report this with the text above"),
            _ => Self::of(&error),
        }
    }
}

/// Goes on only if `came_out`; every step of the demonstration passes through here.
pub(super) fn expect(
    came_out: bool,
    told: impl Into<String>,
    found: impl FnOnce() -> String,
) -> Result<(), DemoError> {
    match came_out {
        true => Ok(()),
        false => Err(DemoError::NotAsTold { told: told.into(), found: found() }),
    }
}
