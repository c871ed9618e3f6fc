//! The vectors that the second implementation (`vectors/make.py`) wrote: both must agree.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

use sealtap_common::bundle::Part;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::commit::{BodyKey, BodyRoot, Dialect, Tuple, UnitKind, commit, unit};
use sealtap_common::encoding::base64;
use sealtap_common::leaf::{
    Attribution, BypassUnit, BypassVerdict, BypassWay, Channel, ChannelState, ClosedReason,
    ConnectionEnd, CoverageEnd, CoverageMode, End, ErrorCode, GapAction, GapReason, IsolationBasis,
    IsolationLevel, KernelProgram, KeyRole, Kind, Leaf, Outcome, Policy, Prefix, RESERVED_KINDS,
    Side, Source, TunnelReason, key_change,
};
use sealtap_common::note::{Note, PublicKey, Signer, WitnessSigner};
use sealtap_common::policy::Policy as TrustPolicy;
use sealtap_common::tile::{Level, TilePath, entries, push_entry, tiles};
use sealtap_common::tree::{Frontier, Hash, leaf_hash, verify_consistency, verify_inclusion};
use sealtap_common::unit::{
    Context, Ingress, Interim, Maker, Questions, RequestHead, ResponseHead, RunNamedBy, Trailers,
    Version,
};
use sealtap_common::verify::check_prefix;
use sealtap_common::websocket::{EXTENSION, Indexer, MessageIndex};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn hex(value: &Value) -> Vec<u8> {
    let digits = text(value);
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn hash(value: &Value) -> Hash {
    hex(value).try_into().unwrap()
}

#[test]
fn commitments() {
    let vectors = vectors("commitments.json");
    let key = BodyKey::new(hash(&vectors["key"]));
    for segment in list(&vectors["segments"]) {
        let salt = key.salt(u32::try_from(number(&segment["index"])).unwrap());
        assert_eq!(*salt.bytes(), hash(&segment["salt"]));
        assert_eq!(commit(&salt, &hex(&segment["bytes"])), hash(&segment["commitment"]));
    }
    for body in list(&vectors["bodies"]) {
        let kind = UnitKind::from_number(u16::try_from(number(&body["kind"])).unwrap()).unwrap();
        let mut root = BodyRoot::new();
        for (segment, tuple) in list(&body["segments"]).iter().zip(list(&body["tuples"])) {
            let bytes = match segment["repeat"].as_u64() {
                Some(byte) => vec![
                    u8::try_from(byte).unwrap();
                    usize::try_from(number(&segment["length"])).unwrap()
                ],
                None => hex(&segment["bytes"]),
            };
            let commitment = commit(&key.salt(root.next_index()), &bytes);
            let made = root.push(bytes.len() as u64, kind, commitment).unwrap();
            assert_eq!(made.encode().to_vec(), hex(tuple));
            assert_eq!(Tuple::decode(&made.encode()), Some(made));
        }
        let named = &body["body"];
        let finished = root.finish(Dialect::parse(text(&named["dialect"])).unwrap());
        assert!(finished.is_consistent());
        assert_eq!(finished.length, number(&named["length"]));
        assert_eq!(u64::from(finished.segments), number(&named["segments"]));
        assert_eq!(base64(&finished.root), text(&named["root"]));
    }
}

#[test]
fn prefixes() {
    let vectors = vectors("commitments.json");
    let key = BodyKey::new(hash(&vectors["key"]));
    let prefixes = list(&vectors["prefixes"]);
    assert_eq!(prefixes.len(), 4);
    for vector in prefixes {
        let kind = UnitKind::from_number(u16::try_from(number(&vector["kind"])).unwrap()).unwrap();
        let (mut root, mut bytes, mut tuples) = (BodyRoot::new(), Vec::new(), Vec::new());
        for segment in list(&vector["segments"]).iter().map(hex) {
            let commitment = commit(&key.salt(root.next_index()), &segment);
            tuples.push(root.push(segment.len() as u64, kind, commitment).unwrap());
            bytes.extend(segment);
        }
        let tail = hex(&vector["tail"]);
        bytes.extend(&tail);
        let named = &vector["prefix"];
        let length = number(&named["length"]);
        let prefix = Prefix {
            length,
            root: root.root(),
            segments: root.next_index(),
            tail: (!tail.is_empty()).then(|| commit(&key.tail_salt(length), &tail)),
        };
        assert!(prefix.is_consistent());
        assert_eq!(u64::from(prefix.segments), number(&named["segments"]));
        assert_eq!(base64(&prefix.root), text(&named["root"]));
        assert_eq!(prefix.tail.map(|tail| base64(&tail)).as_deref(), named["tail"].as_str());

        // More bytes follow; what was said still holds, and nothing else does.
        bytes.extend(b" and more");
        check_prefix(&prefix, &tuples, Some((&key, &bytes))).unwrap();
        check_prefix(&prefix, &tuples, None).unwrap();
        for at in 0..usize::try_from(length).unwrap() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            let closed = at < usize::try_from(root.length()).unwrap();
            let found = check_prefix(&prefix, &tuples, Some((&key, &other)));
            assert_eq!(found.is_ok(), closed, "the tail is opened, segments by their tuples");
        }
        if !tuples.is_empty() {
            tuples[0].commitment[0] ^= 1;
            assert!(check_prefix(&prefix, &tuples, None).is_err());
        }
    }
}

