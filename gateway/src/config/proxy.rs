//! The forward proxy as it is configured: which hosts are captured, what becomes of the others, who
//! may use it, and what it may connect to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::time::Duration;

/// The forward proxy: absolute-form requests and CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Whether there is one at all; without it such requests are refused.
    pub enabled: bool,
    /// Hosts that are captured beside the model APIs known by name.
    pub capture: Vec<HostPattern>,
    /// What becomes of hosts that are not captured.
    pub other: Other,
    /// What clients must present; `None` asks for nothing.
    pub credentials: Option<Credentials>,
    /// Whether anyone who reaches the listener may use the proxy without credentials.
    pub open: bool,
    /// How long a tunnel may be silent before its server is listened to as well.
    pub detect: Duration,
    /// Networks that may be connected to although they are refused by default.
    pub allow: Vec<AddressRange>,
    /// Networks that may not be connected to; this wins.
    pub deny: Vec<AddressRange>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            enabled: true,
            capture: Vec::new(),
            other: Other::default(),
            credentials: None,
            open: false,
            detect: Duration::from_millis(200),
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }
}

/// What becomes of hosts that are not captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Other {
    /// They are reached through a tunnel that is recorded as opaque.
    #[default]
    Tunnel,
    /// They are refused.
    Refuse,
}

/// User and password of the proxy. What is in it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials(String);

impl Credentials {
    /// `user:password` as RFC 7617 puts them together.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(..)")
    }
}

impl FromStr for Credentials {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = !text.chars().any(char::is_control);
        match text.split_once(':') {
            Some((user, password)) if plain && !user.is_empty() && !password.is_empty() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("wants a user and a password as \"user:password\"".to_owned()),
        }
    }
}

/// A host, or every host below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This name or address alone.
    Exactly(String),
    /// Every name below this domain, at any depth: `*.example.com` is `example.com` here.
    Below(String),
}

impl HostPattern {
    /// Whether `host`, in lower case and without brackets, is meant.
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => name == host,
            Self::Below(domain) => {
                host.strip_suffix(domain.as_str()).is_some_and(|front| front.ends_with('.'))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let address = lower.trim_start_matches('[').trim_end_matches(']');
        if address.parse::<IpAddr>().is_ok() {
            return Ok(Self::Exactly(address.to_owned()));
        }
        let (below, name) = match lower.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, lower.as_str()),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label =
            |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(plain);
        if name.len() > 253 || !name.split('.').all(label) {
            let example = "such as \"api.example.com\" or \"*.example.com\", without a port";
            return Err(format!(
                "wants a host name, all names below a domain, or an address, {example}"
            ));
        }
        Ok(if below { Self::Below(name.to_owned()) } else { Self::Exactly(name.to_owned()) })
    }
}

/// A network of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u32,
}

impl AddressRange {
    /// The network of `address` whose first `bits` bits are fixed.
    #[must_use]
    pub const fn new(address: IpAddr, bits: u32) -> Self {
        Self { address, bits }
    }

    /// Whether `address` lies in it; the two families have no address in common.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(self.bits)).unwrap_or(0);
                Ipv4Addr::to_bits(own) & mask == Ipv4Addr::to_bits(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(self.bits)).unwrap_or(0);
                Ipv6Addr::to_bits(own) & mask == Ipv6Addr::to_bits(other) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "wants a network such as \"10.0.0.0/8\" or \"fd00::/8\"".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_one_host_or_all_below_a_domain() {
        let pattern = |text: &str| text.parse::<HostPattern>().unwrap();
        assert!(pattern("API.example.com").matches("api.example.com"));
        assert!(!pattern("example.com").matches("api.example.com"));
        assert!(pattern("*.example.com").matches("api.example.com"));
        assert!(pattern("*.example.com").matches("a.b.example.com"));
        assert!(!pattern("*.example.com").matches("example.com"));
        assert!(!pattern("*.example.com").matches("badexample.com"));
        assert!(pattern("[::1]").matches("::1"));
        for wrong in
            ["", "*", "*.", "a b", "http://example.com", "example.com:443", "a..b", "*.*.a"]
        {
            assert!(wrong.parse::<HostPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let network = |text: &str| text.parse::<AddressRange>().unwrap();
        let holds = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("192.0.2.1", "192.0.2.1"));
        assert!(!holds("192.0.2.1", "192.0.2.2"));
        assert!(holds("fd00::/8", "fdff::1"));
        assert!(holds("::/0", "2001:db8::1"));
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0/8", "host/8"] {
            assert!(wrong.parse::<AddressRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn credentials_are_never_printed() {
        let credentials: Credentials = "user:hunter2".parse().unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(..)");
        assert!("user".parse::<Credentials>().is_err());
        assert!(":p".parse::<Credentials>().is_err());
    }
}
