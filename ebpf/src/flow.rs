//! Flow: what was known at `connect` is there for the gateway when it accepts.

use core::intrinsics::{AtomicOrdering, atomic_xadd};
use core::ptr::{addr_of, read_volatile};

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{
    BPF_EXIST, BPF_NOEXIST, BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_ops,
    bpf_sockopt,
};
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_sk_storage_get};
use aya_ebpf::macros::{cgroup_sockopt, sock_ops};
use aya_ebpf::programs::{SockOpsContext, SockoptContext};
use sealtap_common::kernel::{Endpoint, FLOW_OPTION, Flow, FlowKey, family, flag};

use crate::maps::{CONNECTIONS, NOTED, SOCKETS};
use crate::packet::{MAPPED_WORD, bytes};
use crate::scope;

const CLOSED: u32 = 7;
/// The namespace of what the gateway opened itself: no packet names its own, and nobody asks for it.
pub(crate) const ANY: u64 = 0;
const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
const SO_ORIGINAL_DST: i32 = 80;

/// Before the SYN: the socket has its own address now, by which the gateway will ask.
#[sock_ops]
fn sealtap_socket(context: SockOpsContext) -> u32 {
    match context.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => established(&context),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => came(&context),
        BPF_SOCK_OPS_STATE_CB if context.arg(1) == CLOSED => closed(&context),
        _ => {}
    }
    0
}

fn established(context: &SockOpsContext) {
    let flow = kept(context);
    // SAFETY: not null where it is read; the socket's own.
    let flow = unsafe { flow.as_mut() };
    let own = flow.as_ref().is_some_and(|flow| flow.flags & flag::GATEWAY != 0);
    // What was bound to a device since `connect` may have the name of another one.
    let is_led = |flow: &Flow| flow.gateway != 0 && !is_bound(context);
    let Some(flow) = flow.filter(|flow| own || is_led(flow)) else {
        return unnamed(context);
    };
    let mut key = key(context);
    if own {
        key.namespace = ANY;
        // By which it is told from others of that name.
        flow.destination.address = remote(context);
    }
    // Where there is no room the gateway finds no flow, refuses the connection and counts it.
    if note(key, flow) {
        // Others may have asked for other calls, and still want them.
        let asked = context.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG;
        let _ = context.set_cb_flags(asked as i32);
    }
}

/// Whether the context's socket is bound to a device.
#[inline(always)]
fn is_bound(context: &SockOpsContext) -> bool {
    // SAFETY: the context's socket, which is a full one here, checked against null, and its field.
    unsafe {
        let socket = read_volatile(addr_of!((*context.ops).__bindgen_anon_2.sk));
        !socket.is_null() && read_volatile(addr_of!((*socket).bound_dev_if)) != 0
    }
}

/// Notes it, in the place of another one of that name; whether it is noted. Its port has one more where the name had no
/// note before, and the same number where it had one.
fn note(key: FlowKey, flow: &Flow) -> bool {
    // The second time round the one that was there has gone meanwhile.
    for _ in 0..2 {
        if CONNECTIONS.insert(key, flow, BPF_NOEXIST.into()).is_ok() {
            count(key.client.port, 1);
            return true;
        }
        if CONNECTIONS.insert(key, flow, BPF_EXIST.into()).is_ok() {
            return true;
        }
    }
    false
}

/// What came to the gateway keeps what was noted of it: whoever connected may have sent all it has to say and be gone,
/// and its note with it, before the gateway asks.
fn came(context: &SockOpsContext) {
    let ops: *mut bpf_sock_ops = context.ops;
    // SAFETY: the context's field, read by itself.
    let port = unsafe { u32::from_be(read_volatile(addr_of!((*ops).remote_port))) };
    // Most of what others accept ends here.
    if !is_noted(port) {
        return;
    }
    let FlowKey { namespace, client: here, .. } = key(context);
    if !scope::is_where_led(&here) {
        return;
    }
    let client = Endpoint { address: remote(context), port };
    let key = FlowKey { namespace, client, gateway_port: here.port };
    // SAFETY: programs replace entries whole and remove them only when the connection is over.
    let Some(noted) = (unsafe { CONNECTIONS.get(key) }) else { return };
    let mut led = Flow { flags: noted.flags | flag::LED, ..*noted };
    // Without memory it is what the note says, as long as that is there.
    let _ = storage(context, &raw mut led, BPF_SK_STORAGE_GET_F_CREATE.into());
}

/// What the context's socket has of ours, or null.
#[inline(always)]
fn kept(context: &SockOpsContext) -> *mut Flow {
    storage(context, core::ptr::null_mut(), 0)
}

/// What the context's socket has of ours, from now on this `first` where it has nothing and that is asked for, or null.
#[inline(always)]
fn storage(context: &SockOpsContext, first: *mut Flow, asked: u64) -> *mut Flow {
    // SAFETY: the context's socket, which is a full one here, checked against null.
    unsafe {
        let socket = read_volatile(addr_of!((*context.ops).__bindgen_anon_2.sk));
        if socket.is_null() {
            return core::ptr::null_mut();
        }
        let map = (&raw const SOCKETS).cast_mut().cast();
        bpf_sk_storage_get(map, socket.cast(), first.cast(), asked).cast()
    }
}

