//! Queries at the resolver on their way from the journal to their leaf.

use sealtap_common::commit::{self, BodyKey, UnitKind};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{DnsQueries, Extensions};

use super::connections::{KeptUnit, LEAF};
use super::pins::Held;
use crate::capture::connection::NamesAsked;
use crate::capture::record::kind;

/// Queries between two statements, but for the time of their leaf.
#[derive(Debug)]
pub struct DigestedQueries {
    /// The leaf.
    pub leaf: DnsQueries,
    /// The unit that the leaf binds.
    pub unit: Option<KeptUnit>,
    /// The journal file that its record is in.
    pub first_file: u64,
    /// What is counted of it on its way to the store, in bytes; 0 where nothing is.
    pub weight: u64,
}

impl DigestedQueries {
    /// What the journal keeps for it.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let DnsQueries { coverage, number, .. } = &self.leaf;
        self.unit.is_some().then_some(Held::Aside(kind::NAMES_ASKED, coverage.0, *number))
    }

    /// Counts it from now on; about how much memory it takes, its leaf included, in bytes.
    pub fn weigh(&mut self) -> u64 {
        let unit = self.unit.as_ref().map_or(0, KeptUnit::taken);
        self.weight = u64::try_from(size_of::<Self>() + unit + LEAF).unwrap_or(u64::MAX);
        self.weight
    }
}

/// Names were asked for.
pub(super) fn names_asked(
    boot: [u8; 16],
    payload: &[u8],
    first_file: u64,
) -> Option<Box<DigestedQueries>> {
    let asked = postcard::from_bytes::<NamesAsked>(payload).ok()?;
    let unit = asked.names.map(|(key, bytes)| KeptUnit { key, bytes });
    let bind =
        |unit: &KeptUnit| commit::unit(&BodyKey::new(unit.key), UnitKind::Questions, &unit.bytes);
    let leaf = DnsQueries {
        boot: Id(boot),
        coverage: Id(asked.coverage),
        cut: asked.cut,
        ext: Extensions::new(),
        lost: asked.lost,
        names: unit.as_ref().map(bind),
        number: asked.number,
        omitted: asked.omitted,
        parsed: asked.parsed,
        questions: asked.questions,
        sealed: 0,
        seen: asked.seen,
        statement: asked.statement,
        unparsable: asked.unparsable,
    };
    Some(Box::new(DigestedQueries { leaf, unit, first_file, weight: 0 }))
}
