//! Names: what asks the resolver, copied as it passes, so that it can be read by whoever may be wrong.
//!
//! Nothing of it is looked at here: what is to be found is where its bytes begin and how many there
//! are. Every packet that was counted as allowed is copied, or counted as not read.

use core::ptr::{addr_of, read_volatile, write};

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_skb_load_bytes,
};
use sealtap_common::kernel::{Flow, QUERY, Query, flag};

use crate::count;
use crate::maps::{NAMES, UNREAD};

/// The lengths of headers: of UDP, and of IPv6.
const HEADER: u32 = 8;
const HEADER_6: u32 = 40;

/// A packet to the resolver. Not among the instructions that other packets run through.
#[inline(never)]
pub(crate) fn asked(buffer: *mut __sk_buff, bank: u32, kept: *mut Flow) {
    let Some(mut room) = NAMES.reserve(0) else {
        if let Some(unread) = UNREAD.get_ptr_mut(bank & 1) {
            // SAFETY: the slot is there as long as the map, and counted in by this alone.
            unsafe { count::add(unread) };
        }
        return;
    };
    let query: *mut Query = room.as_mut_ptr();
    // SAFETY: a context, its fields each read by itself, and helpers that give numbers. The room is ours
    // until it is submitted; each field is written, but for bytes that are not said to be there.
    unsafe {
        (&raw mut (*query).cookie).write(bpf_get_socket_cookie(buffer.cast()));
        (&raw mut (*query).passed).write(bpf_ktime_get_boot_ns());
        let (mut connected, mut process) = (0, 0);
        if !kept.is_null() {
            (connected, process) = ((*kept).connected, (*kept).process);
        }
        (&raw mut (*query).connected).write(connected);
        (&raw mut (*query).process).write(process);
        let flags = if bank & 1 == 1 { flag::ODD_BANK } else { 0 };
        (&raw mut (*query).flags).write(flags);
        (&raw mut (*query).each).write(read_volatile(addr_of!((*buffer).gso_size)));
        (&raw mut (*query).unused).write(0);
        let (length, copied) = copy(buffer, &raw mut (*query).bytes);
        write(&raw mut (*query).length, length);
        write(&raw mut (*query).copied, copied);
    }
    // Whoever made it may be gone soon: the reader is woken if it waits.
    room.submit(0);
}

/// Copies the first bytes behind the header of UDP; gives how many there are, and how many were copied.
///
/// # Safety
///
/// There is a context, and room for as many bytes.
#[inline(always)]
unsafe fn copy(buffer: *mut __sk_buff, bytes: *mut [u8; QUERY]) -> (u32, u32) {
    let mut first = 0_u8;
    // SAFETY: the context, and a byte.
    let read = unsafe { bpf_skb_load_bytes(buffer.cast(), 0, (&raw mut first).cast(), 1) };
    if read != 0 {
        return (0, 0);
    }
    let header = if first >> 4 == 6 { HEADER_6 } else { u32::from(first & 15) * 4 };
    // SAFETY: the context's field, read by itself.
    let whole = unsafe { read_volatile(addr_of!((*buffer).len)) };
    let behind = header + HEADER;
    if whole <= behind {
        return (0, 0);
    }
    let length = whole - behind;
    let last = length.min(QUERY as u32) - 1;
    // The verifier wants both bounds at the very value that is handed over, so that the compiler may not
    // know them from before; and no zero, which older kernels do not see excluded by a comparison.
    // SAFETY: a number of our own.
    let copied = (unsafe { read_volatile(&raw const last) } & (QUERY as u32 - 1)) + 1;
    // SAFETY: there is room for as many.
    let read = unsafe { bpf_skb_load_bytes(buffer.cast(), behind, bytes.cast(), copied) };
    (length, if read == 0 { copied } else { 0 })
}
