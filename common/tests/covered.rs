//! Logs of coverages that the second implementation wrote: one that holds, and each of the others broken in
//! one way, which is found where it lies.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ed25519_dalek::SigningKey;
use sealtap_common::bundle::{
    BundleReport, Reader, TlogProof, TrustedKeys, Writer, leaf_folder, verify as verify_bundle,
};
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::{Note, PublicKey, Signer};
use sealtap_common::tile::{Edge, TilePath, entry_tiles, push_entry};
use sealtap_common::tree::leaf_hash;
use sealtap_common::verify::{Covered, Place, Report, Verdict, What, verify};
use serde_json::Value;

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/coverage.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// What signs with the vectors' key.
fn signer(vectors: &Value) -> Signer {
    let seed: Vec<u8> = vectors["seed"].as_str().unwrap().as_bytes().chunks(2).map(hex).collect();
    let key = SigningKey::from_bytes(&seed.try_into().unwrap());
    Signer::new(vectors["origin"].as_str().unwrap(), key).unwrap()
}

/// What is said of a log with these entries, signed by the vectors' key.
fn report(vectors: &Value, entries: &[Vec<u8>]) -> Report {
    let signer = signer(vectors);
    let origin = vectors["origin"].as_str().unwrap();
    let mut files = BTreeMap::<String, Vec<u8>>::new();
    let mut edge = Edge::new();
    for entry in entries {
        edge.push(leaf_hash(entry), |tile, bytes| {
            files.insert(tile.to_string(), bytes.to_vec());
        });
    }
    for (tile, bytes) in edge.partial_tiles() {
        files.insert(tile.to_string(), bytes.to_vec());
    }
    for (tile, chunk) in entry_tiles(edge.size()).zip(entries.chunks(256)) {
        let mut bundle = Vec::new();
        chunk.iter().for_each(|entry| push_entry(&mut bundle, entry).unwrap());
        files.insert(TilePath::to_string(&tile), bundle);
    }
    let checkpoint = Checkpoint { origin: origin.into(), size: edge.size(), root: edge.root() };
    let note = Note::sign(&checkpoint.to_string(), &signer);
    files.insert("checkpoint".into(), note.emit().into_bytes());
    let given = PublicKey::parse(vectors["vkey"].as_str().unwrap()).unwrap();
    verify(&files, &[given], &mut ())
}

fn hex(digits: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}

fn bytes(leaf: &Value) -> Vec<u8> {
    leaf.as_str().unwrap().as_bytes().to_vec()
}

#[test]
fn the_whole_log_holds_and_says_what_was_covered() {
    let vectors = vectors();
    let leaves = vectors["leaves"].as_array().unwrap();
    let report = report(&vectors, &leaves.iter().map(bytes).collect::<Vec<_>>());
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let [joined, _] = report.joined.as_slice() else { panic!("two coverages") };
    assert_eq!((joined.carried, joined.exchanges, joined.refused), (3, 5, 2));
    assert_eq!((joined.missed, joined.around, joined.denied), (1, 77, 70));
    let [covered, _] = report.coverage.as_slice() else { panic!("two coverages") };
    assert_eq!((covered.canaries, covered.arrived.known), (2, 3));
    let [first, later] = report.reach.as_slice() else { panic!("two runs") };
    assert_eq!((first.inside, first.outside), (3, 0));
    assert_eq!((later.inside, later.outside), (2, 1));
}

#[test]
fn each_thing_that_cannot_be_is_found_where_it_lies() {
    let vectors = vectors();
    let leaves: Vec<_> = vectors["leaves"].as_array().unwrap().iter().map(bytes).collect();
    let broken = vectors["broken"].as_array().unwrap();
    assert!(broken.len() >= 60, "{}", broken.len());
    for one in broken {
        let (name, mut leaves) = (&one["name"], leaves.clone());
        apply(&mut leaves, &one["edit"]);
        let report = report(&vectors, &leaves);
        assert_eq!(report.verdict(), Verdict::Invalid, "{name}");
        let what = one["what"].as_str().unwrap();
        assert!(
            report.findings.iter().all(|finding| finding.what.as_str() == what),
            "{name}: {:?}",
            report.findings
        );
        let expected = one["leaf"].as_u64().map_or(Place::Log, Place::Leaf);
        let first = &report.findings[0];
        assert_eq!(first.place, expected, "{name}: {:?}", report.findings);
    }
}

