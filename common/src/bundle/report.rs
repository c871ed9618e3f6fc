//! What a bundle shows, what it withholds, and what it cannot say.

use std::collections::BTreeMap;

use super::covered::Reached;
use super::part::Part;
use crate::encoding::Id;
use crate::json::Value;
use crate::leaf::{IsolationLevel, RunClosed};
use crate::verify::{
    Check, Covered, Finding, Place, Report, Verdict, What, object, plural, text, utc,
    witness_lines, witnesses_json,
};

/// How a run stands, as far as a bundle shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RunState {
    /// The bundle could not be read so far.
    #[default]
    Unknown,
    /// Closed by the leaf at this index.
    Closed {
        /// The closing leaf's index.
        index: u64,
        /// What it says.
        leaf: Box<RunClosed>,
    },
    /// Its boot was killed; the restart leaf at this index accounts for all of the boot's numbers.
    EndedWithBoot {
        /// That leaf's index.
        index: u64,
    },
    /// Not closed in the tree of the checkpoint, whose last leaf has this index.
    Open {
        /// The last leaf's index.
        index: u64,
    },
}

/// Segments of one kind of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disclosed {
    /// All of them.
    pub segments: u64,
    /// Those whose bytes are there and open their commitments.
    pub disclosed: u64,
}

/// Everything that a bundle's verification has to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BundleReport {
    /// Checkpoint, key, findings, what could not be decided.
    pub log: Report,
    /// The run.
    pub run: Option<Id>,
    /// How it stands.
    pub state: RunState,
    /// The run that had its name before.
    pub opened: Option<Id>,
    /// Its exchanges in the bundle.
    pub exchanges: u64,
    /// Positions that are not in the bundle, as ranges.
    pub missing: Vec<(u64, u64)>,
    /// Exchanges of the same boot that are known and lie outside the bundle.
    pub outside: u64,
    /// Its exchanges that came over connections of a coverage, and those connections.
    pub reached: Reached,
    /// What is disclosed, by part.
    pub parts: BTreeMap<Part, Disclosed>,
    /// Leaves up to the last one that says something of the run: what witnesses should have seen.
    pub leaves: u64,
    /// WebSocket sessions whose message index was made anew from both bodies.
    pub derived: u64,
}

