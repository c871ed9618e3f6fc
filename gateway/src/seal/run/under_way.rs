//! Which runs have exchanges under way, and which of those are over but for them.

use std::collections::HashMap;

use sealtap_common::leaf::ClosedReason;

/// The runs of one boot while records are read.
#[derive(Debug, Default)]
pub struct UnderWay {
    /// How many exchanges of each run are under way.
    exchanges: HashMap<[u8; 16], u64>,
    /// Runs that were ended before their last exchange.
    ending: HashMap<[u8; 16], ClosedReason>,
}

impl UnderWay {
    /// An exchange of this run begins.
    pub fn begun(&mut self, run: [u8; 16]) {
        *self.exchanges.entry(run).or_default() += 1;
    }

    /// An exchange of this run is over; why the run is, if this was what it waited for.
    pub fn left(&mut self, run: [u8; 16]) -> Option<ClosedReason> {
        if let Some(count) = self.exchanges.get_mut(&run) {
            *count = count.saturating_sub(1);
            if *count > 0 {
                return None;
            }
        }
        self.exchanges.remove(&run);
        self.ending.remove(&run)
    }

    /// This run was ended; whether it is over, with no exchange left to wait for.
    pub fn ended(&mut self, run: [u8; 16], reason: ClosedReason) -> bool {
        let over = !self.exchanges.contains_key(&run);
        if !over {
            self.ending.insert(run, reason);
        }
        over
    }

    /// Every exchange is over: the runs that waited for theirs.
    pub fn all_left(&mut self) -> HashMap<[u8; 16], ClosedReason> {
        self.exchanges.clear();
        std::mem::take(&mut self.ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_for_its_exchanges() {
        let mut runs = UnderWay::default();
        assert!(runs.ended([1; 16], ClosedReason::Idle), "it has none");
        runs.begun([1; 16]);
        runs.begun([1; 16]);
        runs.begun([2; 16]);
        assert_eq!(runs.left([1; 16]), None);
        assert!(!runs.ended([1; 16], ClosedReason::Idle));
        assert_eq!(runs.left([2; 16]), None, "nobody ended it");
        assert_eq!(runs.left([1; 16]), Some(ClosedReason::Idle));
        assert_eq!(runs.left([1; 16]), None, "it is said once");
        runs.begun([3; 16]);
        assert!(!runs.ended([3; 16], ClosedReason::ConnectionEnded));
        assert_eq!(runs.all_left().len(), 1);
        assert!(runs.exchanges.is_empty() && runs.ending.is_empty());
    }
}
