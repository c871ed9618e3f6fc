//! The table of upstreams, and the reading of targets against it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use sealtap_common::unit::Ingress;

use super::builtin::{NAMED, PATTERNS, Pattern};
use super::{Destination, Fate, ProxyRules, Route, RouteError, Upstream};
use crate::config::{Config, NameError, Protocol, Scheme, UpstreamConfig, UrlError, check_name};
use crate::wire::message::RequestHead;

/// Bytes of a client's that an error repeats at most.
const SHOWN: usize = 100;

/// Every upstream by name, and the authorities that mean the listener itself.
#[derive(Clone, Debug)]
pub struct Table {
    named: BTreeMap<String, Arc<Upstream>>,
    own: Vec<String>,
}

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A name that no upstream can have.
    #[error("upstream {name:?}: {source}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A built-in URL that is not one.
    #[error("built-in upstream {name}: {source}")]
    Builtin {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        source: UrlError,
    },
}

impl Table {
    /// The built-in upstreams with those of `config` added or in their place.
    ///
    /// # Errors
    /// A name that is reserved or could not stand in a path.
    pub fn new(config: &Config) -> Result<Self, TableError> {
        let mut named = BTreeMap::new();
        for (name, url) in NAMED {
            let url = url.parse().map_err(|source| TableError::Builtin { name, source })?;
            let upstream = Upstream::new(name, &UpstreamConfig::new(url));
            named.insert(name.to_owned(), Arc::new(upstream));
        }
        for (name, upstream) in &config.upstreams {
            check_name(name).map_err(|source| TableError::Name { name: name.clone(), source })?;
            named.insert(name.clone(), Arc::new(Upstream::new(name, upstream)));
        }
        Ok(Self { named, own: own_authorities(config.listen) })
    }

    /// The same table for a listener that was bound to `address` (which has the real port when port
    /// 0 was asked for).
    #[must_use]
    pub fn bound_to(self, address: SocketAddr) -> Self {
        Self { own: own_authorities(address), ..self }
    }

    /// Every upstream with one address, sorted by name.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.named.values()
    }

    /// Every name that a target may begin with, sorted; a pattern as `azure/RESOURCE`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let patterns = PATTERNS.iter().filter(|pattern| !self.named.contains_key(pattern.name));
        let mut names: Vec<String> = self.named.keys().cloned().collect();
        names.extend(patterns.map(|pattern| format!("{}/{}", pattern.name, pattern.label)));
        names.sort();
        names
    }

    /// Where `target` leads; a run in its path must have been taken off before.
    ///
    /// # Errors
    /// It names no upstream, or is no target of reverse mode at all.
    pub fn resolve(&self, target: &[u8]) -> Result<Route, RouteError> {
        let path = self.own_path(target)?;
        let after_slash = path.strip_prefix(b"/").unwrap_or(path);
        let (name, rest) = split_element(after_slash);
        let named = std::str::from_utf8(name).ok().and_then(|name| self.named.get(name));
        if let Some(upstream) = named {
            return Ok(route(Arc::clone(upstream), rest));
        }
        match PATTERNS.iter().find(|pattern| pattern.name.as_bytes() == name) {
            Some(pattern) => patterned(pattern, rest),
            None => {
                let name = shown(name);
                Err(RouteError::UnknownUpstream { name, known: self.names() })
            }
        }
    }

    /// Whether `target` is an absolute form for another server than this listener.
    #[must_use]
    pub fn is_forward(&self, target: &[u8]) -> bool {
        !matches!(target.first(), None | Some(b'/' | b'?' | b'*'))
            && absolute(target).is_some_and(|(authority, _)| {
                let authority = String::from_utf8_lossy(authority).to_ascii_lowercase();
                !self.own.contains(&authority)
            })
    }

    /// Where a request in absolute form goes: to the server that it names, with the rest of its
    /// target (RFC 9112 section 3.2.1), by the authority in it (section 3.2.2).
    pub(super) fn resolve_forward(
        &self,
        rules: &ProxyRules,
        head: &RequestHead,
    ) -> Result<Route, RouteError> {
        rules.admit(&head.fields)?;
        let (authority, rest) = absolute(&head.target).ok_or(RouteError::Form)?;
        if authority.contains(&b'@') {
            // Nothing that is said about it may repeat a user and a password.
            return Err(RouteError::Form);
        }
        let https = head.target.get(4).is_some_and(|byte| byte.eq_ignore_ascii_case(&b's'));
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        let destination = Destination::parse(authority, Some(scheme.default_port()));
        let destination = destination
            .ok_or_else(|| RouteError::ForwardProxy { authority: shown_authority(authority) })?;
        if self.fate(rules, &destination.host, destination.port) == Fate::Refuse {
            return Err(RouteError::NotListed { authority: destination.authority() });
        }
        let upstream = self.at(scheme, &destination, None, Protocol::Auto);
        let authority = String::from_utf8_lossy(authority).into_owned();
        let upstream = Upstream { authority, keeps_authority: false, ..upstream };
        let target = match (rest.first(), &*head.method) {
            (None, b"OPTIONS") => b"*".to_vec(),
            (Some(b'/'), _) => rest.to_vec(),
            _ => [b"/", rest].concat(),
        };
        Ok(Route { upstream: Arc::new(upstream), target, ingress: Ingress::Forward })
    }

    /// The path and query of a target that is addressed to this listener.
    fn own_path<'t>(&self, target: &'t [u8]) -> Result<&'t [u8], RouteError> {
        // A target is empty, or only a query, when it named a run and nothing after it.
        if matches!(target.first(), None | Some(b'/' | b'?')) {
            return Ok(target);
        }
        if target == b"*" {
            return Err(RouteError::Asterisk);
        }
        if let Some((authority, path)) = absolute(target) {
            let host = authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
            if host.len() < authority.len() {
                // A user and a password are no part of an authority (RFC 9110 section 4.2.4), and
                // nothing that is said about this target may repeat them.
                return Err(RouteError::ForwardProxy { authority: shown_authority(host) });
            }
            let authority = shown_authority(authority).to_ascii_lowercase();
            return match self.own.contains(&authority) {
                true => Ok(path),
                false => Err(RouteError::ForwardProxy { authority }),
            };
        }
        match is_authority(target) {
            true => Err(RouteError::Connect { authority: shown_authority(target) }),
            false => Err(RouteError::Form),
        }
    }
}

