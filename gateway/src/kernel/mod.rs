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
//! ([`Observer::bypasses`]), and what asks the resolver is read ([`names`]). Fails as a whole or not at
//! all: a program that cannot be attached takes the others with it. Never: the loader parses nothing that a watched program wrote but its own
//! entries in `/proc`, and the gateway holds no descriptor of a program or map.
//!
//! Programs are attached while the loader lives and not longer, except in enforce mode: there their links are
//! pinned (`pins`), so that what a dead gateway had closed stays closed, and the command begins behind a
//! fence (`fence`), so that it cannot open it.

mod around;
mod arrivals;
mod banks;
pub mod canary;
mod cgroup;
mod contents;
mod counting;
mod depth;
mod device;
mod digests;
mod domain;
mod execs;
mod families;
mod fence;
mod grace;
mod hearing;
mod held;
mod hidden;
mod hooks;
mod inherited;
mod left;
mod loader;
mod looked;
mod looking;
mod message;
mod mounts;
pub mod names;
mod observer;
mod older;
mod pins;
mod process;
mod programs;
mod raw;
mod readers;
mod readings;
mod scope;
mod scopes;
mod shares;
mod standing;
mod starting;
mod stated;
mod statements;
mod system;
mod tried;
mod unobserved;
mod unread;
mod uplinks;
mod waiting;
mod watched;
mod whose;

#[cfg(test)]
mod tests;

pub use self::around::Around;
pub use self::cgroup::{CgroupError, Ending, OwnCgroup};
pub use self::fence::{Fence, FenceError, User};
pub use self::inherited::{Standard, standard};
pub use self::left::left;
pub use self::loader::run as run_loader;
pub use self::message::{Armed, Bypass, Counted, Foreign, NamesCounted, Process, ProgramAt};
pub use self::observer::Observer;
pub use self::pins::{Instance, PinsError, prepare as prepare_pins, remove as remove_pins};
pub use self::raw::{Joining, bytes_of, flow_of};
pub use self::scope::{Found, Hierarchy, Seen};
pub use self::scopes::{Scopes, ScopesError};
pub use self::standing::{detach, status};
pub use self::starting::Loader;
pub use self::statements::{Last, Statements, Terms};
pub use self::system::{Clock, clock};
pub use self::tried::{Attempt, attempts, run as run_tries};
pub use self::unobserved::ObserverError;
pub use self::unread::Unread;
pub use self::whose::Whose;

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
