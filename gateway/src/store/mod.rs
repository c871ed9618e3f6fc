//! Store: sealed exchanges and their bodies, each content once.
