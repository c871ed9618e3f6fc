//! HTTP/1: a strict, sans-I/O codec.
//!
//! Comes in: bytes of one direction of a connection, cut anywhere. Goes out: heads with every
//! field in its order and spelling, the framing they announce, and a body's payload as slices of
//! the bytes that were fed. Can fail: [`HeadError`], [`BodyError`], [`WriteError`], one variant for
//! each cause. It never reads, writes or waits, never allocates for a chunk, and never mends a
//! message: what two parsers could read in two ways is refused.
//!
//! The order of use: [`HeadScanner`] finds a head, [`parse_request`] or [`parse_response`] reads
//! it, [`BodyDecoder`] follows the body; [`Filter`] picks the fields and trailers that go on, and
//! the writers put heads, chunks and trailers on the other connection.

mod body;
mod chunked;
mod connection;
mod error;
mod fields;
mod forwarding;
mod framing;
mod notable;
mod request;
mod response;
mod scan;
mod target;
mod write;

pub use body::{BodyDecoder, Decoded};
pub use chunked::{MAX_EXTENSIONS, MAX_TRAILERS};
pub use connection::{
    Connection, MAX_CONNECTION_OPTIONS, is_asked_for, may_be_changed_to, offered,
};
pub use error::{BodyError, HeadError, WriteError};
pub use fields::{MAX_FIELDS, is_token};
pub use forwarding::{Filter, is_forbidden_trailer, is_hop_by_hop};
pub use framing::{RequestFraming, ResponseFraming, declared_length};
pub use request::{Request, parse_request};
pub use response::{Response, parse_response};
pub use scan::{HeadScanner, MAX_HEAD, Opening, opening};
pub use target::{TargetForm, is_host, target_form};
pub use write::{
    CHUNK_END, LAST_CHUNK, write_chunk_head, write_request_head, write_response_head,
    write_trailers,
};

#[cfg(test)]
mod tests;