fn apply(leaves: &mut Vec<Vec<u8>>, edit: &Value) {
    let place = |at: &Value| usize::try_from(at.as_u64().unwrap()).unwrap();
    match edit {
        edit if edit["replace"].is_u64() => {
            *leaves.get_mut(place(&edit["replace"])).unwrap() = bytes(&edit["leaf"]);
        }
        edit if edit["remove"].is_u64() => drop(leaves.remove(place(&edit["remove"]))),
        edit => leaves.insert(place(&edit["insert"]), bytes(&edit["leaf"])),
    }
}

/// Both implementations show the same of each channel.
#[test]
fn the_states_of_channels_are_shown_as_they_are_found() {
    let vectors = vectors();
    let shown = vectors["shown"].as_array().unwrap();
    assert_eq!(shown.len(), 4);
    for one in shown {
        let mut leaves: Vec<_> = vectors["leaves"].as_array().unwrap().iter().map(bytes).collect();
        if !one["edit"].is_null() {
            apply(&mut leaves, &one["edit"]);
        }
        let report = report(&vectors, &leaves);
        assert_eq!(report.verdict(), Verdict::Valid, "{}: {:?}", one["name"], report.findings);
        let of = |covered: &&Covered| covered.coverage.to_string() == one["coverage"];
        let covered = report.coverage.iter().find(of).unwrap();
        for (channel, state) in covered.states() {
            assert_eq!(
                one["states"][channel.as_str()],
                state.as_str(),
                "{}: {channel}",
                one["name"]
            );
        }
    }
}

fn bundle(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name)).unwrap()
}

fn keys() -> TrustedKeys {
    let text = |name: &str| -> Value { serde_json::from_slice(&bundle(name)).unwrap() };
    let key = |value: &Value| vec![PublicKey::parse(value["vkey"].as_str().unwrap()).unwrap()];
    TrustedKeys { log: key(&text("coverage.json")), run_record: key(&text("record.json")) }
}

/// The bundle without the entries of the leaves at these places.
fn without(bytes: &[u8], dropped: &[u64]) -> BundleReport {
    let (mut reader, mut writer) = (Reader::new(bytes), Writer::new(Vec::new()));
    while let Some(entry) = reader.peek().unwrap() {
        let (name, size) = (entry.name.clone(), entry.size);
        let content = reader.content(size).unwrap();
        let is_of = |index: &u64| name.starts_with(&format!("{}/", leaf_folder(*index)));
        if !dropped.iter().any(is_of) {
            writer.entry(&name, &content).unwrap();
        }
    }
    verify_bundle(writer.finish().unwrap().as_slice(), &keys())
}