#[test]
fn units() {
    let vectors = vectors("commitments.json");
    let key = BodyKey::new(hash(&vectors["key"]));
    let units = list(&vectors["units"]);
    assert_eq!(units.len(), 9);
    for vector in units {
        let kind = UnitKind::from_number(u16::try_from(number(&vector["kind"])).unwrap()).unwrap();
        let bytes = text(&vector["bytes"]).as_bytes();
        let made = unit(&key, kind, bytes);
        assert_eq!(made.length, number(&vector["unit"]["length"]));
        assert_eq!(base64(&made.root), text(&vector["unit"]["root"]));
        let again = match kind {
            UnitKind::RequestHead => RequestHead::decode(bytes).unwrap().encode(),
            UnitKind::ResponseHead => ResponseHead::decode(bytes).unwrap().encode(),
            UnitKind::Trailers => Trailers::decode(bytes).unwrap().encode(),
            UnitKind::Interim => Interim::decode(bytes).unwrap().encode(),
            UnitKind::Context => Context::decode(bytes).unwrap().encode(),
            UnitKind::Maker => Maker::decode(bytes).unwrap().encode(),
            UnitKind::Questions => Questions::decode(bytes).unwrap().encode(),
            UnitKind::Messages => MessageIndex::decode(bytes).unwrap().encode(),
            other => panic!("{other:?} is no unit"),
        };
        assert_eq!(again, bytes);
    }
}

#[test]
fn websocket_messages() {
    let vector = &vectors("commitments.json")["websocket"];
    let index = text(&vector["index"]).as_bytes();
    let index = MessageIndex::decode(index).unwrap();
    for (name, side) in [("request", &index.request), ("response", &index.response)] {
        let bytes = hex(&vector[name]);
        for piece in 1..=bytes.len() {
            let mut indexer = Indexer::default();
            for message in &side.messages {
                indexer.mark(message.end, message.time);
            }
            bytes.chunks(piece).for_each(|piece| indexer.push(piece));
            assert_eq!(indexer.finish(), *side, "{name} in pieces of {piece}");
        }
    }
    for refused in list(&vector["refused"]) {
        assert!(MessageIndex::decode(text(refused).as_bytes()).is_err(), "{refused}");
    }
    assert!(format_text().contains(&format!("`{EXTENSION}`")));
}

#[test]
fn tree() {
    let vectors = vectors("tree.json");
    let hashes: Vec<Hash> =
        list(&vectors["leaves"]).iter().map(|leaf| leaf_hash(&hex(leaf))).collect();
    let roots: Vec<Hash> = list(&vectors["roots"]).iter().map(hash).collect();
    let mut tree = Frontier::new();
    assert_eq!(tree.root(), roots[0]);
    for (leaf, root) in hashes.iter().zip(&roots[1..]) {
        tree.push(*leaf);
        assert_eq!(tree.root(), *root);
    }
    let at = |value: &Value| usize::try_from(number(value)).unwrap();
    let proof = |value: &Value| list(&value["proof"]).iter().map(hash).collect::<Vec<_>>();
    for vector in list(&vectors["inclusion"]) {
        let (index, size) = (at(&vector["index"]), at(&vector["size"]));
        let checked = verify_inclusion(
            &hashes[index],
            index as u64,
            size as u64,
            &proof(vector),
            &roots[size],
        );
        assert_eq!(checked, Ok(()), "{vector}");
    }
    for vector in list(&vectors["consistency"]) {
        let (old, new) = (at(&vector["old"]), at(&vector["new"]));
        let checked =
            verify_consistency(old as u64, &roots[old], new as u64, &roots[new], &proof(vector));
        assert_eq!(checked, Ok(()), "{vector}");
    }
}

