//! Kernel: the part of the gateway that asks the kernel instead of the app.
//!
//! ```text
//!   sealtap run / serve                          sealtap kernel loader
//!   [`Observer`]   ── socket pair, `message` ──▶ loads, attaches, looks processes up
//!       │                                            │
//!   transparent listeners ◀── redirected ── programs at the root cgroup (`ebpf/`)
//! ```
//!
//! In: a cgroup to watch and the port of the transparent listener. Out: every TCP connection of that
//! cgroup arrives at the listener with a record of where it was meant to go and who made it
//! ([`flow_of`]); everything else that leaves by IP is counted ([`Observer::count`]) and told of
//! ([`Observer::bypasses`]). Fails as a whole or not at all: a program that cannot be attached takes
//! the others with it. Never: the loader parses nothing that a watched program wrote but its own
//! entries in `/proc`, and the gateway holds no descriptor of a program or map.
//!
//! Programs are attached while the loader lives and not longer: nothing is pinned.

pub mod canary;
mod cgroup;
mod loader;
mod message;
mod observer;
mod process;
mod programs;
mod raw;
mod scope;
mod scopes;
mod statements;
mod tried;

#[cfg(test)]
mod tests;

pub use self::cgroup::{CgroupError, OwnCgroup};
pub use self::loader::run as run_loader;
pub use self::message::{Armed, Bypass, Counted, Process, ProgramAt};
pub use self::observer::{Loader, Observer, ObserverError};
pub use self::raw::{Clock, Joining, clock, flow_of};
pub use self::scope::{Found, Hierarchy};
pub use self::scopes::{Scopes, ScopesError};
pub use self::statements::{Last, Statements};
pub use self::tried::{Attempt, attempts, run as run_tries};

use std::net::{Ipv6Addr, SocketAddr};

use sealtap_common::kernel::Endpoint;

/// The kernel programs as they are committed.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../ebpf/sealtap.bpf.o");

/// The address that an endpoint stands for; IPv4 as itself.
#[must_use]
pub fn address_of(endpoint: &Endpoint) -> Option<SocketAddr> {
    let port = u16::try_from(endpoint.port).ok()?;
    Some(SocketAddr::new(Ipv6Addr::from(endpoint.address).to_canonical(), port))
}

/// Where the machine asks for names: the first server of its resolver's configuration.
#[must_use]
pub fn system_resolver() -> Option<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    let server = text.lines().find_map(|line| line.trim().strip_prefix("nameserver"))?;
    Some(SocketAddr::new(server.trim().parse().ok()?, 53))
}
