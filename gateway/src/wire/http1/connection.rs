//! What a message says about its connection (RFC 9110 section 7.6, RFC 9112 section 9).

use bytes::Bytes;

use super::HeadError;
use super::notable::Notable;
use crate::wire::message::{Fields, Version};

/// The most names one message's `Connection` fields may list. Real messages list three at most;
/// each name is compared with each field when the message goes on.
pub const MAX_CONNECTION_OPTIONS: usize = 64;

/// What a message says about the connection it came on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// No message follows this one: `close` is listed, or it is HTTP/1.0 without `keep-alive`.
    pub close: bool,
    /// `keep-alive` is listed: an HTTP/1.0 peer asks for persistence and expects it confirmed.
    pub keep_alive: bool,
    /// The protocols of `Upgrade`, as one value, where `Connection` lists `upgrade` and the
    /// message is HTTP/1.1. The forwarder makes both fields anew, or leaves both out.
    ///
    /// HTTP and TLS are left out, see [`offered`]; `h2c` RFC 9113 section 3.1 has withdrawn.
    pub upgrade: Option<Bytes>,
    /// `TE` lists `trailers`: the sender of this request can take them.
    pub trailers: bool,
}

impl Connection {
    pub(super) fn read(
        fields: &Fields,
        notable: &Notable<'_>,
        version: Version,
    ) -> Result<Self, HeadError> {
        let mut connection = Self::default();
        let mut upgrade = false;
        let listed = notable.connection.first.map(|_| fields.tokens("connection"));
        for (count, option) in listed.into_iter().flatten().enumerate() {
            if count >= MAX_CONNECTION_OPTIONS {
                return Err(HeadError::ConnectionTooLong);
            }
            connection.close |= option.eq_ignore_ascii_case(b"close");
            connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            upgrade |= option.eq_ignore_ascii_case(b"upgrade");
            if option.eq_ignore_ascii_case(b"host")
                || option.eq_ignore_ascii_case(b"content-length")
            {
                return Err(HeadError::ConnectionListsFraming);
            }
        }
        if version == Version::Http10 {
            connection.close |= !connection.keep_alive;
        } else if upgrade {
            connection.upgrade = offered(fields);
        }
        let codings = notable.te.first.map(|_| fields.tokens("te"));
        connection.trailers =
            codings.into_iter().flatten().any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        Ok(connection)
    }
}

/// The protocols of every `Upgrade` field that may be changed to, as one list; `None` where there is
/// none. Versions of HTTP and TLS are left out, however they are spelt: what is said inside such a
/// tunnel would be no exchanges of their own.
#[must_use]
pub fn offered(fields: &Fields) -> Option<Bytes> {
    let mut members = fields.tokens("upgrade").filter(|member| !is_http(member));
    let mut list = members.next()?.to_vec();
    for member in members {
        list.extend_from_slice(b", ");
        list.extend_from_slice(member);
    }
    Some(list.into())
}

/// Whether a 101 with these fields changes to protocols of the list `offered`, and to no other
/// (RFC 9110 section 7.8).
#[must_use]
pub fn is_asked_for(offered: &[u8], answered: &Fields) -> bool {
    let mut changes = answered.tokens("upgrade").peekable();
    let is_offered = |change: &[u8]| {
        let mut members = offered.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        members.any(|member| member.eq_ignore_ascii_case(change))
    };
    changes.peek().is_some() && changes.all(is_offered)
}

/// Whether a connection or a stream may be changed to `protocol`: a token that is no HTTP and no TLS.
#[must_use]
pub fn may_be_changed_to(protocol: &[u8]) -> bool {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    !protocol.is_empty() && protocol.iter().all(token) && !is_http(protocol)
}

/// Whether a member of `Upgrade` is HTTP, or TLS with HTTP inside; its version is not looked at.
fn is_http(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii();
    [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}
