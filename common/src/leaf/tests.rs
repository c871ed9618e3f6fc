//! Leaves: canonical bytes by way of an independent writer, strict reading, and hostile edits.

pub(crate) mod coverage;
mod progress;

use proptest::prelude::*;

use super::*;
use crate::commit::PIECE;
use crate::note::Signer;
use crate::tree::EMPTY_ROOT;

fn unit(n: u8) -> Unit {
    Unit { length: 100, root: [n; 32] }
}

fn body(length: u64) -> Body {
    let root = if length == 0 { EMPTY_ROOT } else { [8; 32] };
    let segments = u32::try_from(length.div_ceil(PIECE)).unwrap();
    Body { dialect: Dialect::Bytes, length, root, segments }
}

fn exchange() -> Exchange {
    Exchange {
        boot: Id([1; 16]),
        context: unit(1),
        ended: 20,
        error: None,
        exchange: Id([2; 16]),
        ext: Extensions::new(),
        number: 7,
        outcome: Outcome::Complete,
        policy: Policy::Strict,
        request: Request {
            body: body(0),
            end: End::Complete,
            head: Some(unit(2)),
            same: true,
            trailers: None,
        },
        response: Some(Response {
            body: body(70_000),
            end: End::Trailers,
            head: Some(unit(3)),
            interim: Some(unit(4)),
            same: false,
            source: Source::Upstream,
            trailers: Some(unit(5)),
        }),
        run: RunLink { id: Id([3; 16]), position: 2, previous: Some([9; 32]) },
        sealed: 30,
        started: 10,
        tunnel: None,
    }
}

fn key_change() -> KeyChange {
    let signer = |seed| {
        Signer::new("log.example", ed25519_dalek::SigningKey::from_bytes(&[seed; 32])).unwrap()
    };
    KeyChange::sign(KeyRole::Log, &signer(1), &signer(2), 8, 4)
}

fn closed(output: Option<Output>) -> RunClosed {
    RunClosed {
        boot: Id([1; 16]),
        by: crate::unit::RunNamedBy::Header,
        count: 2,
        ended: 3,
        ext: Extensions::new(),
        first: 4,
        inside: 1,
        isolation: Isolation { basis: IsolationBasis::Declared, level: IsolationLevel::OtherUser },
        last: LastLeaf { hash: [5; 32], index: 6 },
        output,
        policy: Policy::Relaxed,
        reason: ClosedReason::Crowded,
        root: [7; 32],
        run: Id([6; 16]),
        sealed: 4,
        started: 1,
    }
}

fn samples() -> Vec<Leaf> {
    let mut all = own_samples();
    all.extend(coverage::samples());
    all
}

fn own_samples() -> Vec<Leaf> {
    let clock = Clock { boottime: 5, wall: 6 };
    let boot = Id([1; 16]);
    let open = Ranges::from_numbers([9, 3, 4]);
    let ext = Extensions::from([("later".to_owned(), [4; 32])]);
    let refused = Exchange {
        error: Some(ErrorCode::UnknownUpstream),
        outcome: Outcome::Refused,
        response: None,
        run: RunLink { id: Id([3; 16]), position: 1, previous: None },
        ..exchange()
    };
    let previous =
        Previous { boot: Id([7; 16]), clean: false, highest: 9, open: open.clone(), torn: 17 };
    let restart = Restart {
        boot,
        clock,
        ext: Extensions::new(),
        policy: Policy::Relaxed,
        previous: Some(previous),
        sealed: 9,
    };
    vec![
        Leaf::Exchange(Box::new(exchange())),
        Leaf::Exchange(Box::new(refused)),
        Leaf::Restart(Restart { previous: None, ..restart.clone() }),
        Leaf::Restart(restart),
        Leaf::Heartbeat(Heartbeat {
            boot,
            clock,
            closing: false,
            ext,
            highest: 9,
            open,
            part: 1,
            parts: 2,
            sealed: 9,
        }),
        Leaf::Gap(Gap {
            action: GapAction::Passed,
            began: 1,
            boot,
            count: 3,
            ended: None,
            ext: Extensions::new(),
            reason: GapReason::DiskFull,
            sealed: 4,
        }),
        Leaf::Adopted(Adopted { boot, ext: Extensions::new(), sealed: 4, size: 8 }),
        Leaf::Retention(Retention {
            boot,
            ext: Extensions::new(),
            leaves: Ranges::new(vec![(1, 7), (9, 9)]).unwrap(),
            limit: Limit { age: Some(5), bytes: None },
            sealed: 4,
        }),
        progress(vec![progressed(3), progressed(7)], &[4, 5, 9]),
        progress(Vec::new(), &[4]),
        progress(vec![progressed(1)], &[]),
        Leaf::KeyChange(Box::new(key_change())),
        Leaf::RunOpened(RunOpened {
            boot,
            ext: Extensions::new(),
            previous: RunAfter { closed: [3; 32], run: Id([5; 16]) },
            run: Id([6; 16]),
            sealed: 4,
        }),
        Leaf::RunClosed(Box::new(closed(Some(Output { index: 6, root: [7; 32] })))),
        Leaf::RunClosed(Box::new(closed(None))),
        Leaf::RunRecord(RunRecord {
            boot,
            ext: Extensions::new(),
            record: [8; 32],
            run: Id([6; 16]),
            sealed: 4,
        }),
    ]
}

