//! Packet: where it goes, read from its headers.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::bindings::__sk_buff;
use sealtap_common::kernel::{Endpoint, family};

use crate::connect::MAPPED;

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

/// Reads the headers of a packet that begins with IP.
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
        let address = &mut packet.destination.address;
        let first = *start;
        let behind = match first >> 4 {
            4 => {
                packet.family = family::INET;
                packet.protocol = u32::from(*start.add(9));
                address[..12].copy_from_slice(&MAPPED);
                address[12..].copy_from_slice(&*start.add(16).cast::<[u8; 4]>());
                if u16::from_be_bytes([*start.add(6), *start.add(7)]) & OFFSET != 0 {
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
                address.copy_from_slice(&*start.add(24).cast::<[u8; 16]>());
                start.add(HEADER_6)
            }
            _ => return packet,
        };
        // A protocol without ports, or behind other headers, goes to no port.
        if (packet.protocol == TCP || packet.protocol == UDP) && behind.add(4) <= end {
            packet.source = u32::from(u16::from_be_bytes([*behind, *behind.add(1)]));
            let port = [*behind.add(2), *behind.add(3)];
            packet.destination.port = u32::from(u16::from_be_bytes(port));
        }
        packet
    }
}
