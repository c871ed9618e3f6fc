//! System: calls that no safe wrapper has, and that have nothing to do with the programs.
//!
//! In and out: addresses of frames and of virtual machines, for the canary; how well the clock is kept,
//! for the doctor. Each fails with what the system said.
#![expect(unsafe_code, reason = "the kernel's interface: addresses of two families, the clock")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

/// An address of a kind that only the kernel's own structures have.
///
/// # Safety
///
/// Any bytes of it may be read: it is `repr(C)`, made of integers alone, and has no padding.
unsafe trait Address: Sized {}

// SAFETY: two 16-bit, one signed 32-bit, one 16-bit, two 8-bit numbers and eight bytes, without padding.
unsafe impl Address for libc::sockaddr_ll {}
// SAFETY: two 16-bit and two 32-bit numbers, flags in a byte and three bytes of zeros, without padding.
unsafe impl Address for libc::sockaddr_vm {}

fn length_of<A: Address>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<A>()).unwrap_or_default()
}

fn checked(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a packet of IPv4 as a frame out of the device of that index.
pub(super) fn send_frame(socket: impl AsFd, device: u32, packet: &[u8]) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default(),
        sll_protocol: u16::try_from(libc::ETH_P_IP).unwrap_or_default().to_be(),
        sll_ifindex: device.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    // SAFETY: the kernel reads `packet` and `address`, each no longer than it is said to be.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn vsock_address(port: u32) -> libc::sockaddr_vm {
    // SAFETY: integers and bytes, of which zeros are some; the structure has fields that cannot be named.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::sa_family_t::try_from(libc::AF_VSOCK).unwrap_or_default();
    address.svm_port = port;
    address.svm_cid = libc::VMADDR_CID_LOCAL;
    address
}

/// Connects to a port of this very machine by its socket of virtual machines.
pub(super) fn connect_vsock(socket: impl AsFd, port: u32) -> io::Result<()> {
    let address = vsock_address(port);
    // SAFETY: the kernel reads `address`, which is as long as is said.
    checked(unsafe {
        libc::connect(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            length_of::<libc::sockaddr_vm>(),
        )
    })
}

/// Listens there on a port that the system chooses.
pub(super) fn vsock_listener() -> io::Result<(OwnedFd, u32)> {
    let (family, kind) = (rustix::net::AddressFamily::VSOCK, rustix::net::SocketType::STREAM);
    let socket = rustix::net::socket(family, kind, None)?;
    let mut address = vsock_address(libc::VMADDR_PORT_ANY);
    let mut length = length_of::<libc::sockaddr_vm>();
    let descriptor = socket.as_raw_fd();
    // SAFETY: the kernel reads `address`, which is as long as is said.
    checked(unsafe { libc::bind(descriptor, (&raw const address).cast(), length) })?;
    rustix::net::listen(&socket, 4)?;
    // SAFETY: the kernel writes at most `length` bytes into `address`, and any bytes are one.
    checked(unsafe { libc::getsockname(descriptor, (&raw mut address).cast(), &raw mut length) })?;
    Ok((socket, address.svm_port))
}

/// How well the machine's clock is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Whether something keeps it.
    pub synchronised: bool,
    /// How far off it may be, as far as the kernel knows.
    pub error: Duration,
}

/// Asks the kernel how well the clock is kept.
///
/// # Errors
///
/// Whatever the system says.
pub fn clock() -> io::Result<Clock> {
    // SAFETY: integers, of which zeros are some; no mode is set, so that nothing is changed.
    let mut asked: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex`, and any bytes are one.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    checked(state)?;
    let synchronised = state != libc::TIME_ERROR && asked.status & libc::STA_UNSYNC == 0;
    let error = Duration::from_micros(u64::try_from(asked.maxerror).unwrap_or(u64::MAX));
    Ok(Clock { synchronised, error })
}
