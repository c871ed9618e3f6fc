//! A witness's memory on a disk that goes wrong at each step: what was cosigned is never forgotten.

use ed25519_dalek::SigningKey;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::{Note, PublicKey, Signer, WitnessSigner};
use sealtap_common::tree::{Frontier, Hash, HashSource, consistency_proof, leaf_hash, node_hash};
use sealtap_common::witness::{AddCheckpoint, Refusal};
use tempfile::TempDir;

use super::memory::{CosignError, Memory};
use crate::seal::log::disk::faulty::{FAULTS, Fault, FaultyDisk};
use crate::seal::log::disk::{Access, Disk, Entry, RealDisk};

const ORIGIN: &str = "log.example/one";

fn log() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_bytes(&[1; 32])).unwrap()
}

fn witness() -> WitnessSigner {
    WitnessSigner::new("witness.example", SigningKey::from_bytes(&[2; 32])).unwrap()
}

/// A tree whose leaves from the fourth on depend on the branch.
struct Tree(u8);

impl HashSource for Tree {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        if level == 0 {
            let branch = if index < 3 { 0 } else { self.0 };
            return Some(leaf_hash(&[&index.to_be_bytes()[..], &[branch]].concat()));
        }
        let below = |index| self.subtree(level - 1, index);
        Some(node_hash(&below(index * 2)?, &below(index * 2 + 1)?))
    }
}

fn request(branch: u8, old: u64, size: u64) -> AddCheckpoint {
    let tree = Tree(branch);
    let mut frontier = Frontier::new();
    (0..size).for_each(|index| frontier.push(tree.subtree(0, index).unwrap()));
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: frontier.root() };
    let note = Note::sign(&checkpoint.to_string(), &log());
    AddCheckpoint { old, proof: consistency_proof(&tree, old, size).unwrap(), note }
}

fn memory(root: &TempDir, disk: impl Disk + 'static) -> Memory {
    Memory::open(Box::new(disk), root.path().join("seen"), witness()).unwrap()
}

fn cosign(memory: &Memory, request: &AddCheckpoint) -> Result<u64, CosignError> {
    let key: PublicKey = log().public().clone();
    let line = memory.cosign(request, &[&key])?;
    Ok(witness().public().cosigned(&request.note.text, &line).expect("a cosignature that holds"))
}

#[test]
fn a_fault_at_any_step_never_lets_a_second_history_pass() {
    for fault in FAULTS {
        for step in 1..=6 {
            let root = TempDir::new().unwrap();
            let before = memory(&root, RealDisk);
            cosign(&before, &request(1, 0, 3)).unwrap();
            drop(before);
            let disk = std::sync::Arc::new(FaultyDisk::over(root.path()));
            let struck = memory(&root, Shared(std::sync::Arc::clone(&disk)));
            disk.plan(step, fault);
            let answer = cosign(&struck, &request(1, 3, 5));
            if !matches!(fault, Fault::Kill | Fault::KillPersisted) {
                disk.calm();
                // The same process goes on: it asks the disk what is there now.
                let _ = cosign(&struck, &request(1, 5, 5));
            }
            drop(struck);
            let what = format!("{fault:?} at step {step}");
            let after = memory(&root, RealDisk);
            let fork = cosign(&after, &request(2, 3, 6));
            if answer.is_ok() {
                let refused =
                    matches!(fork, Err(CosignError::Refused(Refusal::Conflict { size: 5 })));
                assert!(refused, "{what}: {fork:?}");
                let fork = cosign(&after, &request(2, 5, 6));
                let refused = matches!(fork, Err(CosignError::Refused(Refusal::Inconsistent)));
                assert!(refused, "{what}: {fork:?}");
            }
            // Whatever was remembered, one history only: either branch goes on, never both.
            let (one, two) = (cosign(&after, &request(1, 6, 7)), cosign(&after, &request(2, 6, 7)));
            assert!(one.is_err() || two.is_err(), "{what}");
        }
    }
}

#[test]
fn what_is_remembered_survives_and_a_changed_file_stops_the_log() {
    let root = TempDir::new().unwrap();
    let first = cosign(&memory(&root, RealDisk), &request(1, 0, 4)).unwrap();
    let again = cosign(&memory(&root, RealDisk), &request(1, 4, 4)).unwrap();
    assert!(again >= first);
    let refused = cosign(&memory(&root, RealDisk), &request(1, 0, 2));
    assert!(matches!(refused, Err(CosignError::Refused(Refusal::Conflict { size: 4 }))));
    let seen = root.path().join("seen");
    let file = std::fs::read_dir(&seen).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\n4\n", "\n1\n", 1)).unwrap();
    let refused = cosign(&memory(&root, RealDisk), &request(1, 1, 9));
    assert!(matches!(refused, Err(CosignError::Memory(_))), "{refused:?}");
}

/// One faulty disk, planned from outside.
struct Shared(std::sync::Arc<FaultyDisk>);

impl Disk for Shared {
    fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
        self.0.read(path)
    }

    fn list(&self, directory: &std::path::Path) -> std::io::Result<Vec<Entry>> {
        self.0.list(directory)
    }

    fn create_directory(&self, path: &std::path::Path, access: Access) -> std::io::Result<()> {
        self.0.create_directory(path, access)
    }

    fn write(&self, path: &std::path::Path, bytes: &[u8], access: Access) -> std::io::Result<()> {
        self.0.write(path, bytes, access)
    }

    fn sync_directory(&self, path: &std::path::Path) -> std::io::Result<()> {
        self.0.sync_directory(path)
    }

    fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &std::path::Path) -> std::io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_directory(&self, path: &std::path::Path) -> std::io::Result<()> {
        self.0.remove_directory(path)
    }
}
