//! `[ca]`: what sealtap's own certificate authority may vouch for, and for how long.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::DnsName;

use super::read::names;
use super::section::Section;
use super::values;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The certificate authority that vouches for hosts whose TLS is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Domains, each with all names below it; empty leaves the authority unconstrained.
    pub domains: Vec<String>,
    /// Networks whose addresses it may vouch for beside the domains.
    pub networks: Vec<Network>,
    /// How long its certificate is good for.
    pub lifetime: Duration,
}

impl Default for Ca {
    fn default() -> Self {
        let lifetime = 3_650 * DAY;
        Self { domains: Vec::new(), networks: Vec::new(), lifetime }
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// How many bits all of them share.
    pub prefix: u8,
}

/// Reads `[ca]`.
pub(super) fn read(section: &Section<'_>, ca: &mut Ca) {
    ca.domains = names(section, "domains", domain).unwrap_or_default();
    ca.networks = names(section, "networks", network).unwrap_or_default();
    if !ca.networks.is_empty() {
        section.demand("domains", "without it every address is permitted anyway");
    }
    let range = DAY..=100 * 365 * DAY;
    let expected = "a time such as \"3650d\"";
    let lifetime = section.parsed("lifetime", expected, |text| {
        values::age_or_none(text, &range)?.ok_or_else(|| format!("wants {expected}"))
    });
    ca.lifetime = lifetime.unwrap_or(ca.lifetime);
}

/// A domain such as `example.com`, in lower case.
pub(super) fn domain(text: &str) -> Result<String, String> {
    match DnsName::try_from(text.strip_suffix('.').unwrap_or(text)) {
        Ok(name) => Ok(name.as_ref().to_ascii_lowercase()),
        Err(_) => Err("wants a domain such as \"example.com\", which stands for every name below \
                       it too; addresses belong in `ca.networks`"
            .to_owned()),
    }
}

/// A network such as `10.0.0.0/8`, or one address.
pub(super) fn network(text: &str) -> Result<Network, String> {
    let wrong =
        || "wants a network such as \"10.0.0.0/8\" or \"fd00::/8\", or an address".to_owned();
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => longest,
        Some(digits) => digits.parse().ok().filter(|bits| *bits <= longest).ok_or_else(wrong)?,
    };
    let rest = match address {
        IpAddr::V4(address) => address.to_bits().checked_shl(prefix.into()).unwrap_or(0) == 0,
        IpAddr::V6(address) => address.to_bits().checked_shl(prefix.into()).unwrap_or(0) == 0,
    };
    match rest {
        true => Ok(Network { address, prefix }),
        false => Err(format!("has bits set behind the first {prefix}: {}", wrong())),
    }
}