#[test]
fn tile_names_and_bundles() {
    let vectors = vectors("tiles.json");
    for vector in list(&vectors["paths"]) {
        let level = match vector["level"].as_u64() {
            Some(level) => Level::Hashes(u8::try_from(level).unwrap()),
            None => Level::Entries,
        };
        let width = u16::try_from(number(&vector["width"])).unwrap();
        let tile = TilePath { level, index: number(&vector["index"]), width };
        assert_eq!(tile.to_string(), text(&vector["path"]));
        assert_eq!(text(&vector["path"]).parse(), Ok(tile));
    }
    for set in list(&vectors["sets"]) {
        let all: Vec<TilePath> = tiles(number(&set["size"])).collect();
        let last = all.iter().zip(all.iter().skip(1).map(Some).chain([None]));
        let last: Vec<String> = last
            .filter(|(tile, next)| next.is_none_or(|next| next.level != tile.level))
            .map(|(tile, _)| tile.to_string())
            .collect();
        let expected: Vec<&str> = list(&set["last_of_each_level"]).iter().map(text).collect();
        assert_eq!(last, expected);
    }
    let bytes = hex(&vectors["bundle"]["bytes"]);
    let expected: Vec<Vec<u8>> = list(&vectors["bundle"]["entries"]).iter().map(hex).collect();
    assert_eq!(entries(&bytes).unwrap(), expected);
    let mut made = Vec::new();
    expected.iter().for_each(|entry| push_entry(&mut made, entry).unwrap());
    assert_eq!(made, bytes);
}

#[test]
fn keys_checkpoint_and_note() {
    let vector = vectors("note.json");
    let signer = Signer::parse(text(&vector["skey"])).unwrap();
    let public = signer.public();
    assert_eq!(public.bytes().to_vec(), hex(&vector["public"]));
    assert_eq!(public.id().to_vec(), hex(&vector["id"]));
    assert_eq!(public.vkey(), text(&vector["vkey"]));
    assert_eq!(public.pem(), text(&vector["pem"]));
    assert_eq!(*signer.skey(), text(&vector["skey"]));
    assert_eq!(PublicKey::parse(text(&vector["vkey"])).as_ref(), Ok(public));
    let checkpoint = Checkpoint {
        origin: text(&vector["origin"]).to_owned(),
        size: number(&vector["size"]),
        root: hash(&vector["root"]),
    };
    assert_eq!(checkpoint.to_string(), text(&vector["text"]));
    let note = Note::sign(&checkpoint.to_string(), &signer);
    assert_eq!(note.emit(), text(&vector["note"]));
    assert_eq!(note.verify(public), Ok(()));
}

#[test]
fn leaves() {
    let vectors = vectors("leaves.json");
    for vector in list(&vectors["leaves"]) {
        let bytes = text(&vector["leaf"]).as_bytes();
        let leaf = Leaf::decode(bytes).unwrap_or_else(|error| panic!("{error}: {vector}"));
        assert_eq!(leaf.kind(), text(&vector["kind"]));
        assert_eq!(leaf.sealed(), number(&vector["sealed"]));
        assert_eq!(leaf.encode().unwrap(), bytes);
        assert_eq!(leaf_hash(bytes), hash(&vector["leaf_hash"]));
    }
    for refused in list(&vectors["refused"]) {
        assert!(Leaf::decode(text(refused).as_bytes()).is_err(), "{refused}");
    }
}

#[test]
fn cosignatures_and_key_changes() {
    let vector = vectors("witness.json");
    let seed: [u8; 32] = hex(&vector["seed"]).try_into().unwrap();
    let witness =
        WitnessSigner::new("witness.example/w", ed25519_dalek::SigningKey::from_bytes(&seed))
            .unwrap();
    assert_eq!(witness.public().vkey(), text(&vector["vkey"]));
    let checkpoint = text(&vector["text"]);
    let line = witness.cosign(checkpoint, number(&vector["time"]));
    assert_eq!(line.emit().trim_end(), text(&vector["line"]));
    assert_eq!(witness.public().cosigned(checkpoint, &line), Some(number(&vector["time"])));
    let policy = TrustPolicy::parse(text(&vector["policy"]).as_bytes()).unwrap();
    assert!(policy.quorum_of(|key| key == witness.public()) && !policy.quorum_of(|_| false));

    let change = &vector["key_change"];
    let bytes = text(&change["leaf"]).as_bytes();
    assert_eq!(leaf_hash(bytes), hash(&change["leaf_hash"]));
    let Ok(Leaf::KeyChange(leaf)) = Leaf::decode(bytes) else { panic!("{change}") };
    assert_eq!(leaf.encode().unwrap(), bytes);
    let (old, new) = leaf.verify(text(&change["origin"])).unwrap();
    assert_eq!(key_change::message(leaf.role, &old, &new, leaf.size), text(&change["message"]));
    assert_eq!(old.vkey(), text(&vectors("note.json")["vkey"]));
}

