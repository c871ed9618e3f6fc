//! Request targets and hosts (RFC 9112 section 3.2). Nothing is decoded, joined or mended.

use super::HeadError;

/// The form of a request target, its parts as slices of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm<'a> {
    /// `/path?query`, any bytes after the slash.
    Origin(&'a [u8]),
    /// `scheme://authority` and the rest, which may be empty or start with `/`, `?` or `#`.
    /// The authority wins over a `Host` that differs (RFC 9112 section 3.2.2).
    Absolute {
        /// The scheme as sent, of any case.
        scheme: &'a [u8],
        /// Host and optional port.
        authority: &'a [u8],
        /// Everything after the authority.
        rest: &'a [u8],
    },
    /// `host:port` of CONNECT.
    Authority(&'a [u8]),
    /// `*` of OPTIONS.
    Asterisk,
}

/// The form of `target`, as `method` allows it.
///
/// # Errors
/// [`HeadError::TargetInvalid`] where it has none, [`HeadError::HostInvalid`] where its authority
/// is not host and optional port.
pub fn target_form<'a>(method: &[u8], target: &'a [u8]) -> Result<TargetForm<'a>, HeadError> {
    if method == b"CONNECT" {
        let port = target.iter().rposition(|byte| *byte == b':').map(|colon| colon + 1);
        let digits = port.and_then(|port| target.get(port..)).unwrap_or_default();
        return match is_host(target) && digits.first().is_some_and(u8::is_ascii_digit) {
            true => Ok(TargetForm::Authority(target)),
            false => Err(HeadError::TargetInvalid),
        };
    }
    if target.starts_with(b"/") {
        return Ok(TargetForm::Origin(target));
    }
    if target == b"*" && method == b"OPTIONS" {
        return Ok(TargetForm::Asterisk);
    }
    let (scheme, after) = split_scheme(target).ok_or(HeadError::TargetInvalid)?;
    let length = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
    let (authority, rest) = after.split_at_checked(length).unwrap_or_default();
    if authority.is_empty() || !is_host(authority) {
        return Err(HeadError::HostInvalid);
    }
    Ok(TargetForm::Absolute { scheme, authority, rest })
}

fn split_scheme(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', target)?;
    let (scheme, after) = target.split_at_checked(colon)?;
    let legal = scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if legal { Some((scheme, after.strip_prefix(b"://")?)) } else { None }
}

/// Whether `value` is a host and optional port (RFC 3986 sections 3.2.2, 3.2.3), or empty.
///
/// Stricter than the grammar in one place: no comma, which no host has and which a list made of
/// two `Host` fields would show.
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    let (legal_host, after) = if let Some(literal) = value.strip_prefix(b"[") {
        let close = literal.iter().position(|byte| *byte == b']').unwrap_or(0);
        let (address, after) = literal.split_at_checked(close).unwrap_or_default();
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b":.%-_~".contains(byte);
        // Without the bracket, or with nothing in it, `close` is 0 and so is the address.
        (!address.is_empty() && address.iter().all(legal), after.get(1..).unwrap_or_default())
    } else {
        let colon = memchr::memchr(b':', value).unwrap_or(value.len());
        let (name, after) = value.split_at_checked(colon).unwrap_or_default();
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
        (name.iter().all(legal), after)
    };
    legal_host && (after.is_empty() || after.strip_prefix(b":").is_some_and(is_port))
}

/// Whether `port` is empty or a port number.
fn is_port(port: &[u8]) -> bool {
    let digits = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    digits && port.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= 65_535
}
