//! Uplink: frames that leave the machine without a packet of IP that anybody saw.
//!
//! What a socket of IP sends was looked at before ([`crate::egress`]) and passes; a frame of another
//! socket in scope, such as one of the packet family, went below all of it.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::bindings::bpf_hdr_start_off;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes_relative;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use sealtap_common::kernel::{Endpoint, family, mode, way};

use crate::connect::MAPPED;
use crate::count::{self, Unit};
use crate::egress::event;
use crate::scope;

/// The verdicts of this hook: to whatever comes next, or nowhere.
const NEXT: i32 = -1;
const DROP: i32 = 2;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

#[classifier]
fn sealtap_uplink(context: TcContext) -> i32 {
    frame(&context)
}

#[inline(always)]
fn frame(context: &TcContext) -> i32 {
    let buffer = context.skb.skb;
    // SAFETY: the context's socket, checked against null, and one of its fields.
    let own = unsafe {
        let socket = read_volatile(addr_of!((*buffer).__bindgen_anon_2.sk));
        if socket.is_null() {
            return NEXT;
        }
        read_volatile(addr_of!((*socket).family))
    };
    if own == family::INET || own == family::INET6 {
        return NEXT;
    }
    let Some(settings) = scope::settings() else { return NEXT };
    let Some(scope) = scope::of_packet(settings, buffer) else { return NEXT };
    let enforce = scope.watch.mode == mode::ENFORCE;
    count::around(settings, Unit::Packet, enforce, || {
        let mut event = event(buffer, &scope, way::FRAME);
        // SAFETY: the context's field, read by itself.
        let kind = unsafe { read_volatile(addr_of!((*buffer).protocol)) };
        event.protocol = u16::from_be(kind as u16);
        event.family = own;
        event.destination = destination(context, event.protocol);
        event
    });
    if enforce { DROP } else { NEXT }
}

/// Where the packet in the frame goes; nowhere that could be told where there is none.
#[inline(always)]
fn destination(context: &TcContext, kind: u16) -> Endpoint {
    let mut endpoint = Endpoint::default();
    let address = &mut endpoint.address;
    // SAFETY: the helper writes as many bytes as it is told, into room for as many, or none.
    unsafe {
        let start = bpf_hdr_start_off::BPF_HDR_START_NET;
        let buffer = context.skb.skb.cast();
        if kind == IPV4 {
            let mut last = [0_u8; 4];
            if bpf_skb_load_bytes_relative(buffer, 16, last.as_mut_ptr().cast(), 4, start) == 0 {
                address[..12].copy_from_slice(&MAPPED);
                address[12..].copy_from_slice(&last);
            }
        } else if kind == IPV6 {
            let _ = bpf_skb_load_bytes_relative(buffer, 24, address.as_mut_ptr().cast(), 16, start);
        }
    }
    endpoint
}
