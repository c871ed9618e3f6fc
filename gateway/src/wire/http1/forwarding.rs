//! Which fields go on to the next hop (RFC 9110 section 7.6.1).
//!
//! `Connection` and what it lists stay behind, as does the fixed list below. `Trailer` goes on:
//! it is no longer hop-by-hop, and trailers pass. What the next connection needs of its own the
//! forwarder makes anew: `Transfer-Encoding: chunked` by the framing it uses; `Connection` and
//! `Upgrade` from [`super::Connection::upgrade`] where it carries an upgrade on; `TE: trailers`
//! (with `Connection: TE` in HTTP/1) from [`super::Connection::trailers`].

use crate::wire::message::Fields;

/// Whether a field is about one connection, whatever `Connection` lists.
///
/// `Proxy-Authorization` and `Proxy-Authenticate` are not: RFC 9110 leaves them to whoever asks
/// for them, and a gateway in reverse mode does not.
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let listed = match name.len() {
        2 => "te",
        7 => "upgrade",
        10 => return is_one_of(name, &["connection", "keep-alive"]),
        16 => "proxy-connection",
        17 => "transfer-encoding",
        _ => return false,
    };
    name.eq_ignore_ascii_case(listed.as_bytes())
}

/// Whether a field may not stand in trailers: one that frames, routes or manages the connection,
/// which a recipient that merges trailers into the head would act on (RFC 9110 section 6.5.1).
/// Every other trailer passes as it is, still as a trailer.
#[must_use]
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    is_hop_by_hop(name) || is_one_of(name, &["host", "trailer", "content-length"])
}

fn is_one_of(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|item| name.eq_ignore_ascii_case(item.as_bytes()))
}

/// The fields of a head that go on, in order.
///
/// `Content-Length` beside `Transfer-Encoding`, which only a closing response may have, does not:
/// the coding won, and the next hop must not be offered a choice.
pub fn to_forward(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    let coded = fields.first("transfer-encoding").is_some();
    let listed = listed(fields);
    fields.iter().filter(move |(name, _)| {
        let dropped = is_hop_by_hop(name)
            || (coded && name.eq_ignore_ascii_case(b"content-length"))
            || is_listed(&listed, name);
        !dropped
    })
}

/// The trailers that go on, in order: `Connection` in the message's head speaks for them too.
pub fn trailers_to_forward<'a>(
    head: &Fields,
    trailers: &'a Fields,
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let listed = listed(head);
    trailers.iter().filter(move |(name, _)| !is_hop_by_hop(name) && !is_listed(&listed, name))
}

/// The names that `Connection` lists beyond those that never go on; allocates only if it does.
fn listed(fields: &Fields) -> Vec<&[u8]> {
    fields.tokens("connection").filter(|option| !is_familiar(option)).collect()
}

fn is_listed(listed: &[&[u8]], name: &[u8]) -> bool {
    listed.iter().any(|option| option.eq_ignore_ascii_case(name))
}

/// Options that name no field, or one that never goes on anyway.
fn is_familiar(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || is_hop_by_hop(option)
}
