//! Ways around of one unit, as leaves tell of them, held against the kernel's numbers of it.

use crate::leaf::{Bypass, BypassUnit, BypassVerdict, Sums};

/// Ways around that leaves tell of, by their unit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Around {
    /// In connections, and sends without one.
    pub(crate) connects: Told,
    /// In packets.
    pub(crate) packets: Told,
}

/// Those of one unit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Told of since the last statement.
    since: u64,
    /// Told of as stopped.
    denied: u64,
    /// Told of as let go.
    passed: u64,
}

impl Around {
    /// Counts the next one.
    pub(crate) fn take(&mut self, leaf: &Bypass) {
        let told = match leaf.unit {
            BypassUnit::Connect => &mut self.connects,
            BypassUnit::Packet => &mut self.packets,
        };
        let of_a_kind = match leaf.verdict {
            BypassVerdict::Denied => &mut told.denied,
            BypassVerdict::Passed => &mut told.passed,
        };
        *of_a_kind = of_a_kind.saturating_add(leaf.count);
        told.since = told.since.saturating_add(leaf.count);
    }

    /// Whether none was told of since the last statement.
    pub(crate) const fn is_settled(&self) -> bool {
        self.connects.since == 0 && self.packets.since == 0
    }
}

impl Told {
    /// Takes a statement by which the kernel's events of so many were read since the one before. Where
    /// another number was told of: that.
    pub(crate) fn settle(&mut self, read: u64) -> Option<u64> {
        let told = std::mem::take(&mut self.since);
        (told != read).then_some(told)
    }

    /// Whether more was stopped, or let go, than the kernel counted.
    pub(crate) const fn is_more_than(&self, counted: &Sums) -> bool {
        self.denied > counted.bypass_denied || self.passed > counted.bypass_passed
    }
}

/// What is wrong where [`Told::is_more_than`] is true.
pub(crate) const MORE_THAN_COUNTED: &str =
    "more was stopped, or let go, by its leaves than by the kernel's numbers";
