//! Connect: TCP in scope goes to the gateway, other ways out are counted and, where so set, denied.

use core::mem::MaybeUninit;
use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns,
};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use sealtap_common::kernel::{Endpoint, Flow, Settings, family, flag, mode, way};

use crate::count::{self, Became, Unit};
use crate::maps::SOCKETS;
use crate::packet::{MAPPED_WORD, STREAM, TCP, UDP, bytes};
use crate::scope::{self, Scope};

/// The verdicts of a connect hook: EPERM, or go on.
const DENY: i32 = 0;
const GO_ON: i32 = 1;
/// The beginning of an IPv4 address within IPv6.
pub(crate) const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

#[cgroup_sock_addr(connect4)]
fn sealtap_connect4(context: SockAddrContext) -> i32 {
    connecting::<{ family::INET }>(&context)
}

#[cgroup_sock_addr(connect6)]
fn sealtap_connect6(context: SockAddrContext) -> i32 {
    connecting::<{ family::INET6 }>(&context)
}

#[cgroup_sock_addr(sendmsg4)]
fn sealtap_sendmsg4(context: SockAddrContext) -> i32 {
    sending::<{ family::INET }>(&context)
}

#[cgroup_sock_addr(sendmsg6)]
fn sealtap_sendmsg6(context: SockAddrContext) -> i32 {
    sending::<{ family::INET6 }>(&context)
}

/// The family is a constant, or two reads of the context become one that the verifier refuses.
#[inline(always)]
fn connecting<const FAMILY: u32>(context: &SockAddrContext) -> i32 {
    let Some(settings) = scope::settings() else { return GO_ON };
    // SAFETY: the context outlives the call; its fields are read one by one.
    let (protocol, kind) = unsafe {
        let address = context.sock_addr;
        (read_volatile(addr_of!((*address).protocol)), read_volatile(addr_of!((*address).type_)))
    };
    let is_tcp = protocol == TCP && kind == STREAM;
    let of_task = scope::of_task(settings);
    // It is in no scope: where it is gone, another process may have its number, and be in one.
    if of_task.is_none() && is_gateway(settings) {
        if is_tcp {
            // What answers it may be in scope, and answers the gateway.
            // SAFETY: helpers that take the context and give numbers.
            let (cookie, namespace) = unsafe {
                (bpf_get_socket_cookie(context.as_ptr()), bpf_get_netns_cookie(context.as_ptr()))
            };
            let mut room = MaybeUninit::uninit();
            let own = nothing(&mut room);
            (own.flags, own.cookie, own.namespace) = (flag::GATEWAY, cookie, namespace);
            keep(context, own, true);
        }
        return GO_ON;
    }
    let Some((scope, flags)) = scope(context, settings, of_task) else { return GO_ON };
    let mut flow = flow::<FAMILY>(context, &scope, flags);
    flow.protocol = protocol as u16;
    flow.flags |= alone(settings, &flow);
    if !is_tcp {
        keep(context, &mut flow, true);
        return other(settings, &scope, &flow, way::CONNECT);
    }
    if flow.flags & flag::LEFT_ALONE != 0 {
        keep(context, &mut flow, true);
        count::one(settings, Unit::Connection, Became::Loopback);
        return GO_ON;
    }
    if settings.namespace != 0 && flow.namespace != settings.namespace || is_bound(context) {
        // The gateway cannot be reached from there, or by that device: it is done with as with all that cannot be led.
        keep(context, &mut flow, true);
        return other(settings, &scope, &flow, way::CONNECT);
    }
    flow.gateway = scope.watch.port;
    if !keep(context, &mut flow, true) {
        // Out of memory: nobody would know where it was meant to go.
        count::one(settings, Unit::Connection, Became::Unparsable);
        return DENY;
    }
    redirect::<FAMILY>(context, &scope);
    count::one(settings, Unit::Connection, Became::ViaGateway);
    GO_ON
}