/// FORMAT.md without line breaks and runs of spaces, as its examples are wrapped.
fn format_text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FORMAT.md");
    fs::read_to_string(path).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_worked_bytes_of_the_format_are_those_of_the_vectors() {
    let (format, commitments) = (format_text(), vectors("commitments.json"));
    let hello = &commitments["segments"][1];
    let short = &commitments["bodies"][1];
    let tuple = text(&short["tuples"][0]);
    let exchange = &vectors("leaves.json")["leaves"][1];
    for worked in [
        text(&hello["salt"]),
        text(&hello["commitment"]),
        &tuple[46..],
        text(&short["body"]["root"]),
        text(&vectors("note.json")["vkey"]),
        text(&exchange["leaf_hash"]),
        text(&commitments["units"][5]["unit"]["root"]),
        text(&commitments["prefixes"][3]["prefix"]["root"]),
        text(&commitments["prefixes"][3]["prefix"]["tail"]),
        text(&vectors("witness.json")["vkey"]),
        text(&vectors("witness.json")["line"]),
        text(&vectors("witness.json")["key_change"]["leaf_hash"]),
    ] {
        assert!(format.contains(worked), "{worked}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/log/checkpoint");
    for line in fs::read_to_string(path).unwrap().lines() {
        assert!(format.contains(line), "{line}");
    }
    // The example leaf stands there in pieces, its response cut out.
    let leaf: String = text(&exchange["leaf"]).split_whitespace().collect();
    let solid: String = format.split_whitespace().collect();
    let (before, after) = leaf.split_once("\"response\":{").unwrap();
    let (_, after) = after.split_once("\"run\":").unwrap();
    assert!(solid.contains(before) && solid.contains(after), "{before} {after}");
}

#[test]
fn every_registered_word_stands_in_the_format() {
    let format = format_text();
    let lists = [
        Kind::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>(),
        Outcome::ALL.iter().map(|word| word.as_str()).collect(),
        End::ALL.iter().map(|word| word.as_str()).collect(),
        ErrorCode::ALL.iter().map(|word| word.as_str()).collect(),
        Policy::ALL.iter().map(|word| word.as_str()).collect(),
        Source::ALL.iter().map(|word| word.as_str()).collect(),
        GapAction::ALL.iter().map(|word| word.as_str()).collect(),
        KeyRole::ALL.iter().map(|word| word.as_str()).collect(),
        GapReason::ALL.iter().map(|word| word.as_str()).collect(),
        Dialect::ALL.iter().map(|word| word.as_str()).collect(),
        Version::ALL.iter().map(|word| word.as_str()).collect(),
        Ingress::ALL.iter().map(|word| word.as_str()).collect(),
        RunNamedBy::ALL.iter().map(|word| word.as_str()).collect(),
        ClosedReason::ALL.iter().map(|word| word.as_str()).collect(),
        IsolationLevel::ALL.iter().map(|word| word.as_str()).collect(),
        IsolationBasis::ALL.iter().map(|word| word.as_str()).collect(),
        Part::ALL.iter().map(|word| word.as_str()).collect(),
        TunnelReason::ALL.iter().map(|word| word.as_str()).collect(),
        Channel::ALL.iter().map(|word| word.as_str()).collect(),
        ChannelState::ALL.iter().map(|word| word.as_str()).collect(),
        CoverageMode::ALL.iter().map(|word| word.as_str()).collect(),
        CoverageEnd::ALL.iter().map(|word| word.as_str()).collect(),
        KernelProgram::ALL.iter().map(|word| word.as_str()).collect(),
        Attribution::ALL.iter().map(|word| word.as_str()).collect(),
        ConnectionEnd::ALL.iter().map(|word| word.as_str()).collect(),
        BypassWay::ALL.iter().map(|word| word.as_str()).collect(),
        BypassVerdict::ALL.iter().map(|word| word.as_str()).collect(),
        BypassUnit::ALL.iter().map(|word| word.as_str()).collect(),
        Side::ALL.iter().map(|word| word.as_str()).collect(),
        RESERVED_KINDS.to_vec(),
    ];
    for word in lists.concat() {
        assert!(format.contains(&format!("`{word}`")), "{word}");
    }
}
