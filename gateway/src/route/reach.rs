//! What may be connected to: decided on the very address that is dialled, never on a name alone.
//!
//! In: the host a client named, and one address it resolved to. Out: nothing, or [`Forbidden`].
//! Addresses at which clouds hand out a machine's credentials and link-local addresses are refused
//! by default; loopback and private ranges are allowed; the gateway's own listener never is. Asks
//! the system one thing: whether an address is this machine's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::config::AddressRange;

/// Names by which clouds publish the metadata service of a machine.
const METADATA_NAMES: [&str; 7] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "metadata.platformequinix.com",
    "instance-data.ec2.internal",
];

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32) -> AddressRange {
    AddressRange::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits)
}

const fn v6(segments: [u16; 8], bits: u32) -> AddressRange {
    let [a, b, c, d, e, f, g, h] = segments;
    AddressRange::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), bits)
}

/// Link-local addresses, which hold most metadata services (169.254.169.254, 169.254.170.2), and
/// those outside of them.
const REFUSED: [AddressRange; 8] = [
    v4(169, 254, 0, 0, 16),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // Amazon (IMDS, ECS), Google, Alibaba, Azure, Oracle.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    v4(100, 100, 100, 200, 32),
    v4(168, 63, 129, 16, 32),
    v4(192, 0, 0, 192, 32),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128),
];

/// Why an address is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is where a machine's own credentials are handed out, or link-local.
    #[error("{0} is a metadata or link-local address; `[proxy] allow` can let it through")]
    Metadata(IpAddr),
    /// The configuration says so.
    #[error("{0} is in a network that `[proxy] deny` lists")]
    Denied(IpAddr),
    /// It is the gateway itself.
    #[error("{0} is this gateway: the request would come back to it")]
    Loop(SocketAddr),
}

/// What may be connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    allow: Vec<AddressRange>,
    deny: Vec<AddressRange>,
    /// Where the gateway itself listens.
    own: Option<SocketAddr>,
}

impl Reach {
    /// The defaults, loosened by `allow` and narrowed by `deny`, for a gateway that listens on `own`.
    #[must_use]
    pub fn new(allow: &[AddressRange], deny: &[AddressRange], own: SocketAddr) -> Self {
        Self { allow: allow.to_vec(), deny: deny.to_vec(), own: Some(own) }
    }

    /// The same for a gateway that listens on `own`.
    #[must_use]
    pub fn bound_to(self, own: SocketAddr) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Whether `address`, to which `host` resolved, may be dialled for a client that chose it.
    ///
    /// # Errors
    /// [`Forbidden`] says why not.
    pub fn chosen(&self, host: &str, address: SocketAddr) -> Result<(), Forbidden> {
        let ip = ends_at(meant(address.ip()));
        if self.deny.iter().any(|network| network.contains(ip)) {
            return Err(Forbidden::Denied(ip));
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let refused = METADATA_NAMES.contains(&name.as_str())
            || REFUSED.iter().any(|network| network.contains(ip));
        if refused && !self.allow.iter().any(|network| network.contains(ip)) {
            return Err(Forbidden::Metadata(ip));
        }
        self.configured(address)
    }

    /// Whether `address` may be dialled for an upstream that the operator has configured: only the
    /// gateway itself may not.
    ///
    /// # Errors
    /// [`Forbidden::Loop`].
    pub fn configured(&self, address: SocketAddr) -> Result<(), Forbidden> {
        let Some(own) = self.own.filter(|own| own.port() == address.port()) else { return Ok(()) };
        let (listened, ip) = (meant(own.ip()), meant(address.ip()));
        let is_own = if listened.is_unspecified() {
            ip.is_unspecified() || ip.is_loopback() || is_of_this_machine(ip)
        } else {
            // Dialling no address in particular ends at loopback.
            ip == listened || ip.is_unspecified() && listened.is_loopback()
        };
        if is_own { Err(Forbidden::Loop(SocketAddr::new(ip, address.port()))) } else { Ok(()) }
    }
}

/// Where a connection to no address in particular ends: on this machine, so that whoever denies
/// loopback has denied these, too.
fn ends_at(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    }
}

