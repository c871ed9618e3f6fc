//! Whole logs in memory: valid ones, every kind of tampering, every rule of the leaves broken once.

mod connections;
mod coverage;
mod log;
mod queries;
mod rules;
mod runs;
mod states;
mod tamper;
mod witnessed;

use super::*;
use crate::leaf::{Extensions, Unchecked};
use log::{Files, files, history, key, log_of, verdict};

#[test]
fn a_whole_log_is_valid_and_says_what_it_is() {
    let report = verify(&log_of(&history(300)), &[key()], &mut ());
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict(), Verdict::Valid);
    // All but the cosignatures, which nobody asked for, and what only a bundle has.
    assert_eq!(report.checks.len(), Check::ALL.len() - 2);
    assert!(!report.checks.contains(&Check::Record) && !report.checks.contains(&Check::Witnesses));
    assert_eq!((report.size, report.counts.boots), (report.counts.leaves.values().sum(), 2));
    let text = report.lines().join("\n");
    assert!(text.starts_with("valid: "), "{text}");
    assert!(text.contains("unwitnessed: the holder of the log key could have rewritten this"));
    assert!(text.contains("bodies: not part of a log"));
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["verdict"], "valid");
    assert_eq!(json["exchanges"], 300);
}

#[test]
fn every_size_up_to_two_tiles_is_valid_at_rest_and_an_empty_log_too() {
    let leaves = history(530);
    for size in [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 530] {
        let entries: Vec<_> = leaves[..size].iter().map(|leaf| leaf.encode().unwrap()).collect();
        let report = verify(&files(&entries), &[key()], &mut ());
        assert_eq!(report.findings, [], "{size}");
    }
}

#[test]
fn without_the_key_nothing_is_more_than_intact() {
    let report = verify(&log_of(&history(9)), &[], &mut ());
    assert_eq!((report.verdict(), report.verdict().exit_code()), (Verdict::Undecided, 2));
    assert!(report.lines()[0].starts_with("intact, key not pinned"), "{:?}", report.lines());
    let other = PublicKey::new(log::ORIGIN, log::signer(77).public().bytes()).unwrap();
    let report = verify(&log_of(&history(9)), &[other], &mut ());
    assert_eq!(report.findings[0].what, What::Signature);
}

#[test]
fn what_this_version_does_not_know_is_undecided_not_valid() {
    let mut leaves = history(3);
    let sealed = leaves.last().unwrap().sealed();
    let bytes =
        format!(r#"{{"ext":{{}},"kind":"declaration","sealed":{sealed},"v":1}}"#).into_bytes();
    leaves.push(Leaf::Unchecked(Unchecked { kind: "declaration".into(), sealed, bytes }));
    let report = verify(&log_of(&leaves), &[key()], &mut ());
    assert_eq!((report.verdict(), report.findings.len()), (Verdict::Undecided, 0));
    assert!(report.undecided.contains("leaves of kind declaration are not checked"));

    let mut leaves = history(3);
    if let Leaf::Restart(first) = &mut leaves[0] {
        first.ext = Extensions::from([("later".into(), [1; 32])]);
    }
    assert_eq!(verdict(&log_of(&leaves)), Verdict::Undecided);
}

#[test]
fn cosignatures_are_reported_and_other_lines_refused() {
    let with = |name: &str, bytes: usize| {
        let mut files = log_of(&history(3));
        let line = format!("\u{2014} {name} {}\n", crate::encoding::base64(&vec![5; bytes]));
        files.get_mut(CHECKPOINT).unwrap().extend(line.into_bytes());
        verify(&files, &[key()], &mut ())
    };
    let report = with("witness.example", 76);
    assert_eq!(report.verdict(), Verdict::Undecided);
    assert!(report.undecided.contains("the cosignature by witness.example is not checked"));
    assert_eq!(with("witness.example", 68).verdict(), Verdict::Invalid);
    assert_eq!(with(log::ORIGIN, 76).verdict(), Verdict::Invalid);
}

#[test]
fn partial_tiles_of_one_earlier_tree_may_linger() {
    let entries: Vec<_> = history(300).iter().map(|leaf| leaf.encode().unwrap()).collect();
    let merged = |sizes: &[usize]| {
        let mut all = Files::new();
        for size in sizes {
            all.extend(files(&entries[..*size]));
        }
        verify(&all, &[key()], &mut ())
    };
    for old in [1, 200, 255, 257, 299] {
        assert_eq!(merged(&[old, 302]).findings, [], "{old}");
    }
    // Two earlier trees, or tiles of a later one, are not what a gateway leaves behind.
    assert_eq!(merged(&[280, 290, 302]).findings[0].what, What::Stranger);
    assert_eq!(merged(&[302, 280]).findings[0].what, What::Stranger);
    let mut short = files(&entries[..290]);
    short.extend(files(&entries));
    short.get_mut("tile/0/001.p/34").unwrap().truncate(32);
    assert_eq!(verify(&short, &[key()], &mut ()).findings[0].what, What::Superseded);
    let mut changed = files(&entries[..290]);
    changed.extend(files(&entries));
    changed.get_mut("tile/0/001.p/34").unwrap()[7] ^= 1;
    let report = verify(&changed, &[key()], &mut ());
    assert_eq!(report.findings[0].what, What::Superseded);
}

#[test]
fn a_file_that_cannot_be_read_decides_nothing() {
    struct Broken(Files);
    impl LogFiles for Broken {
        fn list(&self) -> Result<Vec<String>, FileError> {
            self.0.list()
        }
        fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
            if path.starts_with("tile/0/") {
                return Err(FileError { path: path.into(), reason: "input/output error".into() });
            }
            self.0.read(path)
        }
    }
    let report = verify(&Broken(log_of(&history(9))), &[key()], &mut ());
    assert_eq!(report.verdict(), Verdict::Undecided);
    assert!(report.lines().join("\n").contains("cannot read tile/0/000.p/"));
}

