//! Cosignatures gathered into one note per checkpoint, the best of which is kept on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sealtap_common::note::{PublicKey, SignatureLine};
use sealtap_common::policy::Policy;
use sealtap_common::verify::Witnessed;

use super::ask::Target;
use crate::seal::keys::Keys;
use crate::seal::log::disk::{Access, Disk as _, RealDisk, settle_directories};

/// Checkpoints for which late cosignatures are still taken.
const KEPT: usize = 8;

/// What makes one cosigned note better than another: a quorum, then its size, then more witnesses.
type Rank = (bool, u64, usize);

/// The notes so far, and the one on disk.
pub(super) struct Gathering {
    directory: PathBuf,
    policy: Policy,
    notes: BTreeMap<u64, (Target, Vec<SignatureLine>)>,
    /// Of the note on disk.
    rank: Option<Rank>,
    complained: bool,
}

impl Gathering {
    /// Takes up what an earlier start left in `directory`, which is made if missing.
    pub(super) fn open(
        directory: PathBuf,
        policy: Policy,
        keys: &Keys,
    ) -> Result<Self, std::io::Error> {
        settle_directories(&RealDisk, &directory, Access::Public)?;
        let log: &PublicKey = keys.log().public();
        let held = std::fs::read(directory.join("checkpoint")).ok();
        let rank = held.and_then(|bytes| {
            let trusted = std::slice::from_ref(log);
            let found = Witnessed::read(&bytes, log.name(), trusted, Some(&policy)).ok()?;
            Some((found.quorum, found.size, found.by.len()))
        });
        Ok(Self { directory, policy, notes: BTreeMap::new(), rank, complained: false })
    }

    /// Adds a cosignature that was checked, and writes the note if it is now the best one.
    pub(super) fn add(&mut self, target: Target, line: SignatureLine) {
        let size = target.size;
        let (_, lines) = self.notes.entry(size).or_insert_with(|| (target, Vec::new()));
        lines.retain(|held| (&held.name, held.id) != (&line.name, line.id));
        lines.push(line);
        while self.notes.len() > KEPT {
            self.notes.pop_first();
        }
        let Some((target, lines)) = self.notes.get(&size) else { return };
        let rank = (self.has_quorum(size), size, lines.len());
        if self.rank.is_some_and(|best| best >= rank) {
            return;
        }
        let mut note = target.note.clone();
        // In the order of the policy, whoever was first to answer.
        for witness in &self.policy.witnesses {
            note.signatures.extend(lines.iter().filter(|line| witness.key.made(line)).cloned());
        }
        match self.write(note.emit().as_bytes()) {
            Ok(()) => {
                self.rank = Some(rank);
                self.complained = false;
            }
            Err(error) if !self.complained => {
                let path = self.directory.display().to_string();
                tracing::error!(%error, path, "the cosigned checkpoint cannot be written");
                self.complained = true;
            }
            Err(_) => {}
        }
    }

    /// Whether the cosignatures on the checkpoint of this size make a quorum.
    pub(super) fn has_quorum(&self, size: u64) -> bool {
        let lines = self.notes.get(&size).map_or(&[][..], |(_, lines)| lines.as_slice());
        self.policy.asks_for_witnesses()
            && self.policy.quorum_of(|key| lines.iter().any(|line| key.made(line)))
    }

    /// Whole or not at all. Its name need not be on disk: after a power loss the one before is as
    /// good, and the witnesses give this one again.
    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let temporary = self.directory.join("checkpoint.new");
        RealDisk.write(&temporary, bytes, Access::Public)?;
        RealDisk.rename(&temporary, &self.directory.join("checkpoint"))
    }
}
