//! Unread: what the loader could not read of processes that were there, with the rights that it has.
//!
//! In: what it says beside an answer. Out: each kind once in the log, and how often it came. Kinds are
//! bounded, since an error's words may come from a file system that somebody else serves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is said of a command line that is missing.
pub(super) const COMMAND: &str = "command line";

/// What is said of a digest that is missing.
pub(super) const DIGEST: &str = "SHA-256 of the executable";

/// What is said of a path that is missing.
pub(super) const EXECUTABLE: &str = "executable";

/// Why something is left out that could be read.
pub(super) const BECAME: &str = "the process may have become another program after it connected";
pub(super) const UNNOTED: &str = "this kernel does not note when a process becomes another program";
pub(super) const UNTOLD: &str = "whether the process became another program was not known in time";

/// Kinds that are told apart.
const KINDS: usize = 64;

/// Something of a process that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unread {
    /// What.
    pub what: String,
    /// What the system said.
    pub why: String,
}

/// How often each kind came.
#[derive(Debug, Default)]
pub(super) struct Kinds(BTreeMap<Unread, u64>);

impl Kinds {
    /// Counts what came.
    pub(super) fn add(&mut self, unread: Vec<Unread>) {
        for one in unread {
            if !self.0.contains_key(&one) {
                if self.0.len() >= KINDS {
                    continue;
                }
                let Unread { what, why } = &one;
                tracing::warn!(what, why, "something of a process cannot be read, and is left out");
            }
            let times = self.0.entry(one).or_default();
            *times = times.saturating_add(1);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(Unread, u64)> {
        self.0.iter().map(|(one, times)| (one.clone(), *times)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_bounded() {
        let one = |what: usize| Unread { what: what.to_string(), why: "refused".to_owned() };
        let mut kinds = Kinds::default();
        (0..KINDS + 9).for_each(|what| kinds.add(vec![one(what), one(0)]));
        assert_eq!(kinds.all().len(), KINDS);
        let times = |what| kinds.all().into_iter().find(|(found, _)| *found == one(what));
        assert_eq!(times(0), Some((one(0), u64::try_from(KINDS).unwrap() + 10)));
        assert_eq!(times(KINDS), None);
    }
}
