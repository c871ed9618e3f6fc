//! The ids of named runs.
//!
//! A name is the app's; the id that records carry is random and the gateway's. Names that were
//! not used for long are forgotten, and a later exchange of that name starts a new run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Names remembered before the older half is forgotten.
const GENERATION: usize = 50_000;

/// Which id each named run has.
#[derive(Debug, Default)]
pub struct Runs {
    names: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<String, [u8; 16]>,
    old: HashMap<String, [u8; 16]>,
}

impl Runs {
    /// The id of the run called `name`, made by `new` where there is none.
    pub fn id(&self, name: &str, new: impl FnOnce() -> [u8; 16]) -> [u8; 16] {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = names.young.get(name) {
            return *id;
        }
        let id = names.old.remove(name).unwrap_or_else(new);
        if names.young.len() >= GENERATION {
            names.old = std::mem::take(&mut names.young);
        }
        names.young.insert(name.to_owned(), id);
        id
    }
}
