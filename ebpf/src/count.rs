//! Counting: each connection and packet in scope is exactly one thing.

use sealtap_common::kernel::{Bank, Counters, Settings};

use crate::maps::COUNTED;

/// What became of something in scope.
#[derive(Clone, Copy)]
pub(crate) enum Became {
    /// Sent to the gateway.
    ViaGateway,
    /// Allowed by name.
    Allowed,
    /// Went around and was stopped.
    Denied,
    /// Went around and was let go.
    Passed,
    /// Could not be told.
    Unparsable,
}

/// Counts a connection, or a send without one.
pub(crate) fn connection(settings: &Settings, became: Became) {
    with(settings, |bank| add(&mut bank.connections, became));
}

/// Counts an event for which there was no room.
pub(crate) fn lost(settings: &Settings) {
    with(settings, |bank| bank.connections.events_lost += 1);
}

fn add(counters: &mut Counters, became: Became) {
    counters.seen += 1;
    match became {
        Became::ViaGateway => counters.via_gateway += 1,
        Became::Allowed => counters.allowed += 1,
        Became::Denied => counters.bypass_denied += 1,
        Became::Passed => counters.bypass_passed += 1,
        Became::Unparsable => counters.unparsable += 1,
    }
}

fn with(settings: &Settings, change: impl FnOnce(&mut Bank)) {
    if let Some(bank) = COUNTED.get_ptr_mut(settings.bank & 1) {
        // SAFETY: the slot belongs to this processor, and the system lets no other program of ours
        // run on it before this one is done, except in an interrupt, which attaches elsewhere.
        change(unsafe { &mut *bank });
    }
}