/// The address that a connection to `address` ends at: IPv4 may be wrapped in IPv6 in seven ways
/// (RFC 4291 section 2.5.5, RFC 6052 section 2.1, RFC 8215, RFC 2765 section 2.1, RFC 3056 section 2,
/// RFC 5214 section 6.1).
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let bits = u32::from(high) << 16 | u32::from(low);
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => v4(g, h),
        (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) => v4(g, h),
        (_, _, _, _, 0 | 0x200, 0x5efe) => v4(g, h),
        // `::` and `::1` are not IPv4 in disguise.
        (0, 0, 0, 0, 0, 0) if (g, h) != (0, 0) && (g, h) != (0, 1) => v4(g, h),
        (0x2002, ..) => v4(b, c),
        _ => address,
    }
}

/// Whether one of this machine's interfaces has the address: only then can it be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(own: &str) -> Reach {
        Reach::new(&[], &[], own.parse().unwrap())
    }

    fn refused(address: &str) -> Option<Forbidden> {
        let address = SocketAddr::new(address.parse().unwrap(), 80);
        reach("127.0.0.1:4141").chosen("host.example", address).err()
    }

    #[test]
    fn metadata_and_link_local_are_refused_in_every_disguise() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.1.1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:7::a9fe:a9fe",
            "::ffff:0:169.254.169.254",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:a9fe:a9fe",
        ] {
            assert!(matches!(refused(address), Some(Forbidden::Metadata(_))), "{address}");
        }
    }

    #[test]
    fn loopback_private_and_public_addresses_are_allowed() {
        for address in
            ["127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "203.0.113.9"]
        {
            assert_eq!(refused(address), None, "{address}");
        }
    }

    #[test]
    fn a_metadata_name_is_refused_wherever_it_leads() {
        let reach = reach("127.0.0.1:4141");
        let address = "203.0.113.9:80".parse().unwrap();
        for name in ["metadata.google.internal", "Metadata.Google.Internal.", "metadata"] {
            assert!(reach.chosen(name, address).is_err(), "{name}");
        }
        assert!(reach.chosen("metadata.example.com", address).is_ok());
    }

    #[test]
    fn allow_loosens_and_deny_wins() {
        let network = |text: &str| text.parse::<AddressRange>().unwrap();
        let own = "127.0.0.1:4141".parse().unwrap();
        let allow = [network("169.254.7.0/24"), network("10.0.0.0/8")];
        let reach = Reach::new(&allow, &[network("10.1.0.0/16")], own);
        let may = |address: &str| reach.chosen("a.example", address.parse().unwrap());
        assert!(may("169.254.7.9:80").is_ok());
        assert!(may("169.254.8.9:80").is_err());
        assert!(may("10.2.0.1:80").is_ok());
        assert_eq!(may("10.1.0.1:80"), Err(Forbidden::Denied("10.1.0.1".parse().unwrap())));
        assert!(may("[::ffff:10.1.0.1]:80").is_err());
    }

    #[test]
    fn loopback_that_is_denied_is_denied_without_an_address_too() {
        let network = |text: &str| text.parse::<AddressRange>().unwrap();
        let deny = [network("127.0.0.0/8"), network("::1/128")];
        let reach = Reach::new(&[], &deny, "127.0.0.1:4141".parse().unwrap());
        for address in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::1]:80", "[::ffff:0.0.0.0]:80"]
        {
            assert!(reach.chosen("a.example", address.parse().unwrap()).is_err(), "{address}");
        }
    }

    #[test]
    fn the_gateway_does_not_dial_itself() {
        let dials =
            |own: &str, address: &str| reach(own).configured(address.parse().unwrap()).is_err();
        assert!(dials("127.0.0.1:4141", "127.0.0.1:4141"));
        assert!(dials("127.0.0.1:4141", "[::ffff:127.0.0.1]:4141"));
        assert!(dials("127.0.0.1:4141", "0.0.0.0:4141"));
        assert!(dials("[::1]:4141", "[::]:4141"));
        assert!(!dials("127.0.0.1:4141", "127.0.0.1:4142"));
        assert!(!dials("192.0.2.1:4141", "127.0.0.1:4141"));
        assert!(dials("0.0.0.0:4141", "127.0.0.1:4141"));
        assert!(dials("0.0.0.0:4141", "127.9.9.9:4141"));
        assert!(dials("[::]:4141", "127.0.0.1:4141"));
        assert!(dials("[::]:4141", "[::1]:4141"));
        assert!(!dials("0.0.0.0:4141", "192.0.2.1:4141"));
    }
}
