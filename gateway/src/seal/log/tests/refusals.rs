//! What is refused at opening: each thing that a crash cannot have left, by its name, untouched.

use std::fs;

use super::super::disk::RealDisk;
use super::super::{Checked, check};
use super::*;
use crate::seal::lock::LockError;

/// 520 leaves in three batches: two full bundles and a partial one.
fn filled() -> Place {
    Place::filled(&batches(&[255, 5, 260]))
}

/// What opening says, having changed nothing in the log, the lock or the keys.
fn refusal(place: &Place) -> LogError {
    let before = files(&place.root);
    let error = place.open().unwrap_err();
    let mut after = files(&place.root);
    after.retain(|path, _| before.contains_key(path));
    assert!(before == after, "{error} came with a change");
    error
}

/// Copies files back over what is there, and removes what was not there.
fn restore(directory: &Path, copy: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in files(directory).into_keys().filter(|path| !copy.contains_key(path)) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in copy {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn a_second_writer_is_refused() {
    let place = Place::new();
    let (log, _) = place.open().unwrap();
    assert!(matches!(place.open(), Err(LogError::Lock(LockError::Held { .. }))));
    drop(log);
    place.open().unwrap();
}

#[test]
fn an_old_copy_of_the_data_directory_is_named_with_both_sizes() {
    let place = Place::filled(&batches(&[255, 5]));
    let old = files(place.data.root());
    let (mut log, _) = place.open().unwrap();
    log.append(&leaves(260, 40)).unwrap();
    log.close().unwrap();
    restore(place.data.root(), &old);
    match refusal(&place) {
        LogError::RolledBack { locked: 300, published: 260, missing, .. } => {
            assert_eq!(missing, place.log("tile/entries/001.p/44"));
        }
        other => panic!("{other}"),
    }
    // Nor does it help to throw the log away altogether.
    fs::remove_dir_all(place.data.log()).unwrap();
    assert!(matches!(refusal(&place), LogError::RolledBack { locked: 300, published: 0, .. }));
}

#[test]
fn an_old_copy_with_what_it_had_staged_is_still_an_old_copy() {
    let place = Place::filled(&batches(&[255]));
    // The copy was taken just after the batch up to 260 had been staged.
    let old = files(place.data.root());
    let staged = place.data.staging();
    let tile = |name: &str| staged.join(name.replace('/', "+"));
    let (mut log, _) = place.open().unwrap();
    log.append(&leaves(255, 5)).unwrap();
    let full = fs::read(place.log("tile/0/000")).unwrap();
    log.append(&leaves(260, 40)).unwrap();
    log.close().unwrap();
    restore(place.data.root(), &old);
    fs::write(tile("tile/0/000"), full).unwrap();
    assert!(matches!(refusal(&place), LogError::RolledBack { locked: 300, published: 255, .. }));
    assert!(!place.log("tile/0/000").exists());
}

#[test]
fn an_old_lock_is_refused() {
    let place = Place::filled(&batches(&[255, 5]));
    let old = fs::read(place.lock_file()).unwrap();
    let (mut log, _) = place.open().unwrap();
    log.append(&leaves(260, 1)).unwrap();
    log.close().unwrap();
    fs::write(place.lock_file(), old).unwrap();
    let error = refusal(&place);
    assert!(matches!(error, LogError::LockBehind { locked: 260, published: 261, .. }), "{error}");
}

#[test]
fn a_fork_is_refused_at_the_same_size_and_at_another() {
    for other in [5, 300] {
        let place = Place::filled(&batches(&[5]));
        let fork = Place::new();
        let (mut log, _) = fork.open().unwrap();
        log.append(&leaves(1000, other)).unwrap();
        log.close().unwrap();
        // The fork's lock and, for the larger one, its tiles; the published checkpoint is ours.
        fs::copy(fork.lock_file(), place.lock_file()).unwrap();
        if other == 300 {
            let ours = fs::read(place.log("checkpoint")).unwrap();
            fs::remove_dir_all(place.data.log()).unwrap();
            fs::rename(fork.data.log(), place.data.log()).unwrap();
            fs::write(place.log("checkpoint"), ours).unwrap();
        }
        let error = refusal(&place);
        assert!(matches!(error, LogError::Forked { published: 5, .. }), "{error}");
    }
}

#[test]
fn a_log_without_its_lock_waits_to_be_adopted() {
    let place = filled();
    fs::remove_dir_all(&place.lock).unwrap();
    let error = refusal(&place);
    assert!(matches!(error, LogError::LockMissing { size: 520, .. }), "{error}");
    assert!(error.to_string().contains("--adopt"));
    let (mut log, report) = place.adopt().unwrap();
    assert_eq!((report.adopted, report.checked), (Some(520), Checked::Everything));
    assert_eq!(log.append(&leaves(520, 1)).unwrap(), 520..521);
    log.close().unwrap();
    // With its lock there, adopting changes nothing.
    assert_eq!(place.adopt().unwrap().1.adopted, None);
}

#[test]
fn an_adopted_log_is_checked_first_and_may_get_its_lock_elsewhere() {
    let mut place = filled();
    let bundle = place.log("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[4] ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    fs::remove_dir_all(&place.lock).unwrap();
    assert!(matches!(place.adopt(), Err(LogError::ChangedLeaf { index: 0, .. })));
    bytes[4] ^= 1;
    fs::write(&bundle, &bytes).unwrap();
    place.lock = place.root.join("elsewhere");
    assert!(matches!(refusal(&place), LogError::Lock(LockError::Elsewhere { .. })));
    assert_eq!(place.adopt().unwrap().1.adopted, Some(520));
    assert_eq!(place.open().unwrap().1.size, 520);
}

#[test]
fn a_key_that_did_not_sign_the_log_is_refused() {
    let mut place = filled();
    let other = Keys::load_or_create(&place.root.join("other"), Some("example.org/other"));
    place.keys = Arc::new(other.unwrap());
    assert!(matches!(refusal(&place), LogError::Checkpoint { .. }));
}

#[test]
fn tiles_without_any_checkpoint_are_refused() {
    let place = filled();
    fs::remove_dir_all(&place.lock).unwrap();
    fs::remove_file(place.log("checkpoint")).unwrap();
    assert!(matches!(refusal(&place), LogError::CheckpointMissing { .. }));
}

#[test]
fn each_file_that_is_gone_is_named() {
    let place = filled();
    for (path, bytes) in files(&place.data.log()) {
        if path.ends_with("checkpoint") {
            continue;
        }
        fs::remove_file(&path).unwrap();
        match refusal(&place) {
            LogError::MissingTile { path: named } => assert_eq!(named, path),
            other => panic!("{other}"),
        }
        fs::write(path, bytes).unwrap();
    }
    // The checkpoint can be had again from the lock, if everything under it is right.
    fs::remove_file(place.log("checkpoint")).unwrap();
    assert_eq!(place.open().unwrap().1.completed, 520);
    audit(&place.data.log(), place.keys.log().public()).unwrap();
}

#[test]
fn each_file_that_is_changed_cut_or_lengthened_is_named() {
    let place = filled();
    for (path, bytes) in files(&place.data.log()) {
        let mut flipped = bytes.clone();
        let middle = bytes.len() / 2;
        flipped[middle] ^= 0x20;
        let cut = bytes[..bytes.len() - 1].to_vec();
        let longer = [&bytes[..], b"\n"].concat();
        for wrong in [flipped, cut, longer, Vec::new()] {
            fs::write(&path, wrong).unwrap();
            match refusal(&place) {
                LogError::Checkpoint { path: named, .. }
                | LogError::ChangedTile { path: named }
                | LogError::ChangedLeaf { path: named, .. }
                | LogError::MisshapenBundle { path: named, .. } => assert_eq!(named, path),
                other => panic!("{}: {other}", path.display()),
            }
        }
        fs::write(path, bytes).unwrap();
    }
    place.open().unwrap();
}

#[test]
fn an_edited_leaf_is_named_even_if_its_hash_was_edited_with_it() {
    let place = filled();
    let bundle = place.log("tile/entries/002.p/8");
    let mut list: Vec<_> = leaves(512, 8);
    list[3] = b"another".to_vec();
    let mut bytes = Vec::new();
    list.iter().for_each(|leaf| push_entry(&mut bytes, leaf).unwrap());
    fs::write(&bundle, bytes).unwrap();
    let error = refusal(&place);
    assert!(matches!(error, LogError::ChangedLeaf { index: 515, .. }), "{error}");
    let tile = place.log("tile/0/002.p/8");
    fs::write(&tile, list.iter().flat_map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>()).unwrap();
    let error = refusal(&place);
    assert!(matches!(error, LogError::ChangedEdge { size: 520, .. }), "{error}");
    assert!(error.to_string().contains("tile/0/002.p/8"));
}

#[test]
fn strangers_are_named() {
    let place = filled();
    for name in [
        "note.txt",
        "tile/0/003.p/8",
        "tile/0/002",
        "tile/entries/2",
        "tile/0/002.p/9",
        "checkpoint.new",
    ] {
        let path = place.log(name);
        fs::write(&path, b"x")
            .or_else(|_| {
                fs::create_dir_all(path.parent().unwrap())?;
                fs::write(&path, b"x")
            })
            .unwrap();
        match refusal(&place) {
            LogError::Stranger { path: named, size: 520 } => assert_eq!(named, path),
            other => panic!("{other}"),
        }
        fs::remove_file(path).unwrap();
    }
    // Nor is a link or a pipe a tile, though its name is one.
    let (tile, away) = (place.log("tile/0/000"), place.root.join("away"));
    fs::rename(&tile, &away).unwrap();
    let link = || std::os::unix::fs::symlink(&away, &tile).unwrap();
    let pipe = || {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, &tile, kind, mode, 0).unwrap();
    };
    for make in [&link as &dyn Fn(), &pipe] {
        make();
        let error = place.open().unwrap_err();
        assert!(matches!(&error, LogError::Stranger { path, .. } if *path == tile), "{error}");
        fs::remove_file(&tile).unwrap();
    }
    fs::rename(&away, &tile).unwrap();
    // A partial tile of an earlier checkpoint is no stranger if it is what it was: it is removed.
    let earlier = place.log("tile/0/002.p/7");
    let now = fs::read(place.log("tile/0/002.p/8")).unwrap();
    fs::write(&earlier, &now[..7 * 32]).unwrap();
    place.open().unwrap();
    assert!(!earlier.exists());
    fs::write(&earlier, &now[32..]).unwrap();
    assert!(matches!(refusal(&place), LogError::ChangedTile { path } if path == earlier));
}

#[test]
fn a_large_log_is_checked_at_its_right_edge() {
    let sizes = [256 * 70, 3];
    let place = Place::filled(&batches(&sizes));
    let directories =
        super::super::staging::Directories { log: place.data.log(), staging: place.data.staging() };
    let size = sizes.iter().sum();
    let checkpoint = audit(&place.data.log(), place.keys.log().public()).unwrap().checkpoint;
    let tip = |everything| {
        let found = check::Found::look(&RealDisk, &directories, size)?;
        found.check(&RealDisk, &directories, &checkpoint, everything)
    };
    assert_eq!(tip(false).unwrap().root(), checkpoint.root);
    let damage = |name: &str, seen: bool| {
        let path = place.log(name);
        let bytes = fs::read(&path).unwrap();
        let mut wrong = bytes.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        fs::write(&path, wrong).unwrap();
        assert_eq!(tip(false).is_err(), seen, "{name}");
        assert!(tip(true).is_err(), "{name}");
        fs::write(path, bytes).unwrap();
    };
    for name in
        ["tile/0/070.p/3", "tile/0/069", "tile/1/000.p/70", "tile/entries/069", "tile/entries/006"]
    {
        damage(name, true);
    }
    damage("tile/0/005", false);
    damage("tile/entries/005", false);
}
