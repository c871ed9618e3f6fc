//! Names that a leaf may be for; they come from clients, so each is checked.

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::DnsName;

/// What a client calls the host it wants: checked, and spelled in one way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeafName {
    /// A host name, in lower case and without its final dot.
    Dns(String),
    /// An address; one of IPv4 in the clothes of IPv6 is one of IPv4.
    Address(IpAddr),
}

/// The text can be no host that a certificate names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host name and no address: no certificate can be made for it")]
pub struct NameError(String);

impl LeafName {
    /// The host of an SNI or of a CONNECT target: a name or an address, the latter maybe in brackets.
    ///
    /// # Errors
    /// [`NameError`]: it is neither. Wildcards are no names.
    pub fn parse(host: &str) -> Result<Self, NameError> {
        let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from),
            None => host.parse().ok(),
        };
        if let Some(address) = address {
            return Ok(Self::Address(address.to_canonical()));
        }
        match DnsName::try_from(host.strip_suffix('.').unwrap_or(host)) {
            Ok(name) => Ok(Self::Dns(name.as_ref().to_ascii_lowercase())),
            // A text of a stranger's length does not belong in a message.
            Err(_) => Err(NameError(host.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => formatter.write_str(name),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}
