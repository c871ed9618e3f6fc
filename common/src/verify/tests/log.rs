//! Builds logs in memory the way a gateway does.

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;

use crate::checkpoint::Checkpoint;
use crate::commit::{Body, Dialect, Unit};
use crate::encoding::Id;
use crate::leaf::{
    Clock, End, Exchange, Extensions, Heartbeat, Leaf, Outcome, Policy, Previous, Ranges, Request,
    Response, Restart, RunLink, Source,
};
use crate::note::{Note, PublicKey, Signer};
use crate::tile::{Edge, TilePath, entry_tiles, push_entry};
use crate::tree::{EMPTY_ROOT, Hash, leaf_hash};
use crate::verify::{Verdict, verify};

pub(super) const ORIGIN: &str = "sealtap.example/log";

pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn signer(seed: u8) -> Signer {
    Signer::new(ORIGIN, SigningKey::from_bytes(&[seed; 32])).unwrap()
}

pub(super) fn key() -> PublicKey {
    signer(1).public().clone()
}

/// The files of a log with these entries, at rest.
pub(super) fn files(entries: &[Vec<u8>]) -> Files {
    let mut files = Files::new();
    let mut edge = Edge::new();
    for entry in entries {
        edge.push(leaf_hash(entry), |tile, bytes| {
            files.insert(tile.to_string(), bytes.to_vec());
        });
    }
    for (tile, bytes) in edge.partial_tiles() {
        files.insert(tile.to_string(), bytes.to_vec());
    }
    for (tile, chunk) in entry_tiles(edge.size()).zip(entries.chunks(256)) {
        let mut bundle = Vec::new();
        chunk.iter().for_each(|entry| push_entry(&mut bundle, entry).unwrap());
        files.insert(TilePath::to_string(&tile), bundle);
    }
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: edge.size(), root: edge.root() };
    let note = Note::sign(&checkpoint.to_string(), &signer(1));
    files.insert("checkpoint".into(), note.emit().into_bytes());
    files
}

pub(super) fn log_of(leaves: &[Leaf]) -> Files {
    files(&leaves.iter().map(|leaf| leaf.encode().unwrap()).collect::<Vec<_>>())
}

pub(super) fn verdict(files: &Files) -> Verdict {
    verify(files, &[key()], &mut ()).verdict()
}

pub(super) fn boot(n: u8) -> Id {
    Id([n; 16])
}

fn unit(n: u64) -> Unit {
    Unit { length: 40, root: leaf_hash(&n.to_be_bytes()) }
}

pub(super) fn restart(n: u8, previous: Option<Previous>) -> Leaf {
    let clock = Clock { boottime: 1, wall: 1000 };
    let (ext, policy) = (Extensions::new(), Policy::Strict);
    Leaf::Restart(Restart { boot: boot(n), clock, ext, policy, previous, sealed: 0 })
}

pub(super) fn heartbeat(n: u8, highest: u64, open: &[u64], closing: bool) -> Leaf {
    Leaf::Heartbeat(Heartbeat {
        boot: boot(n),
        clock: Clock { boottime: 1, wall: 1000 },
        closing,
        ext: Extensions::new(),
        highest,
        open: Ranges::from_numbers(open.iter().copied()),
        part: 1,
        parts: 1,
        sealed: 0,
    })
}

/// An exchange in the run with this id; [`chained`] gives it its place.
pub(super) fn exchange(n: u8, number: u64, run: u8, outcome: Outcome) -> Leaf {
    let body = Body { dialect: Dialect::Bytes, length: 0, root: EMPTY_ROOT, segments: 0 };
    let request =
        Request { body, end: End::Complete, head: Some(unit(number)), same: true, trailers: None };
    let response = Response {
        body: Body { length: 9, root: [3; 32], segments: 1, ..body },
        end: End::Complete,
        head: Some(unit(number + 1)),
        interim: None,
        same: true,
        source: Source::Upstream,
        trailers: None,
    };
    Leaf::Exchange(Box::new(Exchange {
        boot: boot(n),
        context: unit(number + 2),
        ended: 1,
        error: None,
        exchange: Id([run; 16]),
        ext: Extensions::new(),
        number,
        outcome,
        policy: Policy::Strict,
        request,
        response: Some(response),
        run: RunLink { id: Id([run; 16]), position: 1, previous: None },
        sealed: 0,
        started: 1,
        tunnel: None,
    }))
}

/// Sets what depends on the leaves before: times of sealing, and each exchange's place in its run.
pub(super) fn chained(mut leaves: Vec<Leaf>) -> Vec<Leaf> {
    let mut runs: BTreeMap<Id, (u64, Hash)> = BTreeMap::new();
    for (at, leaf) in (1000..).zip(&mut leaves) {
        match leaf {
            Leaf::Exchange(leaf) => {
                leaf.sealed = at;
                let last = runs.get(&leaf.run.id);
                leaf.run.position = last.map_or(1, |(position, _)| position + 1);
                leaf.run.previous = last.map(|(_, hash)| *hash);
                let hash = leaf_hash(&leaf.encode().unwrap());
                runs.insert(leaf.run.id, (leaf.run.position, hash));
            }
            Leaf::Restart(leaf) => leaf.sealed = at,
            Leaf::Heartbeat(leaf) => leaf.sealed = at,
            Leaf::Gap(leaf) => leaf.sealed = at,
            Leaf::Adopted(leaf) => leaf.sealed = at,
            Leaf::Retention(leaf) => leaf.sealed = at,
            Leaf::Progress(leaf) => leaf.sealed = at,
            Leaf::KeyChange(leaf) => leaf.sealed = at,
            Leaf::RunOpened(leaf) => leaf.sealed = at,
            Leaf::RunClosed(leaf) => leaf.sealed = at,
            Leaf::RunRecord(leaf) => leaf.sealed = at,
            Leaf::Coverage(leaf) => leaf.sealed = at,
            Leaf::Connection(leaf) => leaf.sealed = at,
            Leaf::Bypass(leaf) => leaf.sealed = at,
            Leaf::DnsQueries(leaf) => leaf.sealed = at,
            Leaf::Unchecked(_) => {}
        }
    }
    leaves
}

/// A history of two boots with `count` exchanges in five runs: the first boot crashes with an
/// exchange open, the second goes on.
pub(super) fn history(count: u64) -> Vec<Leaf> {
    let run = |number: u64| u8::try_from(number % 5).unwrap();
    let half = count / 2;
    let mut leaves = vec![restart(1, None)];
    leaves.extend((1..half).map(|n| exchange(1, n, run(n), Outcome::Complete)));
    let open = Ranges::from_numbers([half]);
    let previous = Previous { boot: boot(1), clean: false, highest: half, open, torn: 12 };
    leaves.push(restart(2, Some(previous)));
    leaves.push(exchange(1, half, run(half), Outcome::Interrupted));
    leaves.extend((1..=count - half).map(|n| exchange(2, n, run(n), Outcome::Complete)));
    chained(leaves)
}
