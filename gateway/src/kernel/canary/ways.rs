//! The ways out, each tried once.
//!
//! In: where the target is. Out: for each way whether somebody answered, and who; whether the system
//! refused; or that nothing came of it. Nothing is sent but to the loopback, and frames by a device that leads
//! nowhere but to the canary; a byte or a packet at most.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, ipproto, sendto, socket};
use sealtap_common::leaf::CanaryWay;
use serde::{Deserialize, Serialize};

use super::super::system::{connect_vsock, send_frame};

/// What the target says, and what the listener says that the kernel leads to.
pub(super) const DIRECT: u8 = b'd';
pub(super) const LED: u8 = b'g';

/// How long an answer on the same machine may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same where none may come.
const SHORT: Duration = Duration::from_millis(400);

/// `MSG_FASTOPEN` of the kernel's `socket.h`.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// Where the target is: ports on the loopback, and the device by which frames reach it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Targets {
    pub(super) tcp4: u16,
    pub(super) tcp6: Option<u16>,
    pub(super) udp4: u16,
    pub(super) udp6: Option<u16>,
    pub(super) vsock: Option<u32>,
    pub(super) device: Option<u32>,
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The listener answered that the kernel leads to.
    Led,
    /// The target answered.
    Reached,
    /// It was sent, and no answer came, or none can.
    Sent,
    /// The system refused.
    Denied,
    /// Nothing came of it otherwise.
    Failed,
}

/// Tries one way.
pub(super) fn attempt(way: CanaryWay, targets: &Targets) -> Answer {
    let tried = match way {
        CanaryWay::Tcp4 => tcp(v4(targets.tcp4), None),
        CanaryWay::Tcp6 => within(targets.tcp6, |port| tcp(v6(port), None)),
        CanaryWay::TcpMapped => tcp(mapped(targets.tcp4), None),
        CanaryWay::FastOpen => fast_open(v4(targets.tcp4)),
        CanaryWay::Multipath => tcp(v4(targets.tcp4), Some(ipproto::MPTCP)),
        CanaryWay::Udp4Connected => udp(v4(targets.udp4), true),
        CanaryWay::Udp4 => udp(v4(targets.udp4), false),
        CanaryWay::Udp6 => within(targets.udp6, |port| udp(v6(port), false)),
        CanaryWay::UdpMapped => udp(mapped(targets.udp4), false),
        CanaryWay::Raw4 => raw(targets.udp4),
        CanaryWay::Packet => within(targets.device, |device| frame(device, targets.udp4)),
        CanaryWay::Vsock => within(targets.vsock, vsock),
    };
    tried.unwrap_or_else(|error| match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => Answer::Denied,
        _ => Answer::Failed,
    })
}

fn v4(port: u16) -> SocketAddr {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into()
}

fn v6(port: u16) -> SocketAddr {
    SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, 0).into()
}

fn mapped(port: u16) -> SocketAddr {
    SocketAddrV6::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port, 0, 0).into()
}

fn within<T>(port: Option<T>, way: impl FnOnce(T) -> io::Result<Answer>) -> io::Result<Answer> {
    way(port.ok_or(io::ErrorKind::AddrNotAvailable)?)
}

fn family(to: &SocketAddr) -> AddressFamily {
    if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A socket of TCP that waits for nothing longer than this may take.
fn stream(to: &SocketAddr, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let made = socket(family(to), SocketType::STREAM, protocol)?;
    for side in [Timeout::Send, Timeout::Recv] {
        sockopt::set_socket_timeout(&made, side, Some(PATIENCE))?;
    }
    Ok(made)
}

fn tcp(to: SocketAddr, protocol: Option<Protocol>) -> io::Result<Answer> {
    let made = stream(&to, protocol)?;
    rustix::net::connect(&made, &to)?;
    heard(made)
}

fn fast_open(to: SocketAddr) -> io::Result<Answer> {
    let made = stream(&to, None)?;
    sendto(&made, b"x", FAST_OPEN, &to)?;
    heard(made)
}

/// Who answers.
fn heard(made: OwnedFd) -> io::Result<Answer> {
    let mut byte = [0];
    TcpStream::from(made).read_exact(&mut byte)?;
    Ok(match byte {
        [LED] => Answer::Led,
        [DIRECT] => Answer::Reached,
        _ => Answer::Failed,
    })
}

fn udp(to: SocketAddr, connected: bool) -> io::Result<Answer> {
    let made = UdpSocket::from(socket(family(&to), SocketType::DGRAM, None)?);
    made.set_read_timeout(Some(SHORT))?;
    match connected {
        true => {
            made.connect(to)?;
            made.send(b"x")?;
        }
        false => {
            made.send_to(b"x", to)?;
        }
    }
    Ok(echoed(&made))
}

fn echoed(made: &UdpSocket) -> Answer {
    let mut byte = [0];
    match made.recv(&mut byte) {
        Ok(_) => Answer::Reached,
        Err(_) => Answer::Sent,
    }
}

/// A datagram whose header this process writes; the echo comes to a socket that is only listened at.
fn raw(to: u16) -> io::Result<Answer> {
    let made = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
    let ear = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    ear.set_read_timeout(Some(SHORT))?;
    let packet = datagram(ear.local_addr()?.port(), to);
    sendto(&made, &packet, SendFlags::empty(), &v4(0))?;
    Ok(echoed(&ear))
}

/// The same as a frame, by a device whose other end is the canary. The loopback's would say nothing: nothing
/// leaves the machine by it, and no filter stands there.
fn frame(device: u32, to: u16) -> io::Result<Answer> {
    let made = socket(AddressFamily::PACKET, SocketType::DGRAM, None)?;
    let ear = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    ear.set_read_timeout(Some(PATIENCE))?;
    match send_frame(&made, device, &datagram(ear.local_addr()?.port(), to)) {
        // What the kernel says to the sender of a frame that a filter at the device drops.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
            return Ok(Answer::Denied);
        }
        sent => sent?,
    }
    // Each that leaves is answered: without an answer nothing is known, and it is not said to have gone.
    Ok(match echoed(&ear) {
        Answer::Reached => Answer::Reached,
        _ => Answer::Failed,
    })
}

