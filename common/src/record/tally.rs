//! A run as its leaves come: everything its closing leaf says, in memory of the tree's depth.

use crate::encoding::Id;
use crate::leaf::{
    CONNECTION_EXTENSION, ClosedReason, Exchange, Extensions, Isolation, LastLeaf, Output, Policy,
    RunClosed, RunLink, Source,
};
use crate::tree::{Frontier, Hash};
use crate::unit::RunNamedBy;

/// The exchanges of one run so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    boot: Id,
    run: Id,
    leaves: Frontier,
    first: u64,
    last: LastLeaf,
    started: u64,
    ended: u64,
    policy: Policy,
    output: Option<Output>,
    /// Exchanges that came over connections which the kernel led to the gateway.
    inside: u64,
    /// Whether every exchange is of the first one's boot.
    one_boot: bool,
}

/// What a closing leaf says beside what its run's leaves say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// What delimited the run.
    pub by: RunNamedBy,
    /// How far the gateway's keys are from the app.
    pub isolation: Isolation,
    /// Why it is closed.
    pub reason: ClosedReason,
    /// When, in microseconds since the Unix epoch.
    pub sealed: u64,
}

impl Tally {
    /// A run that begins with `leaf`, which has this hash and index in the log.
    #[must_use]
    pub fn new(leaf: &Exchange, hash: Hash, index: u64) -> Self {
        let mut tally = Self {
            boot: leaf.boot,
            run: leaf.run.id,
            leaves: Frontier::new(),
            first: index,
            last: LastLeaf { hash, index },
            started: leaf.started,
            ended: leaf.ended,
            policy: leaf.policy,
            output: None,
            inside: 0,
            one_boot: true,
        };
        tally.push(leaf, hash, index);
        tally
    }

    /// Takes the run's next leaf.
    pub fn push(&mut self, leaf: &Exchange, hash: Hash, index: u64) {
        self.leaves.push(hash);
        self.last = LastLeaf { hash, index };
        self.one_boot &= leaf.boot == self.boot;
        self.started = self.started.min(leaf.started);
        self.ended = self.ended.max(leaf.ended);
        if leaf.policy == Policy::Relaxed {
            self.policy = Policy::Relaxed;
        }
        let is_inside = leaf.ext.contains_key(CONNECTION_EXTENSION);
        self.inside = self.inside.saturating_add(u64::from(is_inside));
        let answer = leaf.response.as_ref().filter(|answer| answer.source == Source::Upstream);
        if let Some(answer) = answer {
            self.output = Some(Output { index, root: answer.body.root });
        }
    }

    /// The boot of the run's first exchange.
    #[must_use]
    pub const fn boot(&self) -> Id {
        self.boot
    }

    /// Whether all of the run is of one boot, as it must be when it is closed.
    #[must_use]
    pub const fn is_of_one_boot(&self) -> bool {
        self.one_boot
    }

    /// How many exchanges the run has.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.leaves.size()
    }

    /// The index of the run's first leaf.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The run's last leaf.
    #[must_use]
    pub const fn last(&self) -> LastLeaf {
        self.last
    }

    /// Where the next exchange of the run stands.
    #[must_use]
    pub fn next(&self) -> RunLink {
        let position = self.count().saturating_add(1);
        RunLink { id: self.run, position, previous: Some(self.last.hash) }
    }

    /// The leaf that closes the run.
    #[must_use]
    pub fn close(&self, closing: Closing) -> RunClosed {
        RunClosed {
            boot: self.boot,
            by: closing.by,
            count: self.count(),
            ended: self.ended,
            ext: Extensions::new(),
            first: self.first,
            inside: self.inside,
            isolation: closing.isolation,
            last: self.last,
            output: self.output,
            policy: self.policy,
            reason: closing.reason,
            root: self.leaves.root(),
            run: self.run,
            sealed: closing.sealed,
            started: self.started,
        }
    }
}
