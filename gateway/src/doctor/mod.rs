//! Doctor: what this machine allows, found out by trying it.
//!
//! In: a data directory, a configuration for its addresses, and this process's own rights. Out: a list of
//! Findings, each well, short or unknown, with what to do. It changes nothing that stays: programs are
//! detached, files removed, ports given back. What it has no right to try is unknown, never well.

mod canary;
mod disk;
mod hooks;
mod machine;
mod process;

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use rustix::process::geteuid;
use serde_json::{Value, json};

use crate::command::doctor::Arguments;
use crate::command::{Exit, Failure, Outcome, Output};
use crate::config::{Config, Flags};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Well,
    /// Something is missing.
    Short,
    /// This process may not find out.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    name: &'static str,
    state: State,
    what: String,
    fix: Option<String>,
}

impl Finding {
    fn well(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, state: State::Well, what: what.into(), fix: None }
    }

    fn short(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Short, what: what.into(), fix: Some(fix.into()) }
    }

    fn unknown(name: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, state: State::Unknown, what: what.into(), fix: Some(fix.into()) }
    }
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Short => "short",
            Self::Unknown => "unknown",
        }
    }
}

/// Looks at everything and says what was found.
///
/// # Errors
///
/// The configuration cannot be read, or the result cannot be written.
pub fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let config = Config::load(arguments.config.as_deref(), &Flags::default())?;
    let mut found = machine::look();
    found.extend(hooks::try_each());
    found.extend(process::look(&config));
    found.extend(disk::look(&arguments.data));
    let mut canary = Value::Null;
    if arguments.canary {
        let (findings, ways) = canary::send(&config);
        found.extend(findings);
        canary = ways;
    }
    let short = found.iter().filter(|finding| finding.state == State::Short).count();
    let written = match arguments.json {
        true => {
            let checks: Vec<Value> = found.iter().map(to_json).collect();
            let root = geteuid().is_root();
            let ok = short == 0;
            let all = json!({ "ok": ok, "root": root, "checks": checks, "canary": canary });
            writeln!(output.exact(), "{all}")
        }
        false => output.styled().write_all(lines(&found, &canary).as_bytes()),
    };
    written.map_err(|error| Failure::writing(&error))?;
    Ok(if short == 0 { Exit::Done } else { Exit::Failed })
}

fn to_json(finding: &Finding) -> Value {
    let Finding { name, state, what, fix } = finding;
    json!({ "name": name, "state": state.as_str(), "what": what, "fix": fix })
}

fn lines(found: &[Finding], canary: &Value) -> String {
    let mut text = String::new();
    for Finding { name, state, what, fix } in found {
        let style = match state {
            State::Well => GOOD,
            State::Short => BAD,
            State::Unknown => ODD,
        };
        text.push_str(&format!("{style}{:<7}{style:#}  {name:<12}  {what}\n", state.as_str()));
        if let Some(fix) = fix {
            text.push_str(&format!("{:23}{FAINT}{fix}{FAINT:#}\n", ""));
        }
    }
    for way in canary.as_array().into_iter().flatten() {
        let word = |name: &str| way.get(name).and_then(Value::as_str).unwrap_or_default();
        let (way, mode, outcome) = (word("way"), word("mode"), word("outcome"));
        text.push_str(&format!("{:9}{way:<14}  {mode:<7}  {outcome}\n", ""));
    }
    let count = |state| found.iter().filter(|finding| finding.state == state).count();
    let (well, short) = (count(State::Well), count(State::Short));
    text.push_str(&format!("{well} well, {short} short, {} unknown\n", count(State::Unknown)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shortfall_says_what_to_do() {
        let found = [
            Finding::well("kernel", "Linux 6.1"),
            Finding::short("cgroup", "no cgroup v2", "mount one"),
            Finding::unknown("hooks", "not tried", "run as root"),
        ];
        let text = anstream::adapter::strip_str(&lines(&found, &Value::Null)).to_string();
        assert!(text.contains("short    cgroup        no cgroup v2\n"), "{text}");
        assert!(text.contains("mount one\n") && text.contains("run as root\n"), "{text}");
        assert!(text.ends_with("1 well, 1 short, 1 unknown\n"), "{text}");
    }
}
