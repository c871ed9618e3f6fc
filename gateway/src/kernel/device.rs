//! A device of this machine's network that leads nowhere but to whoever holds it.
//!
//! In: the right to administer this network namespace. Out: a device that is up, has no address and no
//! route, and whose frames the holder reads. It is gone with its descriptor, however the holder ends.
//! Fails with what the system said, among other things that the kernel has no such devices.
#![expect(unsafe_code, reason = "the kernel's interface: devices are made and set up by ioctl")]

use std::fs::{File, OpenOptions, write};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// What makes them (`tuntap.rst` of the kernel).
const MAKER: &str = "/dev/net/tun";

/// What it is called; the kernel puts a number at the end.
const NAME: &[u8] = b"sealtap%d";

/// A device, and the end that its frames come out at.
pub(super) struct Device {
    /// Its number.
    pub(super) index: u32,
    /// Where what leaves by it is read, one packet at a time.
    pub(super) end: File,
}

/// Makes one.
pub(super) fn make() -> io::Result<Device> {
    let end = OpenOptions::new().read(true).write(true).open(MAKER)?;
    // SAFETY: numbers, bytes and a pointer that nobody follows, of each of which zeros are one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(NAME) {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = flags(libc::IFF_TUN | libc::IFF_NO_PI);
    ask(&end, libc::TUNSETIFF, &mut request)?;
    let name: Vec<u8> = request.ifr_name.iter().map(|byte| byte.cast_unsigned()).collect();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    // Nobody speaks IPv6 there; where that cannot be said, it asks for routers that never answer.
    let _ = write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    request.ifr_ifru.ifru_flags = flags(libc::IFF_UP | libc::IFF_NOARP);
    ask(&socket, libc::SIOCSIFFLAGS, &mut request)?;
    let index = rustix::net::netdevice::name_to_index(&socket, &name)?;
    Ok(Device { index, end })
}

fn flags(of: libc::c_int) -> libc::c_short {
    libc::c_short::try_from(of).unwrap_or_default()
}

fn ask(at: impl AsFd, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: each of these calls reads and writes one `ifreq` and keeps nothing of it.
    let answer = unsafe { libc::ioctl(at.as_fd().as_raw_fd(), what, &raw mut *request) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
