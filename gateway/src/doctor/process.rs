//! What a process may have here: descriptors, addresses.

use std::net::{SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::{Config, KernelMode};
use crate::kernel::Scopes;

/// Open files below which many clients find no room.
const FILES: u64 = 4_096;

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let mut found = vec![descriptors(), port(config.listen), families()];
    let observe = config.observe.listen.filter(|_| config.observe.enabled);
    found.extend(observe.map(port));
    if config.kernel.mode != KernelMode::Off {
        found.push(scopes(config));
    }
    found
}

fn descriptors() -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum;
    match limit {
        Some(limit) if limit < FILES => Finding::short(
            "descriptors",
            format!("at most {limit}: room for {} clients at once", limit / 4),
            "raise the hard limit: LimitNOFILE=65536 in the unit, or ulimit -Hn",
        ),
        Some(limit) => Finding::well("descriptors", format!("at most {limit}")),
        None => Finding::well("descriptors", "without limit"),
    }
}

fn port(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::well("port", format!("{address} can be listened on")),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Finding::short(
            "port",
            format!("{address} cannot be listened on: {error}"),
            "start as root with `user` in [serve], which keeps the listener and gives up root; or \
             choose a port from 1024 on",
        ),
        Err(error) => Finding::short(
            "port",
            format!("{address} cannot be listened on: {error}"),
            "stop what listens there (a gateway that runs?), or choose another with --listen ADDRESS",
        ),
    }
}

fn families() -> Finding {
    match TcpListener::bind(("::1", 0)) {
        Ok(_) => Finding::well("ipv6", "both families have a loopback"),
        Err(error) => Finding::short(
            "ipv6",
            format!("no loopback of IPv6 ({error}): what is led there over IPv6 is refused"),
            "sysctl net.ipv6.conf.lo.disable_ipv6=0, unless nothing here speaks IPv6",
        ),
    }
}

fn scopes(config: &Config) -> Finding {
    match Scopes::check(&config.kernel.scopes) {
        Ok(()) => Finding::well("scopes", "none holds this process"),
        Err(error) => Finding::short(
            "scopes",
            error.to_string(),
            "run the gateway in a cgroup beside them (a systemd service has its own)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_a_shortfall() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port(address).state, State::Short);
        drop(taken);
        // A child that another test starts just now has it as well, until it executes.
        let begin = std::time::Instant::now();
        while port(address).state != State::Well {
            assert!(begin.elapsed().as_secs() < 20, "{:?}", port(address).what);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}