#[test]
fn a_size_beyond_all_files_is_refused_at_once() {
    let checkpoint = Checkpoint { origin: log::ORIGIN.into(), size: u64::MAX, root: [0; 32] };
    let note = Note::sign(&checkpoint.to_string(), &log::signer(1));
    let files = Files::from([(CHECKPOINT.to_owned(), note.emit().into_bytes())]);
    let report = verify(&files, &[key()], &mut ());
    assert_eq!(report.verdict(), Verdict::Invalid);
    assert!(report.findings.iter().all(|finding| finding.what == What::Missing));
}

#[test]
fn each_finding_names_its_own_step() {
    let whole = log_of(&history(300));
    let other_root =
        Checkpoint { origin: log::ORIGIN.into(), size: 302, root: [1; 32] }.to_string();
    let mut files = whole.clone();
    let note = Note::sign(&other_root, &log::signer(1)).emit().into_bytes();
    files.insert(CHECKPOINT.into(), note);
    let report = verify(&files, &[key()], &mut ());
    assert_eq!(report.findings.len(), 1);
    assert_eq!((report.findings[0].what, &report.findings[0].place), (What::Root, &Place::Log));

    let mut files = whole.clone();
    files.get_mut("tile/entries/001.p/46").unwrap().extend([0, 0]);
    let report = verify(&files, &[key()], &mut ());
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].what, What::Bundle);
    assert_eq!(report.undecided.len(), 1, "what could not be checked any more is said");

    let mut files = whole;
    files.get_mut("tile/1/000.p/1").unwrap()[0] ^= 1;
    let report = verify(&files, &[key()], &mut ());
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].what, What::HashTile);
}

#[test]
fn a_signature_of_another_length_is_refused_even_without_a_key() {
    let mut files = log_of(&history(3));
    let text = String::from_utf8(files[CHECKPOINT].clone()).unwrap();
    let mut note = Note::parse(text.as_bytes()).unwrap();
    note.signatures[0].signature.push(0);
    files.insert(CHECKPOINT.into(), note.emit().into_bytes());
    let report = verify(&files, &[], &mut ());
    assert_eq!(report.findings[0].what, What::Signature);
}

