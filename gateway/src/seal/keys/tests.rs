//! Keys on real files: made once, whole or not at all, and refused when anything is off.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::seal::log::disk::faulty::{FAULTS, FaultyDisk};

fn texts(directory: &Path) -> Vec<Option<String>> {
    FILES.iter().map(|name| fs::read_to_string(directory.join(name)).ok()).collect()
}

#[test]
fn keys_are_made_once_and_for_the_owner_alone() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("data/keys");
    assert!(matches!(Keys::load(&directory), Err(KeysError::NotMade { .. })));
    let keys = Keys::load_or_create(&directory, None).unwrap();
    let (name, digits) = keys.origin().split_once('/').unwrap();
    assert_eq!((name, digits.len()), ("sealtap.local", 16));
    assert_eq!(keys.run_record().name(), format!("{}/run-record", keys.origin()));
    assert_ne!(keys.header(), keys.store());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert!(FILES.iter().all(|name| mode(&directory.join(name)) == 0o600));
    let made = texts(&directory);
    let again = Keys::load_or_create(&directory, Some(keys.origin())).unwrap();
    assert_eq!((again.header(), again.store()), (keys.header(), keys.store()));
    assert_eq!(texts(&directory), made);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), FILES.len());
    // Another gateway gets other keys.
    let other = Keys::load_or_create(&root.path().join("other"), None).unwrap();
    assert_ne!(other.public_text(), keys.public_text());
    assert_ne!(other.header(), keys.header());
}

#[test]
fn what_is_printed_is_public() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("keys");
    let keys = Keys::load_or_create(&directory, Some("example.org/gateway")).unwrap();
    let text = keys.public_text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 8);
    for (at, signer) in [(0, keys.log()), (4, keys.run_record())] {
        assert_eq!(PublicKey::parse(lines[at]).as_ref(), Ok(signer.public()));
        let pem = lines[at + 1..at + 4].join("\n") + "\n";
        assert_eq!(PublicKey::from_pem(signer.name(), &pem).as_ref(), Ok(signer.public()));
    }
    assert!(lines[0].starts_with("example.org/gateway+"));
    assert!(lines[4].starts_with("example.org/gateway/run-record+"));
    let shown = format!("{keys:?}{text}");
    for secret in texts(&directory).into_iter().flatten() {
        // What follows name and hash; a plus may stand in it as well.
        let signed = secret.trim_end().strip_prefix("PRIVATE+KEY+");
        let secret = signed.map_or(secret.trim_end(), |key| key.splitn(3, '+').nth(2).unwrap());
        assert!(secret.len() > 40 && !shown.contains(secret));
    }
}

#[test]
fn a_start_that_is_cut_off_is_finished_by_the_next() {
    let root = TempDir::new().unwrap();
    let clean = FaultyDisk::over(root.path());
    Keys::load_or_create_on(&clean, &root.path().join("keys"), None).unwrap();
    for step in 1..=clean.steps() {
        for fault in FAULTS {
            let root = TempDir::new().unwrap();
            let directory = root.path().join("keys");
            let disk = FaultyDisk::over(root.path());
            disk.plan(step, fault);
            let first = Keys::load_or_create_on(&disk, &directory, None);
            let before = texts(&directory);
            let keys = Keys::load_or_create(&directory, None)
                .unwrap_or_else(|error| panic!("{step} {fault:?}: {error}"));
            for (before, after) in before.iter().zip(texts(&directory)) {
                assert!(
                    before.is_none() || *before == after,
                    "a key was replaced: {step} {fault:?}"
                );
            }
            if let Ok(first) = first {
                assert_eq!(first.public_text(), keys.public_text());
            }
            assert_eq!(fs::read_dir(&directory).unwrap().count(), FILES.len());
        }
    }
}

#[test]
fn keys_survive_a_power_loss_once_they_were_handed_out() {
    let (root, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let disk = FaultyDisk::over(root.path());
    let keys = Keys::load_or_create_on(&disk, &root.path().join("data/keys"), None).unwrap();
    disk.lose_power(root.path(), other.path(), || false);
    // The file system's copy, laid out by the test, does not carry permissions.
    let directory = other.path().join("data/keys");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    for name in FILES {
        let path = directory.join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    assert_eq!(Keys::load(&directory).unwrap().public_text(), keys.public_text());
}

#[test]
fn keys_open_to_others_are_refused_with_the_remedy() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("keys");
    Keys::load_or_create(&directory, None).unwrap();
    let all = FILES.iter().map(|name| (directory.join(name), 0o640, 0o600));
    for (path, wide, want) in all.chain([(directory.clone(), 0o750, 0o700)]) {
        fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
        for outcome in [Keys::load(&directory), Keys::load_or_create(&directory, None)] {
            let text = outcome.unwrap_err().to_string();
            assert!(text.contains(&format!("chmod {want:o} {}", path.display())), "{text}");
            assert!(text.contains(&format!("mode {wide:o}")), "{text}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(want)).unwrap();
    }
    Keys::load(&directory).unwrap();
}

#[test]
fn a_key_that_is_not_what_it_was_is_named() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("keys");
    Keys::load_or_create(&directory, Some("example.org/log")).unwrap();
    let put = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    let load = || Keys::load_or_create(&directory, None).unwrap_err();
    for name in FILES {
        let path = directory.join(name);
        let good = fs::read_to_string(&path).unwrap();
        let last = if good.ends_with("0\n") { "1\n" } else { "0\n" };
        let mut wrong =
            vec![String::new(), "x".to_owned(), good[1..].to_owned(), "\u{ff}".repeat(3)];
        if name.starts_with("run") || name == LOG {
            wrong.push(good.replace("example", "exomple"));
            wrong.push(format!("{}{last}", &good[..good.len() - 3]));
        }
        for text in wrong {
            put(name, &text);
            let error = load();
            assert!(matches!(error, KeysError::Garbage { .. }), "{name}: {error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        put(name, &good);
        if name != LOG {
            fs::remove_file(&path).unwrap();
            assert!(matches!(load(), KeysError::Missing { path: named } if named == path));
            assert!(!path.exists(), "a lost key is not made anew");
            fs::write(&path, &good).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    // Two keys that are each whole but not of one gateway.
    let other = root.path().join("other");
    Keys::load_or_create(&other, Some("example.org/other")).unwrap();
    fs::copy(other.join(LOG), directory.join(LOG)).unwrap();
    assert!(matches!(load(), KeysError::OriginMismatch { .. }));
}

#[test]
fn an_origin_is_checked_and_stays() {
    let root = TempDir::new().unwrap();
    let directory = root.path().join("keys");
    let long = "a".repeat(201);
    for bad in ["", "a b", "a+b", "a\nb", "a\u{a0}b", "a\u{7f}", &long] {
        let error = Keys::load_or_create(&directory, Some(bad)).unwrap_err();
        assert!(matches!(error, KeysError::Origin { .. }), "{bad:?}: {error}");
        assert!(!directory.exists());
    }
    Keys::load_or_create(&directory, Some("example.org/log")).unwrap();
    let error = Keys::load_or_create(&directory, Some("example.org/new")).unwrap_err();
    assert!(matches!(error, KeysError::OriginMismatch { .. }), "{error}");
    assert!(error.to_string().contains("example.org/log, not of example.org/new"), "{error}");
}
