//! Identify: which run and which client a request belongs to.
