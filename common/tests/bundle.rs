//! The bundle that the second implementation wrote: both must agree, and no byte of it can change.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use sealtap_common::bundle::{Part, Reader, RunState, TrustedKeys, Writer, verify};
use sealtap_common::leaf::Leaf;
use sealtap_common::note::PublicKey;
use sealtap_common::record::{Envelope, pre_authentication, record_hash, statement};
use sealtap_common::verify::Verdict;
use serde_json::Value;

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)).unwrap()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&read(name)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn keys() -> TrustedKeys {
    let key = |file| vec![PublicKey::parse(text(json(file).get("vkey").unwrap())).unwrap()];
    TrustedKeys { log: key("note.json"), run_record: key("record.json") }
}

#[test]
fn records_agree() {
    let vectors = json("record.json");
    let Ok(Leaf::RunClosed(closed)) = Leaf::decode(text(&vectors["closed"]).as_bytes()) else {
        panic!("a closing leaf")
    };
    let index = vectors["index"].as_u64().unwrap();
    let payload = statement(text(&vectors["origin"]), index, &closed);
    assert_eq!(String::from_utf8(payload.clone()).unwrap(), text(&vectors["payload"]));
    assert_eq!(pre_authentication(&payload), text(&vectors["signed"]).as_bytes());
    let hash: String = record_hash(&payload).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hash, text(&vectors["hash"]));
    let format = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md");
    assert!(fs::read_to_string(format).unwrap().contains(&hash), "the worked bytes");
    let envelope = Envelope::decode(text(&vectors["envelope"]).as_bytes()).unwrap();
    assert_eq!(envelope.payload, payload);
    assert!(envelope.holds_under(&keys().run_record[0]));
}

#[test]
fn the_bundle_is_valid_and_says_what_it_shows() {
    let report = verify(read("bundle.tar").as_slice(), &keys());
    assert_eq!(report.verdict(), Verdict::Valid, "{}", report.lines().join("\n"));
    assert!(matches!(report.state, RunState::Closed { .. }));
    assert_eq!((report.exchanges, report.outside), (1, 30));
    assert!(report.opened.is_some());
    let shown = |part| (report.parts[&part].disclosed, report.parts[&part].segments);
    assert_eq!(shown(Part::Context), (1, 1));
    assert_eq!(shown(Part::RequestHead), (0, 1));
    assert_eq!(shown(Part::ResponseBody), (1, 2));
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["verdict"], "valid");
    assert!(report.lines().iter().any(|line| line.contains("could be forged by the app")));
}

#[test]
fn without_a_key_nothing_is_more_than_intact() {
    let bytes = read("bundle.tar");
    let none = verify(bytes.as_slice(), &TrustedKeys::default());
    assert_eq!(none.verdict(), Verdict::Undecided);
    assert!(none.lines()[0].starts_with("intact, key not pinned"), "{}", none.lines()[0]);
    let log = TrustedKeys { run_record: Vec::new(), ..keys() };
    assert_eq!(verify(bytes.as_slice(), &log).verdict(), Verdict::Undecided);
    let other = TrustedKeys { log: keys().run_record, ..keys() };
    assert_eq!(verify(bytes.as_slice(), &other).verdict(), Verdict::Invalid);
}

#[test]
fn every_changed_byte_is_found() {
    let (bytes, keys) = (read("bundle.tar"), keys());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let verdict = verify(changed.as_slice(), &keys).verdict();
        assert_eq!(verdict, Verdict::Invalid, "byte {at}");
    }
    for end in (0..bytes.len()).step_by(97) {
        assert_eq!(verify(&bytes[..end], &keys).verdict(), Verdict::Invalid, "cut at {end}");
    }
    let more = [&bytes[..], &[0]].concat();
    assert_eq!(verify(more.as_slice(), &keys).verdict(), Verdict::Invalid);
}

/// The entries of a bundle.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.peek().unwrap().cloned() {
        entries.push((entry.name, reader.content(u64::MAX).unwrap()));
    }
    entries
}

fn archive(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    entries.iter().for_each(|(name, bytes)| writer.entry(name, bytes).unwrap());
    writer.finish().unwrap()
}

