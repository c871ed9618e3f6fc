//! The closing account: what passed, what did not, and where the record is.
//!
//! In: everything that is known at the end. Out: a few lines or one JSON object, on standard error or
//! in a file; standard output is the command's. What comes from outside is shown escaped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use sealtap_common::Id;
use sealtap_common::leaf::Sums;
use serde_json::{Value, json};

use super::calls::Counted;
use super::child::Ended;
use super::descendants::Process;
use super::makers::{self, Made, Makers};
use super::models::{Models, Pair};
use super::watched::{Coverage, Covered};
use crate::command::{Failure, run};
use crate::data::DataDir;
use crate::identify::Launch;
use crate::kernel::Bypass;
use crate::kernel::names::Told;
use crate::serve::live::{duration, shown, size};

/// Ways around that are named.
const NAMED: usize = 20;

/// How far the gateway saw by the proxy variables alone.
const COVERAGE: &str = "observed only: a program can ignore proxy variables, and nothing here would \
                        notice";

/// What no hook that is attached sees.
const NOT_COVERED: &str = "not covered: vsock, helpers over unix sockets, other network namespaces, \
                           connections made before the command began, and what a task sends that has \
                           moved itself to another cgroup";

/// What nothing closes even where all else is denied.
const NOT_ENFORCED: &str = "not covered: helpers over unix sockets (a Docker socket, a daemon that acts for \
                            the command), and what the names that it asked for say";

/// What there is to say.
pub(super) struct Account<'a> {
    /// The run.
    pub(super) launch: &'a Launch,
    /// Where its record is.
    pub(super) data: &'a DataDir,
    /// What passed.
    pub(super) calls: Counted,
    /// Which models were asked for and answered.
    pub(super) models: Models,
    /// Who made the calls, as far as the kernel led their connections here.
    pub(super) makers: Makers,
    /// How the command ended.
    pub(super) ended: Ended,
    /// How long it took.
    pub(super) lasted: Duration,
    /// What it left running.
    pub(super) left: Vec<Process>,
    /// Its bundle, if anything came; or why the record is not whole.
    pub(super) record: Result<Option<PathBuf>, Failure>,
    /// What was not covered, and why, beyond what holds of every run.
    pub(super) notes: Vec<String>,
    /// How far the record reaches.
    pub(super) coverage: Coverage,
}

