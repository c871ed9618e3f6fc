//! Watch: looks once a second and says in the operator's log what turned bad, or good again.
//!
//! Each thing is said when it begins and when it ends, never in between, and what may come and go
//! (a slow sync) at most once a minute. The journal, the log and the store say by themselves what
//! keeps them from working; here is what only shows over time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Disk, Observe};
use crate::tally::Spread;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// How often slow syncs are said at most.
const SELDOM: Duration = Duration::from_secs(60);
/// A sync that takes longer than this is slow, in microseconds.
const SLOW_US: u64 = 1_000_000;

/// What was said last.
#[derive(Debug, Default)]
struct Said {
    late: bool,
    low: bool,
    slow: u64,
    slow_at: Option<Instant>,
}

/// Looks until it is dropped.
pub async fn watch(observe: Arc<Observe>) {
    let mut said = Said::default();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let looking = Arc::clone(&observe);
        // The system may take its time over a disk that does not answer.
        let looked = tokio::task::spawn_blocking(move || looking.look_at_disks()).await;
        if looked.is_ok() {
            said.say(&observe);
        }
    }
}

impl Said {
    fn say(&mut self, observe: &Observe) {
        let checks = observe.checks();
        let wrong = |name| checks.iter().find(|check| check.name == name)?.wrong.as_deref();
        match (wrong("log"), self.late) {
            (Some(reason), false) => tracing::warn!(reason, "sealing is late"),
            (None, true) => tracing::info!("sealing is in time again"),
            _ => {}
        }
        self.late = wrong("log").is_some();
        match (wrong("disk"), self.low) {
            (Some(reason), false) => {
                tracing::warn!(reason, "little disk is left; when it is full, traffic is refused");
            }
            (None, true) => {
                let left = observe.disks().iter().filter_map(|disk: &Disk| disk.left).min();
                tracing::info!(left, "there is room on the disk again");
            }
            _ => {}
        }
        self.low = wrong("disk").is_some();
        self.slow_syncs(&observe.journal.stats().sync_times);
    }

    fn slow_syncs(&mut self, times: &Spread) {
        let slow = times.above(SLOW_US);
        let silent = self.slow_at.is_some_and(|at| at.elapsed() < SELDOM);
        if slow > self.slow && !silent {
            let syncs = slow.saturating_sub(self.slow);
            tracing::warn!(
                syncs,
                "syncs of the journal took over a second; ends of messages wait for them"
            );
            (self.slow, self.slow_at) = (slow, Some(Instant::now()));
        }
    }
}
