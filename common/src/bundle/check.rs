//! One pass over a bundle: every entry in its place, every leaf in the tree, every part under its
//! leaf, and what the leaves say of the run taken together.

use std::io::Read;

use super::archive::{ArchiveError, Reader};
use super::beside::{Beside, Under};
use super::chain::{KeyChain, Run};
use super::content::{Refused, Shown, is_next, read};
use super::covered::Coverings;
use super::part::Part;
use super::proof::TlogProof;
use super::report::{BundleReport, RunState};
use super::session::Session;
use super::{CHECKPOINT, RECORD, VERIFY, VERIFY_TEXT, leaf_folder};
use crate::checkpoint::Checkpoint;
use crate::leaf::{Exchange, Leaf};
use crate::note::PublicKey;
use crate::policy::Policy;
use crate::record::{Envelope, key_name, statement};
use crate::tile::MAX_ENTRY;
use crate::tree::{Hash, leaf_hash, verify_inclusion};
use crate::unit::{Context, Maker};
use crate::verify::{Check, Signed, Trust, What, ask_for_quorum, signed};

/// The longest text that is read: a checkpoint, a proof, an envelope.
const TEXT: u64 = 64 << 10;

/// The keys that a verifier's user trusts.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    /// Keys that may sign a checkpoint.
    pub log: Vec<PublicKey>,
    /// Keys that may sign a run record.
    pub run_record: Vec<PublicKey>,
}

/// Verifies a bundle under the given keys. With no key the best verdict is undecided.
pub fn verify(source: impl Read, keys: &TrustedKeys) -> BundleReport {
    verify_under(source, keys, None)
}

/// Verifies a bundle under the given keys, and those and the witnesses of a policy.
pub fn verify_under(
    source: impl Read,
    keys: &TrustedKeys,
    policy: Option<&Policy>,
) -> BundleReport {
    let mut report = BundleReport::default();
    let mut walk = Walk {
        reader: Reader::new(source),
        keys,
        trust: Trust { keys: &keys.log, policy, ..Trust::default() },
        report: &mut report,
        run: Run::default(),
        chain: KeyChain::default(),
        coverings: Coverings::default(),
        beside: Beside::default(),
        record: None,
    };
    match walk.all() {
        Ok(()) => {}
        Err(Stop::Archive(ArchiveError::Io(error))) => {
            report.log.undecided(format!("cannot read the bundle: {error}"));
        }
        Err(Stop::Archive(error @ ArchiveError::Shape { .. })) => {
            report.find(What::Archive, "the file", error.to_string());
        }
        Err(Stop::Entry(name, detail)) => report.find(What::Archive, &name, detail),
    }
    report
}

/// Why the pass cannot go on.
enum Stop {
    Archive(ArchiveError),
    Entry(String, String),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

struct Walk<'a, R> {
    reader: Reader<R>,
    keys: &'a TrustedKeys,
    trust: Trust<'a>,
    report: &'a mut BundleReport,
    run: Run,
    chain: KeyChain,
    coverings: Coverings,
    beside: Beside,
    record: Option<Envelope>,
}

