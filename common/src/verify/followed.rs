//! Keys that key changes lead to from others, in time that grows with their number alone: whoever
//! writes a log may put as many changes into it as fit.

use std::collections::HashMap;
use std::hash::Hash;

/// Keys, each once, and which of those that were given each comes from.
pub(crate) struct Followed<K> {
    /// In the order in which they were found, those that were given first.
    keys: Vec<(K, usize)>,
    places: HashMap<K, usize>,
}

impl<K: Clone + Eq + Hash> Followed<K> {
    /// Those that were given.
    pub(crate) fn from(given: impl IntoIterator<Item = K>) -> Self {
        let mut followed = Self { keys: Vec::new(), places: HashMap::new() };
        for (place, key) in given.into_iter().enumerate() {
            followed.add(key, place);
        }
        followed
    }

    /// Goes along a change from the key that it replaces, if that is known, to the new one.
    pub(crate) fn forward(&mut self, old: &K, new: &K) {
        self.step(old, new);
    }

    /// Goes along a change from the new key, if that is known, to the one that it replaces.
    pub(crate) fn back(&mut self, old: &K, new: &K) {
        self.step(new, old);
    }

    /// The keys, each with the place of the given one that it comes from.
    pub(crate) fn keys(&self) -> &[(K, usize)] {
        &self.keys
    }

    /// The keys alone.
    pub(crate) fn into_keys(self) -> Vec<K> {
        self.keys.into_iter().map(|(key, _)| key).collect()
    }

    fn step(&mut self, known: &K, other: &K) {
        if let Some(from) = self.places.get(known).copied() {
            self.add(other.clone(), from);
        }
    }

    fn add(&mut self, key: K, from: usize) {
        if !self.places.contains_key(&key) {
            self.places.insert(key.clone(), from);
            self.keys.push((key, from));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// A key that counts how often it is looked at.
    #[derive(Clone, Debug)]
    struct Counted(u64);

    fn look() {
        LOOKS.set(LOOKS.get() + 1);
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            look();
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            look();
            self.0.hash(state);
        }
    }

    /// Looks that it takes to follow so many changes, forward and back.
    fn looks(changes: u64) -> u64 {
        LOOKS.set(0);
        let mut followed = Followed::from([Counted(changes / 2)]);
        let all: Vec<_> = (0..changes).map(|n| (Counted(n), Counted(n + 1))).collect();
        all.iter().for_each(|(old, new)| followed.forward(old, new));
        all.iter().rev().for_each(|(old, new)| followed.back(old, new));
        assert_eq!(followed.into_keys().len() as u64, changes + 1);
        LOOKS.get()
    }

    #[test]
    fn twice_the_changes_are_twice_the_work() {
        let (few, many) = (looks(2_000), looks(40_000));
        assert!(few >= 2_000, "{few}");
        assert!(many < few * 40, "{many} looks for twenty times what took {few}");
    }

    #[test]
    fn each_key_is_there_once_with_what_it_comes_from() {
        let mut followed = Followed::from(["b", "x", "b"]);
        for (old, new) in [("a", "b"), ("b", "c"), ("y", "z"), ("c", "x"), ("x", "b")] {
            followed.forward(&old, &new);
        }
        assert_eq!(followed.keys(), [("b", 0), ("x", 1), ("c", 0)]);
        followed.back(&"a", &"b");
        assert_eq!(followed.into_keys(), ["b", "x", "c", "a"]);
    }
}
