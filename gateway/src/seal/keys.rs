//! The keys of a gateway, made on first start.