/// Whether its socket is bound to a device. By another one than the loopback nothing comes to the gateway; by that one two
/// sockets may have one name, and neither could be told from the other.
#[inline(always)]
fn is_bound(context: &SockAddrContext) -> bool {
    // SAFETY: the context's socket, checked against null, and its field, each read by itself.
    unsafe {
        let socket = read_volatile(addr_of!((*context.sock_addr).__bindgen_anon_1.sk));
        !socket.is_null() && read_volatile(addr_of!((*socket).bound_dev_if)) != 0
    }
}

#[inline(always)]
fn sending<const FAMILY: u32>(context: &SockAddrContext) -> i32 {
    let Some(settings) = scope::settings() else { return GO_ON };
    let of_task = scope::of_task(settings);
    let Some((scope, flags)) = scope(context, settings, of_task) else { return GO_ON };
    let mut flow = flow::<FAMILY>(context, &scope, flags);
    flow.protocol = UDP as u16;
    flow.flags |= alone(settings, &flow);
    keep(context, &mut flow, false);
    other(settings, &scope, &flow, way::SEND)
}

/// The flag of what goes to a place that is left alone, so that its packets need not be looked up.
#[inline(always)]
fn alone(settings: &Settings, flow: &Flow) -> u32 {
    if scope::is_left_alone(settings, &flow.destination) { flag::LEFT_ALONE } else { 0 }
}

/// Notes at the socket what is known of it; where it was noted before, `anew` or not at all.
#[inline(always)]
fn keep(context: &SockAddrContext, flow: &mut Flow, anew: bool) -> bool {
    // SAFETY: the context has the socket that is connecting.
    let stored = unsafe { SOCKETS.get_or_insert_ptr_mut(context, Some(flow)) };
    if stored.is_null() {
        return false;
    }
    if anew {
        // SAFETY: what the map gives is the socket's own until the socket is gone. It may be an
        // older attempt of the same socket.
        unsafe { put(stored, flow) };
    }
    true
}

/// The words of what is known of a connection. What the compiler does of itself with all of it may go byte
/// by byte.
const WORDS: usize = size_of::<Flow>() / size_of::<u64>();

/// Replaces one by another.
///
/// # Safety
///
/// It is there.
#[inline(always)]
unsafe fn put(place: *mut Flow, flow: &Flow) {
    let (to, from) = (place.cast::<u64>(), (&raw const *flow).cast::<u64>());
    for word in 0..WORDS {
        // SAFETY: the caller says so; as many words are in both, which are aligned for them.
        unsafe { write_volatile(to.add(word), read_volatile(from.add(word))) };
    }
}

/// Nothing is known.
#[inline(always)]
fn nothing(room: &mut MaybeUninit<Flow>) -> &mut Flow {
    let to = room.as_mut_ptr().cast::<u64>();
    for word in 0..WORDS {
        // SAFETY: as above.
        unsafe { write_volatile(to.add(word), 0) };
    }
    // SAFETY: all of it was written, and zero is a number.
    unsafe { room.assume_init_mut() }
}

/// Everything that cannot be sent to the gateway.
fn other(settings: &Settings, scope: &Scope, flow: &Flow, way: u16) -> i32 {
    if u32::from(flow.protocol) == UDP && scope::is_resolver(settings, &flow.destination) {
        count::one(settings, Unit::Connection, Became::Allowed);
        return GO_ON;
    }
    if flow.flags & flag::LEFT_ALONE != 0 {
        count::one(settings, Unit::Connection, Became::Loopback);
        return GO_ON;
    }
    let enforce = scope.watch.mode == mode::ENFORCE;
    count::around(settings, Unit::Connection, enforce, || Flow { way, ..*flow });
    if enforce { DENY } else { GO_ON }
}

/// Whether the task is of the gateway's process.
#[inline(always)]
fn is_gateway(settings: &Settings) -> bool {
    let process = (aya_ebpf::helpers::bpf_get_current_pid_tgid() >> 32) as u32;
    settings.gateway != 0 && process == settings.gateway
}

