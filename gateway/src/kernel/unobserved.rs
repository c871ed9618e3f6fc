//! Unobserved: why the kernel does not observe.
//!
//! What the gateway's end of the loader says where there is none, or none that answers.

use std::io;
use std::time::Duration;

/// Why the kernel does not observe.
#[derive(Debug, thiserror::Error)]
pub enum ObserverError {
    /// The process could not be started or talked to.
    #[error("the loader of the kernel programs cannot be had: {0}")]
    Process(#[from] io::Error),
    /// It said why not.
    #[error("the kernel cannot watch: {0}")]
    Refused(String),
    /// It has not said that it is armed: the kernel checks each program first, and may take long for it.
    #[error(
        "the loader of the kernel programs did not answer within {0:?} of its start, and is not waited \
         for: start again when the machine is less busy"
    )]
    Slow(Duration),
    /// It is there and does not answer.
    #[error(
        "the loader of the kernel programs has not answered for {0:?}: what it counted is unknown"
    )]
    Silent(Duration),
    /// More is asked than it reads.
    #[error("the loader of the kernel programs does not keep up: this is not asked for")]
    Busy,
    /// It is gone.
    #[error("the loader of the kernel programs has ended: nothing is watched any more")]
    Gone,
}
