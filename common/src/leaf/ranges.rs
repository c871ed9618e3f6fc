//! A set of exchange numbers as inclusive ranges, in its one canonical form.

/// Exchange numbers as ranges that ascend, do not touch, and start at 1 or later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

/// Ranges that are not in canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ranges of numbers must start at 1 or later, ascend, and leave a hole between each other")]
pub struct RangesError;

impl Ranges {
    /// Takes ranges that are canonical already.
    ///
    /// # Errors
    /// [`RangesError`] when they are not.
    pub fn new(ranges: Vec<(u64, u64)>) -> Result<Self, RangesError> {
        let mut free_from = 1_u64;
        for (first, last) in &ranges {
            if *first < free_from || last < first {
                return Err(RangesError);
            }
            // The number after a range is a hole, else the next range would continue this one.
            free_from = last.saturating_add(2);
        }
        Ok(Self(ranges))
    }

    /// Puts further ranges behind these.
    ///
    /// # Errors
    /// [`RangesError`] when they do not come behind with a hole between; then nothing is added.
    pub fn extend(&mut self, further: &Self) -> Result<(), RangesError> {
        let free_from = self.highest().map_or(1, |last| last.saturating_add(2));
        if further.0.first().is_some_and(|(first, _)| *first < free_from) {
            return Err(RangesError);
        }
        self.0.extend_from_slice(&further.0);
        Ok(())
    }

    /// Collects numbers in any order; 0, which is no exchange number, is left out.
    pub fn from_numbers(numbers: impl IntoIterator<Item = u64>) -> Self {
        let mut sorted: Vec<u64> = numbers.into_iter().filter(|number| *number > 0).collect();
        sorted.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for number in sorted {
            match ranges.last_mut() {
                Some((_, last)) if number <= last.saturating_add(1) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }

    /// The same ranges joined wherever every number between two of them has a leaf already, as
    /// `covered` says. Shorter, for a restart or a heartbeat that would not fit one leaf otherwise.
    #[must_use]
    pub fn joined(&self, covered: impl Fn(u64) -> bool) -> Self {
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (first, last) in &self.0 {
            match joined.last_mut() {
                Some((_, end)) if (*end + 1..*first).all(&covered) => *end = *last,
                _ => joined.push((*first, *last)),
            }
        }
        Self(joined)
    }

    /// Whether there are no numbers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, ascending; both ends belong to them.
    #[must_use]
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether a number is among them.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, last)| number <= *last)
    }

    /// The highest number.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.0.last().map(|(_, last)| *last)
    }
}
