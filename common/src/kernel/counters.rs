//! Counters: every connection and every packet in scope is exactly one of a few things.
//!
//! ```text
//! seen = via_gateway + loopback + allowed + bypass_denied + bypass_passed + unparsable
//! bypass_denied + bypass_passed = events_read + events_lost
//! ```
//!
//! The programs count per processor into one of two banks; the loader turns the bank, and a bank
//! that is closed no longer moves, so that the sums hold exactly.

/// What is counted once each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All of them.
    pub seen: u64,
    /// Sent to the gateway.
    pub via_gateway: u64,
    /// Stayed on the machine, as a list allows.
    pub loopback: u64,
    /// Allowed by name: the configured resolver.
    pub allowed: u64,
    /// Went around and were stopped.
    pub bypass_denied: u64,
    /// Went around and were let go.
    pub bypass_passed: u64,
    /// Could not be told.
    pub unparsable: u64,
    /// Events that found no room for their record.
    pub events_lost: u64,
}

/// A bank: connections and packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bank {
    /// In units of `connect` and unconnected sends.
    pub connections: Counters,
    /// In units of packets.
    pub packets: Counters,
}

const _: () = {
    assert!(size_of::<Counters>() == 64);
    assert!(size_of::<Bank>() == 128);
};
