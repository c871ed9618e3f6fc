//! Names: those that runs are stored under, held against the contexts of their exchanges.

use std::collections::{HashMap, HashSet};

use sealtap_common::unit::Context;

use super::facts::readable;
use super::rows::StoredExchange;
use super::sealed::Slot;

/// The names of runs, which must come from the contexts of their exchanges.
#[derive(Default)]
pub(super) struct Names {
    /// Runs with a name that no context has given so far, by the first leaf that has it.
    unheard: HashMap<[u8; 16], u64>,
    heard: HashSet<[u8; 16]>,
}

impl Names {
    pub(super) fn take(
        &mut self,
        stored: &StoredExchange,
        at: &mut dyn FnMut(&'static str, String),
    ) {
        // That the context is the sealed one is asked elsewhere.
        let context = stored.unit(Slot::Context).and_then(|bytes| Context::decode(bytes).ok());
        let given = context.and_then(|context| context.run_name.as_deref().map(readable));
        match (given, &stored.run_name) {
            (Some(given), Some(name)) if given == *name => {
                self.heard.insert(stored.run);
                self.unheard.remove(&stored.run);
            }
            (Some(_), _) => at("run", "its run is stored under another name".to_owned()),
            (None, Some(_)) if !self.heard.contains(&stored.run) => {
                self.unheard.entry(stored.run).or_insert(stored.leaf_index);
            }
            (None, _) => {}
        }
    }

    /// Of what is held no longer the context, which may have given the name, is gone too.
    pub(super) fn unknown(&mut self, stored: &StoredExchange) {
        self.heard.insert(stored.run);
        self.unheard.remove(&stored.run);
    }

    pub(super) fn unheard(self) -> impl Iterator<Item = (u64, String)> {
        let mut found: Vec<u64> = self.unheard.into_values().collect();
        found.sort_unstable();
        found.into_iter().map(|leaf| (leaf, "no context gives its run this name".to_owned()))
    }
}