impl<R: Read> Walk<'_, R> {
    fn all(&mut self) -> Result<(), Stop> {
        let text = self.wanted(VERIFY)?;
        if text != VERIFY_TEXT.as_bytes() {
            self.report.find(What::Archive, VERIFY, "not the text of this version".to_owned());
        }
        let bytes = self.wanted(CHECKPOINT)?;
        let Some(signed) = signed(&bytes, &self.trust, &mut self.report.log) else {
            return Ok(());
        };
        self.beside = Beside::read(&mut self.reader)?
            .map_err(|name| Stop::Entry(name, "belongs here".to_owned()))?;
        if is_next(&mut self.reader, RECORD)? {
            match Envelope::decode(&self.reader.content(TEXT)?) {
                Ok(envelope) => self.record = Some(envelope),
                Err(error) => self.report.find(What::Record, RECORD, error.to_string()),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut from = 0;
        while let Some(index) = self.next_leaf(from)? {
            self.leaf(index, &signed.checkpoint, &text)?;
            from = index.saturating_add(1);
        }
        self.report.ran(Check::Tree);
        self.signatures(&signed);
        self.relations(&signed.checkpoint);
        Ok(())
    }

    /// Whose signatures the checkpoint bears, and who else vouches for the log: once the leaves are
    /// known, of which some may say that a key changed.
    fn signatures(&mut self, signed: &Signed) {
        let tree = &signed.checkpoint;
        for (index, detail) in self.chain.wrong(&tree.origin) {
            self.report.find(What::Key, &leaf_folder(index), detail);
        }
        let changes = self.chain.holding(&tree.origin);
        let keys = signed.check(&self.trust, &changes, &mut self.report.log);
        self.report.log.key_changes = changes;
        let policy = self.trust.policy;
        let under = Under { tree, keys: &keys, policy };
        let own = signed.own_cosignatures(policy, &mut self.report.log);
        match self.beside.witnessed(&under) {
            Ok(found) => self.report.log.witnessed = own.or(found),
            Err((entry, detail)) => self.report.find(What::Cosignature, &entry, detail),
        }
        match self.beside.dated(&under) {
            Ok(found) => self.report.log.dated = found,
            Err((entry, detail)) => self.report.find(What::Timestamp, &entry, detail),
        }
        let witnessed = self.report.log.witnessed.clone();
        ask_for_quorum(policy, witnessed.as_ref(), self.report.leaves, &mut self.report.log);
    }

    /// The content of an entry that must be next.
    fn wanted(&mut self, name: &str) -> Result<Vec<u8>, Stop> {
        if !is_next(&mut self.reader, name)? {
            return Err(Stop::Entry(name.to_owned(), "belongs here".to_owned()));
        }
        Ok(self.reader.content(TEXT)?)
    }

    /// The index of the next leaf, at or after `from`; `None` at the end of the file.
    fn next_leaf(&mut self, from: u64) -> Result<Option<u64>, Stop> {
        let Some(entry) = self.reader.peek()? else { return Ok(None) };
        let index = entry.name.strip_prefix("leaves/").and_then(|name| name.strip_suffix("/leaf"));
        let index = index.and_then(|index| index.parse::<u64>().ok());
        match index.filter(|index| format!("{}/leaf", leaf_folder(*index)) == entry.name) {
            Some(index) if index >= from => Ok(Some(index)),
            _ => Err(Stop::Entry(entry.name.clone(), "does not belong here".to_owned())),
        }
    }

    fn leaf(&mut self, index: u64, tree: &Checkpoint, signed: &str) -> Result<(), Stop> {
        let folder = leaf_folder(index);
        let bytes = self.reader.content(u64::try_from(MAX_ENTRY).unwrap_or(u64::MAX))?;
        let hash = leaf_hash(&bytes);
        let name = format!("{folder}/proof");
        let proof = self.wanted(&name)?;
        match TlogProof::parse(&proof) {
            Ok(proof) if proof.index != index || proof.checkpoint != signed => {
                let detail = "is for another leaf or another checkpoint";
                self.report.find(What::Root, &name, detail.to_owned());
            }
            Ok(proof) => {
                let holds = verify_inclusion(&hash, index, tree.size, &proof.hashes, &tree.root);
                if let Err(error) = holds {
                    self.report.find(What::Root, &name, error.to_string());
                }
            }
            Err(error) => self.report.find(What::Root, &name, error.to_string()),
        }
        match Leaf::decode(&bytes) {
            Ok(leaf) => {
                self.report.log.count(&leaf);
                match leaf {
                    Leaf::KeyChange(leaf) => {
                        self.chain.push(index, *leaf);
                        return Ok(());
                    }
                    Leaf::Exchange(leaf) => self.exchange(index, &folder, &leaf, hash)?,
                    Leaf::Coverage(_) | Leaf::Connection(_) | Leaf::Bypass(_) => {
                        return self.covering(index, &folder, &leaf);
                    }
                    other => self.context(index, &folder, other),
                }
            }
            Err(error) => return Err(Stop::Entry(format!("{folder}/leaf"), error.to_string())),
        }
        self.report.leaves = index.saturating_add(1);
        Ok(())
    }

    fn exchange(
        &mut self,
        index: u64,
        folder: &str,
        leaf: &Exchange,
        hash: Hash,
    ) -> Result<(), Stop> {
        if let Some(detail) = self.run.push(leaf, hash, index) {
            self.report.find(What::Run, folder, detail);
        }
        if let Some(detail) = self.coverings.exchange(leaf) {
            self.report.find(What::Coverage, folder, detail);
        }
        let mut session = Session::of(leaf);
        for part in Part::ALL {
            let Some(bound) = part.bound_by(leaf) else { continue };
            let mut follow = |bytes: &[u8]| session.push(*part, bytes);
            let shown = read(&mut self.reader, folder, *part, &bound, &mut follow);
            let shown = shown.map_err(|refused| self.refused(folder, refused))?;
            session.ended(*part, shown.disclosed == shown.segments);
            self.look(index, folder, *part, &shown, &session);
            self.report.disclosed(*part, shown.segments, shown.disclosed);
        }
        Ok(())
    }

    fn refused(&mut self, folder: &str, refused: Refused) -> Stop {
        match refused {
            Refused::Archive(error) => error.into(),
            Refused::Wrong(name, detail) => {
                self.report.find(What::Content, &name, detail);
                Stop::Entry(folder.to_owned(), "ends the check".to_owned())
            }
        }
    }

    /// A leaf about a coverage, and who it is about: that may have been destroyed by now.
    fn covering(&mut self, index: u64, folder: &str, leaf: &Leaf) -> Result<(), Stop> {
        if let Some(Err(detail)) = self.coverings.take(index, leaf) {
            self.report.find(What::Coverage, folder, detail);
        }
        let Some(bound) = Part::maker_bound_by(leaf) else { return Ok(()) };
        let part = Part::Maker;
        if !is_next(&mut self.reader, &format!("{folder}/{part}.tuples"))? {
            self.report.disclosed(part, 1, 0);
            return Ok(());
        }
        let shown = read(&mut self.reader, folder, part, &bound, &mut |_: &[u8]| {});
        let shown = shown.map_err(|refused| self.refused(folder, refused))?;
        self.report.disclosed(part, shown.segments, shown.disclosed);
        if let Some(Err(error)) = shown.unit.as_deref().map(Maker::decode) {
            self.report.find(What::Content, folder, error.to_string());
        }
        Ok(())
    }

    /// A context that is shown says how the run was delimited; a message index, what its bodies do.
    fn look(&mut self, index: u64, folder: &str, part: Part, shown: &Shown, session: &Session) {
        let Some(bytes) = shown.unit.as_deref() else { return };
        match part {
            Part::Context => match Context::decode(bytes) {
                Ok(context) => self.run.by = self.run.by.or(Some((index, context.run_by))),
                Err(error) => self.report.find(What::Content, folder, error.to_string()),
            },
            Part::Messages => match session.check(bytes) {
                Ok(derived) => self.report.derived += u64::from(derived),
                Err(detail) => {
                    self.report.find(What::Content, &format!("{folder}/{part}"), detail);
                }
            },
            _ => {}
        }
    }

    /// Takes a leaf that says something about the run.
    fn context(&mut self, index: u64, folder: &str, leaf: Leaf) {
        let taken = self.run.take(index, leaf);
        if !taken {
            let detail = "says nothing about the run, or says it twice".to_owned();
            self.report.find(What::Run, folder, detail);
        }
    }

    /// What the leaves say, taken together.
    fn relations(&mut self, tree: &Checkpoint) {
        let Some(last) = self.run.last else {
            return self.report.find(What::Run, "the bundle", "holds no exchange".to_owned());
        };
        self.report.run = Some(last.run);
        self.report.exchanges = self.run.count;
        for (place, detail) in self.run.wrong(&last, &tree.origin) {
            self.report.find(What::Run, &place, detail);
        }
        for detail in self.coverings.wrong(last.boot) {
            self.report.find(What::Coverage, "the bundle", detail);
        }
        let (reached, covered) = std::mem::take(&mut self.coverings).finish();
        (self.report.reached, self.report.log.coverage) = (reached, covered);
        self.report.log.reach = vec![reached.of(last.run)];
        self.report.missing.clone_from(&self.run.missing);
        self.report.opened = self.run.opened.as_ref().map(|(_, leaf)| leaf.previous.run);
        self.report.state = match (&self.run.closed, &self.run.next_boot) {
            (Some((index, leaf)), _) => {
                RunState::Closed { index: *index, leaf: Box::new(leaf.clone()) }
            }
            (None, Some((index, _))) => RunState::EndedWithBoot { index: *index },
            (None, None) => RunState::Open { index: tree.size.saturating_sub(1) },
        };
        let told = self.run.heartbeat.as_ref().map_or(0, |(_, leaf)| leaf.highest);
        let next = self.run.next_boot.as_ref().and_then(|(_, leaf)| leaf.previous.as_ref());
        let told = told.max(self.run.highest).max(next.map_or(0, |boot| boot.highest));
        self.report.outside = told.saturating_sub(self.run.count);
        self.report.ran(Check::Leaves);
        for (first, last) in self.run.missing.clone() {
            let detail = format!("positions {first} to {last} of the run are not in the bundle");
            self.report.log.undecided(detail);
        }
        self.signature(&tree.origin);
    }

    /// The envelope: the payload is the one that the closing leaf gives, and the signature holds.
    fn signature(&mut self, origin: &str) {
        let find = |report: &mut BundleReport, detail: &str| {
            report.find(What::Record, RECORD, detail.to_owned());
        };
        let (envelope, closed) = match (&self.record, &self.run.closed, &self.run.sealed) {
            (Some(envelope), Some(closed), Some(_)) => (envelope, closed),
            (None, _, None) => return,
            (None, ..) => return find(self.report, "is missing, its leaf is here"),
            (Some(_), ..) => return find(self.report, "has no leaf here"),
        };
        if envelope.payload != statement(origin, closed.0, &closed.1) {
            return find(self.report, "is not what the run's closing leaf says");
        }
        let name = key_name(origin);
        let named = self.keys.run_record.iter().filter(|key| key.name() == name).cloned();
        let named = self.chain.run_record(origin, named.collect());
        if named.is_empty() {
            // Without any key that is one reason, told already.
            if !self.keys.log.is_empty() {
                let reason =
                    "the run record's signature: give its key as well, as `sealtap keys` prints it";
                self.report.log.undecided(reason.to_owned());
            }
            return;
        }
        if named.iter().any(|key| envelope.holds_under(key)) {
            self.report.ran(Check::Record);
        } else {
            find(self.report, "its signature does not hold under the key that was given");
        }
    }
}
