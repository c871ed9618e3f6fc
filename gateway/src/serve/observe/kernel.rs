//! What the kernel saw, counted for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sealtap_common::leaf::{Arrived, BypassUnit, Canary, CanaryWay, Counts, Sums, Trial};

/// Ways around, by unit, way and verdict.
type Around = BTreeMap<(&'static str, String, &'static str), u64>;

/// Counted since the start.
#[derive(Debug, Default)]
pub struct Kernel {
    state: Mutex<State>,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether a coverage is armed; none where none ever was.
    pub armed: Option<bool>,
    /// Statements made.
    pub statements: u64,
    /// Connections that came, as of the last statement.
    pub arrived: Arrived,
    /// Connections of which nobody can say who made them.
    pub unknown: u64,
    /// What the kernel counted of it, as of the last statement with numbers.
    pub counts: Option<Counts>,
    /// Connections that the kernel led to the gateway and that had not come when that was made. The kernel's number
    /// is of no single cgroup, so what it led to a canary is in it, and is taken off by what the canary says when it
    /// is back; of one that never is nobody knows how many there were.
    pub not_come: u64,
    /// What went around, but for what canaries tried.
    pub around: Around,
    /// Canaries that came back, the connections that were led to them, and what the last one found.
    pub canaries: u64,
    canaries_led: u64,
    /// What the last one found.
    pub canary: Vec<(CanaryWay, Trial)>,
    /// Packets to the resolver: those whose questions were read, those that could not be, those that
    /// found no room.
    pub asked: (u64, u64, u64),
}

impl State {
    /// One of the kernel's numbers in both units.
    #[must_use]
    pub fn both(&self, number: impl Fn(&Sums) -> u64) -> Vec<(BypassUnit, u64)> {
        let counts = self.counts.iter();
        let both = |counts: &Counts| {
            let connects = (BypassUnit::Connect, number(&counts.connections));
            [connects, (BypassUnit::Packet, number(&counts.packets))]
        };
        counts.flat_map(both).collect()
    }
}

impl Kernel {
    /// Begins, or ends.
    pub fn armed(&self, armed: bool) {
        self.state().armed = Some(armed);
    }

    /// A statement was made.
    pub fn stated(&self, arrived: Arrived, unknown: u64) {
        let mut state = self.state();
        state.statements = state.statements.saturating_add(1);
        (state.arrived, state.unknown) = (arrived, unknown);
    }

    /// These were its numbers, with what had come to the listener before they were read.
    pub fn counted(&self, counts: &Counts, arrived: &Arrived) {
        let mut state = self.state();
        let led = counts.connections.via_gateway;
        let came = [arrived.known, arrived.refused_led, state.canaries_led];
        state.not_come = came.into_iter().fold(led, u64::saturating_sub);
        state.counts = Some(counts.clone());
    }

    /// A canary came back.
    pub fn canary(&self, tried: &Canary) {
        let mut state = self.state();
        state.canaries = state.canaries.saturating_add(1);
        state.canaries_led = state.canaries_led.saturating_add(tried.led);
        state.canary = tried.ways().collect();
    }

    /// So much went around.
    pub fn around(&self, (unit, way, verdict): (&'static str, &str, &'static str), count: u64) {
        let mut state = self.state();
        let sum = state.around.entry((unit, way.to_owned(), verdict)).or_default();
        *sum = sum.saturating_add(count);
    }

    /// So many packets went to the resolver.
    pub fn asked(&self, parsed: u64, unparsable: u64, lost: u64) {
        let mut state = self.state();
        let sums = &mut state.asked;
        sums.0 = sums.0.saturating_add(parsed);
        sums.1 = sums.1.saturating_add(unparsable);
        sums.2 = sums.2.saturating_add(lost);
    }

    /// What was counted so far.
    #[must_use]
    pub fn now(&self) -> State {
        self.state().clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was led to a canary is taken off once that says how much it was; of one that does not come back it stays,
    /// as the metric's help says.
    #[test]
    fn what_is_led_to_a_canary_is_taken_off_when_it_is_back() {
        let counted = |via_gateway| Counts {
            connections: Sums { seen: via_gateway, via_gateway, ..Sums::default() },
            ..Counts::default()
        };
        let kernel = Kernel::default();
        kernel.counted(&counted(5), &Arrived::default());
        assert_eq!(kernel.now().not_come, 5, "a canary is out");
        kernel.canary(&Canary { led: 5, trials: Vec::new() });
        kernel.counted(&counted(8), &Arrived::default());
        assert_eq!(kernel.now().not_come, 3, "one that is back, and one that never will be");
    }
}