impl Account<'_> {
    /// Gives it in the form that was asked for.
    pub(super) fn give(&self, form: &run::Account) -> Result<(), Failure> {
        let failed = self.record.as_ref().err();
        let mut error = anstream::stderr().lock();
        // Where standard error is gone there is nobody to tell; the record is there all the same.
        match form {
            run::Account::Text => {
                let _ = error.write_all(self.text().as_bytes());
            }
            run::Account::Json => {
                let _ = writeln!(error, "{}", self.json());
            }
            run::Account::JsonFile(path) => {
                let written = std::fs::write(path, format!("{}\n", self.json()));
                written.map_err(|error| {
                    Failure::new(format!("cannot write the account: {error}"))
                        .at(path.display().to_string())
                })?;
            }
        }
        if let Some(failure) = failed
            && *form != run::Account::Json
        {
            failure.print(&mut error);
        }
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let total = self.calls.total();
        let calls = if total == 1 { "call" } else { "calls" };
        let lasted = duration(u64::try_from(self.lasted.as_nanos()).unwrap_or(u64::MAX));
        let end = match self.ended {
            Ended::Exited(0) => String::new(),
            Ended::Exited(code) => format!(", exit code {code}"),
            Ended::Signalled(signal) => format!(", ended by {}", signal_name(signal)),
        };
        let mut line = |line: std::fmt::Arguments<'_>| {
            let _ = writeln!(text, "{line}");
        };
        line(format_args!(
            "sealtap: run {}: {total} {calls} captured in {lasted}{end}",
            self.launch.name()
        ));
        if total > 0 {
            line(format_args!(
                "  {:<40} {:>6} {:>6} {:>10} {:>10}",
                "UPSTREAM", "CALLS", "FAILED", "SENT", "RECEIVED"
            ));
        }
        for (origin, passed) in &self.calls.upstreams {
            line(format_args!(
                "  {:<40} {:>6} {:>6} {:>10} {:>10}",
                shown(origin),
                passed.calls,
                passed.failed,
                size(passed.sent),
                size(passed.received)
            ));
            for ((asked, answered), count) in self.models.get(origin).into_iter().flatten() {
                let name =
                    |name: &Option<String>| name.as_deref().map_or_else(|| "-".to_owned(), shown);
                let (asked, answered) = (name(asked), name(answered));
                line(format_args!("    asked {asked}, answered {answered}: {count}"));
            }
        }
        for (who, made) in self.makers.iter().take(NAMED) {
            let Made { connections, exchanges, .. } = made;
            line(format_args!(
                "  made by        {}: {exchanges} over {connections} connections",
                shown(&who.said())
            ));
        }
        for (authority, unread) in &self.calls.opaque {
            line(format_args!(
                "  opaque         {}: {} unread, {} out, {} back, {}",
                shown(authority),
                unread.tunnels,
                size(unread.sent),
                size(unread.received),
                unread.why
            ));
        }
        for (why, count) in &self.calls.refused {
            line(format_args!("  refused        {count} with {why}"));
        }
        for process in &self.left {
            let (what, then) = match self.coverage.is_ended() {
                true => ("ended        ", "the command left it running"),
                false if self.coverage.is_enforced() => ("still running", "it stays cut off"),
                false => ("still running", "what it sends from now on is not recorded"),
            };
            line(format_args!("  {what}  {process}: {then}"));
        }
        for said in self.covered() {
            line(format_args!("  coverage       {}", shown(&said)));
        }
        for note in &self.notes {
            line(format_args!("  not covered    {}", shown(note)));
        }
        match &self.record {
            Ok(Some(path)) => {
                let (path, data) = (path.display(), self.data.root().display());
                line(format_args!("  bundle         {path}"));
                line(format_args!(
                    "  look           sealtap ls --data {data} --run {}",
                    self.launch.name()
                ));
            }
            Ok(None) => line(format_args!(
                "  bundle         none: nothing came through the gateway; the command made no call, or \
                 ignores the proxy variables"
            )),
            Err(_) => line(format_args!("  bundle         none: the record is not whole")),
        }
        text
    }

    /// How far the record reaches, in words.
    fn covered(&self) -> Vec<String> {
        match &self.coverage {
            Coverage::Variables(None) => vec![COVERAGE.to_owned()],
            Coverage::Variables(Some(why)) => {
                vec![COVERAGE.to_owned(), format!("the kernel was not asked: {why}")]
            }
            Coverage::Kernel { counted: Err(why), broken: true, .. } => {
                vec![format!(
                    "broken: {why}; the command was ended, since not all was closed any more"
                )]
            }
            Coverage::Kernel { counted: Err(why), enforced: true, .. } => {
                vec![format!(
                    "unknown: {why}; what the command could not send before it could not send \
                              after"
                )]
            }
            Coverage::Kernel { counted: Err(why), .. } => {
                vec![format!("unknown: {why}")]
            }
            Coverage::Kernel { counted: Ok(covered), enforced, also, .. } => {
                told(covered, *enforced, also)
            }
        }
    }

    fn coverage(&self) -> Value {
        let (covered, also) = match &self.coverage {
            Coverage::Variables(why) => {
                return json!({ "level": "observed_only", "not_covered": self.notes, "why": why });
            }
            Coverage::Kernel { counted: Err(why), enforced, broken, .. } => {
                return json!({
                    "level": "unknown",
                    "enforced": enforced,
                    "broken": broken,
                    "not_covered": self.notes,
                    "why": why,
                });
            }
            Coverage::Kernel { counted: Ok(covered), also, .. } => (covered, also),
        };
        let notes = self.notes.iter().map(String::as_str).chain(also.iter().map(String::as_str));
        let enforced = self.coverage.is_enforced();
        let counted = &covered.counted;
        let around = |bypass: &Bypass| {
            json!({
                "process": bypass.process,
                "executable": bypass.executable,
                "destination": bypass.destination.to_string(),
            })
        };
        json!({
            "level": if enforced { "enforced" } else { "kernel_observed" },
            "not_covered": notes.collect::<Vec<_>>(),
            "connections": sums(&counted.connections),
            "packets": sums(&counted.packets),
            "names": names(&covered.names),
            "redirected": covered.arrived.known,
            "attributed": covered.arrived.attributed,
            "refused": covered.arrived.refused,
            "bypasses": covered.around.iter().map(around).collect::<Vec<_>>(),
        })
    }

    fn json(&self) -> Value {
        let (code, signal) = match self.ended {
            Ended::Exited(code) => (Some(code), None),
            Ended::Signalled(signal) => (None, Some(signal_name(signal))),
        };
        let upstreams: Vec<_> = self
            .calls
            .upstreams
            .iter()
            .map(|(origin, passed)| {
                json!({
                    "origin": origin,
                    "calls": passed.calls,
                    "failed": passed.failed,
                    "sent": passed.sent,
                    "received": passed.received,
                    "models": self.models.get(origin).into_iter().flatten().map(model).collect::<Vec<_>>(),
                })
            })
            .collect();
        let left: Vec<_> = self
            .left
            .iter()
            .map(|process| json!({ "id": process.id, "name": process.name }))
            .collect();
        let (still_running, ended) = match self.coverage.is_ended() {
            true => (Vec::new(), left),
            false => (left, Vec::new()),
        };
        let opaque: Vec<_> = self
            .calls
            .opaque
            .iter()
            .map(|(authority, unread)| {
                json!({
                    "authority": authority,
                    "tunnels": unread.tunnels,
                    "why": unread.why,
                    "sent": unread.sent,
                    "received": unread.received,
                })
            })
            .collect();
        let (bundle, failure) = match &self.record {
            Ok(path) => (path.as_ref().map(|path| path.display().to_string()), None),
            Err(failure) => (None, Some(failure.what())),
        };
        json!({
            "run": { "id": Id(self.launch.id).to_string(), "name": self.launch.name() },
            "exit": { "code": code, "signal": signal },
            "duration_ns": u64::try_from(self.lasted.as_nanos()).unwrap_or(u64::MAX),
            "calls": self.calls.total(),
            "upstreams": upstreams,
            "opaque": opaque,
            "makers": self.makers.iter().map(makers::json).collect::<Vec<_>>(),
            "refused": self.calls.refused,
            "still_running": still_running,
            "ended": ended,
            "coverage": self.coverage(),
            "data": self.data.root().display().to_string(),
            "bundle": bundle,
            "failure": failure,
        })
    }
}

