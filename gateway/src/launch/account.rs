//! The closing account: what passed, what did not, and where the record is.
//!
//! In: everything that is known at the end. Out: a few lines or one JSON object, on standard error or
//! in a file; standard output is the command's. What comes from outside is shown escaped.

mod text;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use sealtap_common::Id;
use sealtap_common::leaf::Sums;
use serde_json::{Value, json};

use super::calls::Counted;
use super::child::Ended;
use super::descendants::Process;
use super::makers::{self, Makers};
use super::models::{Models, Pair};
use super::watched::Coverage;
use crate::command::{Failure, run};
use crate::data::DataDir;
use crate::identify::Launch;
use crate::kernel::Bypass;
use crate::kernel::names::Told;

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
                "unit": bypass.unit().as_str(),
                "way": bypass.way,
                "denied": bypass.denied,
                "times": bypass.times,
                "process": bypass.whose().did(),
                "socket_of": bypass.whose().socket_of(),
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
