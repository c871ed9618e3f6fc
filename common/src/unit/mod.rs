//! Committed units: the canonical JSON of heads, trailers, interim answers and contexts.
//!
//! In: what the gateway saw, as bytes. Out: the exact bytes that are committed, and back. Bytes from
//! the wire become strings by isomorphic decoding (byte 0xNN is U+00NN), so any octets survive.
//! Secret values never come in: the caller hands their tags.

mod decode;
mod encode;
mod maker;
mod questions;
#[cfg(test)]
mod tests;
mod words;

pub use decode::UnitError;
pub use maker::{Maker, NotedBy, ProcessSeen};
pub use questions::{Asker, Questions};
pub use words::{Ingress, RunNamedBy, Version};

use std::borrow::Cow;

use crate::tree::Hash;

/// Octets from the wire.
pub type Octets<'a> = Cow<'a, [u8]>;

/// A value that is shown, or the tag that stands for a secret one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown<'a> {
    /// The octets themselves.
    Plain(Octets<'a>),
    /// HMAC under the gateway's own key: equal tags of one authority mean equal secrets.
    Secret(Hash),
}

/// One header or trailer field: its name as sent, and its value.
pub type Field<'a> = (Octets<'a>, Shown<'a>);

/// A field that came in: one that went out as well, or one that did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received<'a> {
    /// The same as the outgoing field at this position, counted from 0.
    Same(u32),
    /// Changed or dropped on the way.
    Own(Field<'a>),
}

/// A request head as it went to the upstream, and as it came from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead<'a> {
    /// The request line and pseudo-fields that went out.
    pub line: RequestLine<'a>,
    /// The fields that went out, in order.
    pub fields: Vec<Field<'a>>,
    /// The request line and pseudo-fields that came in.
    pub received_line: RequestLine<'a>,
    /// The fields that came in, in order.
    pub received_fields: Vec<Received<'a>>,
}

/// What a request head says besides its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// `:authority` of HTTP/2; `None` on HTTP/1, where it is a field.
    pub authority: Option<Octets<'a>>,
    /// The method.
    pub method: Octets<'a>,
    /// `:scheme` of HTTP/2; `None` on HTTP/1.
    pub scheme: Option<Octets<'a>>,
    /// The target exactly as sent, cut around secret parameters.
    pub target: Vec<Shown<'a>>,
    /// The protocol version.
    pub version: Version,
}

/// A response head as it went to the client, and as it came from the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// The status line that went out.
    pub line: StatusLine<'a>,
    /// The fields that went out, in order.
    pub fields: Vec<Field<'a>>,
    /// The status line that came in.
    pub received_line: StatusLine<'a>,
    /// The fields that came in, in order.
    pub received_fields: Vec<Received<'a>>,
}

/// What a response head says besides its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLine<'a> {
    /// The reason phrase; empty on HTTP/2.
    pub reason: Octets<'a>,
    /// The status code.
    pub status: u16,
    /// The protocol version.
    pub version: Version,
}

/// Trailer fields of one message, as they were sent on and as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailers<'a> {
    /// The fields that went out, in order; none where the next hop could carry none.
    pub fields: Vec<Field<'a>>,
    /// The fields that came in, in order.
    pub received_fields: Vec<Received<'a>>,
}

/// The interim (1xx) answers before a response, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interim<'a> {
    /// Status line and fields of each.
    pub heads: Vec<(StatusLine<'a>, Vec<Field<'a>>)>,
}

/// Who talked to whom, and which run that belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context<'a> {
    /// The client's `ip:port`.
    pub client: Octets<'a>,
    /// How the traffic came to the gateway.
    pub ingress: Ingress,
    /// What delimited the run.
    pub run_by: RunNamedBy,
    /// The run's name, if the client gave one.
    pub run_name: Option<Octets<'a>>,
    /// The upstream's `ip:port`, once connected.
    pub upstream_address: Option<Octets<'a>>,
    /// The upstream's name in the configuration.
    pub upstream_name: Option<Octets<'a>>,
    /// The TLS version spoken to the upstream.
    pub upstream_tls: Option<Octets<'a>>,
    /// The upstream's URL in the configuration.
    pub upstream_url: Option<Octets<'a>>,
}

/// Says the fields that came in by pointing at equal ones that went out.
///
/// Both lists keep their order, so each equal field is found a few places on; a field that moved
/// further is written out, which is longer but says the same.
#[must_use]
pub fn received<'a>(outgoing: &[Field<'a>], incoming: &[Field<'a>]) -> Vec<Received<'a>> {
    /// Bounds the work on heads made of thousands of fields.
    const REACH: usize = 64;
    let mut next = 0;
    let mut find = |field: &Field<'a>| {
        let near = outgoing.iter().enumerate().skip(next).take(REACH);
        let (at, _) = near.into_iter().find(|(_, other)| *other == field)?;
        next = at + 1;
        u32::try_from(at).ok()
    };
    incoming
        .iter()
        .map(|field| find(field).map_or_else(|| Received::Own(field.clone()), Received::Same))
        .collect()
}
