//! Queries at the resolver on their way from the journal to their leaf.

use sealtap_common::commit::{self, BodyKey, UnitKind};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{DnsQueries, Extensions};

use super::aside::DigestedAside;
use super::connections::KeptUnit;
use super::pins::Held;
use crate::capture::connection::NamesAsked;
use crate::capture::record::kind;

/// Queries between two statements, but for the time of their leaf.
pub(super) type DigestedQueries = DigestedAside<DnsQueries>;

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
    let held = Held::Aside(kind::NAMES_ASKED, asked.coverage, asked.number);
    Some(Box::new(DigestedAside::new(leaf, unit, held, first_file)))
}
