//! Which fields go on to the next hop (RFC 9110 section 7.6.1).
//!
//! `Connection` and what it lists stay behind, as does the fixed list below. `Trailer` goes on:
//! it is no longer hop-by-hop, and trailers pass. What the next connection needs of its own the
//! forwarder makes anew: `Transfer-Encoding: chunked` by the framing it uses; `Connection` and
//! `Upgrade` from [`super::Connection::upgrade`] where it carries an upgrade on; `TE: trailers`
//! (with `Connection: TE` in HTTP/1) from [`super::Connection::trailers`].

use super::write::is_writable;
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
        // It belongs to `Upgrade: h2c` (RFC 7540 section 3.2.1), which is never carried on.
        14 => "http2-settings",
        16 => "proxy-connection",
        17 => "transfer-encoding",
        _ => return false,
    };
    name.eq_ignore_ascii_case(listed.as_bytes())
}

/// Whether a field may not stand in trailers: one that frames, routes or manages the connection,
/// which a recipient that merges trailers into the head would act on (RFC 9110 section 6.5.1).
/// In HTTP/1 such a message is refused; from HTTP/2, where nothing frames by fields, the field
/// alone stays behind. Every other trailer passes as it is, still as a trailer.
#[must_use]
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    is_hop_by_hop(name) || is_one_of(name, &["host", "trailer", "content-length"])
}

fn is_one_of(name: &[u8], list: &[&str]) -> bool {
    list.iter().any(|item| name.eq_ignore_ascii_case(item.as_bytes()))
}

/// What one message's head lets go on to the next hop, in its head and in its trailers.
///
/// Both directions use this and nothing else, whatever version of HTTP is spoken on either side.
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    /// The names that `Connection` lists beyond those that never go on.
    listed: Vec<&'a [u8]>,
    /// Whether `Transfer-Encoding` frames the message.
    coded: bool,
}

impl<'a> Filter<'a> {
    /// The filter that `head` asks for; it allocates only if `Connection` names a field.
    #[must_use]
    pub fn of(head: &'a Fields) -> Self {
        let listed = head.tokens("connection").filter(|option| !is_familiar(option)).collect();
        Self { listed, coded: head.first("transfer-encoding").is_some() }
    }

    /// Whether a field of the head goes on.
    ///
    /// `Content-Length` beside `Transfer-Encoding`, which only a closing response may have, does
    /// not: the coding won, and the next hop must not be offered a choice.
    #[must_use]
    pub fn passes(&self, name: &[u8]) -> bool {
        let second_framing = self.coded && name.eq_ignore_ascii_case(b"content-length");
        !is_hop_by_hop(name) && !self.is_listed(name) && !second_framing
    }

    /// The trailers that go on, in order: `Connection` in the head speaks for them too, and one
    /// that may stand in no trailers, or that HTTP/1 could not write, is left out.
    #[must_use]
    pub fn trailers(&self, received: &Fields) -> Fields {
        let passes = |(name, value): &(&[u8], &[u8])| {
            !is_forbidden_trailer(name) && !self.is_listed(name) && is_writable(name, value)
        };
        Fields::from_pairs(received.iter().filter(passes))
    }

    fn is_listed(&self, name: &[u8]) -> bool {
        self.listed.iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// Options that name no field, or one that never goes on anyway.
fn is_familiar(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"close") || is_hop_by_hop(option)
}