/// The scope that a connection belongs to: that of the task, else that of the socket's maker.
#[inline(always)]
fn scope(
    context: &SockAddrContext,
    settings: &Settings,
    of_task: Option<Scope>,
) -> Option<(Scope, u32)> {
    if let Some(scope) = of_task {
        return Some((scope, flag::IN_TASK));
    }
    // SAFETY: the context has the socket; what the map gives, if anything, is the socket's own.
    let made = unsafe { SOCKETS.get_ptr_mut(context) };
    if made.is_null() {
        return None;
    }
    // SAFETY: not null, see above.
    let id = unsafe { (*made).scope };
    Some((scope::watched(settings, id)?, flag::IN_TASK | flag::BY_CREATOR))
}

#[inline(always)]
fn flow<const FAMILY: u32>(context: &SockAddrContext, scope: &Scope, flags: u32) -> Flow {
    let ids = aya_ebpf::helpers::bpf_get_current_pid_tgid();
    // SAFETY: helpers that take the context or nothing, and give numbers.
    let (cookie, namespace, cgroup, connected) = unsafe {
        (
            bpf_get_socket_cookie(context.as_ptr()),
            bpf_get_netns_cookie(context.as_ptr()),
            bpf_get_current_cgroup_id(),
            bpf_ktime_get_boot_ns(),
        )
    };
    Flow {
        cookie,
        cgroup,
        scope: scope.id,
        namespace,
        connected,
        process: (ids >> 32) as u32,
        thread: ids as u32,
        user: context.uid(),
        flags,
        destination: destination::<FAMILY>(context.sock_addr),
        family: FAMILY,
        ..Flow::default()
    }
}

#[inline(always)]
fn destination<const FAMILY: u32>(address: *mut bpf_sock_addr) -> Endpoint {
    let mut endpoint = Endpoint::default();
    // SAFETY: the context's fields, each read by itself, since the verifier admits no wider read.
    unsafe {
        endpoint.port =
            u32::from(u16::from_be(read_volatile(addr_of!((*address).user_port)) as u16));
        if FAMILY == family::INET {
            let ip = read_volatile(addr_of!((*address).user_ip4));
            endpoint.address = bytes([0, 0, MAPPED_WORD, ip]);
        } else {
            let part = |part: usize| read_volatile(addr_of!((*address).user_ip6[part]));
            endpoint.address = bytes([part(0), part(1), part(2), part(3)]);
        }
    }
    endpoint
}

/// Sends the socket to the gateway, in the family that it was made for.
#[inline(always)]
fn redirect<const FAMILY: u32>(context: &SockAddrContext, scope: &Scope) {
    let address = context.sock_addr;
    let port = u32::from((scope.watch.port as u16).to_be());
    // SAFETY: the context's fields, each written by itself.
    unsafe {
        if FAMILY == family::INET {
            write_volatile(addr_of_mut!((*address).user_ip4), u32::from_ne_bytes([127, 0, 0, 1]));
        } else {
            // A mapped address takes the way of IPv4 below; so must its replacement.
            let high = read_volatile(addr_of!((*address).user_ip6[0]))
                | read_volatile(addr_of!((*address).user_ip6[1]));
            let mapped =
                high == 0 && read_volatile(addr_of!((*address).user_ip6[2])) == 0xffff_u32.to_be();
            let (third, last) = if mapped {
                (0xffff_u32.to_be(), u32::from_ne_bytes([127, 0, 0, 1]))
            } else {
                (0, 1_u32.to_be())
            };
            write_volatile(addr_of_mut!((*address).user_ip6[0]), 0);
            write_volatile(addr_of_mut!((*address).user_ip6[1]), 0);
            write_volatile(addr_of_mut!((*address).user_ip6[2]), third);
            write_volatile(addr_of_mut!((*address).user_ip6[3]), last);
        }
        write_volatile(addr_of_mut!((*address).user_port), port);
    }
}