impl BundleReport {
    /// The answer in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.log.verdict()
    }

    pub(super) fn find(&mut self, what: What, entry: &str, detail: String) {
        self.log.add(Finding { what, place: Place::file(entry), detail });
    }

    pub(super) fn ran(&mut self, check: Check) {
        self.log.ran(check);
    }

    pub(super) fn disclosed(&mut self, part: Part, segments: u64, disclosed: u64) {
        let shown = self.parts.entry(part).or_default();
        shown.segments += segments;
        shown.disclosed += disclosed;
    }

    /// Plain lines; the first one is the verdict. Colour is the caller's affair.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline()];
        let log = &self.log;
        for finding in &log.findings {
            lines.push(format!("  {} ({}): {}", finding.place, finding.what, finding.detail));
        }
        lines.extend(log.undecided.iter().map(|reason| format!("  undecided: {reason}")));
        let checks = log.checks.iter().map(|check| match check {
            Check::Tree => "every leaf is in the signed tree, every part under its leaf",
            Check::Leaves => "the run is a chain and its leaves agree",
            other => other.as_str(),
        });
        lines.push(format!("  checked: {}", checks.collect::<Vec<_>>().join("; ")));
        lines.push(format!("  run: {}", self.state_line()));
        if let Some(previous) = self.opened {
            lines.push(format!("  goes on under the name of run {previous}, which was closed"));
        }
        for (part, shown) in &self.parts {
            let Disclosed { segments, disclosed } = shown;
            lines.push(format!("  {part}: {disclosed} of {segments} segments disclosed"));
        }
        if self.derived > 0 {
            let sessions = plural(self.derived, "session", "sessions");
            lines.push(format!(
                "  websocket-messages: of {sessions}, derived again from both bodies and equal"
            ));
        }
        lines.push(format!("  withheld: {}", plural(self.withheld(), "segment", "segments")));
        lines.push(format!(
            "  outside: {} of the same boot known, and not in this bundle",
            plural(self.outside, "exchange", "exchanges")
        ));
        lines.extend(self.isolation().map(|line| format!("  {line}")));
        lines.extend(self.coverage_lines());
        lines.extend(log.key_change_lines());
        lines.extend(witness_lines(log.witnessed.as_ref(), self.leaves));
        lines.extend(log.timestamp_line());
        lines
    }

    /// What was covered while the run's exchanges were under way, and what is not said.
    fn coverage_lines(&self) -> Vec<String> {
        let reached = self.reached;
        if reached.inside == 0 && self.log.coverage.is_empty() {
            let none = "  coverage: none; nothing here says that no traffic went around";
            return vec![none.to_owned()];
        }
        let mut lines = vec![format!(
            "  coverage: {} inside, {} outside; {} shown, {} of them of an unknown maker",
            plural(reached.inside, "exchange", "exchanges"),
            reached.outside,
            plural(reached.connections, "connection", "connections"),
            reached.unknown
        )];
        let unshown = reached.inside.saturating_sub(reached.shown);
        if unshown > 0 {
            lines.push(format!(
                "    of {} inside the connection is not here: what was covered then is not shown",
                plural(unshown, "exchange", "exchanges")
            ));
        }
        lines.extend(self.log.coverage.iter().flat_map(Covered::lines));
        lines
    }

    fn withheld(&self) -> u64 {
        self.parts.values().map(|shown| shown.segments - shown.disclosed).sum()
    }

    fn headline(&self) -> String {
        let run = self.run.map_or_else(|| "this bundle".to_owned(), |run| format!("run {run}"));
        let log = self.log.origin.as_deref().unwrap_or("an unknown log");
        let what = format!("{run} of {log}, {}", plural(self.exchanges, "exchange", "exchanges"));
        match self.verdict() {
            Verdict::Valid => format!("valid: {what}, under the keys that were given"),
            Verdict::Invalid => {
                let count = u64::try_from(self.log.findings.len()).unwrap_or(u64::MAX);
                format!("NOT VALID: {run} of {log}: {}", plural(count, "finding", "findings"))
            }
            Verdict::Undecided if self.log.key.is_none() && self.log.undecided.len() == 1 => {
                format!("intact, key not pinned: {what}")
            }
            Verdict::Undecided => format!("undecided: {what}"),
        }
    }

    fn state_line(&self) -> String {
        match &self.state {
            RunState::Unknown => "cannot be told".to_owned(),
            RunState::Closed { index, leaf } => format!(
                "closed at leaf {index} ({}) with {}, delimited by {}, {} to {}, policy {}",
                leaf.reason,
                plural(leaf.count, "exchange", "exchanges"),
                leaf.by,
                utc(leaf.started),
                utc(leaf.ended),
                leaf.policy
            ),
            RunState::EndedWithBoot { index } => {
                format!("ended with its boot, which leaf {index} accounts for; no record was made")
            }
            RunState::Open { index } => {
                format!("open as of leaf {index}; exchanges may have followed, no record was made")
            }
        }
    }

    fn isolation(&self) -> Option<String> {
        let RunState::Closed { leaf, .. } = &self.state else { return None };
        let means = match leaf.isolation.level {
            IsolationLevel::SameUser => "the record could be forged by the app",
            IsolationLevel::OtherUser => "the app could not read the keys",
            IsolationLevel::ExternalSigner => "the gateway itself does not hold the keys",
        };
        let level = leaf.isolation.level.as_str().replace('_', " ");
        Some(format!("key isolation: {level} ({}): {means}", leaf.isolation.basis))
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let number = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let parts = self.parts.iter().map(|(part, shown)| {
            let shown = object([
                ("disclosed", number(shown.disclosed)),
                ("segments", number(shown.segments)),
            ]);
            (part.as_str().into(), shown)
        });
        let (state, index) = match &self.state {
            RunState::Unknown => ("unknown", None),
            RunState::Closed { index, .. } => ("closed", Some(*index)),
            RunState::EndedWithBoot { index } => ("ended_with_boot", Some(*index)),
            RunState::Open { index } => ("open", Some(*index)),
        };
        let isolation = match &self.state {
            RunState::Closed { leaf, .. } => object([
                ("basis", text(leaf.isolation.basis.as_str())),
                ("level", text(leaf.isolation.level.as_str())),
            ]),
            _ => Value::Null,
        };
        let findings = self.log.findings.iter().map(|finding| {
            object([
                ("detail", text(&finding.detail)),
                ("place", text(finding.place.to_string())),
                ("what", text(finding.what.as_str())),
            ])
        });
        let missing = self.missing.iter();
        let missing = missing.map(|(a, b)| Value::Array(vec![number(*a), number(*b)]));
        let report = object([
            ("checks", Value::Array(self.log.checks.iter().map(|c| text(c.as_str())).collect())),
            ("coverage", Value::Array(self.log.coverage.iter().map(Covered::to_json).collect())),
            ("derived", number(self.derived)),
            ("exchanges", number(self.exchanges)),
            ("findings", Value::Array(findings.collect())),
            ("isolation", isolation),
            ("key", self.log.key.as_deref().map_or(Value::Null, text)),
            ("key_changes", Value::Array(self.log.key_changes_json())),
            ("leaf", index.map_or(Value::Null, number)),
            ("missing", Value::Array(missing.collect())),
            ("origin", self.log.origin.as_deref().map_or(Value::Null, text)),
            ("outside", number(self.outside)),
            ("parts", Value::Object(parts.collect())),
            (
                "reach",
                object([
                    ("connections", number(self.reached.connections)),
                    ("inside", number(self.reached.inside)),
                    ("outside", number(self.reached.outside)),
                    ("shown", number(self.reached.shown)),
                    ("unknown", number(self.reached.unknown)),
                ]),
            ),
            ("run", self.run.map_or(Value::Null, |run| text(run.to_string()))),
            ("size", number(self.log.size)),
            ("state", text(state)),
            ("timestamp", self.log.timestamp_json()),
            ("undecided", Value::Array(self.log.undecided.iter().map(text).collect())),
            ("verdict", text(self.verdict().as_str())),
            ("withheld", number(self.withheld())),
            ("witnessed", Value::Bool(self.log.is_witnessed(self.leaves))),
            ("witnesses", witnesses_json(self.log.witnessed.as_ref())),
        ]);
        String::from_utf8_lossy(&report.encode()).into_owned()
    }
}
