//! A report for people, line by line, and for programs, as JSON.

use std::borrow::Cow;

use super::connections::{Joined, Reach};
use super::coverage::Covered;
use super::joined::reach_lines;
use super::queries::Queried;
use super::{Bodies, Dated, Report, Verdict, Witnessed};
use crate::encoding::base64;
use crate::json::Value;
use crate::leaf::{KeyChange, KeyRole};

/// Nobody but the log's own key vouches for a log without cosignatures.
const UNWITNESSED: &str = "unwitnessed: the holder of the log key could have rewritten this";

/// Coverages that are told of in lines, the latest.
const COVERAGES: usize = 10;

impl Report {
    /// Plain lines; the first one is the verdict. Colour is the caller's affair.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline()];
        for finding in &self.findings {
            lines.push(format!("  {} ({}): {}", finding.place, finding.what, finding.detail));
        }
        if self.further_findings > 0 {
            lines.push(format!("  and {} further findings", self.further_findings));
        }
        lines.extend(self.undecided.iter().map(|reason| format!("  undecided: {reason}")));
        let ran: Vec<&str> = self.checks.iter().map(|check| check.as_str()).collect();
        if !ran.is_empty() {
            lines.push(format!("  checked: {}", ran.join("; ")));
        }
        if !self.counts.leaves.is_empty() {
            lines.push(format!("  holds: {}", self.holds()));
        }
        if let Some((first, last)) = self.span {
            lines.push(format!("  sealed: {} to {}", utc(first), utc(last)));
        }
        lines.extend(self.key_change_lines());
        lines.extend(self.coverage_lines());
        if self.cosignatures_unread {
            lines.push(
                "  witnesses: there are cosignatures, and none is read without the log's key: --key"
                    .to_owned(),
            );
        } else {
            lines.extend(witness_lines(self.witnessed.as_ref(), self.size));
        }
        lines.extend(self.timestamp_line());
        lines.push(format!("  {}", self.bodies_statement()));
        lines
    }

    /// From when to when the kernel watched, what went around, and what it says nothing of.
    fn coverage_lines(&self) -> Vec<String> {
        let further = self.coverage.len().saturating_sub(COVERAGES);
        let mut lines = Vec::new();
        for covered in self.coverage.iter().skip(further) {
            lines.extend(covered.lines());
            let joined = self.joined.iter().find(|joined| joined.coverage == covered.coverage);
            lines.extend(joined.into_iter().flat_map(Joined::lines));
            let queried = self.queries.iter().find(|queried| queried.coverage == covered.coverage);
            lines.extend(queried.into_iter().flat_map(Queried::lines));
        }
        if further > 0 {
            lines.insert(0, format!("  coverage: {further} earlier ones, in --json"));
        }
        lines.extend(reach_lines(&self.reach));
        lines
    }

    fn headline(&self) -> String {
        let log = self.origin.as_deref().unwrap_or("this log");
        let leaves = plural(self.size, "leaf", "leaves");
        match self.verdict() {
            Verdict::Valid => format!("valid: {leaves} of {log}, under the key that was given"),
            Verdict::Invalid => {
                let findings = u64::try_from(self.findings.len()).unwrap_or(u64::MAX);
                let count = findings.saturating_add(self.further_findings);
                format!("NOT VALID: {log}: {}", plural(count, "finding", "findings"))
            }
            Verdict::Undecided if self.key.is_none() && self.undecided.len() == 1 => {
                format!("intact, key not pinned: {leaves} of {log}")
            }
            Verdict::Undecided => format!("undecided: {leaves} of {log}"),
        }
    }

    fn holds(&self) -> String {
        let counts = &self.counts;
        let kinds = counts.leaves.iter().map(|(kind, count)| format!("{count} {kind}"));
        format!(
            "{} in {} and {} ({})",
            plural(counts.exchanges, "exchange", "exchanges"),
            plural(counts.runs, "run", "runs"),
            plural(counts.boots, "boot", "boots"),
            kinds.collect::<Vec<_>>().join(", ")
        )
    }

    /// Where a key gave way to another.
    pub(crate) fn key_change_lines(&self) -> Vec<String> {
        let changes = self.key_changes.iter().filter_map(|(index, change)| {
            let (old, new) = change.verify(self.origin.as_deref()?).ok()?;
            let what = match change.role {
                KeyRole::Log => "the log's key",
                KeyRole::RunRecord => "the run-record key",
            };
            let (old, new) = (old.vkey(), new.vkey());
            Some(format!("  key changed: at leaf {index}, {what} from {old} to {new}"))
        });
        changes.collect()
    }

    /// What a token dates, if there is one.
    pub(crate) fn timestamp_line(&self) -> Option<String> {
        if let Some(found) = &self.dated {
            let first = plural(found.size, "leaf", "leaves");
            let time = found.time();
            return Some(format!(
                "  timestamp: {first}, dated {time} by a token whose imprint is that checkpoint's; \
                 its signature is not checked here: openssl ts -verify does that"
            ));
        }
        let why = self.undated.as_ref()?;
        Some(format!("  timestamp: none, {why}"))
    }

    fn bodies_statement(&self) -> String {
        match self.bodies {
            Bodies::Absent => {
                "bodies: not part of a log; it commits to them and shows nothing of them".to_owned()
            }
            Bodies::NotChecked => {
                "bodies: not checked against the log here; sealtap verify opens the store"
                    .to_owned()
            }
            Bodies::Differ => {
                "bodies: held against the log; the findings say which are not as sealed".to_owned()
            }
            Bodies::Checked { opened, bytes, pruned, waiting, units } => {
                let exchanges = plural(opened, "stored exchange", "stored exchanges");
                let bytes = plural(bytes, "byte", "bytes");
                let mut held = format!(
                    "bodies: {exchanges} opened, every head and {bytes} of bodies: as sealed"
                );
                if units > 0 {
                    let units = plural(units, "unit", "units");
                    held.push_str(&format!(
                        "; so were {units} on who made connections, who went around and which names were asked for"
                    ));
                }
                if waiting > 0 {
                    let more = plural(waiting, "exchange", "exchanges");
                    held.push_str(&format!("; those of {more} in the journal, as sealed"));
                }
                if pruned > 0 {
                    let gone = plural(pruned, "exchange", "exchanges");
                    held.push_str(&format!(
                        "; of {gone} held no longer, as retention leaves state"
                    ));
                }
                held
            }
        }
    }

    /// The report as one JSON object, each member of which has the name of what it says here. The members of
    /// `bodies` are those of [`Bodies::Checked`], each null where the bodies are anything else.
    #[must_use]
    pub fn to_json(&self) -> String {
        let findings = self.findings.iter().map(|finding| {
            object([
                ("detail", text(&finding.detail)),
                ("place", text(finding.place.to_string())),
                ("what", text(finding.what.as_str())),
            ])
        });
        let leaves =
            self.counts.leaves.iter().map(|(kind, count)| (Cow::from(kind), number(*count)));
        let bodies = match self.bodies {
            Bodies::Checked { opened, bytes, pruned, waiting, units } => {
                [opened, bytes, pruned, waiting, units].map(number)
            }
            Bodies::Absent | Bodies::NotChecked | Bodies::Differ => [const { Value::Null }; 5],
        };
        let [opened, opened_bytes, pruned, waiting, units] = bodies;
        let bodies = object([
            ("bytes", opened_bytes),
            ("opened", opened),
            ("pruned", pruned),
            ("units", units),
            ("waiting", waiting),
        ]);
        let span = self.span.map_or(Value::Null, |(first, last)| {
            object([("first", number(first)), ("last", number(last))])
        });
        let report = object([
            ("bodies", bodies),
            ("boots", number(self.counts.boots)),
            ("checks", Value::Array(self.checks.iter().map(|c| text(c.as_str())).collect())),
            ("coverage", Value::Array(self.coverage.iter().map(Covered::to_json).collect())),
            ("exchanges", number(self.counts.exchanges)),
            ("findings", Value::Array(findings.collect())),
            ("further_findings", number(self.further_findings)),
            ("joined", Value::Array(self.joined.iter().map(Joined::to_json).collect())),
            ("key", self.key.as_deref().map_or(Value::Null, text)),
            ("key_changes", Value::Array(self.key_changes_json())),
            ("leaves", Value::Object(leaves.collect())),
            ("origin", self.origin.as_deref().map_or(Value::Null, text)),
            ("queries", Value::Array(self.queries.iter().map(Queried::to_json).collect())),
            ("reach", Value::Array(self.reach.iter().copied().map(Reach::to_json).collect())),
            ("root", self.root.map_or(Value::Null, |root| text(base64(&root)))),
            ("runs", number(self.counts.runs)),
            ("sealed", span),
            ("size", number(self.size)),
            ("timestamp", self.timestamp_json()),
            ("undecided", Value::Array(self.undecided.iter().map(text).collect())),
            ("verdict", text(self.verdict().as_str())),
            ("witnessed", Value::Bool(self.is_witnessed(self.size))),
            ("witnesses", witnesses_json(self.witnessed.as_ref())),
        ]);
        String::from_utf8_lossy(&report.encode()).into_owned()
    }

    /// Whether the quorum of a policy that asks for one saw the first `wanted` leaves.
    pub(crate) fn is_witnessed(&self, wanted: u64) -> bool {
        let all = |found: &Witnessed| found.quorum && !found.by.is_empty();
        self.witnessed.as_ref().is_some_and(|found| all(found) && found.size >= wanted)
    }

    pub(crate) fn timestamp_json(&self) -> Value<'_> {
        let dated = |found: &Dated| {
            object([
                ("signature", text("not checked")),
                ("size", number(found.size)),
                ("time", text(found.time())),
            ])
        };
        self.dated.as_ref().map_or(Value::Null, dated)
    }

    pub(crate) fn key_changes_json(&self) -> Vec<Value<'static>> {
        let change = |(index, change): &(u64, KeyChange)| {
            object([
                ("leaf", number(*index)),
                ("new", text(base64(&change.new))),
                ("old", text(base64(&change.old))),
                ("role", text(change.role.as_str())),
            ])
        };
        self.key_changes.iter().map(change).collect()
    }
}

