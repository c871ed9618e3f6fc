//! Egress: every packet that leaves a socket, whatever way it came about.
//!
//! Connections that were sent to the gateway pass here as well, and are known by their sockets. What
//! else is in scope went around: raw sockets, connections that are older than the programs, datagrams.

use core::ptr::{addr_of, null_mut, read_volatile};

use aya_ebpf::bindings::{__sk_buff, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock};
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_get_socket_uid, bpf_ktime_get_boot_ns, bpf_sk_fullsock,
    bpf_sk_storage_get, bpf_skb_cgroup_id,
};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use sealtap_common::kernel::{Flow, FlowKey, Settings, flag, mode, way};

use crate::count::{self, Became, Unit};
use crate::flow::ANY;
use crate::maps::{CONNECTIONS, SOCKETS};
use crate::names;
use crate::packet::{self, Packet, STREAM, TCP, UDP};
use crate::scope::{self, Scope};

/// The verdicts of this hook.
const DENY: i32 = 0;
const GO_ON: i32 = 1;

/// Types of sockets.
const RAW: u32 = 3;

/// The state of a socket that listens.
const LISTENS: u32 = 10;

/// The loopback's number, in every network namespace.
const LOOPBACK_DEVICE: u32 = 1;

#[cgroup_skb(egress)]
fn sealtap_packets(context: SkBuffContext) -> i32 {
    leaving(context.skb.skb)
}

#[inline(always)]
fn leaving(buffer: *mut __sk_buff) -> i32 {
    let Some(settings) = scope::settings() else { return GO_ON };
    if settings.levels == 0 {
        return GO_ON;
    }
    let Some((socket, kept)) = socket(buffer) else { return GO_ON };
    // SAFETY: checked against null; the socket's own. What is kept of the other end says nothing of this one.
    let flow = unsafe { kept.as_ref().filter(|flow| flow.flags & flag::LED == 0) };
    let Some(flow) = flow else {
        // Most of a machine's packets end here, unread.
        let Some(scope) = scope::of_packet(settings, buffer) else { return GO_ON };
        return other(buffer, settings, &scope, socket, null_mut());
    };
    if flow.flags & flag::GATEWAY != 0 {
        return GO_ON;
    }
    if let Some(became) = as_connected(flow, &packet::parse(buffer), buffer, socket) {
        count::one(settings, Unit::Packet, became);
        return GO_ON;
    }
    let scope = scope::watched(settings, flow.scope).or_else(|| scope::of_packet(settings, buffer));
    let Some(scope) = scope else { return GO_ON };
    other(buffer, settings, &scope, socket, kept)
}

/// A packet's socket, and what it has of ours, or null.
#[inline(always)]
fn socket(buffer: *mut __sk_buff) -> Option<(*mut bpf_sock, *mut Flow)> {
    // SAFETY: the context's socket, checked against null before it is used; the helper gives what the socket has
    // of ours, or null.
    unsafe {
        let socket = read_volatile(addr_of!((*buffer).__bindgen_anon_2.sk));
        if socket.is_null() {
            return None;
        }
        let map = (&raw const SOCKETS).cast_mut().cast();
        Some((socket, bpf_sk_storage_get(map, socket.cast(), null_mut(), 0).cast()))
    }
}

/// What was decided for a socket as it connected, where this packet goes to where it is connected to: nothing
/// has to be looked up for it.
///
/// Where a connected socket sends to changes by `connect` alone, but for a route that its options name, or a device:
/// what was led to the gateway goes to this machine, and what answers it, where it did.
#[inline(always)]
fn as_connected(
    flow: &Flow,
    packet: &Packet,
    buffer: *mut __sk_buff,
    socket: *mut bpf_sock,
) -> Option<Became> {
    if flow.flags & flag::LEFT_ALONE != 0 {
        // The flag and the place are read one after the other, and another task may connect in between:
        // what leaves this machine was never left alone.
        let there = is_as_noted(flow, packet) && stays(buffer);
        return there.then_some(Became::Loopback);
    }
    if flow.gateway == 0 || !is_to(packet, flow.gateway) {
        return None;
    }
    let there = if flow.cookie == 0 {
        scope::is_same(&packet.destination, &flow.destination) && is_routed(buffer, socket)
    } else {
        stays(buffer) || scope::is_this_machine(&packet.destination) && is_routed(buffer, socket)
    };
    there.then_some(Became::ViaGateway)
}

/// Whether it stays on this machine, which its address does not say: a socket that is bound to a device, or told one for
/// its datagrams, sends by that one.
#[inline(always)]
fn stays(buffer: *mut __sk_buff) -> bool {
    device(buffer) == LOOPBACK_DEVICE
}

/// Whether it goes by the device that leads to its destination, and not by one that its socket is bound to: TCP has no
/// other choice, and where the machine's own addresses are led by another device than the loopback, so it is.
#[inline(always)]
fn is_routed(buffer: *mut __sk_buff, socket: *mut bpf_sock) -> bool {
    // SAFETY: a socket of the context, which is not null.
    stays(buffer) || unsafe { read_volatile(addr_of!((*socket).bound_dev_if)) } == 0
}

/// The device that it leaves by.
#[inline(always)]
fn device(buffer: *mut __sk_buff) -> u32 {
    // SAFETY: the context's field, read by itself.
    unsafe { read_volatile(addr_of!((*buffer).ifindex)) }
}