#[test]
fn a_bundle_says_what_was_covered_meanwhile() {
    let report = verify_bundle(bundle("covered.tar").as_slice(), &keys());
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    let reached = report.reached;
    assert_eq!((reached.inside, reached.outside, reached.shown, reached.connections), (3, 0, 3, 2));
    let [covered] = report.log.coverage.as_slice() else { panic!("one coverage") };
    assert_eq!((covered.from.0, covered.to.0, covered.stated, covered.canaries), (1, 13, 2, 1));
    assert_eq!(covered.connections.unwrap().via_gateway, 6);
    let lines = report.lines().join("\n");
    for part in [
        "3 exchanges inside, 0 outside",
        "2 connections shown",
        "WENT AROUND by udp4, packet",
        "maker: 1 of 3 segments disclosed",
        "not covered: vsock, helper",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    // From the statement on that was made before its connection came: what was counted since.
    let report = verify_bundle(bundle("later.tar").as_slice(), &keys());
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    let reached = report.reached;
    assert_eq!((reached.inside, reached.outside, reached.shown, reached.connections), (2, 1, 2, 1));
    let [covered] = report.log.coverage.as_slice() else { panic!("one coverage") };
    assert_eq!((covered.from.0, covered.to.0, covered.canaries), (13, 23, 1));
    let (connections, packets) = (covered.connections.unwrap(), covered.packets.unwrap());
    assert_eq!((connections.via_gateway, connections.bypass_denied), (1, 0));
    assert_eq!((packets.via_gateway, packets.bypass_passed), (15, 1));
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(
        (json["reach"]["inside"].as_u64(), json["coverage"][0]["statements"].as_u64()),
        (Some(2), Some(2))
    );
}

/// What a bundle leaves out of the middle shows; a connection that it leaves out is not there, and it says
/// so.
#[test]
fn a_coverage_cannot_be_thinned_out() {
    let covered = bundle("covered.tar");
    for (what, index) in
        [("its beginning", 1), ("a statement", 12), ("a way around", 10), ("the first way", 9)]
    {
        let report = without(&covered, &[index]);
        assert_eq!(report.verdict(), Verdict::Invalid, "{what}: {:?}", report.lines());
        assert!(report.log.findings.iter().all(|found| found.what == What::Coverage), "{what}");
    }
    let report = without(&covered, &[6]);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
    assert_eq!((report.reached.inside, report.reached.shown), (3, 1));
    assert!(report.lines().join("\n").contains("of 2 exchanges inside the connection is not here"));
    let later = bundle("later.tar");
    for (what, index) in
        [("the statement before", 13), ("a part", 19), ("the first part", 18), ("a way", 21)]
    {
        let report = without(&later, &[index]);
        assert_eq!(report.verdict(), Verdict::Invalid, "{what}: {:?}", report.lines());
    }
    // A canary that is left out does not show, so none that is there says anything of a channel.
    for bytes in [&covered, &later] {
        let whole = verify_bundle(bytes.as_slice(), &keys());
        let [of] = whole.log.coverage.as_slice() else { panic!("one coverage") };
        let ((canary, _), _) = of.canary.as_ref().unwrap();
        let report = without(bytes, &[*canary]);
        assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.lines());
        let [without] = report.log.coverage.as_slice() else { panic!("one coverage") };
        assert_eq!((of.canaries, without.canaries), (1, 0));
        for shown in [of, without] {
            assert!(shown.states().map(|(_, state)| state).eq(shown.channels.iter().copied()));
        }
        assert!(whole.lines().join("\n").contains("1 canary shown here, the last at"));
    }
    // Without any of it nothing is said of a coverage, but that there was one.
    let none = without(&later, &[1, 13, 18, 19, 20, 21, 23]);
    assert_eq!((none.verdict(), none.reached.shown), (Verdict::Valid, 0));
    assert!(none.lines().join("\n").contains("of 2 exchanges inside the connection is not here"));
}

