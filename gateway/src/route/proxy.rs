//! The forward proxy's side of routing: who may use it, which hosts are captured, and the upstream
//! that a client names by its address instead of a name of the table.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::builtin::{CAPTURED, NAMED, PATTERNS};
use super::{RouteError, Table, Upstream};
use crate::config::{Capture, Config, HostPattern, Other, Protocol, Scheme, UpstreamConfig, Url};
use crate::wire::message::Fields;

/// What becomes of a host that a client names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its TLS ends here, and what passes is captured.
    Capture,
    /// What passes is passed on unread, and recorded as opaque.
    Tunnel,
    /// It is refused.
    Refuse,
}

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The name or address, in lower case and without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Destination {
    /// The destination in `host:port`, or in `host` where there is a port to assume.
    #[must_use]
    pub fn parse(authority: &[u8], assumed: Option<u16>) -> Option<Self> {
        let text = std::str::from_utf8(authority).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']')?;
                (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = if port.is_empty() { assumed? } else { port.parse().ok()? };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/?#@[]%".contains(&byte);
        let usable = !host.is_empty() && host.len() <= 255 && host.bytes().all(plain) && port != 0;
        usable.then(|| Self { host: host.to_ascii_lowercase(), port })
    }

    /// `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The rules of the forward proxy.
#[derive(Debug)]
pub struct ProxyRules {
    enabled: bool,
    all: bool,
    listed: Vec<HostPattern>,
    other: Other,
    /// What `Basic` is followed by.
    credentials: Option<String>,
    detect: Duration,
}

impl ProxyRules {
    /// The rules of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let proxy = &config.proxy;
        let credentials = proxy.credentials.as_ref();
        let mut listed = proxy.capture.clone();
        listed.extend(CAPTURED.iter().filter_map(|pattern| pattern.parse().ok()));
        Self {
            enabled: proxy.enabled,
            all: config.capture == Capture::All,
            listed,
            other: proxy.other,
            credentials: credentials.map(|credentials| STANDARD.encode(credentials.as_bytes())),
            detect: proxy.detect,
        }
    }

    /// Whether there is a forward proxy.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled
    }

    /// How long a tunnel may be silent before its server is listened to as well.
    #[must_use]
    pub fn detect(&self) -> Duration {
        self.detect
    }

    /// Whether the fields hold the credentials that are asked for.
    ///
    /// # Errors
    /// [`RouteError::Credentials`].
    pub fn admit(&self, fields: &Fields) -> Result<(), RouteError> {
        let Some(wanted) = &self.credentials else { return Ok(()) };
        let shown = fields.first("proxy-authorization").unwrap_or_default();
        let (scheme, token) = shown.split_at_checked(6).unwrap_or_default();
        let token = token.trim_ascii();
        let basic = scheme.eq_ignore_ascii_case(b"basic ");
        // In a time that does not tell how much of it is right.
        let differs = |differ: u8, (a, b): (&u8, &u8)| differ | (a ^ b);
        let differ = token.iter().zip(wanted.as_bytes()).fold(0, differs);
        match basic && token.len() == wanted.len() && differ == 0 {
            true => Ok(()),
            false => Err(RouteError::Credentials),
        }
    }
}

impl Table {
    /// What becomes of `host`, a name or an address in lower case.
    #[must_use]
    pub fn fate(&self, rules: &ProxyRules, host: &str, port: u16) -> Fate {
        if self.captures_at(rules, host, port) {
            return Fate::Capture;
        }
        match rules.other {
            Other::Tunnel => Fate::Tunnel,
            Other::Refuse => Fate::Refuse,
        }
    }

    /// Whether `host` at `port` is captured by its name: it is one that is listed, or that of an upstream.
    #[must_use]
    pub fn captures_at(&self, rules: &ProxyRules, host: &str, port: u16) -> bool {
        let name = host.trim_end_matches('.');
        self.captures(rules, name) || self.configured(name, port).is_some()
    }

    /// Whether `host` is captured by its name, whatever its port.
    #[must_use]
    pub fn captures(&self, rules: &ProxyRules, host: &str) -> bool {
        let name = host.trim_end_matches('.');
        rules.all
            || rules.listed.iter().any(|pattern| pattern.matches(name))
            || NAMED.iter().any(|(_, url)| url.strip_prefix("https://") == Some(name))
            || PATTERNS.iter().any(|pattern| pattern.is_of(name))
    }

    /// The upstream of the configuration at that place.
    fn configured(&self, host: &str, port: u16) -> Option<&Arc<Upstream>> {
        self.upstreams().find(|upstream| upstream.host == host && upstream.port == port)
    }

