//! Tamper: a real log of some hundred leaves, changed in every way a holder of its files could
//! change it. Each change must make the verifiers say *not valid*.
//!
//! By default the bytes flipped are every byte of the checkpoint and a spread over the rest;
//! `SEALTAP_TAMPER_ALL=1` flips each byte of each file in turn.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, verify, verify_small};
use sealtap_tests::wire::Wire;
use std::sync::Arc;

/// More than one full tile, and a partial one.
const EXCHANGES: usize = 300;

/// The log all cases here work on copies of, made once.
fn home() -> &'static Arc<Home> {
    static HOME: OnceLock<Arc<Home>> = OnceLock::new();
    HOME.get_or_init(|| {
        let upstream = Upstream::answering(|session, request| {
            let target = request.head.target().to_vec();
            let length = target.len().to_string();
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
            session.send(target);
        });
        let gateway = Options::default().upstream("up", upstream.url()).start();
        let mut client = Wire::connect(gateway.address());
        for index in 0..EXCHANGES {
            client.send(head(format!("GET /up/{index} HTTP/1.1"), &[("Host", "x")]));
            assert_eq!(client.response("GET").status(), 200);
        }
        drop(client);
        let home = gateway.terminate();
        upstream.finish();
        home
    })
}

/// A copy of the log that can be spoiled.
struct Copy {
    directory: tempfile::TempDir,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Copy {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut files = BTreeMap::new();
        collect(&home().log(), Path::new(""), &mut files);
        for (path, bytes) in &files {
            let to = directory.path().join("log").join(path);
            fs::create_dir_all(to.parent().expect("a file has a directory")).expect("made");
            fs::write(to, bytes).expect("written");
        }
        Self { directory, files }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        let to = self.log().join(path);
        fs::create_dir_all(to.parent().expect("a file has a directory")).expect("made");
        fs::write(to, bytes).expect("written");
    }

    fn restore(&self, path: &Path) {
        self.write(path, &self.files[path]);
    }

    fn assert_found(&self, what: &str) {
        let (verdict, said) = verify_small(&self.log(), &home().keys());
        assert_eq!(verdict, Verdict::NotValid, "{what}: {said}");
    }

    fn assert_valid(&self) {
        let (verdict, said) = verify_small(&self.log(), &home().keys());
        assert_eq!(verdict, Verdict::Valid, "{said}");
    }
}

fn collect(root: &Path, under: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(root.join(under)).expect("a directory can be listed") {
        let entry = entry.expect("an entry can be read");
        let path = under.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            collect(root, &path, files);
        } else {
            files.insert(path.clone(), fs::read(root.join(&path)).expect("a file can be read"));
        }
    }
}

#[test]
fn the_copy_is_valid_and_both_verifiers_say_so() {
    let copy = Copy::new();
    assert!(copy.files.len() >= 5, "{:?}", copy.paths());
    let (verdict, said) = verify(&copy.log(), Some(&home().keys()));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    let (verdict, said) = verify(&copy.log(), None);
    assert_eq!(verdict, Verdict::Undecided, "without a key nothing is trusted: {said}");
    assert!(said.contains("not pinned"), "{said}");
}

#[test]
fn another_key_is_no_key() {
    let other = Options::default().start().terminate();
    let (verdict, said) = verify(&home().log(), Some(&other.keys()));
    assert_ne!(verdict, Verdict::Valid, "{said}");
}

#[test]
fn each_byte_flipped() {
    let copy = Copy::new();
    let all = std::env::var_os("SEALTAP_TAMPER_ALL").is_some();
    let mut flipped = 0;
    for (path, bytes) in &copy.files {
        let whole = all || path == Path::new("checkpoint");
        // A step that is no power of two wanders over every column of hashes and entries.
        let step = if whole { 1 } else { (bytes.len() / 40).max(1) | 1 };
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            copy.write(path, &changed);
            copy.assert_found(&format!("bit {} of byte {at} of {}", at % 8, path.display()));
            flipped += 1;
        }
        copy.restore(path);
    }
    assert!(flipped > 200, "{flipped}");
    copy.assert_valid();
}

#[test]
fn files_dropped() {
    let copy = Copy::new();
    for path in copy.paths() {
        fs::remove_file(copy.log().join(&path)).expect("removed");
        copy.assert_found(&format!("{} dropped", path.display()));
        copy.restore(&path);
    }
    copy.assert_valid();
}

#[test]
fn files_cut_short_and_made_longer() {
    let copy = Copy::new();
    for (path, bytes) in &copy.files {
        for keep in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            copy.write(path, &bytes[..keep]);
            copy.assert_found(&format!("{} cut to {keep} bytes", path.display()));
        }
        for more in [&b"\0"[..], b"\n", &bytes[..bytes.len().min(32)]] {
            copy.write(path, &[bytes, more].concat());
            copy.assert_found(&format!("{} with {} bytes more", path.display(), more.len()));
        }
        copy.restore(path);
    }
    copy.assert_valid();
}

#[test]
fn files_swapped() {
    let copy = Copy::new();
    let paths = copy.paths();
    for (index, first) in paths.iter().enumerate() {
        for second in &paths[index + 1..] {
            copy.write(first, &copy.files[second]);
            copy.write(second, &copy.files[first]);
            copy.assert_found(&format!("{} and {} swapped", first.display(), second.display()));
            copy.restore(first);
            copy.restore(second);
        }
    }
    copy.assert_valid();
}

