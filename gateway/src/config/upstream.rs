//! One upstream as it is configured: its name, its URL and how to speak to it.
//!
//! URLs are taken apart here, strictly, because what they say is kept byte for byte: a general URL
//! library would normalise the path.

use std::path::PathBuf;
use std::str::FromStr;

/// How the transport to an upstream is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Cleartext HTTP/1.1.
    Http,
    /// TLS; the protocol by ALPN unless one is named.
    Https,
    /// Cleartext HTTP/2 with prior knowledge.
    H2c,
}

impl Scheme {
    /// The scheme of the URL that goes on the wire: `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http | Self::H2c => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL need not name.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::H2c => 80,
            Self::Https => 443,
        }
    }
}

/// Which HTTP an upstream is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// What ALPN settles over TLS; HTTP/1.1 in cleartext.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2; in cleartext with prior knowledge.
    Http2,
}

/// The first path elements that mean something else than an upstream.
pub const RESERVED_NAMES: [&str; 4] = ["run", "receipts", "metrics", "healthz"];

/// Why a name is not one an upstream can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It means something else in a path.
    #[error(
        "`run`, `receipts`, `metrics` and `healthz` are reserved for the gateway: choose another name"
    )]
    Reserved,
    /// It could not stand in a path as it is.
    #[error(
        "an upstream's name is 1 to 64 letters, digits, `-`, `_` or `.`, \
         and begins with a letter or digit"
    )]
    Form,
}

/// Checks that `name` can be the first path element that selects an upstream.
///
/// # Errors
/// It is reserved, or could not stand in a path as it is.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if RESERVED_NAMES.contains(&name) {
        return Err(NameError::Reserved);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    match first && name.len() <= 64 && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(NameError::Form),
    }
}

/// An upstream as the config or a flag gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// Where it is.
    pub url: Url,
    /// Which HTTP it is spoken to in.
    pub protocol: Protocol,
    /// PEM files with certificate authorities trusted for it alone.
    pub ca: Vec<PathBuf>,
    /// What `Host` (`:authority`) says instead of the URL's own authority.
    pub host: Option<String>,
}

impl UpstreamConfig {
    /// An upstream at `url` with nothing else said.
    #[must_use]
    pub fn new(url: Url) -> Self {
        let protocol = match url.scheme {
            Scheme::H2c => Protocol::Http2,
            Scheme::Http | Scheme::Https => Protocol::Auto,
        };
        Self { url, protocol, ca: Vec::new(), host: None }
    }
}

/// A URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The scheme.
    pub scheme: Scheme,
    /// A name or an address, in lower case, without the brackets of IPv6.
    pub host: String,
    /// The port, named or not.
    pub port: u16,
    /// The path without its trailing slash; empty for none.
    pub prefix: String,
}

impl Url {
    /// `host[:port]` as a `Host` header says it; the default port is left out.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == self.scheme.default_port() {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }
}

/// Why a URL is not one an upstream can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `http://`, `https://` or `h2c://`.
    #[error("wants a URL that begins with https://, http:// or h2c:// (HTTP/2 in cleartext)")]
    Scheme,
    /// `user:password@`.
    #[error("must not hold a user or password: clients send their own credentials")]
    Credentials,
    /// No host, or one with characters no host has.
    #[error("wants a host: a name such as api.example.com, 192.0.2.1 or [2001:db8::1]")]
    Host,
    /// Not a port.
    #[error("wants a port from 1 to 65535 after the colon")]
    Port,
    /// `?` or `#`.
    #[error("must end with the path: a query or fragment belongs to single requests")]
    Query,
    /// A byte that a request target cannot carry.
    #[error("wants a path of visible ASCII characters: percent-encode the others")]
    Path,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at_checked(slash).ok_or(UrlError::Host)?,
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = host_and_port(authority, scheme)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Path);
        }
        let prefix = path.strip_suffix('/').unwrap_or(path).to_owned();
        Ok(Self { scheme, host, port, prefix })
    }
}

fn host_and_port(authority: &str, scheme: Scheme) -> Result<(String, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address: std::net::Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        let port = match after {
            "" => None,
            _ => Some(after.strip_prefix(':').ok_or(UrlError::Port)?),
        };
        (address.to_string(), port)
    } else {
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        (name(host)?, port)
    };
    let port = match port {
        None => scheme.default_port(),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host, port))
}

/// A host name or IPv4 address: labels of letters, digits, `-` and `_`, joined by single dots.
fn name(host: &str) -> Result<String, UrlError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let labels = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 253 || !labels.split('.').all(label) {
        return Err(UrlError::Host);
    }
    Ok(host.to_ascii_lowercase())
}