/// What the kernel saw, in words.
fn told(covered: &Covered, enforced: bool, also: &[String]) -> Vec<String> {
    let (counted, packets) = (&covered.counted.connections, &covered.counted.packets);
    let around = counted.bypass_passed.saturating_add(counted.bypass_denied);
    let (how, what) = match enforced {
        true => ("enforced", "were denied"),
        false => ("observed", "went around"),
    };
    let mut told = vec![format!(
        "{how} by the kernel: of {} connections and sends {} came to the gateway, {} asked for names, {} \
         {what}, {} could not be told",
        counted.seen, counted.via_gateway, counted.allowed, around, counted.unparsable
    )];
    let Told { seen, questions, unparsable, lost, .. } = covered.names;
    if seen > 0 {
        let unread = unparsable.saturating_add(lost);
        told.push(format!(
            "names asked: {questions} in {seen} packets, {unread} of them not read; `sealtap names` lists them"
        ));
    }
    for bypass in covered.around.iter().take(NAMED) {
        let who = bypass.executable.as_deref().unwrap_or("unknown");
        let how = if enforced { "denied" } else { "around" };
        told.push(format!("{how}: {} to {} ({who})", bypass.process, bypass.destination));
    }
    let around_packets = packets.bypass_passed.saturating_add(packets.bypass_denied);
    if around_packets > 0 {
        told.push(format!("{what}: {around_packets} of {} packets", packets.seen));
    }
    let more = around.saturating_sub(u64::try_from(covered.around.len().min(NAMED)).unwrap_or(0));
    if more > 0 {
        told.push(format!("{}: {more} more", if enforced { "denied" } else { "around" }));
    }
    told.push(if enforced { NOT_ENFORCED } else { NOT_COVERED }.to_owned());
    told.extend(also.iter().cloned());
    told
}

fn names(told: &Told) -> Value {
    json!({
        "seen": told.seen,
        "parsed": told.parsed,
        "unparsable": told.unparsable,
        "lost": told.lost,
        "cut": told.cut,
        "questions": told.questions,
    })
}

fn sums(counted: &Sums) -> Value {
    json!({
        "seen": counted.seen,
        "via_gateway": counted.via_gateway,
        "loopback": counted.loopback,
        "allowed": counted.allowed,
        "bypass_denied": counted.bypass_denied,
        "bypass_passed": counted.bypass_passed,
        "unparsable": counted.unparsable,
        "events_read": counted.events_read,
        "events_lost": counted.events_lost,
    })
}

fn model(((asked, answered), calls): (&Pair, &u64)) -> Value {
    json!({ "asked": asked, "answered": answered, "calls": calls })
}

fn signal_name(signal: i32) -> String {
    let name = signal_hook::low_level::signal_name(signal);
    name.map_or_else(|| format!("signal {signal}"), str::to_owned)
}