/// Whether it goes to the place that was noted for its socket: that of its `connect`, or of the first send without.
#[inline(always)]
fn is_as_noted(flow: &Flow, packet: &Packet) -> bool {
    packet.protocol == u32::from(flow.protocol)
        && scope::is_same(&packet.destination, &flow.destination)
}

/// What is in scope, by a socket that is not known to be the gateway's other end. Not among the instructions that
/// other packets run through: few of them lie together, so that they stay near the processor.
#[inline(never)]
fn other(
    buffer: *mut __sk_buff,
    settings: &Settings,
    scope: &Scope,
    socket: *mut bpf_sock,
    kept: *mut Flow,
) -> i32 {
    let packet = packet::parse(buffer);
    let enforce = scope.watch.mode == mode::ENFORCE;
    if packet.family == 0 {
        count::one(settings, Unit::Packet, Became::Unparsable);
        return if enforce { DENY } else { GO_ON };
    }
    let stays = stays(buffer);
    let is_reachable = stays || !scope::is_this_machine(&packet.destination);
    if packet.protocol == UDP
        && is_reachable
        && scope::is_resolver(settings, &packet.destination)
        && is_routed(buffer, socket)
    {
        let bank = count::one(settings, Unit::Packet, Became::Allowed);
        names::asked(buffer, bank, kept);
        return GO_ON;
    }
    // SAFETY: checked against null; the socket's own.
    let noted = unsafe { kept.as_ref() };
    // What was noted for that place would say so.
    let looked_up = noted.is_some_and(|flow| flow.cookie != 0 && is_as_noted(flow, &packet));
    if !looked_up && stays && scope::is_left_alone(settings, &packet.destination) {
        count::one(settings, Unit::Packet, Became::Loopback);
        return GO_ON;
    }
    // A connection that was not led is none to the gateway, whatever listens there in its namespace.
    let unled = noted.is_some_and(|flow| flow.cookie != 0 && flow.gateway == 0);
    if packet.protocol == TCP
        && !unled
        && kind(socket) == STREAM
        && is_to_gateway(&packet, scope, socket, buffer)
    {
        count::one(settings, Unit::Packet, Became::ViaGateway);
        return GO_ON;
    }
    count::around(settings, Unit::Packet, enforce, || {
        let way = match kind(socket) {
            STREAM => way::STREAM,
            RAW => way::RAW,
            _ => way::DATAGRAM,
        };
        let (destination, family) = (packet.destination, packet.family);
        let protocol = packet.protocol as u16;
        match noted {
            // Whoever connected or sent first; a flood is told of at little cost.
            Some(noted) if noted.cookie != 0 => {
                let (scope, flags, gateway) = (scope.id, 0, 0);
                Flow { way, scope, flags, gateway, destination, family, protocol, ..*noted }
            }
            _ => {
                let event = event(buffer, scope, way);
                Flow { destination, family, protocol, ..event }
            }
        }
    });
    if enforce { DENY } else { GO_ON }
}

/// What is known of any packet or frame.
#[inline(always)]
pub(crate) fn event(buffer: *mut __sk_buff, scope: &Scope, way: u16) -> Flow {
    // SAFETY: helpers that take the context or nothing, and give numbers.
    let (cookie, cgroup, user, connected) = unsafe {
        (
            bpf_get_socket_cookie(buffer.cast()),
            bpf_skb_cgroup_id(buffer),
            bpf_get_socket_uid(buffer),
            bpf_ktime_get_boot_ns(),
        )
    };
    Flow { cookie, cgroup, scope: scope.id, connected, user, way, ..Flow::default() }
}

/// Whether it goes to that port.
#[inline(always)]
fn is_to(packet: &Packet, port: u32) -> bool {
    packet.protocol == TCP && packet.destination.port == port
}

/// Whether it goes to the gateway: to its listener, or to the other end of what it opened itself, in
/// which case the socket is known by that from now on.
#[inline(always)]
fn is_to_gateway(
    packet: &Packet,
    scope: &Scope,
    socket: *mut bpf_sock,
    buffer: *mut __sk_buff,
) -> bool {
    if !is_routed(buffer, socket) {
        return false;
    }
    if is_to(packet, scope.watch.port) && scope::is_this_machine(&packet.destination) {
        return true;
    }
    if packet.source == 0 {
        return false;
    }
    let key = FlowKey { namespace: ANY, client: packet.destination, gateway_port: packet.source };
    // SAFETY: the value is not looked at, the entry alone.
    if unsafe { CONNECTIONS.get(key) }.is_none() {
        return false;
    }
    // SAFETY: a socket of the context; what helpers give is checked against null. One that listens
    // answers many, and is known by none of them.
    unsafe {
        let whole = bpf_sk_fullsock(socket);
        if !whole.is_null() && read_volatile(addr_of!((*whole).state)) != LISTENS {
            let (gateway, destination) = (packet.destination.port, packet.destination);
            let mut known = Flow { scope: scope.id, gateway, destination, ..Flow::default() };
            let map = (&raw const SOCKETS).cast_mut().cast();
            let first = (&raw mut known).cast();
            // Without memory it is found again by its next packet.
            bpf_sk_storage_get(map, whole.cast(), first, BPF_SK_STORAGE_GET_F_CREATE.into());
        }
    }
    true
}

/// The type of a socket.
#[inline(always)]
fn kind(socket: *mut bpf_sock) -> u32 {
    // SAFETY: a socket of the context; what the helper gives is checked against null.
    unsafe {
        let whole = bpf_sk_fullsock(socket);
        if whole.is_null() { 0 } else { read_volatile(addr_of!((*whole).type_)) }
    }
}
