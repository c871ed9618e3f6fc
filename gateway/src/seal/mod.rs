//! Seal: journal records become commitments, leaves and a signed tree.

pub mod keys;
pub mod lock;
pub mod log;
