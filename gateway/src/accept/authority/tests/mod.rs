mod clients;
mod openssl;
mod storage;

use std::time::SystemTime;

use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::issuer::Issuing;
use super::*;
use crate::config::Network;

const HOUR: Duration = Duration::from_secs(3_600);

fn dns(name: &str) -> LeafName {
    LeafName::parse(name).unwrap()
}

fn directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    directory
}

/// An authority for `example.com` and 10.0.0.0/8.
fn constrained() -> Ca {
    let network = Network { address: "10.0.0.0".parse().unwrap(), prefix: 8 };
    Ca { domains: vec!["example.com".to_owned()], networks: vec![network], ..Ca::default() }
}

fn issuing(settings: &Ca) -> (tempfile::TempDir, Issuing) {
    let directory = directory();
    let issuing = read(directory.path(), settings).unwrap();
    (directory, issuing)
}

#[test]
fn names_are_checked_and_spelled_in_one_way() {
    for (text, name) in [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("localhost", "localhost"),
        ("a_b.example.com", "a_b.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
    ] {
        assert_eq!(dns(text).to_string(), name, "{text}");
    }
    let long = format!("{}.example", ["a"; 200].join("."));
    for text in [
        "",
        ".",
        "*.example.com",
        "*",
        "a b.example",
        "exa\nmple.com",
        "a..b",
        "-.x/",
        "b\u{fc}cher.de",
        "a\0b.example",
        "1.2.3",
        "127.0.0.1:80",
        "[127.0.0.1]",
        "[::1",
        "::1]",
        &long,
    ] {
        let error = LeafName::parse(text).unwrap_err();
        assert!(error.to_string().len() < 160, "{error}");
    }
}

#[test]
fn a_leaf_is_minted_once_while_it_is_young() {
    let (_directory, issuing) = issuing(&Ca::default());
    let now = SystemTime::now();
    let first = issuing.leaf(&dns("a.example"), now).unwrap();
    let same = |at| Arc::ptr_eq(&issuing.leaf(&dns("a.example"), at).unwrap(), &first);
    assert!(same(now) && same(now + 23 * HOUR));
    assert!(!Arc::ptr_eq(&issuing.leaf(&dns("b.example"), now).unwrap(), &first));
    let later = issuing.leaf(&dns("a.example"), now + 25 * HOUR).unwrap();
    assert!(!Arc::ptr_eq(&later, &first));
    // A clock that was put back makes a new one as well: the old one may not be in date yet.
    let earlier = issuing.leaf(&dns("a.example"), now - 5 * HOUR).unwrap();
    assert!(!Arc::ptr_eq(&earlier, &later));
    for leaf in [first, later, earlier] {
        let (_, leaf) = X509Certificate::from_der(&leaf.cert[0]).unwrap();
        let validity = leaf.validity();
        let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(seconds, 49 * 3_600);
    }
}

#[test]
fn calls_for_one_name_at_a_time_mint_it_once() {
    let (_directory, issuing) = issuing(&Ca::default());
    let (issuing, barrier) = (&issuing, &std::sync::Barrier::new(8));
    let now = SystemTime::now();
    for round in 0..20 {
        let name = dns(&format!("host-{round}.example"));
        let name = &name;
        let leaves: Vec<_> = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                issuing.leaf(name, now).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])));
    }
}

#[test]
fn serial_numbers_differ_though_the_key_is_one() {
    let (_directory, issuing) = issuing(&Ca::default());
    let now = SystemTime::now();
    let mut seen = std::collections::BTreeSet::new();
    for index in 0..50 {
        let leaf = issuing.leaf(&dns(&format!("h{index}.example")), now).unwrap();
        let (_, leaf) = X509Certificate::from_der(&leaf.cert[0]).unwrap();
        assert_eq!(leaf.raw_serial().len(), 16);
        assert!(seen.insert(leaf.raw_serial().to_vec()));
    }
}

#[test]
fn what_clients_would_refuse_is_not_minted() {
    let (directory, issuing) = issuing(&constrained());
    let now = SystemTime::now();
    for name in ["example.com", "a.b.example.com", "10.1.2.3"] {
        issuing.leaf(&dns(name), now).unwrap();
    }
    for name in ["example.org", "notexample.com", "11.0.0.1", "::1", "com"] {
        let error = issuing.leaf(&dns(name), now).unwrap_err();
        assert!(matches!(error, AuthorityError::NotPermitted { .. }), "{name}: {error}");
        assert!(error.to_string().contains("`ca.domains`"), "{error}");
    }
    assert!(issuing.certificate().fits(&constrained()));
    assert!(!issuing.certificate().fits(&Ca::default()));
    // Without networks no address is permitted.
    rotate(directory.path(), &Ca { networks: Vec::new(), ..constrained() }).unwrap();
    let issuing = read(directory.path(), &constrained()).unwrap();
    assert!(!issuing.certificate().fits(&constrained()));
    for name in ["10.1.2.3", "::1"] {
        issuing.leaf(&dns(name), now).unwrap_err();
    }
    issuing.leaf(&dns("example.com"), now).unwrap();
}

