//! Step 9.14: what the kernel said, recomputed.
//!
//! In: coverage leaves, in their order. Out: for each coverage from when to when it reached, what went
//! around, and which channels it says nothing of; or why the statements cannot be true together. The
//! sums find loss, not a gateway that lies from the start.

use std::collections::{BTreeMap, BTreeSet};

use super::What;
use super::history::{Broken, broken};
use super::render::{number, object, plural, text, utc};
use super::states::{LET_AROUND, is_let_around, unfounded};
use crate::encoding::Id;
use crate::json::Value;
use crate::leaf::{
    Armed, Arrived, Canary, CanaryOutcome, CanaryWay, ChannelState, Counts, Coverage, CoverageEnd,
    CoverageMode, CoverageSaid, Foreign, Listed, Sums,
};

/// One coverage, as far as the log tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// Its id.
    pub coverage: Id,
    /// The boot that spoke of it.
    pub boot: Id,
    /// The leaf that armed it, and when that was sealed.
    pub from: (u64, u64),
    /// The last leaf about it, and when that was sealed.
    pub to: (u64, u64),
    /// The state of every channel, as it was armed.
    pub channels: Vec<ChannelState>,
    /// What was done with what could not be redirected.
    pub mode: CoverageMode,
    /// Connected sockets that watched processes had when they began to be watched.
    pub older: u64,
    /// Cgroups that began to be watched when it was armed already.
    pub late: u64,
    /// Programs of others that were on the same hooks when it was armed, or at any statement.
    pub foreign: BTreeSet<(&'static str, u64)>,
    /// The most of those at any time that no leaf lists one by one.
    pub foreign_unlisted: u64,
    /// The numbers that were stated last; none where none were.
    pub connections: Option<Sums>,
    /// The same in packets.
    pub packets: Option<Sums>,
    /// What came to the gateway by then.
    pub arrived: Arrived,
    /// The last canary, and the leaf that tells of it.
    pub canary: Option<((u64, u64), Canary)>,
    /// How many there were.
    pub canaries: u64,
    /// The ways by which any of them went around.
    pub passed: BTreeSet<CanaryWay>,
    /// Why it is over; none where nobody said that it is.
    pub end: Option<CoverageEnd>,
    /// Statements so far.
    pub stated: u64,
    /// Whether all leaves about it are here, and not a stretch of them that somebody chose.
    pub whole: bool,
}

/// All coverages of a log.
#[derive(Debug, Default)]
pub(super) struct Coverages {
    known: BTreeMap<Id, Covered>,
}

impl Coverages {
    /// Takes the next leaf about a coverage.
    pub(super) fn leaf(&mut self, leaf: &Coverage, index: u64) -> Result<(), Broken> {
        let at = (index, leaf.sealed);
        match &leaf.said {
            CoverageSaid::Armed(armed) => self.armed(leaf, armed, at),
            CoverageSaid::Heartbeat(statement) => {
                let counted = (Some(&statement.counts), &statement.arrived);
                self.goes_on(leaf, counted, statement.number, at).map(drop)
            }
            CoverageSaid::Canary(canary) => {
                let covered = self.open(leaf)?;
                covered.to = at;
                covered.tried(canary, at);
                Ok(())
            }
            CoverageSaid::Closed(counts, arrived, number, reason) => {
                let counted = (counts.as_ref(), arrived);
                let covered = self.goes_on(leaf, counted, *number, at)?;
                covered.end = Some(*reason);
                Ok(())
            }
        }
    }

    fn armed(&mut self, leaf: &Coverage, armed: &Armed, at: (u64, u64)) -> Result<(), Broken> {
        let covered = Covered::begun(leaf.coverage, leaf.boot, armed, at);
        if self.known.insert(leaf.coverage, covered).is_some() {
            return broken(What::Coverage, format!("{} is armed twice", leaf.coverage));
        }
        unfounded(armed).or_else(|why| broken(What::Coverage, why))
    }

    /// The coverage that a leaf is about, which goes on.
    fn open(&mut self, leaf: &Coverage) -> Result<&mut Covered, Broken> {
        let id = leaf.coverage;
        let Some(covered) = self.known.get_mut(&id) else {
            return broken(What::Coverage, format!("{id} was never armed"));
        };
        if covered.boot != leaf.boot {
            return broken(What::Coverage, format!("{id} belongs to boot {}", covered.boot));
        }
        if covered.end.is_some() {
            return broken(What::Coverage, format!("{id} was closed before"));
        }
        Ok(covered)
    }

