//! Wire: HTTP messages and how they travel, shared by `accept` and `forward`.
//!
//! A [`source::Source`] yields one message body as it arrives, a [`sink::Sink`] sends one; both
//! exist over HTTP/1 and HTTP/2 so that either side of the gateway may speak either. Nothing here
//! records anything: what is captured is decided by `capture`, which makes the only type a sink
//! takes as data.

pub mod buffer;
pub mod framed;
pub mod head;
pub mod http1;
pub mod http2;
pub mod message;
pub mod sink;
pub mod socket;
pub mod source;
pub mod stream;
mod unsent;
pub mod watching;