#[test]
fn a_running_authority_takes_a_rotation_when_it_is_reloaded() {
    let directory = directory();
    let settings = Ca::default();
    let authority = Arc::new(Authority::open(directory.path(), &settings).unwrap());
    let before = authority.certificate();
    let leaf = authority.leaf(&dns("a.example")).unwrap();
    assert!(!authority.reload(&settings).unwrap());
    assert!(authority.previous().unwrap().is_none());
    rotate(directory.path(), &settings).unwrap();
    assert!(Arc::ptr_eq(&authority.leaf(&dns("a.example")).unwrap(), &leaf));
    assert!(authority.reload(&settings).unwrap());
    assert_ne!(authority.certificate().fingerprint, before.fingerprint);
    assert_ne!(authority.certificate().subject, before.subject);
    assert_eq!(authority.previous().unwrap().unwrap().fingerprint, before.fingerprint);
    assert!(!Arc::ptr_eq(&authority.leaf(&dns("a.example")).unwrap(), &leaf));
    // A broken one is refused, and the present one goes on.
    std::fs::write(files::path(directory.path()), "-----BEGIN").unwrap();
    let error = authority.reload(&settings).unwrap_err();
    assert!(matches!(error, AuthorityError::Unfit { .. }), "{error}");
    authority.leaf(&dns("b.example")).unwrap();
}

#[test]
fn a_rotation_that_nobody_reloads_is_taken_after_a_day() {
    let directory = directory();
    let settings = Ca::default();
    let authority = Arc::new(Authority::open(directory.path(), &settings).unwrap());
    assert!(!authority.catch_up(&settings).unwrap());
    rotate(directory.path(), &settings).unwrap();
    assert!(!authority.catch_up(&settings).unwrap(), "its certificate is being handed on");
    let then = SystemTime::now() - 25 * HOUR;
    files::rotate(&RealDisk, directory.path(), &settings, then).unwrap();
    assert!(authority.catch_up(&settings).unwrap());
    assert!(authority.previous().unwrap().is_some());
    let then = SystemTime::now() - 50 * HOUR;
    files::rotate(&RealDisk, directory.path(), &settings, then).unwrap();
    assert!(authority.reload(&settings).unwrap());
    assert!(authority.previous().unwrap().is_none(), "no leaf under it can live any more");
}

#[test]
fn what_is_prepared_is_there_when_it_is_asked_for() {
    let directory = directory();
    let authority = Arc::new(Authority::open(directory.path(), &constrained()).unwrap());
    authority.prepare(vec![dns("other.example"), dns("api.example.com")]);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !authority.present.load().holds(&dns("api.example.com")) {
        assert!(std::time::Instant::now() < deadline, "it was not minted");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_key_of_all_leaves_is_drawn_with_the_first_and_once() {
    let directory = directory();
    let authority = Arc::new(Authority::open(directory.path(), &Ca::default()).unwrap());
    assert!(!authority.present.load().has_key(), "nobody needed it");
    let mint = |name: &'static str| {
        let authority = Arc::clone(&authority);
        std::thread::spawn(move || authority.leaf(&dns(name)).unwrap())
    };
    let minted = ["a.example", "b.example", "c.example", "d.example"].map(mint);
    let leaves = minted.map(|thread| thread.join().unwrap());
    assert!(authority.present.load().has_key());
    let public = |leaf: &CertifiedKey| leaf.key.public_key().unwrap().to_vec();
    assert!(leaves.iter().all(|leaf| public(leaf) == public(&leaves[0])));
}

#[test]
fn nothing_of_a_key_is_shown() {
    let directory = directory();
    let authority = Authority::open(directory.path(), &Ca::default()).unwrap();
    let key = std::fs::read_to_string(directory.path().join("ca.key")).unwrap();
    let shown = format!("{authority:?}");
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        assert!(!shown.contains(line));
    }
    assert!(shown.contains(&authority.certificate().fingerprint_text()), "{shown}");
}