    fn goes_on(
        &mut self,
        leaf: &Coverage,
        (counts, arrived): (Option<&Counts>, &Arrived),
        number: u64,
        at: (u64, u64),
    ) -> Result<&mut Covered, Broken> {
        let id = leaf.coverage;
        let covered = self.open(leaf)?;
        if number != covered.stated.saturating_add(1) {
            let detail = format!("statement {number} of {id} follows statement {}", covered.stated);
            return broken(What::Coverage, detail);
        }
        if !arrived.holds() {
            let detail = format!(
                "more connections of {id} have a process than came, or were led and refused than refused"
            );
            return broken(What::Coverage, detail);
        }
        if let Some(counts) = counts {
            let units = [
                ("connections", &counts.connections, &mut covered.connections),
                ("packets", &counts.packets, &mut covered.packets),
            ];
            for (unit, now, before) in units {
                if !now.add_up() {
                    return broken(What::Coverage, format!("the {unit} of {id} do not add up"));
                }
                if !now.goes_on_from(&before.unwrap_or_default()) {
                    return broken(
                        What::Coverage,
                        format!("a number of {unit} of {id} became smaller"),
                    );
                }
                *before = Some(*now);
            }
            if !arrived.fits(&counts.connections) {
                let detail = format!("more connections of {id} came than were led to the gateway");
                return broken(What::Coverage, detail);
            }
            if is_let_around(covered.mode, counts) {
                return broken(What::Coverage, LET_AROUND.to_owned());
            }
            if !covered.goes_on_beside(counts) {
                let detail = format!("fewer sockets or cgroups of {id} came late than before");
                return broken(What::Coverage, detail);
            }
        }
        (covered.stated, covered.arrived, covered.to) = (number, *arrived, at);
        Ok(covered)
    }

    /// All of them, the first armed first.
    pub(super) fn all(&self) -> Vec<Covered> {
        let mut all: Vec<Covered> = self.known.values().cloned().collect();
        all.sort_by_key(|covered| covered.from);
        all
    }
}

impl Covered {
    /// One that was armed, by the leaf at this index and of this time.
    pub(crate) fn begun(coverage: Id, boot: Id, armed: &Armed, at: (u64, u64)) -> Self {
        Self {
            coverage,
            boot,
            from: at,
            to: at,
            channels: armed.channels.clone(),
            mode: armed.mode,
            older: armed.older,
            late: 0,
            foreign: foreign_names(&armed.foreign),
            foreign_unlisted: unlisted(&armed.foreign),
            connections: None,
            packets: None,
            arrived: Arrived::default(),
            canary: None,
            canaries: 0,
            passed: BTreeSet::new(),
            end: None,
            stated: 0,
            whole: true,
        }
    }

    /// Takes the next canary.
    pub(crate) fn tried(&mut self, canary: &Canary, at: (u64, u64)) {
        self.canaries = self.canaries.saturating_add(1);
        self.passed.extend(canary.with(CanaryOutcome::Passed));
        self.canary = Some((at, canary.clone()));
    }

    /// Takes what came late, and who else was on the hooks; false, and nothing taken, where less came late
    /// than before.
    pub(crate) fn goes_on_beside(&mut self, counts: &Counts) -> bool {
        if counts.older < self.older || counts.late < self.late {
            return false;
        }
        (self.older, self.late) = (counts.older, counts.late);
        self.foreign.extend(foreign_names(&counts.foreign));
        self.foreign_unlisted = self.foreign_unlisted.max(unlisted(&counts.foreign));
        true
    }

    /// What it says, in lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (from, to) = (utc(self.from.1), utc(self.to.1));
        let until = match self.end {
            Some(CoverageEnd::Ended) => format!("to {to} (leaf {})", self.to.0),
            Some(end) => format!("ENDED by {to} (leaf {}): {}", self.to.0, end.why()),
            None => format!("open as of leaf {} ({to}); nothing is said of later", self.to.0),
        };
        let mut lines = vec![format!("  coverage: from {from} (leaf {}) {until}", self.from.0)];
        let units = [
            (&self.connections, "connection or send", "connections and sends"),
            (&self.packets, "packet", "packets"),
        ];
        for (counted, one, many) in units {
            match counted {
                Some(counted) => lines.push(format!(
                    "    {} seen: {} led to the gateway, {} to the resolver, {} to listed places on the \
                     machine, {} let around it, {} denied, {} could not be told; {} of the events were lost",
                    plural(counted.seen, one, many),
                    counted.via_gateway,
                    counted.allowed,
                    counted.loopback,
                    counted.bypass_passed,
                    counted.bypass_denied,
                    counted.unparsable,
                    counted.events_lost
                )),
                None => lines.push(format!("    no {many} were stated")),
            }
        }
        if self.older > 0 {
            let older = plural(self.older, "socket was", "sockets were");
            lines.push(format!("    {older} connected before"));
        }
        if self.late > 0 {
            let late = plural(self.late, "cgroup was", "cgroups were");
            lines.push(format!(
                "    {late} watched from after its making: what it sent before was not seen"
            ));
        }
        if !self.foreign.is_empty() {
            let named: Vec<_> =
                self.foreign.iter().map(|(beside, id)| format!("{beside} {id}")).collect();
            let more = match self.foreign_unlisted {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let named = named.join(", ");
            lines.push(format!("    programs of others on the same hooks: {named}{more}"));
        }
        lines.extend(self.canary_lines());
        for state in ChannelState::ALL {
            let of: Vec<&str> = self
                .states()
                .filter(|(_, found)| found == state)
                .map(|(channel, _)| channel.as_str())
                .collect();
            if !of.is_empty() {
                lines.push(format!("    {}: {}", state.as_str().replace('_', " "), of.join(", ")));
            }
        }
        lines
    }

