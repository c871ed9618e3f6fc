//! Inherited: sockets that whoever started sealtap left open for the command.
//!
//! In: this process's descriptors. Out: none of those that a child would get is a socket of the network:
//! what was connected before would go around. Fails where one of the three standard ones is.

use std::fs;
use std::os::fd::RawFd;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::AddressFamily;
use rustix::net::sockopt::socket_domain;

use super::raw::with_descriptor;

/// Keeps them from children; gives how many there were.
///
/// # Errors
///
/// The number of a standard one that is such a socket.
pub fn close_sockets() -> Result<usize, RawFd> {
    let mut kept = 0;
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        let Some(number) = number else { continue };
        let goes_on = with_descriptor(number, |descriptor| {
            let flags = fcntl_getfd(descriptor).unwrap_or(FdFlags::CLOEXEC);
            let local = [AddressFamily::UNIX, AddressFamily::NETLINK];
            let network = socket_domain(descriptor).is_ok_and(|domain| !local.contains(&domain));
            let goes_on = network && !flags.contains(FdFlags::CLOEXEC);
            if goes_on && number > 2 {
                // It is open, so this cannot fail.
                let _ = fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC);
            }
            goes_on
        });
        match goes_on {
            true if number <= 2 => return Err(number),
            true => kept += 1,
            false => {}
        }
    }
    Ok(kept)
}
