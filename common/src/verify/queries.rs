//! Step 9.19: what was asked of the resolver, held against the statements of its coverage.
//!
//! In: coverage leaves and leaves about queries, in their order. Out: for each coverage how many queries
//! were read and how many were not; or why its leaves cannot be true together. Every packet that the
//! kernel allowed as a query is in one leaf, so that none is left out quietly.

use std::collections::BTreeMap;

use super::What;
use super::history::{Broken, broken};
use super::render::{number, object, plural, text};
use crate::encoding::Id;
use crate::json::Value;
use crate::leaf::{Coverage, CoverageSaid, DnsQueries};

/// What leaves say of queries of one coverage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queried {
    /// The coverage.
    pub coverage: Id,
    /// Packets to the resolver.
    pub seen: u64,
    /// Those whose questions were all read.
    pub parsed: u64,
    /// Those of which not all could be.
    pub unparsable: u64,
    /// Those that were not copied.
    pub lost: u64,
    /// Those of which only the beginning was.
    pub cut: u64,
    /// Questions that were read.
    pub questions: u64,
    /// Those that no unit lists.
    pub omitted: u64,
    /// The leaves, by their indices.
    pub leaves: Vec<u64>,
}

/// One coverage, as far as the log tells of it.
#[derive(Debug, Default)]
struct Open {
    boot: Id,
    queried: Queried,
    /// Leaves so far.
    told: u64,
    /// Statements so far.
    stated: u64,
    /// Packets allowed as of the last statement, and told of since.
    allowed: u64,
    since: Option<u64>,
    closed: bool,
}

/// All of a log.
#[derive(Debug, Default)]
pub(super) struct Queries {
    open: BTreeMap<Id, Open>,
    order: Vec<Id>,
}

impl Queries {
    /// Takes the next leaf about a coverage, once that is known to hold by itself.
    pub(super) fn coverage(&mut self, leaf: &Coverage) -> Result<(), Broken> {
        let counts = match &leaf.said {
            CoverageSaid::Armed(_) => {
                let queried = Queried { coverage: leaf.coverage, ..Queried::default() };
                let open = Open { boot: leaf.boot, queried, ..Open::default() };
                self.open.insert(leaf.coverage, open);
                self.order.push(leaf.coverage);
                return Ok(());
            }
            CoverageSaid::Canary(_) => return Ok(()),
            CoverageSaid::Heartbeat(statement) => Some(&statement.counts),
            CoverageSaid::Closed(counts, ..) => counts.as_ref(),
        };
        let Some(open) = self.open.get_mut(&leaf.coverage) else { return Ok(()) };
        open.stated = open.stated.saturating_add(1);
        open.closed = matches!(leaf.said, CoverageSaid::Closed(..));
        let told = open.since.take().unwrap_or(0);
        let Some(counts) = counts else { return Ok(()) };
        let before = std::mem::replace(&mut open.allowed, counts.packets.allowed);
        let allowed = open.allowed.saturating_sub(before);
        if allowed != told {
            let detail = format!(
                "{allowed} packets were allowed since the statement before, {told} are told of as queries"
            );
            return broken(What::Coverage, detail);
        }
        Ok(())
    }

    /// Takes the next leaf about queries.
    pub(super) fn leaf(&mut self, leaf: &DnsQueries, index: u64) -> Result<(), Broken> {
        let id = leaf.coverage;
        let Some(open) = self.open.get_mut(&id).filter(|open| open.boot == leaf.boot) else {
            let detail = format!("names coverage {id}, which boot {} never armed", leaf.boot);
            return broken(What::Coverage, detail);
        };
        let (told, next) = (open.told.saturating_add(1), open.stated.saturating_add(1));
        let again = open.since.is_some();
        open.told = leaf.number;
        open.since = Some(open.since.unwrap_or(0).saturating_add(leaf.seen));
        let queried = &mut open.queried;
        let sums = [
            (&mut queried.seen, leaf.seen),
            (&mut queried.parsed, leaf.parsed),
            (&mut queried.unparsable, leaf.unparsable),
            (&mut queried.lost, leaf.lost),
            (&mut queried.cut, leaf.cut),
            (&mut queried.questions, leaf.questions),
            (&mut queried.omitted, leaf.omitted),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        queried.leaves.push(index);
        if open.closed {
            return broken(What::Coverage, "stands behind the end of its coverage".to_owned());
        }
        if again {
            let detail = format!("a second leaf about the queries of statement {next}");
            return broken(What::Coverage, detail);
        }
        if leaf.number != told {
            let detail =
                format!("leaf {} about queries follows {}", leaf.number, told.saturating_sub(1));
            return broken(What::Coverage, detail);
        }
        if leaf.statement != next {
            let detail = format!("is counted by statement {}, and {next} follows", leaf.statement);
            return broken(What::Coverage, detail);
        }
        Ok(())
    }

    /// Those with any, the first armed first.
    pub(super) fn all(&mut self) -> Vec<Queried> {
        let open = &mut self.open;
        let taken = self.order.iter().filter_map(|id| open.remove(id));
        taken.map(|open| open.queried).filter(|queried| queried.seen > 0).collect()
    }
}

impl Queried {
    /// In lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let asked = plural(self.questions, "question", "questions");
        let mut lines = vec![format!(
            "    {} to the resolver: {} read with {asked}, {} could not be read, {} found no room",
            plural(self.seen, "packet", "packets"),
            self.parsed,
            self.unparsable,
            self.lost
        )];
        if self.cut > 0 || self.omitted > 0 {
            let omitted = plural(self.omitted, "question", "questions");
            lines.push(format!("    {} of them were cut; {omitted} listed nowhere", self.cut));
        }
        lines
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value<'static> {
        object([
            ("coverage", text(self.coverage.to_string())),
            ("cut", number(self.cut)),
            ("leaves", Value::Array(self.leaves.iter().map(|leaf| number(*leaf)).collect())),
            ("lost", number(self.lost)),
            ("omitted", number(self.omitted)),
            ("parsed", number(self.parsed)),
            ("questions", number(self.questions)),
            ("seen", number(self.seen)),
            ("unparsable", number(self.unparsable)),
        ])
    }
}
