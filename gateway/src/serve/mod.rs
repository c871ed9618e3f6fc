//! Serve: what the gateway answers for itself.
