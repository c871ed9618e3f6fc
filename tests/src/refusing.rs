//! Refusing: a port where nobody listens, and where nobody else comes to listen either.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// A port of the loopback that is taken and does not listen: who connects is refused for as long as it is held.
pub struct Refusing {
    _held: OwnedFd,
    address: SocketAddr,
}

impl Refusing {
    /// Takes one.
    ///
    /// # Panics
    /// If none can be had.
    #[expect(clippy::new_without_default, reason = "it takes a port")]
    pub fn new() -> Self {
        let held = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let address = getsockname(&held).expect("a socket has an address");
        let address = SocketAddr::try_from(address).expect("an address of IPv4");
        Self { _held: held, address }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
