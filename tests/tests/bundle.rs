//! Bundles: one run in one file, checked by both verifiers, by `openssl` alone, and after changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use sealtap_tests::bundle::{bundle, by_hand, report, try_bundle, wait_closed};
use sealtap_tests::content::Pattern;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::programs;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, text, verify, verify_small};
use sealtap_tests::wire::Wire;

/// What no bundle shows that does not disclose it.
const ASKED: &str = "what nobody is to read";

/// Two exchanges of a run `r`, one of another, all closed; and a body of several segments.
fn home() -> &'static Arc<Home> {
    static HOME: OnceLock<Arc<Home>> = OnceLock::new();
    HOME.get_or_init(|| {
        let upstream = Upstream::answering(|session, _| {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "200000")]));
            Pattern::new(1, 200_000).for_each(|piece| session.send(piece));
        });
        let gateway = Options::default()
            .upstream("up", upstream.url())
            .config("[runs]\nidle = \"200ms\"\n")
            .start();
        let mut client = Wire::connect(gateway.address());
        // In one piece: on a machine that stands still between two of them the run would end there.
        let mut asked = Vec::new();
        for run in ["r", "r", "other"] {
            let length = ASKED.len().to_string();
            let fields = [("Host", "x"), ("Content-Length", length.as_str())];
            asked.extend(head(format!("POST /run/{run}/up/chat HTTP/1.1"), &fields));
            asked.extend_from_slice(ASKED.as_bytes());
        }
        client.send(asked);
        for _ in 0..3 {
            assert_eq!(client.response("POST").status(), 200);
        }
        drop(client);
        wait_closed(gateway.home(), "r");
        wait_closed(gateway.home(), "other");
        let home = gateway.terminate();
        upstream.finish();
        home
    })
}

fn holds(path: &Path, needle: &str) -> bool {
    let bytes = fs::read(path).expect("a bundle can be read");
    memchr::memmem::find(&bytes, needle.as_bytes()).is_some()
}

#[test]
fn a_run_travels_with_nothing_all_or_single_segments_disclosed() {
    let home = home();
    let none = bundle(home, "r", &["none"]);
    let (verdict, said) = verify(&none, Some(&home.keys()));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains("response-body: 0 of 8 segments disclosed"), "{said}");
    assert!(said.contains("could be forged by the app"), "{said}");
    assert!(said.contains("unwitnessed"), "{said}");
    assert!(said.contains("outside: 1 exchange of the same boot"), "{said}");
    assert!(!holds(&none, ASKED) && !holds(&none, "/run/r/"), "a bundle shows what it withholds");
    assert_eq!(verify(&none, None).0, Verdict::Undecided);

    let all = bundle(home, "r", &["all"]);
    let said = report(home, &all);
    assert_eq!((&said["verdict"], &said["withheld"]), (&"valid".into(), &0.into()), "{said}");
    assert!(holds(&all, ASKED));

    let some = bundle(home, "r", &["2/request-body/0", "1/response-body/1-2", "2/context"]);
    let said = report(home, &some);
    assert_eq!(said["verdict"], "valid", "{said}");
    assert_eq!(said["parts"]["request-body"]["disclosed"], 1, "{said}");
    assert_eq!(said["parts"]["response-body"]["disclosed"], 2, "{said}");
    assert_eq!(said["parts"]["context"]["disclosed"], 1, "{said}");
    assert!(holds(&some, ASKED) && !holds(&some, "POST"));
    let segment: Vec<u8> = Pattern::bytes(1, 200_000)[65_536..131_072].to_vec();
    let bytes = fs::read(&some).expect("a bundle can be read");
    assert!(memchr::memmem::find(&bytes, &segment).is_some(), "the segment's own bytes");
}

#[test]
fn the_same_question_gives_the_same_bytes() {
    let first = fs::read(bundle(home(), "other", &["all"])).expect("read");
    assert_eq!(first, fs::read(bundle(home(), "other", &["all"])).expect("read"));
}

#[test]
fn a_bundle_checks_with_tar_and_openssl_alone() {
    let home = home();
    let path = bundle(home, "r", &["1/request-body/0", "2/response-body/1-3", "1/request-head/0"]);
    let said = by_hand(&path, &home.keys(), &[]);
    assert_eq!(said.matches("Signature Verified Successfully").count(), 2, "{said}");
    assert_eq!(said.matches("\nincluded leaves/").count(), 6, "{said}");
    assert_eq!(said.matches("opens leaves/").count(), 5, "{said}");
    assert!(!said.contains("NOT"), "{said}");
    // The record's leaf is named before the leaves are found included.
    let leaf = said.lines().find(|line| line.ends_with("/leaf")).expect("the record's leaf");
    let folder = leaf.strip_suffix("/leaf").expect("its folder");
    assert!(said.contains(&format!("included {folder}")), "{said}");

    // By hand, too, a changed byte is found: of a segment, of a leaf, of the record.
    for (needle, wanted) in [
        (ASKED, "DOES NOT OPEN"),
        ("\"outcome\":\"complete\"", "NOT INCLUDED"),
        ("\"payload\":\"eyJ", "Signature Verification Failure"),
    ] {
        let mut bytes = fs::read(&path).expect("a bundle can be read");
        let at = memchr::memmem::find(&bytes, needle.as_bytes()).expect("it is there");
        bytes[at + needle.len() - 1] ^= 1;
        let changed = home.path().join("by-hand.tar");
        fs::write(&changed, bytes).expect("written");
        let said = by_hand(&changed, &home.keys(), &[]);
        assert!(said.contains(wanted), "{needle}: {said}");
    }
}

