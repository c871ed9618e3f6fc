//! The log on real files: what it writes, what it refuses, and every way a step can go wrong.

mod faults;
mod refusals;
mod shape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::{Note, PublicKey};
use sealtap_common::tile::{Edge, TilePath, entries, push_entry, tiles};
use sealtap_common::tree::{Frontier, leaf_hash};
use tempfile::TempDir;

use super::disk::Disk;
use super::{Log, LogError, OpenReport, Options, open};
use crate::data::DataDir;
use crate::seal::keys::Keys;
use crate::seal::lock::{LockPlace, Surroundings};

/// A place for one log: data directory, keys, and a lock beside them.
struct Place {
    root: PathBuf,
    data: DataDir,
    lock: PathBuf,
    keys: Arc<Keys>,
    _temporary: TempDir,
}

impl Place {
    fn new() -> Self {
        static KEYS: OnceLock<Arc<Keys>> = OnceLock::new();
        let keys = KEYS.get_or_init(|| {
            let directory = TempDir::new().unwrap();
            Arc::new(
                Keys::load_or_create(&directory.path().join("keys"), Some("example.org/log"))
                    .unwrap(),
            )
        });
        let temporary = TempDir::new().unwrap();
        let root = temporary.path().to_owned();
        let data = DataDir::new(root.join("data"));
        let lock = root.join("lock");
        Self { data, lock, root, keys: Arc::clone(keys), _temporary: temporary }
    }

    /// With the lock inside the data directory, as throw-away data has it: the whole can be moved.
    fn movable(mut self) -> Self {
        self.lock = self.data.root().join("lock");
        self
    }

    fn options(&self, adopt: bool) -> Options<'_> {
        let explicit = Some(self.lock.clone());
        let lock = LockPlace { explicit, surroundings: Surroundings::default() };
        Options { data: &self.data, keys: Arc::clone(&self.keys), lock, adopt }
    }

    fn open_on(&self, disk: Arc<dyn Disk>) -> Result<(Log, OpenReport), LogError> {
        open::open(disk, &self.options(false), None)
    }

    fn open(&self) -> Result<(Log, OpenReport), LogError> {
        Log::open(&self.options(false))
    }

    fn adopt(&self) -> Result<(Log, OpenReport), LogError> {
        Log::open(&self.options(true))
    }

    /// A closed log of these leaves, in batches.
    fn filled(batches: &[Vec<Vec<u8>>]) -> Self {
        let place = Self::new();
        let (mut log, _) = place.open().unwrap();
        for batch in batches {
            log.append(batch).unwrap();
        }
        log.close().unwrap();
        place
    }

    fn log(&self, name: &str) -> PathBuf {
        self.data.log().join(name)
    }

    fn lock_file(&self) -> PathBuf {
        let is_lock = |path: &PathBuf| path.extension().is_some_and(|end| end == "checkpoint");
        files(&self.lock).into_keys().find(is_lock).unwrap()
    }
}

/// Every file below a directory, with its bytes.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Leaves numbered on from `from`, each of another length.
fn leaves(from: u64, count: u64) -> Vec<Vec<u8>> {
    (from..from + count)
        .map(|n| format!("{{\"leaf\":{n}}}{}", ".".repeat((n % 7) as usize)).into_bytes())
        .collect()
}

/// Batches of these sizes, numbered on.
fn batches(sizes: &[u64]) -> Vec<Vec<Vec<u8>>> {
    let mut from = 0;
    let mut batch = |count: &u64| {
        from += count;
        leaves(from - count, *count)
    };
    sizes.iter().map(&mut batch).collect()
}

/// What a published log holds, checked from its files alone, by other means than the log's own.
struct Published {
    checkpoint: Checkpoint,
    leaves: Vec<Vec<u8>>,
    /// Files that this checkpoint does not need.
    superfluous: usize,
}

/// Checks a published log whole; nothing if there is no checkpoint.
fn audit(log: &Path, key: &PublicKey) -> Option<Published> {
    let mut found: BTreeMap<String, Vec<u8>> = files(log)
        .into_iter()
        .map(|(path, bytes)| (path.strip_prefix(log).unwrap().to_str().unwrap().to_owned(), bytes))
        .collect();
    let signed = found.remove("checkpoint")?;
    let note = Note::parse(&signed).unwrap();
    note.verify(key).unwrap();
    let checkpoint = Checkpoint::parse(&note.text).unwrap();
    let mut files: BTreeMap<TilePath, Vec<u8>> =
        found.into_iter().map(|(name, bytes)| (name.parse().unwrap(), bytes)).collect();
    let mut edge = Edge::new();
    let mut want: BTreeMap<TilePath, Vec<u8>> = BTreeMap::new();
    let mut leaves = Vec::new();
    for tile in sealtap_common::tile::entry_tiles(checkpoint.size) {
        let bundle = files.get(&tile).unwrap_or_else(|| panic!("{tile} is missing"));
        let mut again = Vec::new();
        for entry in entries(bundle).unwrap() {
            push_entry(&mut again, entry).unwrap();
            leaves.push(entry.to_vec());
            edge.push(leaf_hash(entry), |tile, bytes| drop(want.insert(tile, bytes.to_vec())));
        }
        want.insert(tile, again);
    }
    want.extend(edge.partial_tiles().map(|(tile, bytes)| (tile, bytes.to_vec())));
    assert!(
        want.keys().copied().collect::<Vec<_>>() == {
            let mut all: Vec<_> = tiles(checkpoint.size).collect();
            all.sort();
            all
        }
    );
    for (tile, bytes) in &want {
        assert!(files.remove(tile).as_ref() == Some(bytes), "{tile} of {}", checkpoint.size);
    }
    // What is left: tiles of earlier checkpoints, each the beginning of what took its place; or of
    // the next one, if the process died before its checkpoint was published.
    let superfluous = files.len();
    for (tile, bytes) in files {
        if let Some(now) = TilePath::in_tree(tile.level, tile.index, checkpoint.size) {
            let now = &want[&now];
            assert!(now.starts_with(&bytes) || bytes.starts_with(now), "{tile}");
        }
    }
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(leaf_hash(leaf)));
    assert_eq!(frontier.root(), checkpoint.root);
    Some(Published { checkpoint, leaves, superfluous })
}
