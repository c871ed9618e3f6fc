//! The bundle that others vouch for, as the second implementation wrote it: cosigned and dated under a
//! key that has changed since, with a WebSocket session in it. No byte of it can change unnoticed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use sealtap_common::bundle::{Part, Reader, TrustedKeys, Writer, verify, verify_under};
use sealtap_common::leaf::{KeyRole, Leaf};
use sealtap_common::note::PublicKey;
use sealtap_common::policy::Policy;
use sealtap_common::verify::{Verdict, What};
use serde_json::Value;

fn read(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)).unwrap()
}

/// A text in one of the JSON files.
fn member(file: &str, name: &str) -> String {
    let json: Value = serde_json::from_slice(&read(file)).unwrap();
    json.get(name).and_then(Value::as_str).unwrap().to_owned()
}

fn key(file: &str) -> PublicKey {
    PublicKey::parse(&member(file, "vkey")).unwrap()
}

/// The keys from before either changed.
fn keys() -> TrustedKeys {
    TrustedKeys { log: vec![key("note.json")], run_record: vec![key("record.json")] }
}

fn policy() -> Policy {
    Policy::parse(member("witness.json", "policy").as_bytes()).unwrap()
}

/// The entries of a bundle, and where the content of each begins.
fn entries(bytes: &[u8]) -> Vec<(String, usize, Vec<u8>)> {
    let mut reader = Reader::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = reader.peek().unwrap().cloned() {
        let start = usize::try_from(reader.position()).unwrap();
        entries.push((entry.name, start, reader.content(u64::MAX).unwrap()));
    }
    entries
}

fn archive<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    entries.into_iter().for_each(|(name, bytes)| writer.entry(name, bytes).unwrap());
    writer.finish().unwrap()
}

/// The bundle with some entries changed; one made empty by `None` is left out.
fn with(change: impl Fn(&str, &[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let all = entries(&read("witnessed.tar"));
    let changed: Vec<_> = all
        .iter()
        .filter_map(|(name, _, bytes)| Some((name.as_str(), change(name, bytes)?)))
        .collect();
    archive(changed.iter().map(|(name, bytes)| (*name, bytes.as_slice())))
}

#[test]
fn whoever_holds_the_old_keys_follows_them_and_sees_who_vouches() {
    let report = verify_under(read("witnessed.tar").as_slice(), &keys(), Some(&policy()));
    let said = report.lines().join("\n");
    assert_eq!(report.verdict(), Verdict::Valid, "{said}");
    let witnessed = report.log.witnessed.as_ref().unwrap();
    assert_eq!((witnessed.size, witnessed.quorum, witnessed.by.len()), (6, true, 1));
    let dated = report.log.dated.as_ref().unwrap();
    assert_eq!((dated.size, dated.time.as_str()), (5, "20260921154640Z"));
    assert_eq!((report.log.key_changes.len(), report.derived), (2, 1));
    assert_eq!(report.parts[&Part::Messages].disclosed, 1);
    assert!(
        said.contains("quorum of the policy: reached") && !said.contains("unwitnessed"),
        "{said}"
    );
    assert!(
        said.contains("openssl ts -verify") && said.contains("key changed: at leaf 7"),
        "{said}"
    );
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["witnessed"], &json["derived"]), (&true.into(), &1.into()));
    assert_eq!(json["timestamp"]["time"], "2026-09-21T15:46:40Z");
    assert_eq!(json["timestamp"]["signature"], "not checked");
}

