//! Packet: where it goes, read from its headers.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::bindings::__sk_buff;
use sealtap_common::kernel::{Endpoint, family};

/// The number of TCP within IP.
pub(crate) const TCP: u32 = 6;
/// The number of UDP within IP.
pub(crate) const UDP: u32 = 17;
/// The type of a socket with a connection.
pub(crate) const STREAM: u32 = 1;

const HEADER_4: usize = 20;
const HEADER_6: usize = 40;
/// The part of IPv4's fragment word that says where in the whole a fragment begins.
const OFFSET: u16 = 0x1fff;

/// What the headers of a packet say; all zero where it does not begin with IP, rather than nothing: Linux
/// before 6.3 refuses a program that moves what was never written.
#[derive(Clone, Copy, Default)]
pub(crate) struct Packet {
    /// Where it goes; without a port where its headers name none.
    pub(crate) destination: Endpoint,
    /// The port that it comes from; 0 where its headers name none.
    pub(crate) source: u32,
    /// The family; 0 where it does not begin with IP.
    pub(crate) family: u32,
    /// The protocol within IP.
    pub(crate) protocol: u32,
}

/// Reads the headers of a packet that begins with IP, by words and halves of them, as the kernel itself does.
#[inline(always)]
pub(crate) fn parse(buffer: *mut __sk_buff) -> Packet {
    let mut packet = Packet::default();
    // SAFETY: the context's two bounds, each read by itself; every read lies between them, which is
    // what the verifier demands.
    unsafe {
        let start = read_volatile(addr_of!((*buffer).data)) as usize as *const u8;
        let end = read_volatile(addr_of!((*buffer).data_end)) as usize as *const u8;
        if start.add(HEADER_4) > end {
            return packet;
        }
        let first = *start;
        let behind = match first >> 4 {
            4 => {
                packet.family = family::INET;
                packet.protocol = u32::from(*start.add(9));
                let address = [0, 0, MAPPED_WORD, word(start, 16)];
                packet.destination.address = bytes(address);
                if u16::from_be(half(start, 6)) & OFFSET != 0 {
                    return packet;
                }
                start.add(usize::from(first & 15) * 4)
            }
            6 => {
                if start.add(HEADER_6) > end {
                    return packet;
                }
                packet.family = family::INET6;
                packet.protocol = u32::from(*start.add(6));
                let address = [word(start, 24), word(start, 28), word(start, 32), word(start, 36)];
                packet.destination.address = bytes(address);
                start.add(HEADER_6)
            }
            _ => return packet,
        };
        // A protocol without ports, or behind other headers, goes to no port.
        if (packet.protocol == TCP || packet.protocol == UDP) && behind.add(4) <= end {
            packet.source = u32::from(u16::from_be(half(behind, 0)));
            packet.destination.port = u32::from(u16::from_be(half(behind, 2)));
        }
        packet
    }
}

/// The third word of an IPv4 address within IPv6.
pub(crate) const MAPPED_WORD: u32 = 0xffff_u32.to_be();

/// An address of words that are in network byte order.
#[inline(always)]
pub(crate) fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: sixteen bytes each, and any are both.
    unsafe { core::mem::transmute(words) }
}

/// The word there, as it lies.
///
/// # Safety
///
/// It is there. It need not be aligned: the kernel's programs may read any word of a packet.
#[inline(always)]
unsafe fn word(start: *const u8, at: usize) -> u32 {
    // SAFETY: the caller says so.
    unsafe { read_volatile(start.add(at).cast()) }
}

/// Half a word there, as it lies.
///
/// # Safety
///
/// As above.
#[inline(always)]
unsafe fn half(start: *const u8, at: usize) -> u16 {
    // SAFETY: the caller says so.
    unsafe { read_volatile(start.add(at).cast()) }
}
