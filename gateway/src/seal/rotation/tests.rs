//! Rotation on real files: what the log says afterwards, and a fault at each of its steps.

use sealtap_common::directory::verify_directory;
use sealtap_common::verify::{Report, Verdict};
use tempfile::TempDir;

use super::*;
use crate::seal::lock::Surroundings;
use crate::seal::log::disk::faulty::{FAULTS, FaultyDisk};

/// A data directory with keys and a log, and a lock beside it.
struct Place {
    data: DataDir,
    lock: PathBuf,
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let data = DataDir::new(root.path().join("data"));
        Keys::load_or_create(&data.keys(), Some("example.org/log")).unwrap();
        let place = Self { data, lock: root.path().join("lock"), root };
        let mut log = place.open().unwrap();
        log.append(&[restart()]).unwrap();
        log.close().unwrap();
        place
    }

    fn lock(&self) -> LockPlace {
        LockPlace { explicit: Some(self.lock.clone()), surroundings: Surroundings::default() }
    }

    fn keys(&self) -> Keys {
        Keys::load(&self.data.keys()).unwrap()
    }

    fn open(&self) -> Result<Log, LogError> {
        let keys = Arc::new(self.keys());
        let options = Options { data: &self.data, keys, lock: self.lock(), adopt: false };
        Log::open(&options).map(|(log, _)| log)
    }

    fn rotation(&self, disk: Arc<dyn Disk>) -> Rotation<'_> {
        Rotation { disk, data: &self.data, lock: self.lock() }
    }

    fn verify(&self, key: &PublicKey) -> Report {
        verify_directory(&self.data.log(), std::slice::from_ref(key), || ()).0
    }
}

fn restart() -> Vec<u8> {
    use sealtap_common::Id;
    use sealtap_common::leaf::{Clock, Extensions, Policy, Restart};
    let clock = Clock { boottime: 1, wall: 1 };
    let (ext, policy) = (Extensions::new(), Policy::Strict);
    let restart = Restart { boot: Id([1; 16]), clock, ext, policy, previous: None, sealed: 1 };
    restart.encode().unwrap()
}

#[test]
fn the_old_key_leads_to_the_new_one_and_back() {
    let place = Place::new();
    let first = place.keys().log().public().clone();
    let mut keys = vec![first];
    for round in 1..=3 {
        let rotated = rotate(&place.data, KeyRole::Log, place.lock()).unwrap();
        assert_eq!(Some(&rotated.old), keys.last());
        assert_eq!(rotated.leaf, round);
        assert_eq!(*place.keys().log().public(), rotated.new);
        keys.push(rotated.new);
    }
    let rotated = rotate(&place.data, KeyRole::RunRecord, place.lock()).unwrap();
    assert_eq!(*place.keys().run_record().public(), rotated.new);
    for key in &keys {
        let report = place.verify(key);
        assert_eq!(report.findings, []);
        assert_eq!((report.verdict(), report.key), (Verdict::Valid, Some(key.vkey())));
        assert_eq!(report.key_changes.len(), 4);
    }
    let stranger = own_file::new_signer("example.org/log").unwrap();
    assert_eq!(place.verify(stranger.public()).verdict(), Verdict::Invalid);
    // The log goes on under the newest key.
    place.open().unwrap().close().unwrap();
}

#[test]
fn an_old_copy_from_before_a_rotation_is_refused() {
    let place = Place::new();
    let keys = place.data.keys();
    let old = std::fs::read(keys.join("log.key")).unwrap();
    let checkpoint = std::fs::read(place.data.log().join("checkpoint")).unwrap();
    rotate(&place.data, KeyRole::Log, place.lock()).unwrap();
    std::fs::write(keys.join("log.key"), old).unwrap();
    std::fs::write(place.data.log().join("checkpoint"), checkpoint).unwrap();
    assert!(matches!(place.open(), Err(LogError::Checkpoint { .. })));
}

#[test]
fn every_fault_at_every_step_is_completed_or_dropped_by_the_next_start() {
    for role in [KeyRole::Log, KeyRole::RunRecord] {
        let steps = {
            let place = Place::new();
            let disk = Arc::new(FaultyDisk::over(place.root.path()));
            let before = disk.steps();
            place.rotation(Arc::clone(&disk) as Arc<dyn Disk>).rotate(role).unwrap();
            disk.steps() - before
        };
        assert!(steps > 10, "{steps}");
        for fault in FAULTS {
            for step in 1..=steps {
                let place = Place::new();
                let first = place.keys();
                let disk = Arc::new(FaultyDisk::over(place.root.path()));
                disk.plan(step, fault);
                let done = place.rotation(Arc::clone(&disk) as Arc<dyn Disk>).rotate(role);
                place.rotation(Arc::new(RealDisk)).resume().unwrap();
                let what = format!("{role} {fault:?} at step {step}");
                let now = place.keys();
                let (old, new) = match role {
                    KeyRole::Log => (first.log().public(), now.log().public()),
                    KeyRole::RunRecord => (first.run_record().public(), now.run_record().public()),
                };
                if let Ok(done) = &done {
                    assert_eq!(done.new, *new, "{what}");
                }
                place.open().unwrap_or_else(|error| panic!("{what}: {error}")).close().unwrap();
                for key in [first.log().public(), now.log().public()] {
                    let report = place.verify(key);
                    assert_eq!(report.findings, [], "{what}");
                    assert_eq!(report.verdict(), Verdict::Valid, "{what}");
                    // In force exactly if the log says so.
                    assert_eq!(report.key_changes.len(), usize::from(old != new), "{what}");
                }
                let left = std::fs::read_dir(place.data.keys()).unwrap().count();
                assert_eq!(left, 4, "{what}");
            }
        }
    }
}
