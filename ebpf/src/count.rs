//! Counting: each connection and packet in scope is exactly one thing.
//!
//! Two programs may count on one processor at once: a packet leaves in an interrupt while a task
//! connects, and a task may have to wait in the middle. So additions are atomic.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use sealtap_common::kernel::{Bank, Counters, Flow, Settings, flag};

use crate::maps::{COUNTED, EVENTS};

/// What became of something in scope.
#[derive(Clone, Copy)]
pub(crate) enum Became {
    /// Sent to the gateway.
    ViaGateway,
    /// Stays on the machine, as a list allows.
    Loopback,
    /// Allowed by name.
    Allowed,
    /// Went around and was stopped.
    Denied,
    /// Went around and was let go.
    Passed,
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

/// Counts one of them.
#[inline(always)]
pub(crate) fn one(settings: &Settings, unit: Unit, became: Became) {
    let Some(counters) = counters(settings, unit) else { return };
    // SAFETY: the slot is there as long as the map, and its fields are counted in by nothing but
    // these additions.
    unsafe {
        add(&raw mut (*counters).seen);
        add(match became {
            Became::ViaGateway => &raw mut (*counters).via_gateway,
            Became::Loopback => &raw mut (*counters).loopback,
            Became::Allowed => &raw mut (*counters).allowed,
            Became::Denied => &raw mut (*counters).bypass_denied,
            Became::Passed => &raw mut (*counters).bypass_passed,
            Became::Unparsable => &raw mut (*counters).unparsable,
        });
    }
}

/// Counts something that goes around, and tells of it, or counts that there was no room to.
#[inline(always)]
pub(crate) fn around(settings: &Settings, unit: Unit, denied: bool, event: impl FnOnce() -> Flow) {
    one(settings, unit, if denied { Became::Denied } else { Became::Passed });
    let Some(mut room) = EVENTS.reserve(0) else {
        if let Some(counters) = counters(settings, unit) {
            // SAFETY: as above.
            unsafe { add(&raw mut (*counters).events_lost) };
        }
        return;
    };
    let mut event = event();
    if settings.bank & 1 == 1 {
        event.flags |= flag::ODD_BANK;
    }
    if denied {
        event.flags |= flag::DENIED;
    }
    if matches!(unit, Unit::Packet) {
        event.flags |= flag::PACKET;
    }
    room.write(event);
    room.submit(0);
}

#[inline(always)]
fn counters(settings: &Settings, unit: Unit) -> Option<*mut Counters> {
    let bank: *mut Bank = COUNTED.get_ptr_mut(settings.bank & 1)?;
    // SAFETY: a field of what is there.
    Some(unsafe {
        match unit {
            Unit::Connection => &raw mut (*bank).connections,
            Unit::Packet => &raw mut (*bank).packets,
        }
    })
}

#[inline(always)]
unsafe fn add(number: *mut u64) {
    // SAFETY: the caller has a number there.
    let _ = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, 1) };
}
