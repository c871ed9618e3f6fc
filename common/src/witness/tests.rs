//! A witness's judgement: every status of the protocol, and trees grown step by step.

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::note::{Signer, WitnessKey, WitnessSigner};
use crate::tree::{Frontier, HashSource, consistency_proof, leaf_hash, node_hash};

const ORIGIN: &str = "log.example";

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

/// A tree of numbered leaves; `fork` changes every leaf from 100 on.
struct Tree(bool);

impl Tree {
    fn leaf(&self, index: u64) -> Hash {
        leaf_hash(&[&index.to_be_bytes()[..], &[u8::from(self.0 && index >= 100)]].concat())
    }

    fn root(&self, size: u64) -> Hash {
        let mut frontier = Frontier::new();
        (0..size).for_each(|index| frontier.push(self.leaf(index)));
        frontier.root()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint { origin: ORIGIN.into(), size, root: self.root(size) }
    }

    fn request(&self, old: u64, size: u64) -> AddCheckpoint {
        let note = Note::sign(&self.checkpoint(size).to_string(), &signer(ORIGIN, 1));
        AddCheckpoint { old, proof: consistency_proof(self, old, size).unwrap(), note }
    }
}

impl HashSource for Tree {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        if level == 0 {
            return Some(self.leaf(index));
        }
        let (left, right) =
            (self.subtree(level - 1, index * 2)?, self.subtree(level - 1, index * 2 + 1)?);
        Some(node_hash(&left, &right))
    }
}

fn consider(request: &AddCheckpoint, seen: Seen) -> Result<Accepted, Refusal> {
    request.consider(&[signer(ORIGIN, 1).public()], seen)
}

#[test]
fn a_log_that_grows_is_followed_and_a_fork_or_a_rollback_is_not() {
    let (tree, fork) = (Tree(false), Tree(true));
    let mut seen = Seen::NOTHING;
    for size in [0, 1, 2, 99, 101, 101, 256, 300, 512] {
        let request = tree.request(seen.size, size);
        let again = AddCheckpoint::parse(request.emit().as_bytes()).unwrap();
        assert_eq!(again, request);
        let accepted = consider(&request, seen).unwrap();
        assert_eq!(accepted.text, tree.checkpoint(size).to_string());
        seen = accepted.seen;
    }
    // Rolled back: a smaller tree of the same history, whatever old size it claims.
    assert_eq!(consider(&tree.request(300, 301), seen), Err(Refusal::Conflict { size: 512 }));
    assert_eq!(
        consider(&tree.request(512, 512), Seen { root: fork.root(512), ..seen }),
        Err(Refusal::Forked { size: 512 })
    );
    // Forked: the same size, and a larger tree with a proof of its own history.
    assert_eq!(consider(&fork.request(512, 512), seen), Err(Refusal::Forked { size: 512 }));
    assert_eq!(consider(&fork.request(512, 600), seen), Err(Refusal::Inconsistent));
    let old = AddCheckpoint { old: 512, ..tree.request(0, 300) };
    assert_eq!(consider(&old, seen), Err(Refusal::OldAbove { old: 512, size: 300 }));
}

