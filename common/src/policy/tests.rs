//! Policies: the specification's own example, every quorum of it, and every refusal.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::note::{Signer, WitnessSigner};

fn witness(seed: u8) -> WitnessKey {
    let name = format!("witness.example/{seed}");
    WitnessSigner::new(&name, SigningKey::from_bytes(&[seed; 32])).unwrap().public().clone()
}

fn log() -> PublicKey {
    Signer::new("log.example", SigningKey::from_bytes(&[99; 32])).unwrap().public().clone()
}

/// Two out of three X and any of three Y, as in the specification.
fn example() -> String {
    let mut text = format!("# a comment\n\nlog {} https://log.example\n", log().vkey());
    for (index, name) in (1..).zip(["X1", "X2", "X3", "Y1", "Y2", "Y3"]) {
        text += &format!("\twitness {name} {} \n", witness(index).vkey());
    }
    text + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n\
            group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

#[test]
fn every_set_of_witnesses_of_the_example_is_judged_right() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!((policy.logs.as_slice(), policy.witnesses.len()), ([log()].as_slice(), 6));
    assert!(policy.asks_for_witnesses());
    for set in 0..64_u8 {
        let there = |key: &WitnessKey| set & (1 << (key.bytes_seed() - 1)) != 0;
        let wanted = (set & 0b111).count_ones() >= 2 && set & 0b11_1000 != 0;
        assert_eq!(policy.quorum_of(there), wanted, "{set:06b}");
    }
    let none = Policy::parse(b"quorum none\n").unwrap();
    assert!(!none.asks_for_witnesses() && none.quorum_of(|_| false));
}

impl WitnessKey {
    fn bytes_seed(&self) -> u8 {
        self.name().rsplit('/').next().unwrap().parse().unwrap()
    }
}

#[test]
fn each_fault_is_named_with_its_line() {
    let (one, two) = (witness(1).vkey(), witness(2).vkey());
    let refused = |text: String| Policy::parse(text.as_bytes()).unwrap_err();
    let head = format!("witness a {one}\nwitness b {two} https://b.example\n");
    let unknown = |name: &str| PolicyProblem::Unknown(name.into());
    for (tail, line, problem) in [
        ("quorum c\n", 3, unknown("c")),
        ("quorum a\nquorum b\n", 4, PolicyProblem::Quorum),
        ("", 2, PolicyProblem::Quorum),
        ("group g 3 a b\nquorum g\n", 3, PolicyProblem::Threshold),
        ("group g 0 a b\nquorum g\n", 3, PolicyProblem::Threshold),
        ("group g 02 a b\nquorum g\n", 3, PolicyProblem::Threshold),
        ("group g any\nquorum g\n", 3, PolicyProblem::Threshold),
        ("group g any a a\nquorum g\n", 3, PolicyProblem::Member("a".into())),
        ("group g any a\ngroup h any a b\nquorum h\n", 4, PolicyProblem::Member("a".into())),
        ("group g any h\n", 3, unknown("h")),
        ("group g any none\n", 3, unknown("none")),
        ("group a any b\n", 3, PolicyProblem::Taken("a".into())),
        ("group none any b\n", 3, PolicyProblem::Taken("none".into())),
        ("quorum\n", 3, PolicyProblem::Shape),
        ("Quorum a\n", 3, PolicyProblem::Shape),
        ("quorum a\r\n", 3, PolicyProblem::Text),
        ("quorum a", 3, PolicyProblem::Text),
    ] {
        let error = refused(format!("{head}{tail}"));
        assert_eq!((error.line, error.problem), (line, problem), "{tail:?}");
    }
    let twice = refused(format!("{head}witness c {one}\nquorum a\n"));
    assert_eq!(twice.problem, PolicyProblem::Twice("witness"));
    // A witness's key is no log's, and the other way round.
    let mixed = refused(format!("log {one}\nquorum none\n"));
    assert_eq!(mixed.problem, PolicyProblem::Key("a log", KeyError::Value));
    let mixed = refused(format!("witness w {}\nquorum none\n", log().vkey()));
    assert_eq!(mixed.problem, PolicyProblem::Key("a witness", KeyError::Value));
}

#[test]
fn names_are_opaque_bytes() {
    let mut text = b"witness \xff\xfe ".to_vec();
    text.extend_from_slice(witness(1).vkey().as_bytes());
    text.extend_from_slice(b"\nquorum \xff\xfe\n");
    let policy = Policy::parse(&text).unwrap();
    assert!(policy.quorum_of(|_| true) && !policy.quorum_of(|_| false));
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, lines in "((log|witness|group|quorum) [ab2 ]{0,9}\n){0,5}") {
        let _ = Policy::parse(&bytes);
        let _ = Policy::parse(lines.as_bytes());
    }
}
