//! Records: the envelope's one text, what is signed, and hostile edits.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::encoding::Id;
use crate::leaf::{
    ClosedReason, Extensions, Isolation, IsolationBasis, IsolationLevel, LastLeaf, Output, Policy,
};
use crate::unit::RunNamedBy;

fn signer(name: &str) -> Signer {
    Signer::new(name, SigningKey::from_bytes(&[7; 32])).unwrap()
}

pub(crate) fn closed() -> RunClosed {
    RunClosed {
        boot: Id([1; 16]),
        by: RunNamedBy::Path,
        count: 2,
        ended: 20,
        ext: Extensions::new(),
        first: 3,
        inside: 1,
        isolation: Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser },
        last: LastLeaf { hash: [5; 32], index: 9 },
        output: Some(Output { index: 9, root: [6; 32] }),
        policy: Policy::Strict,
        reason: ClosedReason::Idle,
        root: [4; 32],
        run: Id([2; 16]),
        sealed: 30,
        started: 10,
    }
}

#[test]
fn an_envelope_holds_under_its_key_alone() {
    let envelope = sign("log", 10, &closed(), &signer("log/run-record"));
    let text = envelope.encode();
    assert_eq!(Envelope::decode(&text), Ok(envelope.clone()));
    assert!(envelope.holds_under(signer("log/run-record").public()));
    assert!(!envelope.holds_under(signer("other/run-record").public()));
    let other = Signer::new("log/run-record", SigningKey::from_bytes(&[8; 32])).unwrap();
    assert!(!envelope.holds_under(other.public()));
    let pae = pre_authentication(&envelope.payload);
    assert!(pae.starts_with(b"DSSEv1 28 application/vnd.in-toto+json "));
    assert!(pae.ends_with(&envelope.payload));
}

#[test]
fn a_statement_is_canonical_and_names_its_subjects() {
    let mut leaf = closed();
    let bytes = statement("log", 10, &leaf);
    assert!(crate::json::parse(&bytes).is_ok());
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(&format!("\"sealtapRunRoot\":\"{}\"", "04".repeat(32))), "{text}");
    assert!(text.contains(&format!("\"name\":\"run/{}/output\"", "02".repeat(16))), "{text}");
    leaf.output = None;
    assert!(!String::from_utf8(statement("log", 10, &leaf)).unwrap().contains("output"));
    assert_ne!(statement("log", 10, &closed()), statement("log", 11, &closed()));
}

#[test]
fn other_texts_of_an_envelope_are_refused() {
    let text = String::from_utf8(sign("log", 10, &closed(), &signer("k")).encode()).unwrap();
    let signature = &text[text.find("{\"keyid").unwrap()..text.len() - 2];
    for (from, to) in [
        (signature, ""),
        (signature, &format!("{signature},{signature}")[..]),
        (PAYLOAD_TYPE, "application/json"),
        ("{\"payload\"", "{ \"payload\""),
        ("\"keyid\"", "\"extra\":1,\"keyid\""),
        ("==\"}", "=\"}"),
    ] {
        let edited = text.replacen(from, to, 1);
        assert_ne!(edited, text, "{from}");
        assert!(Envelope::decode(edited.as_bytes()).is_err(), "{from} to {to}");
    }
}

proptest! {
    #[test]
    fn an_edited_envelope_is_refused_or_its_own_text(at: prop::sample::Index, byte: u8) {
        let envelope = sign("log", 10, &closed(), &signer("k"));
        let mut bytes = envelope.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(other) = Envelope::decode(&bytes) {
            prop_assert_eq!(other.encode(), &bytes[..]);
            prop_assert!(other == envelope || !other.holds_under(signer("k").public()));
        }
    }
}