/// What a client sent, as an error repeats it: up to the first byte that no name has, since what
/// follows one may be a secret in a spelling that only its server knows, and not all of a long one.
pub(crate) fn shown(sent: &[u8]) -> String {
    shown_until(sent, |byte| byte.is_ascii_alphanumeric() || b"._~-".contains(byte))
}

/// The same of a host and a port.
fn shown_authority(sent: &[u8]) -> String {
    shown_until(sent, |byte| byte.is_ascii_alphanumeric() || b"._~-[]:".contains(byte))
}

fn shown_until(sent: &[u8], plain: impl Fn(&u8) -> bool) -> String {
    let end = sent.iter().take(SHOWN).position(|byte| !plain(byte));
    let end = end.unwrap_or(SHOWN.min(sent.len()));
    let kept = String::from_utf8_lossy(sent.get(..end).unwrap_or_default());
    let more = if end < sent.len() { "..." } else { "" };
    format!("{kept}{more}")
}

fn patterned(pattern: &Pattern, rest: &[u8]) -> Result<Route, RouteError> {
    let (found, after) = split_element(rest.strip_prefix(b"/").unwrap_or_default());
    let Some((label, host)) = pattern.host(found) else {
        let found = shown(found);
        return Err(RouteError::Label { name: pattern.name, label: pattern.label, found });
    };
    let upstream = Upstream::https(format!("{}/{label}", pattern.name), host);
    Ok(route(Arc::new(upstream), after))
}

/// `rest` behind the upstream's prefix; a target begins with a slash even when nothing else does.
fn route(upstream: Arc<Upstream>, rest: &[u8]) -> Route {
    let mut target = Vec::with_capacity(upstream.prefix.len() + rest.len() + 1);
    target.extend_from_slice(upstream.prefix.as_bytes());
    if target.is_empty() && rest.first() != Some(&b'/') {
        target.push(b'/');
    }
    target.extend_from_slice(rest);
    Route { upstream, target, ingress: Ingress::Reverse }
}

/// The bytes before the first `/`, `?` or `#`, and the bytes from there on.
fn split_element(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, b""))
}

/// Authority and the rest of an `http://` or `https://` URL.
pub(crate) fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let after = [b"http://".as_slice(), b"https://"].iter().find_map(|scheme| {
        let (start, after) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(after)
    })?;
    Some(split_element(after))
}

/// `host:port`, as CONNECT has it.
fn is_authority(target: &[u8]) -> bool {
    let Some(colon) = target.iter().rposition(|byte| *byte == b':') else { return false };
    let (host, port) = target.split_at_checked(colon).unwrap_or_default();
    let digits = port.strip_prefix(b":").unwrap_or_default();
    !host.is_empty()
        && !digits.is_empty()
        && digits.iter().all(u8::is_ascii_digit)
        && !host.iter().any(|byte| matches!(byte, b'/' | b'?' | b'#' | b'@'))
}

/// The authorities that mean the listener at `address`: itself, and every name of this machine's
/// loopback when it is reached by that.
fn own_authorities(address: SocketAddr) -> Vec<String> {
    let ip = address.ip();
    let mut hosts = vec![match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }];
    if ip.is_loopback() || ip.is_unspecified() {
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
    }
    let port = address.port();
    let mut own: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    if matches!(port, 80 | 443) {
        own.append(&mut hosts);
    }
    own
}