/// The port that a packet of [`datagram`] came from, if it is one for the port `to`.
pub(super) fn sender(packet: &[u8], to: u16) -> Option<u16> {
    let port = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let is_ours = packet.len() == LENGTH && packet.first() == Some(&0x45) && port(22)? == to;
    is_ours.then(|| port(20))?
}

fn vsock(port: u32) -> io::Result<Answer> {
    let made = socket(AddressFamily::VSOCK, SocketType::STREAM, None)?;
    for side in [Timeout::Send, Timeout::Recv] {
        sockopt::set_socket_timeout(&made, side, Some(PATIENCE))?;
    }
    connect_vsock(&made, port)?;
    heard(made)
}

/// Bytes of a [`datagram`]: the headers of IPv4 and UDP, and one more.
const LENGTH: usize = 29;

/// One byte by UDP from port to port of the loopback, in a header of IPv4 (RFC 791, RFC 768).
fn datagram(from: u16, to: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    let words = packet.chunks_exact(2).map(|word| match word {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff).saturating_add(sum >> 16);
    let checksum = u16::try_from(folded & 0xffff).map_or(0, |sum| !sum);
    packet.splice(10..12, checksum.to_be_bytes());
    for part in [from, to, 9, 0] {
        packet.extend(part.to_be_bytes());
    }
    packet.push(b'x');
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_as_long_as_it_says_and_adds_up() {
        let packet = datagram(1, 2);
        assert_eq!(packet.len(), usize::from(packet[3]));
        let sum: u32 = packet[..20]
            .chunks(2)
            .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
            .sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!((packet.len(), sender(&packet, 2)), (LENGTH, Some(1)));
        assert_eq!(
            (sender(&packet, 3), sender(&packet[..28], 2), sender(&[], 2)),
            (None, None, None)
        );
    }

    /// Where nobody watches, every plain way reaches a target that is there.
    #[test]
    fn plain_ways_reach_their_target() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (tcp4, udp) = (listener.local_addr().unwrap().port(), UdpSocket::bind("127.0.0.1:0"));
        let udp = udp.unwrap();
        let udp4 = udp.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Who did not wait for it tries again.
                let _ = io::Write::write_all(&mut stream.unwrap(), &[DIRECT]);
            }
        });
        std::thread::spawn(move || {
            let mut byte = [0];
            while let Ok((_, from)) = udp.recv_from(&mut byte) {
                let _ = udp.send_to(&[DIRECT], from);
            }
        });
        let targets = Targets { tcp4, tcp6: None, udp4, udp6: None, vsock: None, device: None };
        // An answer is waited for for a moment only, in which a busy machine may let no other thread go on.
        let begin = std::time::Instant::now();
        for way in [CanaryWay::Tcp4, CanaryWay::Udp4, CanaryWay::Udp4Connected] {
            let late = if way == CanaryWay::Tcp4 { Answer::Failed } else { Answer::Sent };
            let mut answer = attempt(way, &targets);
            while answer == late && begin.elapsed() < Duration::from_secs(20) {
                answer = attempt(way, &targets);
            }
            assert_eq!(answer, Answer::Reached, "{way:?}");
        }
        for way in [CanaryWay::Tcp6, CanaryWay::Packet] {
            assert_eq!(attempt(way, &targets), Answer::Failed, "{way:?}: there is none");
        }
    }
}