#[test]
fn every_key_of_the_chain_leads_to_the_signatures() {
    let changes: Vec<_> = entries(&read("witnessed.tar"))
        .into_iter()
        .filter(|(name, ..)| name.ends_with("/leaf"))
        .filter_map(|(_, _, bytes)| match Leaf::decode(&bytes) {
            Ok(Leaf::KeyChange(leaf)) => Some(leaf),
            _ => None,
        })
        .collect();
    let new = |role: KeyRole, name: &str| {
        let change = changes.iter().find(|change| change.role == role).unwrap();
        PublicKey::new(name, &change.new).unwrap()
    };
    let newest = TrustedKeys {
        log: vec![new(KeyRole::Log, "sealtap.example/vectors")],
        run_record: vec![new(KeyRole::RunRecord, "sealtap.example/vectors/run-record")],
    };
    let bytes = read("witnessed.tar");
    assert_eq!(verify_under(&*bytes, &newest, Some(&policy())).verdict(), Verdict::Valid);
    // Without the leaf that says so, nothing leads from the old key to the one that signs.
    let folder = |kind: &str| {
        let all = entries(&bytes);
        let holds = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(kind);
        let found = all.iter().find(|(name, _, bytes)| name.ends_with("/leaf") && holds(bytes));
        found.unwrap().0.strip_suffix("leaf").unwrap().to_owned()
    };
    let gone = folder("\"role\":\"log\"");
    let without = with(|name, bytes| (!name.starts_with(&gone)).then(|| bytes.to_vec()));
    let found = verify(&*without, &keys());
    assert_eq!(found.verdict(), Verdict::Invalid);
    assert!(found.log.findings.iter().any(|found| found.what == What::Signature));
    // A key that no change leads from.
    let stranger = TrustedKeys { run_record: vec![key("note.json")], ..keys() };
    assert_eq!(verify(&*bytes, &stranger).verdict(), Verdict::Undecided);
}

#[test]
fn without_a_policy_nobody_is_trusted_to_have_witnessed_anything() {
    let report = verify(read("witnessed.tar").as_slice(), &keys());
    let said = report.lines().join("\n");
    assert_eq!(report.verdict(), Verdict::Valid, "{said}");
    assert!(said.contains("unwitnessed: ") && said.contains("1 cosignature not checked"), "{said}");
    // Asked for witnesses, a bundle without cosignatures decides nothing.
    let bare = with(|name, bytes| (!name.starts_with("checkpoint.")).then(|| bytes.to_vec()));
    assert_eq!(verify(&*bare, &keys()).verdict(), Verdict::Valid);
    let report = verify_under(&*bare, &keys(), Some(&policy()));
    assert_eq!(report.verdict(), Verdict::Undecided);
    assert!(report.lines().join("\n").contains("no quorum: 0 of 1 witnesses"));
    // No key at all: intact, and what is beside it still belongs to it.
    let report = verify(read("witnessed.tar").as_slice(), &TrustedKeys::default());
    assert!(report.lines()[0].starts_with("intact, key not pinned"), "{}", report.lines()[0]);
    assert!(report.log.dated.is_some());
}

#[test]
fn leaves_that_came_after_the_witness_are_not_covered() {
    // The dated tree is cosigned in place of the later one: the heartbeat is not in it.
    let all = entries(&read("witnessed.tar"));
    let content = |wanted: &str| &all.iter().find(|(name, ..)| name == wanted).unwrap().2;
    let dated = String::from_utf8(content("timestamp.checkpoint").clone()).unwrap();
    let (text, _) = dated.split_once("\n\n").unwrap();
    let seed: [u8; 32] = std::array::from_fn(|at| u8::try_from(at + 1).unwrap());
    let signer = sealtap_common::note::WitnessSigner::new(
        "witness.example/w",
        ed25519_dalek::SigningKey::from_bytes(&seed),
    );
    let line = signer.unwrap().cosign(&format!("{text}\n"), 1_790_000_000).emit();
    let earlier = with(|name, bytes| match name {
        "checkpoint.cosigned" => Some(format!("{dated}{line}").into_bytes()),
        "checkpoint.cosigned.proof" => Some(content("timestamp.checkpoint.proof").clone()),
        _ => Some(bytes.to_vec()),
    });
    let report = verify_under(&*earlier, &keys(), Some(&policy()));
    assert_eq!((report.verdict(), &*report.log.findings), (Verdict::Undecided, &[][..]));
    let said = report.lines().join("\n");
    assert!(said.contains("the last 1 leaves are not witnessed yet"), "{said}");
}

