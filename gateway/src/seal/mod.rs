//! Seal: journal records become commitments, leaves and a signed tree.
//!
//! In: batches of journal records, each on disk. Out: [`sealed::SealedExchange`], which only this
//! stage makes: an exchange whose leaf is in the published log. Failures to publish are tried again
//! until they go away; the journal holds everything until then. It never touches traffic.

mod around;
pub mod aside;
mod backlog;
mod carried;
pub mod connections;
pub mod cutter;
mod deferred;
pub mod digest;
mod digested;
pub mod keys;
mod known;
pub mod ledger;
pub mod lock;
pub mod log;
mod message;
pub mod pins;
pub mod post;
pub mod preview;
pub mod progress;
mod queries;
pub mod recovery;
pub mod rotation;
pub mod run;
pub mod sealed;
mod sealer;
pub mod timestamp;
mod under_way;
pub mod vouching;
mod websocket;
pub mod witness;

pub use self::sealer::{Pace, Parts, Sealed, Sealer};
