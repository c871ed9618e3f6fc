//! Tally: how long things took, counted by whoever did them.
//!
//! In: durations, from any thread. Out: a [`Spread`] of them, for whoever asks. Adding is two atomic
//! additions without a lock or an allocation, so that it may stand where traffic passes. It never
//! forgets and never fails; a reader beside a writer may see one of the two additions without the
//! other, which the next reading puts right.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds, in microseconds: from what a fast disk needs to what a long answer takes.
pub const BOUNDS_US: [u64; 16] = [
    100,
    250,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    120_000_000,
    600_000_000,
];

/// Durations, counted by the bound they stay under.
#[derive(Debug, Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_US.len()],
    longer: AtomicU64,
    sum_us: AtomicU64,
}

/// What a [`Histogram`] held when it was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many lie at or below each of [`BOUNDS_US`] and above the bound before.
    pub counts: [u64; BOUNDS_US.len()],
    /// How many lie above the last bound.
    pub longer: u64,
    /// The sum of all, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn add(&self, duration: Duration) {
        self.add_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts one duration in microseconds.
    pub fn add_us(&self, microseconds: u64) {
        let bound = BOUNDS_US.partition_point(|bound| *bound < microseconds);
        self.counts.get(bound).unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let mut spread = Spread {
            longer: self.longer.load(Ordering::Relaxed),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            ..Spread::default()
        };
        for (count, held) in spread.counts.iter_mut().zip(&self.counts) {
            *count = held.load(Ordering::Relaxed);
        }
        spread
    }
}

impl Spread {
    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>().saturating_add(self.longer)
    }

    /// How many lie above `bound_us`, which is one of [`BOUNDS_US`].
    #[must_use]
    pub fn above(&self, bound_us: u64) -> u64 {
        let above = self.counts.iter().zip(BOUNDS_US).filter(|(_, bound)| *bound > bound_us);
        above.map(|(count, _)| count).sum::<u64>().saturating_add(self.longer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_once_under_its_bound() {
        let histogram = Histogram::default();
        for microseconds in [0, 100, 101, 1_000_000, 1_000_001, 600_000_001] {
            histogram.add_us(microseconds);
        }
        let spread = histogram.spread();
        assert_eq!(spread.counts[..2], [2, 1]);
        assert_eq!((spread.count(), spread.longer), (6, 1));
        assert_eq!(spread.above(1_000_000), 2);
        assert_eq!(spread.sum_us, 100 + 101 + 1_000_000 + 1_000_001 + 600_000_001);
    }
}