#[test]
fn every_changed_byte_is_found() {
    let (bytes, keys, policy) = (read("witnessed.tar"), keys(), policy());
    let all = entries(&bytes);
    let content = |wanted: &str| {
        let (_, start, bytes) = all.iter().find(|(name, ..)| name == wanted).unwrap();
        *start..*start + bytes.len()
    };
    // Of the witness's line, its name and key id: another witness's, whom nobody asked for.
    let cosigned = content("checkpoint.cosigned");
    let line =
        bytes[cosigned.clone()].windows(4).rposition(|it| it == "\u{2014} ".as_bytes()).unwrap();
    let line = cosigned.start + line..cosigned.end;
    let token = content("timestamp.tsr");
    let whole = verify_under(bytes.as_slice(), &keys, Some(&policy));
    // Zeros are headers and filling, each of which is changed in `bundle.rs`: some of them do here.
    for at in (0..bytes.len()).filter(|at| bytes[*at] != 0 || at % 7 == 0) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        let report = verify_under(changed.as_slice(), &keys, Some(&policy));
        let verdict = report.verdict();
        if token.contains(&at) && verdict == Verdict::Valid {
            // What vouches for the rest of a token is its signature, which openssl checks.
            let undated = |mut report: sealtap_common::bundle::BundleReport| {
                report.log.dated = None;
                report
            };
            assert_eq!(undated(report), undated(whole.clone()), "byte {at}");
        } else if line.contains(&at) && verdict == Verdict::Undecided {
            assert!(report.lines().join("\n").contains("no quorum"), "byte {at}");
        } else {
            assert_eq!(verdict, Verdict::Invalid, "byte {at}");
        }
    }
    // The imprint and the structure are checked here.
    let found = (token.clone()).filter(|at| {
        let mut changed = bytes.clone();
        changed[*at] ^= 1;
        verify_under(changed.as_slice(), &keys, Some(&policy)).verdict() == Verdict::Invalid
    });
    assert!(found.count() > 32, "of {} bytes", token.len());
    for end in (0..bytes.len()).step_by(97) {
        assert_eq!(verify(&bytes[..end], &keys).verdict(), Verdict::Invalid, "cut at {end}");
    }
}

#[test]
fn whole_entries_cannot_change_places_or_be_another_trees() {
    let (keys, policy) = (keys(), policy());
    let all = entries(&read("witnessed.tar"));
    let verdict = |entries: &[(String, usize, Vec<u8>)]| {
        let bytes = archive(entries.iter().map(|(name, _, bytes)| (name.as_str(), &**bytes)));
        verify_under(&*bytes, &keys, Some(&policy)).verdict()
    };
    for at in 0..all.len() {
        let mut without = all.clone();
        let name = without.remove(at).0;
        assert_ne!(verdict(&without), Verdict::Valid, "{name} left out");
        let mut twice = all.clone();
        twice.insert(at, all[at].clone());
        assert_eq!(verdict(&twice), Verdict::Invalid, "{name} twice");
        let mut emptied = all.clone();
        emptied[at].2.clear();
        assert_eq!(verdict(&emptied), Verdict::Invalid, "{name} emptied");
        if at > 0 {
            let mut swapped = all.clone();
            swapped.swap(at - 1, at);
            assert_eq!(verdict(&swapped), Verdict::Invalid, "{name} before its time");
        }
    }
    // A proof of another tree than the one beside it.
    for name in ["checkpoint.cosigned", "timestamp.checkpoint"] {
        let other = |wanted: &str| all.iter().find(|(name, ..)| name == wanted).unwrap().2.clone();
        let proof = format!("{name}.proof");
        let swapped = with(|at, bytes| match at == proof {
            true if name.starts_with('c') => Some(other("timestamp.checkpoint.proof")),
            true => Some(other("checkpoint.cosigned.proof")),
            false => Some(bytes.to_vec()),
        });
        let report = verify_under(&*swapped, &keys, Some(&policy));
        assert_eq!(report.verdict(), Verdict::Invalid, "{name}");
    }
}
