//! What the kernel saw, counted for `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sealtap_common::leaf::Arrived;

/// Ways around, by way and verdict.
type Around = BTreeMap<(String, &'static str), u64>;

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
    /// What went around.
    pub around: Around,
    /// Packets to the resolver: those whose questions were read, those that could not be, those that
    /// found no room.
    pub asked: (u64, u64, u64),
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

    /// So much went around.
    pub fn around(&self, way: &str, verdict: &'static str, count: u64) {
        let mut state = self.state();
        let sum = state.around.entry((way.to_owned(), verdict)).or_default();
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
