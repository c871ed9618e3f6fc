//! Serve: what the gateway answers for itself.

pub mod browse;
pub mod bundle;
pub mod bypasses;
mod canaries;
pub mod demo;
mod kernel;
pub mod live;
pub(crate) mod messages;
pub mod names;
pub mod observe;
pub mod query;
mod records;
mod reload;
pub mod run;
pub mod runs;
pub mod witness;