/// A connection that is over takes its own note along, and not that of another one that has its name by now: the
/// gateway's own have none but their own end's address and the other's port.
fn closed(context: &SockOpsContext) {
    // SAFETY: not null where it is read; the socket's own.
    let Some(flow) = (unsafe { kept(context).as_ref() }) else { return };
    let mut key = key(context);
    if flow.flags & flag::GATEWAY != 0 {
        key.namespace = ANY;
    }
    // SAFETY: programs replace entries whole; a cookie that is read while that happens is either one.
    let noted = unsafe { CONNECTIONS.get(key) };
    if noted.is_some_and(|noted| noted.cookie == flow.cookie) {
        remove(key);
    }
}

/// Takes a note away; its port has one less where this did so, and nobody else.
fn remove(key: FlowKey) {
    if CONNECTIONS.remove(key).is_ok() {
        count(key.client.port, LESS);
    }
}

/// One less, in an addition of words.
const LESS: u32 = u32::MAX;

#[inline(always)]
fn count(port: u32, more: u32) {
    if let Some(noted) = NOTED.get_ptr_mut(port) {
        // SAFETY: the slot is there as long as the map, and changed by nothing but these additions.
        let _ = unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(noted, more) };
    }
}

/// Whether anything is noted of a connection from that port.
#[inline(always)]
fn is_noted(port: u32) -> bool {
    // SAFETY: a word of a map, read by itself.
    NOTED.get_ptr(port).is_some_and(|noted| unsafe { read_volatile(noted) } != 0)
}

/// A connection that nobody led anywhere begins: a note of one from the same address and port to the same address and
/// port is of one that is over and was not seen to end, since somebody else turned those calls off. To another address
/// there may be one that goes on, by the same port: its note stays.
///
/// Most connections of a machine come here, and the large map is far away: so it is asked only where something is noted
/// of any that came from this port. Every note is counted for its port, once it is there, and taken off where its removal
/// took one away, so that a count is what is noted, whoever else notes meanwhile: no port costs a look for longer than it
/// has notes. What is over was counted long before its port is used again.
fn unnamed(context: &SockOpsContext) {
    let ops: *mut bpf_sock_ops = context.ops;
    // SAFETY: the context's field, and a word of a map, each read by itself.
    unsafe {
        let port = read_volatile(addr_of!((*ops).local_port));
        if NOTED.get_ptr(port).is_none_or(|noted| read_volatile(noted) == 0) {
            return;
        }
    }
    let (key, remote) = (key(context), Endpoint { address: remote(context), port: 0 });
    // Whatever was led to the gateway went to this address of its family, so the name says the rest.
    if scope::is_where_led(&remote) {
        remove(key);
    }
    let own = FlowKey { namespace: ANY, ..key };
    // SAFETY: as above.
    let noted = unsafe { CONNECTIONS.get(own) };
    let is_over = |noted: &Flow| {
        let to = Endpoint { address: noted.destination.address, port: 0 };
        noted.namespace == key.namespace && scope::is_same(&to, &remote)
    };
    if noted.is_some_and(is_over) {
        remove(own);
    }
}

fn key(context: &SockOpsContext) -> FlowKey {
    let ops: *mut bpf_sock_ops = context.ops;
    let mut client = Endpoint::default();
    // SAFETY: the context's fields, each read by itself.
    unsafe {
        client.port = read_volatile(addr_of!((*ops).local_port));
        // Both are read before one is chosen, or LLVM chooses between addresses of the context,
        // which the verifier refuses.
        let v4 = read_volatile(addr_of!((*ops).local_ip4));
        let part = |part: usize| read_volatile(addr_of!((*ops).local_ip6[part]));
        client.address = bytes([part(0), part(1), part(2), part(3)]);
        if read_volatile(addr_of!((*ops).family)) == family::INET {
            client.address = mapped(v4);
        }
        let gateway_port = u32::from_be(read_volatile(addr_of!((*ops).remote_port)));
        FlowKey { namespace: bpf_get_netns_cookie(context.as_ptr()), client, gateway_port }
    }
}

/// The address of the other end.
#[inline(always)]
fn remote(context: &SockOpsContext) -> [u8; 16] {
    let ops: *mut bpf_sock_ops = context.ops;
    // SAFETY: as above.
    unsafe {
        let v4 = read_volatile(addr_of!((*ops).remote_ip4));
        let part = |part: usize| read_volatile(addr_of!((*ops).remote_ip6[part]));
        let v6 = [part(0), part(1), part(2), part(3)];
        match read_volatile(addr_of!((*ops).family)) {
            family::INET => mapped(v4),
            _ => bytes(v6),
        }
    }
}