fn progress(entries: Vec<ProgressEntry>, unchanged: &[u64]) -> Leaf {
    let unchanged = Ranges::from_numbers(unchanged.iter().copied());
    let (boot, ext) = (Id([1; 16]), Extensions::new());
    Leaf::Progress(Progress { boot, entries, ext, sealed: 4, unchanged })
}

fn progressed(number: u64) -> ProgressEntry {
    let request = Prefix { length: 5, root: EMPTY_ROOT, segments: 0, tail: Some([6; 32]) };
    let response = Prefix { length: 70_000, root: [8; 32], segments: 1, tail: Some([7; 32]) };
    let response = (number > 1).then_some(response);
    ProgressEntry { exchange: Id([2; 16]), number, request, response }
}

#[test]
fn every_kind_survives_and_is_canonical() {
    for leaf in samples() {
        let bytes = leaf.encode().unwrap();
        assert_eq!(Leaf::decode(&bytes), Ok(leaf), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let text = String::from_utf8(samples()[2].encode().unwrap()).unwrap();
    assert_eq!(
        text,
        "{\"boot\":\"01010101010101010101010101010101\",\"clock\":{\"boottime\":5,\"wall\":6},\
         \"ext\":{},\"kind\":\"restart\",\"policy\":\"relaxed\",\"previous\":null,\"sealed\":9,\"v\":1}"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let bytes = exchange().encode().unwrap();
    let with = |from: &str, to: &str| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        Leaf::decode(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
    };
    for (from, to, error) in [
        (",\"v\":1", ",\"v\":2", "v: version 2; only version 1 is known"),
        (",\"v\":1", "", "v: missing"),
        (",\"v\":1", ",\"v\":1,\"w\":1", "w: no such member in this version of the format"),
        ("\"started\":10", "\"started\":1e1", "not restricted JSON"),
        ("\"number\":7", "\"number\":0", "number: not a positive integer"),
        (
            "\"end\":\"complete\"",
            "\"end\":\"open\"",
            "request.end: \"open\" is not a registered word here",
        ),
        (
            "\"outcome\":\"complete\"",
            "\"outcome\":\"refused\"",
            "outcome: refused is not an outcome of kind exchange",
        ),
        (
            "\"segments\":2",
            "\"segments\":1",
            "response.body: 70000 bytes cannot be cut into 1 segments so",
        ),
        ("\"same\":true", "\"same\":1", "request.same: not true or false"),
        ("CQk=", "CQl=", "run.previous: not canonical padded base64"),
        ("\"0303", "\"0g03", "run.id: an id is 32 lowercase hexadecimal digits"),
        ("\"kind\":\"exchange\"", "\"kind\":7", "kind: not a string"),
        (
            "{\"boot\"",
            "{ \"boot\"",
            "not canonical: the text differs from the canonical one from byte 1 on",
        ),
    ] {
        let found = with(from, to);
        assert!(found.starts_with(error), "{found}");
    }
    assert!(matches!(Leaf::decode(&vec![b' '; 65_536]), Err(DecodeError::TooLong(65_536))));
    assert!(Leaf::decode(b"[]").is_err());
}

#[test]
fn other_kinds_are_kept_unchecked_but_only_when_well_formed() {
    for kind in ["declaration", "never-heard-of"] {
        let bytes = format!(r#"{{"ext":{{}},"kind":"{kind}","more":[1],"sealed":4,"v":1}}"#);
        let leaf = Leaf::decode(bytes.as_bytes()).unwrap();
        assert_eq!((leaf.kind(), leaf.sealed()), (kind, 4));
        assert_eq!(leaf.encode().unwrap(), bytes.as_bytes());
    }
    let other_spelling = br#"{"ext":{},"kind":"a","sealed":4,"text":"\u0041","v":1}"#;
    assert!(matches!(Leaf::decode(other_spelling), Err(DecodeError::Json(_))));
    for bad in [
        r#"{"ext":[],"kind":"a","sealed":4,"v":1}"#,
        r#"{"ext":{},"kind":"A","sealed":4,"v":1}"#,
        r#"{"ext":{},"kind":"","sealed":4,"v":1}"#,
        r#"{"ext":{},"kind":"a","sealed":4,"v":2}"#,
        r#"{"ext":{},"kind":"a","sealed":-4,"v":1}"#,
        r#"{"ext":{},"kind":"a","v":1}"#,
    ] {
        assert!(matches!(Leaf::decode(bad.as_bytes()), Err(DecodeError::Field(_))), "{bad}");
    }
}

#[test]
fn limits_are_kept_when_writing() {
    let big = Exchange { ended: 1 << 53, ..exchange() };
    assert_eq!(big.encode(), Err(EncodeError::Integer(1 << 53)));
    let Leaf::Heartbeat(beat) = &samples()[4] else { panic!("order of samples") };
    let open = Ranges::from_numbers((1..20_000).map(|n| n * 2));
    let long = Heartbeat { highest: 40_000, open, ..beat.clone() };
    assert!(matches!(long.encode(), Err(EncodeError::TooLong(_))));
}

#[test]
fn ranges_are_joined_over_numbers_that_have_leaves_only() {
    let ranges = Ranges::from_numbers([1, 3, 6, 9]);
    let joined = ranges.joined(|number| [2, 7, 8].contains(&number));
    assert_eq!(joined.as_slice(), [(1, 3), (6, 9)]);
    assert_eq!(Ranges::new(joined.as_slice().to_vec()), Ok(joined));
}

#[test]
fn registered_words_are_distinct_from_reserved_kinds() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        assert!(!RESERVED_KINDS.contains(&kind.as_str()));
    }
    assert_eq!(Outcome::parse("open"), None);
}

proptest! {
    #[test]
    fn ranges_from_numbers_are_canonical_and_hold_exactly_them(numbers in prop::collection::btree_set(1_u64..60, 0..40)) {
        let ranges = Ranges::from_numbers(numbers.iter().copied().chain([0]));
        prop_assert_eq!(Ranges::new(ranges.as_slice().to_vec()), Ok(ranges.clone()));
        for n in 0..62 {
            prop_assert_eq!(ranges.contains(n), numbers.contains(&n));
        }
    }

    #[test]
    fn any_ranges_are_refused_or_canonical(pairs in prop::collection::vec((0_u64..9, 0_u64..9), 0..4)) {
        if let Ok(ranges) = Ranges::new(pairs) {
            let numbers = ranges.as_slice().iter().flat_map(|(a, b)| *a..=*b);
            prop_assert_eq!(Ranges::from_numbers(numbers), ranges);
        }
    }

    #[test]
    fn an_edited_leaf_is_refused_or_its_own_canonical_text(which in 0_usize..11, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let mut bytes = samples()[which].encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(leaf) = Leaf::decode(bytes) {
                prop_assert_eq!(leaf.encode().unwrap(), bytes);
            }
        }
    }
}

#[test]
fn a_retention_says_what_and_why() {
    let leaf = samples().into_iter().find(|leaf| matches!(leaf, Leaf::Retention(_)));
    let Some(Leaf::Retention(retention)) = leaf else { panic!("one of them is one") };
    let text = String::from_utf8(retention.encode().unwrap()).unwrap();
    for (from, to) in [
        ("[[1,7],[9,9]]", "[]"),
        ("[[1,7],[9,9]]", "[[0,7]]"),
        ("[[1,7],[9,9]]", "[[1,7],[8,9]]"),
        ("\"age\":5", "\"age\":null"),
        ("\"age\":5", "\"age\":0"),
        ("\"age\":5,", ""),
    ] {
        assert!(text.contains(from), "{text}");
        let wrong = text.replacen(from, to, 1);
        assert!(Leaf::decode(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_key_change_holds_for_its_keys_role_place_and_log_alone() {
    let good = key_change();
    let (old, new) = good.verify("log.example").unwrap();
    assert_eq!((old.bytes(), new.bytes()), (&good.old, &good.new));
    let changed = |edit: fn(&mut KeyChange)| {
        let mut leaf = key_change();
        edit(&mut leaf);
        leaf.verify("log.example").unwrap_err()
    };
    assert_eq!(good.verify("other.example").unwrap_err(), KeyChangeError::Signature("old"));
    assert_eq!(changed(|leaf| leaf.size += 1), KeyChangeError::Signature("old"));
    assert_eq!(changed(|leaf| leaf.role = KeyRole::RunRecord), KeyChangeError::Signature("old"));
    assert_eq!(changed(|leaf| leaf.old_signature[9] ^= 1), KeyChangeError::Signature("old"));
    assert_eq!(changed(|leaf| leaf.new_signature[9] ^= 1), KeyChangeError::Signature("new"));
    assert_eq!(
        changed(|leaf| leaf.new_signature = leaf.old_signature),
        KeyChangeError::Signature("new")
    );
    assert_eq!(changed(|leaf| leaf.new = leaf.old), KeyChangeError::Same);
    assert!(matches!(changed(|leaf| leaf.new = [0; 32]), KeyChangeError::Key("new", _)));
}
