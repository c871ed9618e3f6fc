//! Counting: each connection and packet in scope is exactly one thing.
//!
//! Two programs may count on one processor at once: a packet leaves in an interrupt while a task
//! connects, and a task may have to wait in the middle. So additions are atomic.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_ringbuf_query;
use core::intrinsics::{AtomicOrdering, atomic_xadd};
use core::ptr::read_volatile;

use sealtap_common::kernel::{Bank, Counters, Flow, Settings, flag};

use crate::maps::{COUNTED, EVENTS, RING_BYTES};
use crate::scope;

use Reader::{Sleeps, Wakes, WhenItWaits};

/// What became of something in scope that did not go around.
#[derive(Clone, Copy)]
pub(crate) enum Became {
    /// Sent to the gateway.
    ViaGateway,
    /// Stays on the machine, as a list allows.
    Loopback,
    /// Allowed by name.
    Allowed,
    /// Could not be told.
    Unparsable,
}

/// In which unit something is counted.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// A connection, or a send without one.
    Connection,
    /// A packet, or a frame that was none.
    Packet,
}

/// Counts one of them; gives the bank that it was counted in.
#[inline(always)]
pub(crate) fn one(settings: &Settings, unit: Unit, became: Became) -> u32 {
    let bank = scope::bank(settings);
    let Some(counters) = counters(bank, unit) else { return bank };
    // SAFETY: the slot is there as long as the map, and its fields are counted in by nothing but
    // these additions.
    unsafe {
        add(&raw mut (*counters).seen);
        add(match became {
            Became::ViaGateway => &raw mut (*counters).via_gateway,
            Became::Loopback => &raw mut (*counters).loopback,
            Became::Allowed => &raw mut (*counters).allowed,
            Became::Unparsable => &raw mut (*counters).unparsable,
        });
    }
    bank
}

/// Counts something that goes around, and tells of it, or counts that there was no room to.
#[inline(always)]
pub(crate) fn around(settings: &Settings, unit: Unit, denied: bool, event: impl FnOnce() -> Flow) {
    let bank = scope::bank(settings);
    let Some(counters) = counters(bank, unit) else { return };
    // SAFETY: as above.
    unsafe {
        add(&raw mut (*counters).seen);
        add(match denied {
            true => &raw mut (*counters).bypass_denied,
            false => &raw mut (*counters).bypass_passed,
        });
    }
    let reader = match unit {
        Unit::Connection => Some(WhenItWaits),
        Unit::Packet => reader(),
    };
    let room = match &reader {
        Some(_) => EVENTS.reserve(0),
        None => None,
    };
    let (Some(mut room), Some(reader)) = (room, reader) else {
        // SAFETY: as above.
        unsafe { add(&raw mut (*counters).events_lost) };
        return;
    };
    let mut event = event();
    if bank == 1 {
        event.flags |= flag::ODD_BANK;
    }
    if denied {
        event.flags |= flag::DENIED;
    }
    if matches!(unit, Unit::Packet) {
        event.flags |= flag::PACKET;
    }
    room.write(event);
    room.submit(reader.flags());
}

/// Whether the reader is woken. It looks by itself ten times a second.
#[derive(Clone, Copy)]
enum Reader {
    /// If it waits for more.
    WhenItWaits,
    /// Not for this one.
    Sleeps,
    /// Now, or there will be no room left.
    Wakes,
}

impl Reader {
    #[inline(always)]
    fn flags(self) -> u64 {
        match self {
            WhenItWaits => 0,
            Sleeps => u64::from(BPF_RB_NO_WAKEUP),
            Wakes => u64::from(BPF_RB_FORCE_WAKEUP),
        }
    }
}

/// A packet wakes nobody, or a flood would cost a wake-up each; only where half of the room is taken.
/// The last quarter is not for packets, so that a flood of them leaves room for connections.
#[inline(always)]
fn reader() -> Option<Reader> {
    let map = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the map, and a word for what is asked of it; the helper gives a number. The loader sets the
    // other before the kernel sees it, which has no part in this program's compilation.
    let (taken, half) = unsafe {
        let half = u64::from(read_volatile(&raw const RING_BYTES)) / 2;
        (bpf_ringbuf_query(map, BPF_RB_AVAIL_DATA.into()), half)
    };
    if taken >= half + half / 2 {
        None
    } else if taken >= half && taken < half + ABOUT {
        Some(Wakes)
    } else {
        Some(Sleeps)
    }
}

/// Some records: processors that pass the half at once may miss it by as many.
const ABOUT: u64 = 8 * (size_of::<Flow>() as u64 + 8);

#[inline(always)]
fn counters(bank: u32, unit: Unit) -> Option<*mut Counters> {
    let bank: *mut Bank = COUNTED.get_ptr_mut(bank)?;
    // SAFETY: a field of what is there.
    Some(unsafe {
        match unit {
            Unit::Connection => &raw mut (*bank).connections,
            Unit::Packet => &raw mut (*bank).packets,
        }
    })
}

/// One more.
///
/// # Safety
///
/// The number is there, and is changed by nothing but such additions.
#[inline(always)]
pub(crate) unsafe fn add(number: *mut u64) {
    // SAFETY: the caller has a number there.
    let _ = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, 1) };
}