    /// The upstream at `destination`, spoken to as `protocol` says; `server_name` is the name that
    /// its certificate must be for, where that is not the host.
    #[must_use]
    pub fn at(
        &self,
        scheme: Scheme,
        destination: &Destination,
        server_name: Option<&str>,
        protocol: Protocol,
    ) -> Upstream {
        let Destination { host, port } = destination;
        let url = Url { scheme, host: host.clone(), port: *port, prefix: String::new() };
        let server_name = server_name.filter(|name| name != host);
        // Of one that the kernel led here only the certificate's name may be known from the configuration.
        let known = self
            .configured(host, *port)
            .or_else(|| server_name.and_then(|name| self.configured(name, *port)));
        let place = match server_name {
            Some(name) => format!("{name} at {}", url.authority()),
            None => url.authority(),
        };
        // Blanks are in no configured name, so that these connections are kept apart from those.
        let key = format!("{} {place} {protocol:?}", scheme.as_str());
        let name = match (known, server_name) {
            (Some(known), None) => known.name.clone(),
            _ => place,
        };
        Upstream {
            key,
            server_name: server_name.map(str::to_owned),
            chosen: true,
            keeps_authority: true,
            protocol,
            ca: known.map(|known| known.ca.clone()).unwrap_or_default(),
            ..Upstream::new(&name, &UpstreamConfig::new(url))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> (Table, ProxyRules) {
        let config = Config::parse(text, std::path::Path::new("sealtap.toml")).unwrap();
        (Table::new(&config).unwrap(), ProxyRules::new(&config))
    }

    #[test]
    fn model_apis_configured_upstreams_and_listed_hosts_are_captured() {
        let (table, rules) = table(
            "[upstreams.local]\nurl = \"http://127.0.0.1:8080\"\n[proxy]\ncapture = [\"*.tools.example\"]",
        );
        let fate = |host, port| table.fate(&rules, host, port);
        for host in [
            "api.openai.com",
            "api.openai.com.",
            "api.anthropic.com",
            "res.openai.azure.com",
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "a.tools.example",
        ] {
            assert_eq!(fate(host, 443), Fate::Capture, "{host}");
        }
        assert_eq!(fate("127.0.0.1", 8080), Fate::Capture);
        for host in [
            "127.0.0.1",
            "example.com",
            "tools.example",
            "xapi.openai.com",
            "api.openai.com.evil.example",
            "a.b.openai.azure.com",
            "s3.eu-west-1.amazonaws.com",
        ] {
            assert_eq!(fate(host, 443), Fate::Tunnel, "{host}");
        }
    }

    #[test]
    fn all_captures_all_and_refuse_refuses_the_others() {
        let (table_all, all) = table("capture = \"all\"");
        assert_eq!(table_all.fate(&all, "example.com", 5432), Fate::Capture);
        let (table, refusing) = table("[proxy]\nother = \"refuse\"");
        assert_eq!(table.fate(&refusing, "example.com", 443), Fate::Refuse);
        assert_eq!(table.fate(&refusing, "api.openai.com", 443), Fate::Capture);
    }

    #[test]
    fn credentials_are_those_of_the_configuration_and_no_others() {
        let (_, rules) = table("[proxy]\ncredentials = \"user:pass\"");
        let admits = |value: &[u8]| {
            rules.admit(&Fields::from_pairs([(b"Proxy-Authorization".as_slice(), value)])).is_ok()
        };
        assert!(admits(b"Basic dXNlcjpwYXNz"));
        assert!(admits(b"basic  dXNlcjpwYXNz"));
        for wrong in
            [b"".as_slice(), b"Basic", b"Basic ", b"Basic dXNlcjpwYXN", b"Bearer dXNlcjpwYXNz"]
        {
            assert!(!admits(wrong));
        }
        assert!(rules.admit(&Fields::default()).is_err());
        assert!(table("").1.admit(&Fields::default()).is_ok());
    }

    #[test]
    fn destinations_are_host_and_port() {
        let parse = |text: &str, port| Destination::parse(text.as_bytes(), port);
        let to = |host: &str, port| Some(Destination { host: host.to_owned(), port });
        assert_eq!(parse("API.example.com:443", None), to("api.example.com", 443));
        assert_eq!(parse("[::1]:8443", None), to("::1", 8443));
        assert_eq!(parse("example.com", Some(80)), to("example.com", 80));
        assert_eq!(parse("[::1]", Some(80)), to("::1", 80));
        for wrong in [
            "example.com",
            ":443",
            "a:0",
            "a:65536",
            "[::1",
            "a@b:1",
            "[::1]x:1",
            "[fe80::1%eth0]:1",
        ] {
            assert_eq!(parse(wrong, None), None, "{wrong}");
        }
    }
}