    /// What became of the ways out that a probe tried.
    fn canary_lines(&self) -> Vec<String> {
        let Some(((leaf, sealed), canary)) = &self.canary else { return Vec::new() };
        let times = plural(self.canaries, "canary", "canaries");
        let shown = if self.whole { "" } else { " shown here" };
        let mut said = format!("    {times}{shown}, the last at {} (leaf {leaf})", utc(*sealed));
        for outcome in CanaryOutcome::ALL {
            let ways: Vec<&str> = canary.with(*outcome).iter().map(|way| way.as_str()).collect();
            if !ways.is_empty() {
                said.push_str(&format!("; {}: {}", outcome.as_str(), ways.join(" ")));
            }
        }
        let mut lines = vec![said];
        if !self.passed.is_empty() {
            let ways: Vec<&str> = self.passed.iter().map(|way| way.as_str()).collect();
            lines.push(format!("    a canary WENT AROUND by {}", ways.join(", ")));
        }
        lines
    }

    /// The last canary for programs; null where there was none.
    fn canary_json(&self) -> Value<'static> {
        let Some(((leaf, sealed), canary)) = &self.canary else { return Value::Null };
        let ways = canary.ways().map(|(way, trial)| {
            object([
                ("control", Value::Bool(trial.control)),
                ("outcome", text(trial.outcome.as_str())),
                ("way", text(way.as_str())),
            ])
        });
        let passed = self.passed.iter().map(|way| text(way.as_str())).collect();
        object([
            ("leaf", number(*leaf)),
            ("led", number(canary.led)),
            ("passed_ever", Value::Array(passed)),
            ("sealed", number(*sealed)),
            ("times", number(self.canaries)),
            ("ways", Value::Array(ways.collect())),
        ])
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value<'static> {
        let place = |(leaf, sealed): (u64, u64)| {
            object([("leaf", number(leaf)), ("sealed", number(sealed))])
        };
        let channels = self.states().map(|(channel, state)| {
            object([("channel", text(channel.as_str())), ("state", text(state.as_str()))])
        });
        let unit = |sums: Option<Sums>| {
            sums.map_or(Value::Null, |sums| {
                let all = sums.all();
                Value::Object(
                    all.iter().map(|(name, count)| ((*name).into(), number(*count))).collect(),
                )
            })
        };
        let foreign = self
            .foreign
            .iter()
            .map(|(beside, id)| object([("beside", text(*beside)), ("id", number(*id))]));
        object([
            ("attributed", number(self.arrived.attributed)),
            ("canary", self.canary_json()),
            ("channels", Value::Array(channels.collect())),
            ("connections", unit(self.connections)),
            ("coverage", text(self.coverage.to_string())),
            ("end", self.end.map_or(Value::Null, |end| text(end.as_str()))),
            ("foreign", Value::Array(foreign.collect())),
            ("foreign_unlisted", number(self.foreign_unlisted)),
            ("from", place(self.from)),
            ("known", number(self.arrived.known)),
            ("late", number(self.late)),
            ("mode", text(self.mode.as_str())),
            ("older", number(self.older)),
            ("packets", unit(self.packets)),
            ("refused", number(self.arrived.refused)),
            ("refused_led", number(self.arrived.refused_led)),
            ("statements", number(self.stated)),
            ("to", place(self.to)),
        ])
    }
}

/// Programs of others, by their names.
fn foreign_names(foreign: &Listed<Foreign>) -> BTreeSet<(&'static str, u64)> {
    foreign.each().iter().map(|other| (other.beside.as_str(), other.id)).collect()
}

/// How many there are that are not listed.
fn unlisted(foreign: &Listed<Foreign>) -> u64 {
    foreign.more().map_or(0, |more| more.count)
}
