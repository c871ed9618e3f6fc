//! Serve: what the gateway answers for itself.

pub mod live;
pub mod query;
