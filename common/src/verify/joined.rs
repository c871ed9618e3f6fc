//! What connections and ways around say, for people and for programs.

use super::connections::{Joined, Reach};
use super::render::{number, object, plural, text};
use crate::json::Value;

/// Runs that are told of in lines, the latest.
const RUNS: usize = 10;

impl Joined {
    /// In lines for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let came = self.carried.saturating_add(self.open);
        let mut parts = vec![format!("{} without a leaf so far", self.open)];
        parts.push(format!("{} cut off by the gateway's end", self.interrupted));
        parts.push(format!("{} whose maker is unknown", self.unknown));
        let mut lines = vec![
            format!("    {} came: {}", plural(came, "connection", "connections"), parts.join(", ")),
            format!(
                "    inside: {}; {} led here never came, {} refused",
                plural(self.exchanges, "exchange", "exchanges"),
                plural(self.missed, "connection", "connections"),
                self.refused
            ),
        ];
        if self.around > 0 {
            lines.push(format!(
                "    {} told of by leaves",
                plural(self.around, "way around", "ways around")
            ));
        }
        lines
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value<'static> {
        object([
            ("around", number(self.around)),
            ("carried", number(self.carried)),
            ("coverage", text(self.coverage.to_string())),
            ("exchanges", number(self.exchanges)),
            ("interrupted", number(self.interrupted)),
            ("missed", number(self.missed)),
            ("open", number(self.open)),
            ("refused", number(self.refused)),
            ("unknown", number(self.unknown)),
        ])
    }
}

impl Reach {
    /// For programs.
    pub(super) fn to_json(&self) -> Value<'static> {
        object([
            ("inside", number(self.inside)),
            ("outside", number(self.outside)),
            ("run", text(self.run.to_string())),
        ])
    }
}

/// How much of each run came over connections of a coverage, in lines for people.
pub(super) fn reach_lines(reach: &[Reach]) -> Vec<String> {
    let further = reach.len().saturating_sub(RUNS);
    let line = |reach: &Reach| {
        format!(
            "    run {}: {} inside, {} outside",
            reach.run,
            plural(reach.inside, "exchange", "exchanges"),
            reach.outside
        )
    };
    let mut lines: Vec<String> = reach.iter().skip(further).map(line).collect();
    if further > 0 {
        lines.insert(0, format!("    {further} earlier runs, in --json"));
    }
    lines
}
