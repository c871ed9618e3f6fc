//! Name constraints (RFC 5280 section 4.2.1.10): which names an authority may vouch for.
//!
//! Read from the certificate itself, since that is what clients hold a leaf to, whatever the
//! configuration says by now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree as Found};

use super::name::LeafName;
use crate::config::Ca;

/// Names that are permitted, and names that are not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Constraints {
    permitted: Subtrees,
    excluded: Subtrees,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Subtrees {
    domains: Vec<String>,
    /// Address and mask, one behind the other.
    networks: Vec<Vec<u8>>,
}

/// What a new authority of these settings is constrained to.
pub(super) fn wanted(settings: &Ca) -> Option<NameConstraints> {
    if settings.domains.is_empty() {
        return None;
    }
    let domains = settings.domains.iter().cloned().map(GeneralSubtree::DnsName);
    let networks = settings.networks.iter();
    let networks = networks.map(|network| subnet(network.address, network.prefix));
    // Constraints on one form of name say nothing of another: addresses are ruled out in words.
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let excluded = match settings.networks.is_empty() {
        true => everywhere.map(|address| subnet(address, 0)).to_vec(),
        false => Vec::new(),
    };
    Some(NameConstraints {
        permitted_subtrees: domains.chain(networks).collect(),
        excluded_subtrees: excluded,
    })
}

fn subnet(address: IpAddr, prefix: u8) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, prefix))
}

impl Constraints {
    /// Those of a certificate.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Result<Self, String> {
        let found = certificate.name_constraints().map_err(|error| error.to_string())?;
        let Some(found) = found else { return Ok(Self::default()) };
        Ok(Self {
            permitted: Subtrees::of(found.value.permitted_subtrees.as_deref()),
            excluded: Subtrees::of(found.value.excluded_subtrees.as_deref()),
        })
    }

    /// Those that a new authority of these settings would have.
    pub(super) fn of_settings(settings: &Ca) -> Self {
        let Some(wanted) = wanted(settings) else { return Self::default() };
        let mut found = Self::default();
        for (place, subtrees) in [
            (&mut found.permitted, wanted.permitted_subtrees),
            (&mut found.excluded, wanted.excluded_subtrees),
        ] {
            for subtree in subtrees {
                match subtree {
                    GeneralSubtree::DnsName(domain) => place.domains.push(domain),
                    GeneralSubtree::IpAddress(CidrSubnet::V4(address, mask)) => {
                        place.networks.push([address, mask].concat());
                    }
                    GeneralSubtree::IpAddress(CidrSubnet::V6(address, mask)) => {
                        place.networks.push([address, mask].concat());
                    }
                    _ => {}
                }
            }
        }
        found
    }

    /// Whether a leaf for `name` would be valid under them.
    pub(super) fn allow(&self, name: &LeafName) -> bool {
        match name {
            LeafName::Dns(name) => {
                let within = |domains: &[String]| domains.iter().any(|domain| below(name, domain));
                let permitted = &self.permitted.domains;
                !within(&self.excluded.domains) && (permitted.is_empty() || within(permitted))
            }
            LeafName::Address(address) => {
                let within =
                    |networks: &[Vec<u8>]| networks.iter().any(|net| inside(*address, net));
                let permitted = &self.permitted.networks;
                !within(&self.excluded.networks) && (permitted.is_empty() || within(permitted))
            }
        }
    }

    /// The domains it is limited to; empty for none.
    pub(super) fn domains(&self) -> &[String] {
        &self.permitted.domains
    }
}

impl Subtrees {
    fn of(found: Option<&[Found<'_>]>) -> Self {
        let mut subtrees = Self::default();
        for subtree in found.unwrap_or_default() {
            match &subtree.base {
                GeneralName::DNSName(domain) => subtrees.domains.push(domain.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => subtrees.networks.push(bytes.to_vec()),
                // Forms of name that no leaf of ours has.
                _ => {}
            }
        }
        subtrees
    }
}

fn below(name: &str, domain: &str) -> bool {
    if domain.is_empty() {
        return true;
    }
    match name.strip_suffix(domain) {
        Some("") => true,
        Some(rest) => domain.starts_with('.') || rest.ends_with('.'),
        None => false,
    }
}

fn inside(address: IpAddr, network: &[u8]) -> bool {
    let address = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let Some((base, mask)) = network.split_at_checked(address.len()) else { return false };
    mask.len() == address.len()
        && address.iter().zip(base).zip(mask).all(|((byte, base), mask)| byte & mask == base & mask)
}
