//! Secret values: never stored, only tagged.
//!
//! A tag says whether two requests to one authority carried the same secret, to the operator who
//! holds the key; it tells anyone else nothing.

use std::ops::Range;

use sealtap_common::commit::secret_tag;
use sealtap_common::tree::Hash;
use zeroize::Zeroizing;

/// Header and trailer fields whose values are secret wherever they stand.
const FIELDS: &[&str] = &[
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "apikey",
    "authentication-info",
    "proxy-authentication-info",
    "x-amz-signature",
    "x-auth-key",
    "x-functions-key",
    "x-hub-signature",
    "x-hub-signature-256",
    "ocp-apim-subscription-key",
    // Browsers put keys for realtime APIs here, having no other place.
    "sec-websocket-protocol",
];

/// What the names of further secret fields and parameters end with, however their words are joined
/// (see [`joined`]): every vendor has its own in front. Endings alone, so that `max_tokens` and
/// `token_count` stay what they are.
const ENDINGS: &[&str] = &[
    "token",
    "apikey",
    "accesskey",
    "secret",
    "auth",
    "authorization",
    "authorizationauxiliary",
    "assertion",
    "password",
    "credential",
];

/// Query parameters whose values are secret, with their words joined.
const PARAMETERS: &[&str] = &[
    "key",
    "sig",
    "pwd",
    "passwd",
    "jwt",
    // What Azure Functions call their keys, and OAuth what is exchanged for a token.
    "code",
    "subscriptionkey",
    "awsaccesskeyid",
    "xfunctionskey",
    // Whoever has it is in the session.
    "sessionid",
];

/// What the names of further secret parameters end with, with their words joined.
const PARAMETER_ENDINGS: &[&str] = &["signature", "accesskeyid"];

/// Parameters that end like a secret and are a place in a list, with their words joined.
const PLACES: &[&str] = &["pagetoken", "nexttoken", "continuationtoken", "synctoken"];

/// Fields whose values are URLs, which may hold secret parameters or userinfo in their turn; and
/// the name of a run, which an app may have taken from one.
const URL_FIELDS: &[&str] = &[
    "content-location",
    "link",
    "location",
    "operation-location",
    "referer",
    "refresh",
    "sealtap-run",
    "x-envoy-original-path",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// How often a parameter's name is decoded: some servers decode what a proxy has decoded already.
const DECODINGS: usize = 3;

/// Whether the values of fields called `name` are secret by the built-in rules.
#[must_use]
fn is_credential(name: &[u8]) -> bool {
    FIELDS.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
        || ends_joined(name, ENDINGS)
}

/// Which values are secret, and the key of their tags.
pub struct Secrets {
    key: Zeroizing<[u8; 32]>,
    fields: Vec<String>,
    parameters: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// The built-in rules and what the configuration adds to them.
    #[must_use]
    pub fn new(key: &[u8; 32], fields: &[String], parameters: &[String]) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        // As a target's are, so that either spelling in the configuration means the same.
        let canonical =
            |name: &String| String::from_utf8_lossy(&canonical_name(name.as_bytes())).into_owned();
        let parameters: Vec<String> = parameters.iter().map(canonical).collect();
        Self { key: Zeroizing::new(*key), fields: lower(fields), parameters }
    }

    /// Whether the values of fields called `name` are secret.
    #[must_use]
    pub fn is_field(&self, name: &[u8]) -> bool {
        is_credential(name)
            || self.fields.iter().any(|secret| name.eq_ignore_ascii_case(secret.as_bytes()))
    }

    /// Whether `value` must not be kept, in a field called `name`.
    #[must_use]
    pub fn is_secret(&self, name: &[u8], value: &[u8]) -> bool {
        self.is_field(name)
            || (URL_FIELDS.iter().any(|url| name.eq_ignore_ascii_case(url.as_bytes()))
                && (holds_userinfo(value) || !self.in_target(value).is_empty()))
    }

    /// Where the secrets of `target` stand, in order, each with the name its tag is made under:
    /// userinfo, and the values of secret query parameters.
    ///
    /// A parameter begins after `?`, `&`, `;` or `#`, whatever servers may take for a separator,
    /// and a secret value ends at `&` alone, so that no such choice leaves a part of it.
    #[must_use]
    pub fn in_target(&self, target: &[u8]) -> Vec<(Range<usize>, Vec<u8>)> {
        let mut found: Vec<_> =
            userinfo(target).into_iter().map(|range| (range, b"userinfo".to_vec())).collect();
        let Some(query) = memchr::memchr2(b'?', b'#', target) else { return found };
        let mut at = query;
        while at < target.len() {
            let start = at + 1;
            let rest = target.get(start..).unwrap_or_default();
            let parameter = rest.iter().position(|byte| b"?&;#".contains(byte));
            let parameter = rest.get(..parameter.unwrap_or(rest.len())).unwrap_or_default();
            at = start + parameter.len();
            let Some(equals) = memchr::memchr(b'=', parameter) else { continue };
            let (name, _) = parameter.split_at_checked(equals).unwrap_or_default();
            let name = canonical_name(name);
            if !self.is_parameter(&name) {
                continue;
            }
            let value = start + equals + 1;
            let rest = target.get(value..).unwrap_or_default();
            at = value + memchr::memchr(b'&', rest).unwrap_or(rest.len());
            if value < at {
                found.push((value..at, name));
            }
        }
        found
    }

    /// Whether the values of query parameters with this canonical name are secret.
    fn is_parameter(&self, name: &[u8]) -> bool {
        if self.parameters.iter().any(|secret| name == secret.as_bytes()) {
            return true;
        }
        let name = joined(name);
        PARAMETERS.iter().any(|secret| name == secret.as_bytes())
            || ends_in(&name, PARAMETER_ENDINGS)
            || (ends_in(&name, ENDINGS) && !ends_in(&name, PLACES))
    }

    /// The tag of a secret value, as FORMAT.md defines it.
    #[must_use]
    pub fn tag(&self, authority: &[u8], name: &[u8], value: &[u8]) -> Hash {
        secret_tag(&self.key, authority, name, value)
    }
}