#[test]
fn an_inspector_sees_every_leaf_and_its_findings_count() {
    struct Third(u64);
    impl Inspector for Third {
        fn leaf(&mut self, index: u64, _: &Leaf) -> Vec<Finding> {
            assert_eq!(index, self.0);
            self.0 += 1;
            let detail = "the stored head is another".to_owned();
            let finding = Finding { what: What::Content, place: Place::Leaf(index), detail };
            if index == 2 { vec![finding] } else { Vec::new() }
        }
    }
    let mut inspector = Third(0);
    let report = verify(&log_of(&history(9)), &[key()], &mut inspector);
    assert_eq!((inspector.0, report.findings.len()), (report.size, 1));
    assert_eq!(report.findings[0].place, Place::Leaf(2));
}

mod content {
    use crate::commit::{BodyKey, BodyRoot, PIECE, UnitKind, commit, unit};
    use crate::leaf::Dialect;
    use crate::verify::{ContentError, check_body, check_unit};

    #[test]
    fn bytes_open_their_commitments_and_no_other_bytes_do() {
        let key = BodyKey::new([4; 32]);
        let piece_length = usize::try_from(PIECE).unwrap();
        let bytes = vec![7_u8; piece_length + 10];
        let mut root = BodyRoot::new();
        let tuples: Vec<_> = bytes
            .chunks(piece_length)
            .zip(0..)
            .map(|(piece, n)| {
                root.push(piece.len() as u64, UnitKind::Bytes, commit(&key.salt(n), piece)).unwrap()
            })
            .collect();
        let body = root.finish(Dialect::Bytes);
        assert_eq!(check_body(&body, &key, &tuples, &bytes), Ok(()));
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(check_body(&body, &key, &tuples, &changed), Err(ContentError::Segment(1)));
        let short = ContentError::Length { expected: body.length, found: body.length - 1 };
        assert_eq!(check_body(&body, &key, &tuples, &bytes[1..]), Err(short));
        assert_eq!(check_body(&body, &key, &tuples[..1], &bytes), Err(ContentError::Root));
        let other = BodyKey::new([5; 32]);
        assert_eq!(check_body(&body, &other, &tuples, &bytes), Err(ContentError::Segment(0)));
        let mut cut = BodyRoot::new();
        let tuple = cut.push(body.length, UnitKind::Bytes, commit(&key.salt(0), &bytes)).unwrap();
        assert_eq!(check_body(&body, &key, &[tuple], &bytes), Err(ContentError::Cut(0)));
    }

    #[test]
    fn event_groups_are_bounded_and_their_pieces_full() {
        let key = BodyKey::new([4; 32]);
        let opened = |cuts: &[(u64, UnitKind)]| {
            let mut root = BodyRoot::new();
            let mut bytes = Vec::new();
            let tuples: Vec<_> = (0..)
                .zip(cuts)
                .map(|(n, (length, kind))| {
                    let segment = vec![b'x'; usize::try_from(*length).unwrap()];
                    bytes.extend_from_slice(&segment);
                    root.push(*length, *kind, commit(&key.salt(n), &segment)).unwrap()
                })
                .collect();
            check_body(&root.finish(Dialect::EventStream), &key, &tuples, &bytes)
        };
        let (group, piece) = (UnitKind::EventGroup, UnitKind::Bytes);
        assert_eq!(opened(&[(9, group), (PIECE, piece), (PIECE, group), (1, group)]), Ok(()));
        assert_eq!(opened(&[(9, group), (9, piece)]), Err(ContentError::Cut(1)));
        assert_eq!(opened(&[(PIECE + 1, group)]), Err(ContentError::Cut(0)));
        assert_eq!(opened(&[(9, UnitKind::Context)]), Err(ContentError::Cut(0)));
    }

    #[test]
    fn a_unit_opens_only_as_its_own_kind() {
        let key = BodyKey::new([4; 32]);
        let sealed = unit(&key, UnitKind::Context, b"context");
        assert_eq!(check_unit(&sealed, UnitKind::Context, &key, b"context"), Ok(()));
        assert_eq!(
            check_unit(&sealed, UnitKind::Context, &key, b"contexT"),
            Err(ContentError::Root)
        );
        assert_eq!(
            check_unit(&sealed, UnitKind::Trailers, &key, b"context"),
            Err(ContentError::Root)
        );
        let length = ContentError::Length { expected: 7, found: 0 };
        assert_eq!(check_unit(&sealed, UnitKind::Context, &key, b""), Err(length));
    }
}
