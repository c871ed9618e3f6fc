//! Option: what a socket would need to send past every other look.
//!
//! A socket of the packet family may be told to send past the device's queue, and one of the XDP
//! family sends nowhere else; no program sees such a frame. Both take an option first. So does what was led to the
//! gateway and would leave by a device instead.

use core::ptr::{addr_of, addr_of_mut, null_mut, read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sockopt;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns, bpf_sk_storage_get,
};
use aya_ebpf::macros::cgroup_sockopt;
use aya_ebpf::programs::SockoptContext;
use sealtap_common::kernel::{Flow, flag, mode, way};

use crate::count::{self, Unit};
use crate::maps::SOCKETS;
use crate::scope;

/// The verdicts of this hook.
const DENY: i32 = 0;
const GO_ON: i32 = 1;

const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;
const SO_BINDTOIFINDEX: i32 = 62;
/// The state of a socket that is not connected, or no longer.
const CLOSED: u32 = 7;
const SOL_PACKET: i32 = 263;
const PACKET_QDISC_BYPASS: i32 = 20;
const SOL_XDP: i32 = 283;

/// Of the option's value the kernel gives a page to programs, and takes it amiss where there is more
/// and nobody says that the rest is as it was.
const PAGE: i32 = 4096;

#[cgroup_sockopt(setsockopt)]
fn sealtap_option(context: SockoptContext) -> i32 {
    let asked: *mut bpf_sockopt = context.sockopt;
    // SAFETY: the context's fields, each read and written by itself.
    let (level, option) = unsafe {
        if read_volatile(addr_of!((*asked).optlen)) > PAGE {
            write_volatile(addr_of_mut!((*asked).optlen), 0);
        }
        (read_volatile(addr_of!((*asked).level)), read_volatile(addr_of!((*asked).optname)))
    };
    if level == SOL_SOCKET && (option == SO_BINDTODEVICE || option == SO_BINDTOIFINDEX) {
        return if is_led(asked) { DENY } else { GO_ON };
    }
    if level != SOL_XDP && !(level == SOL_PACKET && option == PACKET_QDISC_BYPASS) {
        return GO_ON;
    }
    let Some(settings) = scope::settings() else { return GO_ON };
    let Some(scope) = scope::of_task(settings) else { return GO_ON };
    let enforce = scope.watch.mode == mode::ENFORCE;
    count::around(settings, Unit::Connection, enforce, || {
        // SAFETY: helpers that take nothing and give numbers.
        let (cgroup, connected) = unsafe { (bpf_get_current_cgroup_id(), bpf_ktime_get_boot_ns()) };
        let ids = aya_ebpf::helpers::bpf_get_current_pid_tgid();
        Flow {
            cgroup,
            connected,
            scope: scope.id,
            process: (ids >> 32) as u32,
            thread: ids as u32,
            way: way::FRAME,
            ..Flow::default()
        }
    });
    if enforce { DENY } else { GO_ON }
}

/// Whether the socket was led to the gateway, or answers it: the way there is the loopback's, and no other device's. What
/// is over says nothing of where it goes next.
#[inline(always)]
fn is_led(asked: *mut bpf_sockopt) -> bool {
    // SAFETY: the context's socket, checked against null; the helper gives what it has of ours, or null.
    unsafe {
        let socket = read_volatile(addr_of!((*asked).__bindgen_anon_1.sk));
        if socket.is_null() {
            return false;
        }
        let map = (&raw const SOCKETS).cast_mut().cast();
        let kept = bpf_sk_storage_get(map, socket.cast(), null_mut(), 0).cast::<Flow>();
        kept.as_ref().is_some_and(|flow| flow.gateway != 0 && flow.flags & flag::LED == 0)
            && read_volatile(addr_of!((*socket).state)) != CLOSED
    }
}