#[test]
fn files_added() {
    let copy = Copy::new();
    let partial = copy.paths().into_iter().find(|path| path.to_string_lossy().contains(".p/"));
    let partial = partial.expect("a partial tile");
    let names = [
        "extra",
        "checkpoint.old",
        ".hidden",
        "tile/extra",
        "tile/0/999",
        "tile/0/extra",
        "tile/entries/999",
        "tile/9/000",
        "tile/0/000/extra",
    ];
    for name in names {
        let path = Path::new(name);
        if let Some(parent) = path.parent()
            && copy.files.contains_key(parent)
        {
            continue;
        }
        copy.write(path, &copy.files[&partial]);
        copy.assert_found(&format!("{name} added"));
        fs::remove_file(copy.log().join(path)).expect("removed");
        // A directory made for it would be one more thing that does not belong.
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|directory| *directory != Path::new("")) {
            let _ = fs::remove_dir(copy.log().join(directory));
            parent = directory.parent();
        }
        copy.assert_valid();
    }
}

#[test]
fn leaves_swapped_and_dropped_in_a_bundle() {
    let copy = Copy::new();
    let bundles: Vec<PathBuf> =
        copy.paths().into_iter().filter(|path| path.starts_with("tile/entries")).collect();
    for path in bundles {
        let bytes = &copy.files[&path];
        let mut leaves = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            leaves.push(&rest[..length]);
            rest = &rest[length..];
        }
        assert!(leaves.len() > 2, "{}", path.display());
        for at in [0, leaves.len() / 2, leaves.len() - 2] {
            let mut swapped = leaves.clone();
            swapped.swap(at, at + 1);
            copy.write(&path, &swapped.concat());
            copy.assert_found(&format!("leaves {at} and {} of {}", at + 1, path.display()));
            let mut dropped = leaves.clone();
            dropped.remove(at);
            copy.write(&path, &dropped.concat());
            copy.assert_found(&format!("leaf {at} dropped of {}", path.display()));
            let mut doubled = leaves.clone();
            doubled.insert(at, leaves[at]);
            copy.write(&path, &doubled.concat());
            copy.assert_found(&format!("leaf {at} doubled in {}", path.display()));
        }
        copy.restore(&path);
    }
    copy.assert_valid();
}

#[test]
fn a_restart_finds_a_changed_log() {
    let options = || Options::default();
    for spoil in ["checkpoint", "tile"] {
        let upstream = Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 x", &[])));
        let gateway = options().upstream("up", upstream.url()).start();
        let mut client = Wire::connect(gateway.address());
        client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 204);
        drop(client);
        let home = gateway.terminate();
        let mut files = BTreeMap::new();
        collect(&home.log(), Path::new(""), &mut files);
        let (path, bytes) =
            files.iter().find(|(path, _)| path.starts_with(spoil)).expect("there is such a file");
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(home.log().join(path), changed).expect("written");
        let Err((status, stderr)) = options().try_start_in(home) else {
            panic!("a gateway started on a log with a changed {spoil}")
        };
        assert!(!status.success());
        assert!(stderr.contains("log"), "{stderr}");
        upstream.finish();
    }
}

/// An old copy of the data directory, put back, is behind its lock.
#[test]
fn a_restart_finds_an_old_copy() {
    let upstream = Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 x", &[])));
    let options = || Options::default().upstream("up", upstream.url());
    let home = options().start().terminate();
    let mut old = BTreeMap::new();
    collect(&home.data(), Path::new(""), &mut old);
    let gateway = options().start_in(home);
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 204);
    drop(client);
    let home = gateway.terminate();
    fs::remove_dir_all(home.data()).expect("removed");
    for (path, bytes) in &old {
        let to = home.data().join(path);
        fs::create_dir_all(to.parent().expect("a file has a directory")).expect("made");
        fs::write(to, bytes).expect("written");
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(home.data().join("keys"), private).expect("allowed");
    for (path, _) in old.iter().filter(|(path, _)| path.starts_with("keys")) {
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(home.data().join(path), private).expect("allowed");
    }
    let Err((status, stderr)) = options().try_start_in(home) else {
        panic!("a gateway started on an old copy of its data")
    };
    assert!(!status.success());
    assert!(stderr.contains("lock") || stderr.contains("older"), "{stderr}");
    upstream.finish();
}

/// A log whose lock is gone signs nothing, until it is adopted; and then a leaf says so.
#[test]
fn a_missing_lock_needs_adoption() {
    let home = Options::default().start().terminate();
    fs::remove_dir_all(home.lock()).expect("removed");
    let Err((status, stderr)) = Options::default().try_start_in(Arc::clone(&home)) else {
        panic!("a gateway started without its lock")
    };
    assert!(!status.success());
    assert!(stderr.contains("--adopt"), "{stderr}");
    let home = Options::default().argument("--adopt").start_in(home).terminate();
    let mut files = BTreeMap::new();
    collect(&home.log(), Path::new("tile/entries"), &mut files);
    let leaves: Vec<u8> = files.into_values().flatten().collect();
    let kind = b"\"kind\":\"adopted\"";
    assert!(leaves.windows(kind.len()).any(|window| window == kind), "no leaf says so");
}