/// A bundle with leaves edited, in a log of its own: what the bundle does not hold is there as a hash that
/// nobody who has the bundle alone can tell.
fn edited(bytes: &[u8], edits: &[Value], signer: &Signer) -> Vec<u8> {
    let mut entries = BTreeMap::<String, Vec<u8>>::new();
    let mut order = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some(entry) = reader.peek().unwrap() {
        let (name, size) = (entry.name.clone(), entry.size);
        order.push(name.clone());
        entries.insert(name, reader.content(size).unwrap());
    }
    let old = Note::parse(entries.get("checkpoint").unwrap()).unwrap();
    let old = Checkpoint::parse(&old.text).unwrap();
    let mut leaves: BTreeMap<u64, Vec<u8>> = (0..old.size)
        .filter_map(|at| Some((at, entries.get(&format!("{}/leaf", leaf_folder(at)))?.clone())))
        .collect();
    for edit in edits {
        match (edit["remove"].as_u64(), edit["replace"].as_u64(), edit["insert"].as_u64()) {
            (Some(at), ..) => drop(leaves.remove(&at).unwrap()),
            (_, Some(at), _) => drop(leaves.insert(at, bytes_of(edit)).unwrap()),
            (.., at) => assert_eq!(leaves.insert(at.unwrap(), bytes_of(edit)), None),
        }
    }
    let hash = |at: u64| leaves.get(&at).map_or([0; 32], |leaf| leaf_hash(leaf));
    let hashes: Vec<_> = (0..old.size).map(hash).collect();
    let mut edge = Edge::new();
    hashes.iter().for_each(|hash| edge.push(*hash, |_, _| ()));
    let checkpoint = Checkpoint { root: edge.root(), ..old };
    let note = Note::sign(&checkpoint.to_string(), signer).emit();
    let mut writer = Writer::new(Vec::new());
    for name in order.iter().filter(|name| !name.starts_with("leaves/")) {
        let content =
            if name == "checkpoint" { note.as_bytes() } else { entries.get(name).unwrap() };
        writer.entry(name, content).unwrap();
    }
    for (index, leaf) in &leaves {
        let folder = leaf_folder(*index);
        writer.entry(&format!("{folder}/leaf"), leaf).unwrap();
        let hashes = inclusion(*index, &hashes);
        let proof = TlogProof { index: *index, hashes, checkpoint: note.clone() };
        writer.entry(&format!("{folder}/proof"), proof.emit().as_bytes()).unwrap();
        let is_part = |name: &&String| {
            let rest = name.strip_prefix(&format!("{folder}/"));
            rest.is_some_and(|rest| rest != "leaf" && rest != "proof")
        };
        for name in order.iter().filter(is_part) {
            writer.entry(name, entries.get(name).unwrap()).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn bytes_of(edit: &Value) -> Vec<u8> {
    bytes(&edit["leaf"])
}

/// RFC 9162, section 2.1.3.1, nearest first.
fn inclusion(index: u64, hashes: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let all = |from: &[[u8; 32]]| {
        let mut edge = Edge::new();
        from.iter().for_each(|hash| edge.push(*hash, |_, _| ()));
        edge.root()
    };
    if hashes.len() < 2 {
        return Vec::new();
    }
    let half = hashes.len().next_power_of_two() / 2;
    let (left, right) = hashes.split_at(half);
    let half = u64::try_from(half).unwrap();
    let (mut path, other) = match index.checked_sub(half) {
        None => (inclusion(index, left), all(right)),
        Some(index) => (inclusion(index, right), all(left)),
    };
    path.push(other);
    path
}

#[test]
fn each_thing_that_cannot_be_of_a_coverage_is_found_in_a_bundle() {
    let vectors = vectors();
    let signer = signer(&vectors);
    let good = ["covered.tar", "later.tar"].map(|name| (name, bundle(name)));
    for (name, bytes) in &good {
        let report = verify_bundle(edited(bytes, &[], &signer).as_slice(), &keys());
        assert_eq!(report.verdict(), Verdict::Valid, "{name}: {:?}", report.lines());
    }
    let broken = vectors["bundles"].as_array().unwrap();
    assert!(broken.len() >= 36, "{}", broken.len());
    for one in broken {
        let name = &one["name"];
        let (_, bytes) = good.iter().find(|(name, _)| one["bundle"] == *name).unwrap();
        let edits = one["edits"].as_array().unwrap();
        let report = verify_bundle(edited(bytes, edits, &signer).as_slice(), &keys());
        assert_eq!(report.verdict(), Verdict::Invalid, "{name}: {:?}", report.lines());
        let found = &report.log.findings;
        assert!(found.iter().all(|finding| finding.what == What::Coverage), "{name}: {found:?}");
        let place = one["leaf"].as_u64().map_or("the bundle".to_owned(), leaf_folder);
        assert_eq!(found[0].place, Place::file(&place), "{name}: {found:?}");
    }
}