#[inline(always)]
fn mapped(ip: u32) -> [u8; 16] {
    bytes([0, 0, MAPPED_WORD, ip])
}

/// The gateway asks where a connection was meant to go.
#[cgroup_sockopt(getsockopt)]
fn sealtap_asked(context: SockoptContext) -> i32 {
    answer(&context);
    1
}

fn answer(context: &SockoptContext) {
    let asked: *mut bpf_sockopt = context.sockopt;
    // SAFETY: the context's fields, each read by itself.
    let (level, option) = unsafe {
        (read_volatile(addr_of!((*asked).level)), read_volatile(addr_of!((*asked).optname)))
    };
    let whole = level == SOL_IP && option == FLOW_OPTION;
    let v4 = level == SOL_IP && option == SO_ORIGINAL_DST;
    let v6 = level == SOL_IPV6 && option == SO_ORIGINAL_DST;
    if !(whole || v4 || v6) {
        return;
    }
    // SAFETY: the context's socket, checked against null; the helper gives what it has of ours, or null.
    let led = unsafe {
        let socket = read_volatile(addr_of!((*asked).__bindgen_anon_1.sk));
        if socket.is_null() {
            return;
        }
        let map = (&raw const SOCKETS).cast_mut().cast();
        let led = bpf_sk_storage_get(map, socket.cast(), core::ptr::null_mut(), 0).cast::<Flow>();
        led.as_ref().filter(|led| led.flags & flag::LED != 0)
    };
    let flow = match led {
        Some(led) => led,
        None => {
            let Some(key) = accepted(asked, context) else { return };
            // SAFETY: programs replace entries whole and remove them only when the connection is over.
            let Some(noted) = (unsafe { CONNECTIONS.get(key) }) else { return };
            noted
        }
    };
    let written = if whole {
        put(asked, flow)
    } else if v4 {
        put(asked, &SocketAddress4::of(&flow.destination))
    } else {
        put(asked, &SocketAddress6::of(&flow.destination))
    };
    if let Some(length) = written {
        // SAFETY: the context's fields, each written by itself.
        unsafe {
            core::ptr::write_volatile(&raw mut (*asked).optlen, length);
            core::ptr::write_volatile(&raw mut (*asked).retval, 0);
        }
    }
}

/// An IPv4 address as the system gives it to programs.
#[repr(C)]
struct SocketAddress4 {
    family: u16,
    port: u16,
    address: [u8; 4],
    zero: [u8; 8],
}

impl SocketAddress4 {
    fn of(endpoint: &Endpoint) -> Self {
        let [.., a, b, c, d] = endpoint.address;
        let port = (endpoint.port as u16).to_be();
        Self { family: family::INET as u16, port, address: [a, b, c, d], zero: [0; 8] }
    }
}

/// An IPv6 address as the system gives it to programs.
#[repr(C)]
struct SocketAddress6 {
    family: u16,
    port: u16,
    flow: u32,
    address: [u8; 16],
    scope: u32,
}

impl SocketAddress6 {
    fn of(endpoint: &Endpoint) -> Self {
        let (family, port) = (family::INET6 as u16, (endpoint.port as u16).to_be());
        Self { family, port, flow: 0, address: endpoint.address, scope: 0 }
    }
}

fn put<T>(asked: *mut bpf_sockopt, value: &T) -> Option<i32> {
    // SAFETY: the context's two pointers around the caller's buffer; nothing is written where the
    // value does not fit, as the verifier demands.
    unsafe {
        let start = read_volatile(addr_of!((*asked).__bindgen_anon_2.optval)).cast::<u8>();
        let end = read_volatile(addr_of!((*asked).__bindgen_anon_3.optval_end)).cast::<u8>();
        if start.add(size_of::<T>()) > end {
            return None;
        }
        core::ptr::copy_nonoverlapping((value as *const T).cast::<u8>(), start, size_of::<T>());
    }
    Some(size_of::<T>() as i32)
}

/// The key of the connection that the gateway's accepted socket is the other end of.
fn accepted(asked: *mut bpf_sockopt, context: &SockoptContext) -> Option<FlowKey> {
    let mut client = Endpoint::default();
    // SAFETY: the context's socket, checked against null, and its fields, each read by itself.
    unsafe {
        let socket = read_volatile(addr_of!((*asked).__bindgen_anon_1.sk));
        if socket.is_null() {
            return None;
        }
        client.port = u32::from(u16::from_be(read_volatile(addr_of!((*socket).dst_port))));
        let v4 = read_volatile(addr_of!((*socket).dst_ip4));
        let part = |part: usize| read_volatile(addr_of!((*socket).dst_ip6[part]));
        client.address = bytes([part(0), part(1), part(2), part(3)]);
        if read_volatile(addr_of!((*socket).family)) == family::INET {
            client.address = mapped(v4);
        }
        let gateway_port = read_volatile(addr_of!((*socket).src_port));
        Some(FlowKey { namespace: bpf_get_netns_cookie(context.as_ptr()), client, gateway_port })
    }
}