#[test]
fn changes_are_found() {
    let home = home();
    let path = bundle(home, "other", &["all"]);
    let bytes = fs::read(&path).expect("a bundle can be read");
    let changed = home.path().join("changed.tar");
    let wanted = |what: &str, bytes: &[u8]| {
        fs::write(&changed, bytes).expect("written");
        let (verdict, said) = verify_small(&changed, &home.keys());
        assert_eq!(verdict, Verdict::NotValid, "{what}: {said}");
    };
    // The library's own test flips every byte; here a spread of them through the real binary.
    for step in 0..100 {
        let at = (step * 7_919 + step) % bytes.len();
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (step % 8);
        wanted(&format!("byte {at}"), &bytes);
    }
    wanted("a byte more", &[&bytes[..], &[0]].concat());
    wanted("cut short", &bytes[..bytes.len() - 512]);
    wanted("nothing", &[]);
    let second = memchr::memmem::find(&bytes, b"\0leaves/").map_or(0, |at| at + 1);
    assert_eq!(second % 512, 0, "an entry begins at a block");
    let without: Vec<u8> = [&bytes[..second - 1024], &bytes[second..]].concat();
    wanted("a block left out", &without);
    let twice: Vec<u8> = [&bytes[..second], &bytes[second - 1024..]].concat();
    wanted("a block put in twice", &twice);
}

#[test]
fn another_gateways_keys_do_not_do() {
    let home = home();
    let other = Options::default().start();
    let keys = other.home().keys();
    let path = bundle(home, "r", &["none"]);
    assert_eq!(verify(&path, Some(&keys)).0, Verdict::NotValid);
    other.finish();
    // The log's key alone leaves the record's signature unchecked, and says so.
    let vkey = fs::read_to_string(home.keys()).expect("keys can be read");
    let log = home.path().join("log.vkey");
    fs::write(&log, vkey.lines().next().expect("a first line")).expect("written");
    let (verdict, said) = verify(&path, Some(&log));
    assert_eq!(verdict, Verdict::Undecided, "{said}");
    assert!(said.contains("the run record's signature"), "{said}");
}

#[test]
fn an_open_run_has_no_record_yet() {
    let upstream = Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 No", &[])));
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /run/open/up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 204);
    gateway.wait_sealed(1);
    let path = bundle(gateway.home(), "open", &["all"]);
    let (verdict, said) = verify(&path, Some(&gateway.home().keys()));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains("open as of leaf"), "{said}");
    drop(client);
    gateway.finish();
    upstream.finish();
}

#[test]
fn what_cannot_be_bundled_is_said() {
    let home = home();
    let (code, said) = try_bundle(home, "nobody", &["none"]).expect_err("no such run");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("sealtap runs"), "{said}");
    for pointer in ["0", "1/soul", "1/request-body/2-1", "9"] {
        let (code, said) = try_bundle(home, "r", &[pointer]).expect_err(pointer);
        assert_eq!(code, Some(64), "{pointer}: {said}");
    }
    // Other cases make theirs here at the same time: those go away.
    poll("no half of a bundle to be left behind", || half_bundles(home).is_empty().then_some(()));
}

/// Bundles that are not whole, or were left so.
fn half_bundles(home: &Home) -> Vec<PathBuf> {
    fs::read_dir(home.path())
        .expect("listed")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.to_string_lossy().ends_with(".new"))
        .collect()
}

#[test]
fn a_body_of_64_mib_is_never_held() {
    const LENGTH: u64 = 64 << 20;
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &LENGTH.to_string())]));
        Pattern::new(3, LENGTH).for_each(|piece| session.send(piece));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /run/big/up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").body.content.length(), LENGTH);
    drop(client);
    let home = gateway.terminate();
    upstream.finish();
    let path = bundle(&home, "big", &["all"]);
    assert!(fs::metadata(&path).expect("there").len() > LENGTH);
    // With less memory than the body has bytes, all of the program included.
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 57344; exec \"$0\" \"$1\" --key \"$2\""])
        .args([programs::sealtap_verify(), path.as_path(), home.keys().as_path()])
        .output()
        .expect("sh can be run");
    assert!(output.status.success(), "{}", text(&output));
}