#[test]
fn whole_entries_cannot_go_come_or_change_places() {
    let (bytes, keys) = (read("bundle.tar"), keys());
    let all = entries(&bytes);
    assert_eq!(archive(&all), bytes);
    let verdict = |entries: &[(String, Vec<u8>)]| verify(&*archive(entries), &keys).verdict();
    for at in 0..all.len() {
        let mut without = all.clone();
        let (name, content) = without.remove(at);
        assert_eq!(verdict(&without), Verdict::Invalid, "{name} left out");
        let mut twice = all.clone();
        twice.insert(at, (name.clone(), content.clone()));
        assert_eq!(verdict(&twice), Verdict::Invalid, "{name} twice");
        let mut renamed = all.clone();
        renamed[at].0.push('x');
        assert_eq!(verdict(&renamed), Verdict::Invalid, "{name} under another name");
        let mut emptied = all.clone();
        emptied[at].1.clear();
        assert_eq!(verdict(&emptied), Verdict::Invalid, "{name} emptied");
        if at > 0 {
            let mut swapped = all.clone();
            swapped.swap(at - 1, at);
            assert_eq!(verdict(&swapped), Verdict::Invalid, "{name} before its time");
        }
    }
}

#[test]
fn leaves_may_be_left_out_only_where_that_shows() {
    let (bytes, keys) = (read("bundle.tar"), keys());
    let all = entries(&bytes);
    let folder = |kind: &str| {
        let holds = |(name, bytes): &&(String, Vec<u8>)| {
            name.ends_with("/leaf") && String::from_utf8_lossy(bytes).contains(kind)
        };
        all.iter().find(holds).unwrap().0.strip_suffix("leaf").unwrap().to_owned()
    };
    let without = |kind: &str| {
        let folder = folder(kind);
        let left = all.iter().filter(|(name, _)| !name.starts_with(&folder)).cloned();
        verify(&*archive(&left.collect::<Vec<_>>()), &keys)
    };
    for kind in ["\"restart\"", "\"run-closed\"", "\"run-record\"", "\"exchange\":"] {
        assert_eq!(without(kind).verdict(), Verdict::Invalid, "{kind}");
    }
    // What goes beyond the run itself may be left out: then nothing is said of it.
    let report = without("\"heartbeat\"");
    assert_eq!((report.verdict(), report.outside), (Verdict::Valid, 30));
    assert_eq!(without("\"run-opened\"").opened, None);
}

#[test]
fn what_others_vouch_for_is_there_whole_or_not_at_all() {
    let (bytes, keys) = (read("bundle.tar"), keys());
    for name in ["checkpoint.cosigned", "timestamp.checkpoint", "timestamp.tsr"] {
        let mut with = entries(&bytes);
        with.insert(2, (name.to_owned(), b"anything".to_vec()));
        let report = verify(&*archive(&with), &keys);
        assert_eq!(report.verdict(), Verdict::Invalid, "{name}");
        assert!(report.lines().iter().any(|line| line.contains(name)), "{name}");
        with.swap(1, 2);
        assert_eq!(verify(&*archive(&with), &keys).verdict(), Verdict::Invalid, "{name}");
    }
}

/// A source that fails in the middle, as a disk may.
struct Failing<'a>(&'a [u8]);

impl std::io::Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(into) {
            Ok(0) => Err(std::io::Error::other("the disk is tired")),
            read => read,
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_decides_nothing() {
    let bytes = read("bundle.tar");
    for end in [0, 700, 9_000, bytes.len() - 1] {
        let report = verify(Failing(&bytes[..end]), &keys());
        assert_eq!(report.verdict(), Verdict::Undecided, "{end}");
        assert!(report.lines().iter().any(|line| line.contains("the disk is tired")));
    }
}

proptest::proptest! {
    #[test]
    fn hostile_bytes_never_panic_and_are_never_valid(
        bytes: Vec<u8>,
        at: proptest::sample::Index,
        length in 0_usize..2_000,
    ) {
        let keys = keys();
        proptest::prop_assert_eq!(verify(&*bytes, &keys).verdict(), Verdict::Invalid);
        let mut real = read("bundle.tar");
        let at = at.index(real.len());
        let end = (at + length).min(real.len());
        let before = real.clone();
        real.splice(at..end, bytes);
        if real != before {
            proptest::prop_assert_eq!(verify(&*real, &keys).verdict(), Verdict::Invalid);
        }
    }
}
