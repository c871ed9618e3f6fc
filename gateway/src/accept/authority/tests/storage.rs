//! The files of an authority, through every fault of the disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::*;
use crate::seal::keys::KeysError;
use crate::seal::log::disk::faulty::{FAULTS, FaultyDisk};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_authority_is_made_once_and_for_its_owner_alone() {
    let root = directory();
    let keys = root.path().join("data/keys");
    let first = Authority::open(&keys, &Ca::default()).unwrap().certificate();
    let again = Authority::open(&keys, &constrained()).unwrap().certificate();
    assert_eq!(first.fingerprint, again.fingerprint);
    assert_eq!((mode(&keys), mode(&keys.join("ca.key"))), (0o700, 0o600));
    let text = fs::read_to_string(keys.join("ca.key")).unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS #8");
}

#[test]
fn many_at_once_make_one() {
    let root = directory();
    let keys = root.path().join("keys");
    let barrier = std::sync::Barrier::new(6);
    let made: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            barrier.wait();
            Authority::open(&keys, &Ca::default()).unwrap().certificate().fingerprint
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|fingerprint| *fingerprint == made[0]));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let root = directory();
    Authority::open(root.path(), &Ca::default()).unwrap();
    let refused = || Authority::open(root.path(), &Ca::default()).unwrap_err();
    let key = root.path().join("ca.key");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    let error = refused();
    assert!(matches!(error, AuthorityError::Keys(KeysError::OpenToOthers { .. })), "{error}");
    assert!(error.to_string().contains("chmod 600"), "{error}");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(refused(), AuthorityError::Keys(KeysError::OpenToOthers { .. })));
    fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
    fs::rename(&key, root.path().join("away")).unwrap();
    assert!(matches!(refused(), AuthorityError::KeyMissing { .. }));
    fs::write(&key, "no key").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(refused(), AuthorityError::Keys(KeysError::Garbage { .. })));
    if rustix::process::geteuid().is_root() {
        fs::rename(root.path().join("away"), &key).unwrap();
        std::os::unix::fs::chown(&key, Some(65_534), None).unwrap();
        let error = refused();
        assert!(matches!(error, AuthorityError::Foreign { owner: 65_534, .. }), "{error}");
    }
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let root = directory();
    let victim = root.path().join("victim");
    fs::write(&victim, "important").unwrap();
    symlink(&victim, root.path().join("ca.lock")).unwrap();
    Authority::open(root.path(), &Ca::default()).unwrap_err();
    assert_eq!(fs::read(&victim).unwrap(), b"important");
}

#[test]
fn a_certificate_of_another_key_or_of_no_authority_is_refused() {
    let (root, other) = (directory(), directory());
    let authority = Authority::open(root.path(), &Ca::default()).unwrap();
    Authority::open(other.path(), &Ca::default()).unwrap();
    let pem = files::path(root.path());
    fs::copy(files::path(other.path()), &pem).unwrap();
    let error = Authority::open(root.path(), &Ca::default()).unwrap_err();
    assert!(error.to_string().contains("the key of another certificate"), "{error}");
    let leaf = authority.leaf(&dns("a.example")).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    fs::write(&pem, params.self_signed(&key).unwrap().pem()).unwrap();
    let error = Authority::open(root.path(), &Ca::default()).unwrap_err();
    assert!(error.to_string().contains("not one of an authority"), "{error}");
    assert_eq!(leaf.cert.len(), 1);
}

#[test]
fn one_that_is_out_of_date_mints_nothing() {
    let root = directory();
    let settings = Ca { lifetime: 24 * HOUR, ..Ca::default() };
    let then = SystemTime::now() - 48 * HOUR;
    files::load_or_make(&RealDisk, root.path(), &settings, then).unwrap();
    // What needs no leaf goes on, with a clock that is wrong as well; nothing is minted.
    let late = Authority::open(root.path(), &settings).unwrap();
    let error = late.leaf(&dns("a.example")).unwrap_err();
    assert!(matches!(error, AuthorityError::OutOfDate { .. }), "{error}");
    let error = late.reload(&settings).unwrap_err();
    assert!(matches!(error, AuthorityError::OutOfDate { .. }), "{error}");
    rotate(root.path(), &settings).unwrap();
    assert!(late.reload(&settings).unwrap());
    late.leaf(&dns("a.example")).unwrap();
    let authority = Authority::open(root.path(), &settings).unwrap();
    // No leaf outlives its authority.
    let leaf = authority.leaf(&dns("a.example")).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf.cert[0]).unwrap();
    assert_eq!(leaf.validity().not_after.timestamp(), authority.certificate().until);
}

/// Whatever step goes wrong, and however, the next to open finds one authority, whole.
#[test]
fn every_fault_at_every_step_leaves_the_old_authority_or_the_new_one() {
    let settings = Ca::default();
    let now = SystemTime::now();
    for first in [true, false] {
        let place = || {
            let root = directory();
            let keys = root.path().join("keys");
            let before = (!first).then(|| {
                let opened = Authority::open(&keys, &settings).unwrap();
                opened.certificate().fingerprint
            });
            (FaultyDisk::over(root.path()), root, keys, before)
        };
        let step = |disk: &FaultyDisk, keys: &Path| match first {
            true => files::load_or_make(disk, keys, &settings, now).map(|_| ()),
            false => files::rotate(disk, keys, &settings, now),
        };
        let steps = {
            let (disk, _root, keys, _) = place();
            let before = disk.steps();
            step(&disk, &keys).unwrap();
            disk.steps() - before
        };
        assert!(steps > 5, "{steps}");
        for fault in FAULTS {
            for at in 1..=steps {
                let (disk, _root, keys, before) = place();
                disk.plan(at, fault);
                let done = step(&disk, &keys);
                let what = format!("first {first}, {fault:?} at step {at}: {done:?}");
                let opened = Authority::open(&keys, &settings);
                let opened = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                let now = opened.certificate().fingerprint;
                if done.is_ok() {
                    assert_ne!(Some(now), before, "{what}");
                }
                if let Some(before) = before.filter(|before| *before != now) {
                    let previous = opened.previous().unwrap().unwrap();
                    assert_eq!(previous.fingerprint, before, "{what}");
                }
                opened.leaf(&dns("a.example")).unwrap();
                for entry in fs::read_dir(&keys).unwrap() {
                    let name = entry.unwrap().file_name().into_string().unwrap();
                    let known = ["ca.key", "ca.pem", "ca.lock", "ca-previous.pem"];
                    assert!(known.contains(&name.as_str()), "{what}: {name} is left");
                }
            }
        }
    }
}