#[test]
fn every_refusal_has_its_status() {
    let tree = Tree(false);
    let seen = consider(&tree.request(0, 10), Seen::NOTHING).unwrap().seen;
    let good = tree.request(10, 20);
    let status = |request: &AddCheckpoint, keys: &[&PublicKey]| {
        request.consider(keys, seen).map_err(Refusal::status).map(|accepted| accepted.seen.size)
    };
    let log = signer(ORIGIN, 1);
    assert_eq!(status(&good, &[log.public()]), Ok(20));
    assert_eq!(status(&good, &[]), Err(404));
    assert_eq!(status(&good, &[signer(ORIGIN, 2).public()]), Err(403));
    // Both keys of a log that changed its key are known.
    assert_eq!(status(&good, &[signer(ORIGIN, 2).public(), log.public()]), Ok(20));
    // A key of another name vouches for nothing here.
    let text = good.note.text.clone();
    let other = AddCheckpoint { note: Note::sign(&text, &signer("other", 1)), ..good.clone() };
    assert_eq!(status(&other, &[signer("other", 1).public()]), Err(403));
    let mut forged = good.clone();
    forged.note.text = forged.note.text.replacen("20\n", "21\n", 1);
    assert_eq!(status(&forged, &[log.public()]), Err(403));
    for proof in [vec![], vec![[0; 32]], [good.proof.clone(), vec![[0; 32]]].concat()] {
        let request = AddCheckpoint { proof, ..good.clone() };
        assert_eq!(status(&request, &[log.public()]), Err(422));
    }
    assert_eq!(status(&AddCheckpoint { old: 21, ..good.clone() }, &[log.public()]), Err(400));
    assert_eq!(status(&AddCheckpoint { old: 11, ..good }, &[log.public()]), Err(409));
    let first = AddCheckpoint { old: 0, proof: vec![[0; 32]], ..tree.request(0, 5) };
    assert_eq!(consider(&first, Seen::NOTHING), Err(Refusal::Inconsistent));
}

#[test]
fn the_texts_of_the_protocol_have_one_form() {
    let good = Tree(false).request(3, 20).emit();
    assert!(AddCheckpoint::parse(good.as_bytes()).is_ok());
    for bad in [
        good.replacen("old 3", "old 03", 1),
        good.replacen("old 3", "old +3", 1),
        good.replacen("old 3", "old  3", 1),
        good.replacen("old 3", "new 3", 1),
        good.replacen("old 3\n", "old 3\nAAAA\n", 1),
        good.replacen("\n\n", "\n", 1),
        good.trim_end().to_owned(),
        format!("old 3\n{}\n{}", format!("{}\n", base64(&[1; 32])).repeat(64), &good[6..]),
    ] {
        assert_eq!(AddCheckpoint::parse(bad.as_bytes()), Err(Refusal::Malformed), "{bad}");
    }
}

#[test]
fn a_cosignature_says_when_and_holds_for_its_text_alone() {
    let witness =
        WitnessSigner::new("witness.example/w", SigningKey::from_bytes(&[7; 32])).unwrap();
    let key = witness.public();
    assert_eq!(WitnessKey::parse(&key.vkey()).as_ref(), Ok(key));
    assert_eq!(WitnessSigner::parse(&witness.skey()).unwrap().public(), key);
    assert!(PublicKey::parse(&key.vkey()).is_err(), "a witness's key is no log's");
    let text = Tree(false).checkpoint(9).to_string();
    let line = witness.cosign(&text, 1_679_315_147);
    assert_eq!(key.cosigned(&text, &line), Some(1_679_315_147));
    assert_eq!(key.cosigned(&Tree(false).checkpoint(8).to_string(), &line), None);
    for byte in 0..line.signature.len() {
        let mut changed = line.clone();
        changed.signature[byte] ^= 1;
        assert_eq!(key.cosigned(&text, &changed), None, "byte {byte}");
    }
    let late = witness.cosign(&text, u64::MAX);
    assert_eq!(key.cosigned(&text, &late), None, "times end at 2^63 - 1");
}

/// The specification's own example: its witness's key is not published, its message format is.
#[test]
fn the_cosigned_message_is_the_specifications() {
    let witness = WitnessSigner::new("w", SigningKey::from_bytes(&[7; 32])).unwrap();
    let text =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let message = format!("cosignature/v1\ntime 1679315147\n{text}");
    let line = witness.cosign(text, 1_679_315_147);
    let plain = signer("w", 7);
    assert_eq!(line.signature[8..], plain.sign(message.as_bytes()));
    assert_eq!(line.signature[..8], 1_679_315_147_u64.to_be_bytes());
}

proptest! {
    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, text in "old [0-9]{1,3}\n([A-Za-z0-9+/]{43}=\n){0,3}\n?[a-z\n]{0,20}") {
        let _ = AddCheckpoint::parse(&bytes);
        let _ = AddCheckpoint::parse(text.as_bytes());
    }
}