/// Who vouches that this is the only history, and for how much of the first `wanted` leaves.
pub(crate) fn witness_lines(witnessed: Option<&Witnessed>, wanted: u64) -> Vec<String> {
    let Some(found) = witnessed else { return vec![format!("  {UNWITNESSED}")] };
    if found.by.is_empty() {
        let lines = plural(to_u64(found.unknown), "cosignature", "cosignatures");
        return vec![
            format!("  {UNWITNESSED}"),
            format!("  {lines} not checked: name the witnesses you trust with --policy"),
        ];
    }
    let mut lines = Vec::new();
    let first = plural(found.size, "leaf", "leaves");
    for by in &found.by {
        let time = utc(by.time.saturating_mul(1_000_000));
        lines.push(format!("  witnessed: {first}, by {} at {time}", by.witness));
    }
    let quorum = if found.quorum { "reached" } else { "not reached" };
    lines.push(format!("  quorum of the policy: {quorum}"));
    if found.size < wanted {
        let rest = plural(wanted.saturating_sub(found.size), "leaf", "leaves");
        lines.push(format!("  the last {rest}: {UNWITNESSED}"));
    }
    lines
}

pub(crate) fn witnesses_json(witnessed: Option<&Witnessed>) -> Value<'_> {
    let Some(found) = witnessed else { return Value::Null };
    let by =
        found.by.iter().map(|by| object([("name", text(&by.witness)), ("time", number(by.time))]));
    object([
        ("by", Value::Array(by.collect())),
        ("quorum", Value::Bool(found.quorum)),
        ("size", number(found.size)),
        ("unknown", number(to_u64(found.unknown))),
    ])
}

pub(crate) fn object<'a, const N: usize>(members: [(&'a str, Value<'a>); N]) -> Value<'a> {
    Value::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

pub(crate) fn text<'a>(text: impl Into<Cow<'a, str>>) -> Value<'a> {
    Value::String(text.into())
}

pub(crate) fn number(number: u64) -> Value<'static> {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A time as UTC to the second, by the proleptic Gregorian calendar.
pub(crate) fn utc(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counting from March of year 0 puts the leap day at a year's end; 400 years have 146,097 days.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_print_as_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(seconds * 1_000_000 + 7), text);
        }
        assert!(utc(u64::MAX).ends_with('Z'));
    }
}