/// A name in lower case with its words joined: `accessToken`, `access-token` and `access_token` are
/// one name to those who make them up.
fn joined(name: &[u8]) -> Vec<u8> {
    let letters = name.iter().filter(|byte| !b"-_.".contains(byte));
    letters.map(u8::to_ascii_lowercase).collect()
}

/// Whether `name` with its words joined ends in one of `endings`; it is asked of every field.
fn ends_joined(name: &[u8], endings: &[&str]) -> bool {
    let letters = || {
        let letters = name.iter().rev().filter(|byte| !b"-_.".contains(byte));
        letters.map(u8::to_ascii_lowercase)
    };
    let last = letters().next();
    endings.iter().any(|ending| {
        let mut name = letters();
        // Most names differ in their last letter.
        ending.as_bytes().last().copied() == last
            && ending.bytes().rev().all(|letter| name.next() == Some(letter))
    })
}

fn ends_in(name: &[u8], endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

/// Whether any URL in `value` has userinfo, with a scheme or without one: an `@` after two slashes,
/// in front of what ends an authority. Browsers take a backslash for a slash.
fn holds_userinfo(value: &[u8]) -> bool {
    let slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    let ends = |byte: &u8| slash(byte) || matches!(byte, b'?' | b'#' | b'@');
    // Each look for an end stops at the next slash at the latest, so no byte is looked at often.
    value.windows(2).enumerate().any(|(at, pair)| {
        pair.iter().all(slash) && {
            let authority = value.get(at + 2..).unwrap_or_default();
            authority.iter().find(|byte| ends(byte)) == Some(&b'@')
        }
    })
}

/// `user:password` of a URL or an authority in front of its first `/`, `?` or `#`.
pub(crate) fn userinfo(target: &[u8]) -> Option<Range<usize>> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let start = memchr::memmem::find(target, b"://").map_or(0, |scheme| scheme + 3);
    let rest = target.get(start..)?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let at = memchr::memrchr(b'@', rest.get(..end)?)?;
    (at > 0).then_some(start..start + at)
}

/// A parameter's name as servers read it: percent-decoded, without blanks, in lower case, and
/// without the index of `name[0]`.
fn canonical_name(name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    for _ in 0..DECODINGS {
        match decoded(&name) {
            Some(plainer) => name = plainer,
            None => break,
        }
    }
    let bracket = memchr::memchr(b'[', &name).unwrap_or(name.len());
    let plain = name.get(..bracket).unwrap_or_default();
    let blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'+' | 0);
    let start = plain.iter().position(|byte| !blank(byte)).unwrap_or(plain.len());
    let end = plain.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    plain.get(start..end).unwrap_or_default().to_ascii_lowercase()
}

/// `name` with its percent escapes decoded once; `None` where it has none.
fn decoded(name: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', name)?;
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    let mut any = false;
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let escaped = (*first == b'%').then(|| Some(digit(0)? * 16 + digit(1)?)).flatten();
        match escaped.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => {
                any = true;
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    any.then_some(out)
}

#[cfg(test)]
mod tests;
