//! Policies, cosigned checkpoints and key changes over whole logs in memory.

use ed25519_dalek::SigningKey;

use super::log::{Files, ORIGIN, chained, files, history, key, log_of, signer};
use super::*;
use crate::leaf::{KeyChange, KeyRole};
use crate::note::{Signer, WitnessSigner};

fn witness(seed: u8) -> WitnessSigner {
    let name = format!("witness.example/{seed}");
    WitnessSigner::new(&name, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

/// Any two of three witnesses.
fn policy() -> Policy {
    let line = |seed| format!("witness w{seed} {}\n", witness(seed).public().vkey());
    let text = format!(
        "log {}\n{}{}{}group two 2 w1 w2 w3\nquorum two\n",
        key().vkey(),
        line(1),
        line(2),
        line(3)
    );
    Policy::parse(text.as_bytes()).unwrap()
}

/// The checkpoint of these files, cosigned by these witnesses.
fn cosigned(files: &Files, by: &[u8]) -> Vec<u8> {
    let mut note = Note::parse(&files[CHECKPOINT]).unwrap();
    for seed in by {
        let line = witness(*seed).cosign(&note.text, 1_700_000_000 + u64::from(*seed));
        note.signatures.push(line);
    }
    note.emit().into_bytes()
}

fn report(files: &Files, policy: &Policy, cosigned: Option<&[u8]>) -> Report {
    let trust = Trust { policy: Some(policy), cosigned, ..Trust::default() };
    verify_under(files, &trust, &mut ())
}

#[test]
fn a_quorum_makes_a_log_witnessed_and_less_leaves_it_undecided() {
    let (log, policy) = (log_of(&history(30)), policy());
    let bytes = cosigned(&log, &[3, 1]);
    let found = report(&log, &policy, Some(&bytes));
    assert_eq!((found.verdict(), found.checks.len()), (Verdict::Valid, Check::ALL.len() - 1));
    let text = found.lines().join("\n");
    assert!(text.contains("by witness.example/1 at 2023-11-14T22:13:21Z"), "{text}");
    assert!(text.contains("quorum of the policy: reached") && !text.contains("unwitnessed"));
    let json: serde_json::Value = serde_json::from_str(&found.to_json()).unwrap();
    assert_eq!((&json["witnessed"], &json["witnesses"]["quorum"]), (&true.into(), &true.into()));
    assert_eq!(json["witnesses"]["by"][1]["name"], "witness.example/3");

    for bytes in [None, Some(cosigned(&log, &[2])), Some(cosigned(&log, &[2, 9]))] {
        let found = report(&log, &policy, bytes.as_deref());
        assert_eq!((found.verdict(), &*found.findings), (Verdict::Undecided, &[][..]));
        assert!(found.lines().join("\n").contains("no quorum: "), "{:?}", found.lines());
    }
    // The cosignatures may stand on the published checkpoint itself.
    let mut whole = log.clone();
    whole.insert(CHECKPOINT.into(), cosigned(&log, &[1, 2]));
    assert_eq!(report(&whole, &policy, None).verdict(), Verdict::Valid);
}

/// Cosignatures are on a checkpoint that the log's key signed. Without that key nobody knows what they are
/// worth, which is not the same as that there are none.
#[test]
fn without_the_logs_key_cosignatures_are_not_called_missing() {
    let log = log_of(&history(30));
    let vkey = witness(1).public().vkey();
    let policy = Policy::parse(format!("witness w {vkey}\nquorum w\n").as_bytes()).unwrap();
    let bytes = cosigned(&log, &[1]);
    for (bytes, unread) in [(Some(&bytes), true), (None, false)] {
        let found = report(&log, &policy, bytes.map(Vec::as_slice));
        let text = found.lines().join("\n");
        assert_eq!(found.verdict(), Verdict::Undecided, "{text}");
        assert_eq!(text.contains("intact, key not pinned"), unread, "{text}");
        assert_eq!(text.contains("none is read without the log's key"), unread, "{text}");
        assert_eq!(text.contains("unwitnessed"), !unread, "{text}");
        assert_eq!(text.contains("no quorum"), !unread, "{text}");
    }
}

#[test]
fn what_witnesses_saw_must_be_the_beginning_of_the_log() {
    let policy = policy();
    let entries: Vec<_> = history(300).iter().map(|leaf| leaf.encode().unwrap()).collect();
    let (whole, part) = (files(&entries), files(&entries[..200]));
    let seen = cosigned(&part, &[1, 2]);
    let found = report(&whole, &policy, Some(&seen));
    assert_eq!((found.verdict(), &*found.findings), (Verdict::Undecided, &[][..]));
    let text = found.lines().join("\n");
    assert!(text.contains("the last 102 leaves are not witnessed yet"), "{text}");
    assert!(text.contains("the last 102 leaves: unwitnessed"), "{text}");

    // Rolled back: witnesses saw more than there is.
    let found = report(&part, &policy, Some(&cosigned(&whole, &[1, 2])));
    assert_eq!(found.findings[0].what, What::Cosignature);
    assert!(found.findings[0].detail.contains("it was rolled back"));
    // Rewritten: they saw another tree of that size.
    let other = log_of(&history(198));
    assert_eq!(Note::parse(&other[CHECKPOINT]).unwrap().text.lines().nth(1), Some("200"));
    let found = report(&whole, &policy, Some(&cosigned(&other, &[1, 2])));
    assert!(found.findings[0].detail.contains("the log was rewritten"), "{:?}", found.findings);
    // The finding needs no policy: the log's own signature under two trees is enough.
    let trust = Trust { keys: &[key()], cosigned: Some(&other[CHECKPOINT]), ..Trust::default() };
    assert_eq!(verify_under(&whole, &trust, &mut ()).verdict(), Verdict::Invalid);
}

#[test]
fn a_note_beside_the_log_that_is_not_what_it_claims_is_refused() {
    let (log, policy) = (log_of(&history(30)), policy());
    let good = cosigned(&log, &[1, 2]);
    assert_eq!(report(&log, &policy, Some(&good)).verdict(), Verdict::Valid);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        let found = report(&log, &policy, Some(&bad));
        assert_ne!(found.verdict(), Verdict::Valid, "byte {place}");
    }
    // A witness's line under a text that it did not see.
    let mut note = Note::parse(&good).unwrap();
    note.signatures[1] = witness(1).cosign("another text\n", 1);
    let found = report(&log, &policy, Some(note.emit().as_bytes()));
    assert_eq!(
        found.findings[0].detail,
        WitnessedError::Forged("witness.example/1".into()).to_string()
    );
    // Another log's checkpoint, and one that the log's key did not sign.
    let text = note.text.replacen(ORIGIN, "other.example", 1);
    let foreign = Signer::new("other.example", SigningKey::from_bytes(&[1; 32])).unwrap();
    let found = report(&log, &policy, Some(Note::sign(&text, &foreign).emit().as_bytes()));
    assert_eq!(found.findings[0].what, What::Cosignature);
    let found = report(&log, &policy, Some(Note::sign(&note.text, &signer(7)).emit().as_bytes()));
    assert_eq!(found.findings[0].what, What::Cosignature);
}

/// A log whose key changes from seed to seed, signed by the last.
fn changed(seeds: &[u8], signed_by: u8) -> Files {
    let mut leaves = history(5);
    for pair in seeds.windows(2) {
        let size = u64::try_from(leaves.len()).unwrap();
        let leaf = KeyChange::sign(KeyRole::Log, &signer(pair[0]), &signer(pair[1]), size, 0);
        leaves.push(Leaf::KeyChange(Box::new(leaf)));
    }
    let mut files = log_of(&chained(leaves));
    let text = Note::parse(&files[CHECKPOINT]).unwrap().text;
    files.insert(CHECKPOINT.into(), Note::sign(&text, &signer(signed_by)).emit().into_bytes());
    files
}

#[test]
fn any_key_of_the_chain_leads_to_the_one_that_signs() {
    let log = changed(&[1, 2, 3], 3);
    for seed in [1, 2, 3] {
        let given = signer(seed).public().clone();
        let found = verify(&log, std::slice::from_ref(&given), &mut ());
        assert_eq!((found.verdict(), found.key.as_deref()), (Verdict::Valid, Some(&*given.vkey())));
        let lines = found.lines().join("\n");
        assert_eq!(lines.matches("key changed: at leaf ").count(), 2, "{lines}");
    }
    let stranger = signer(4).public().clone();
    assert_eq!(verify(&log, &[stranger], &mut ()).findings[0].what, What::Signature);
    assert_eq!(verify(&log, &[], &mut ()).verdict(), Verdict::Undecided);
    // A cosigned checkpoint from before the change was signed by the old key.
    let before = log_of(&history(5));
    let trust = Trust {
        keys: &[signer(3).public().clone()],
        cosigned: Some(&before[CHECKPOINT]),
        ..Trust::default()
    };
    assert_eq!(verify_under(&log, &trust, &mut ()).findings, []);
}

#[test]
fn a_key_change_that_does_not_hold_is_found() {
    // Signed on by a key that was replaced.
    let found = verify(&changed(&[1, 2], 1), &[key()], &mut ());
    assert_eq!(found.findings[0].what, What::Key);
    // Two successors of one key.
    let mut leaves = history(5);
    for (new, size) in [(2, 0), (3, 1)] {
        let size = size + u64::try_from(history(5).len()).unwrap();
        let leaf = KeyChange::sign(KeyRole::Log, &signer(1), &signer(new), size, 0);
        leaves.push(Leaf::KeyChange(Box::new(leaf)));
    }
    let found = verify(&log_of(&chained(leaves)), &[key()], &mut ());
    assert!(found.findings.iter().any(|found| found.detail.contains("had been replaced")));
    // In another place than both keys signed for, and by one key alone.
    let forge = |edit: fn(&mut KeyChange)| {
        let mut leaves = history(5);
        let size = u64::try_from(leaves.len()).unwrap();
        let mut leaf = KeyChange::sign(KeyRole::Log, &signer(1), &signer(2), size, 0);
        edit(&mut leaf);
        leaves.push(Leaf::KeyChange(Box::new(leaf)));
        let mut files = log_of(&chained(leaves));
        let text = Note::parse(&files[CHECKPOINT]).unwrap().text;
        files.insert(CHECKPOINT.into(), Note::sign(&text, &signer(2)).emit().into_bytes());
        verify(&files, &[key()], &mut ())
    };
    assert_eq!(forge(|_| ()).verdict(), Verdict::Valid);
    for edit in [
        (|leaf: &mut KeyChange| leaf.size -= 1) as fn(&mut KeyChange),
        |leaf| leaf.old_signature[3] ^= 1,
        |leaf| leaf.new_signature[3] ^= 1,
        |leaf| leaf.role = KeyRole::RunRecord,
    ] {
        let found = forge(edit);
        assert_eq!(found.verdict(), Verdict::Invalid);
        assert_eq!(found.findings[0].what, What::Key, "{:?}", found.findings);
        assert!(found.key.is_none(), "nothing leads from the old key to the new one");
    }
}
