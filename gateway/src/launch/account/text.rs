//! The closing account as lines of text.
//!
//! In: the account. Out: a line on the run and one on each thing there is to say of it, in a fixed order.
//! What comes from outside is shown escaped.

use std::fmt::{Arguments, Write as _};

use sealtap_common::leaf::BypassUnit;

use super::super::child::Ended;
use super::super::makers::Made;
use super::super::watched::{Coverage, Covered};
use super::{Account, signal_name};
use crate::kernel::names::Told;
use crate::serve::live::{duration, shown, size};

/// Ways around that are named.
const NAMED: usize = 20;

/// How far the gateway saw by the proxy variables alone.
const COVERAGE: &str = "observed only: a program can ignore proxy variables, and nothing here would \
                        notice";

/// What no hook that is attached sees.
const NOT_COVERED: &str = "not covered: sockets of other families (vsock, Bluetooth and the like), helpers \
                           over unix sockets, file systems that the kernel has over the network, other \
                           network namespaces, connections made before the command began, and what a task \
                           sends that has moved itself to another cgroup";

/// What nothing closes even where all else is denied.
const NOT_ENFORCED: &str = "not covered: helpers over unix sockets (a Docker socket, a daemon that acts for \
                            the command), and what the names that it asked for say";

/// Lines, one behind the other.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: Arguments<'_>) {
        // Nothing that is written to a string fails.
        let _ = writeln!(self.0, "{line}");
    }
}

impl Account<'_> {
    pub(super) fn text(&self) -> String {
        let mut lines = Lines::default();
        self.run(&mut lines);
        self.upstreams(&mut lines);
        self.made_by(&mut lines);
        self.passed_or_refused(&mut lines);
        self.left_running(&mut lines);
        for said in self.covered() {
            lines.add(format_args!("  coverage       {}", shown(&said)));
        }
        for note in &self.notes {
            lines.add(format_args!("  not covered    {}", shown(note)));
        }
        self.bundle(&mut lines);
        lines.0
    }

    /// What was run, and how it ended.
    fn run(&self, lines: &mut Lines) {
        let total = self.calls.total();
        let calls = if total == 1 { "call" } else { "calls" };
        let lasted = duration(u64::try_from(self.lasted.as_nanos()).unwrap_or(u64::MAX));
        let end = match self.ended {
            Ended::Exited(0) => String::new(),
            Ended::Exited(code) => format!(", exit code {code}"),
            Ended::Signalled(signal) => format!(", ended by {}", signal_name(signal)),
        };
        let name = self.launch.name();
        lines.add(format_args!("sealtap: run {name}: {total} {calls} captured in {lasted}{end}"));
    }

    /// Where calls went, and which models were asked there.
    fn upstreams(&self, lines: &mut Lines) {
        if self.calls.total() > 0 {
            lines.add(format_args!(
                "  {:<40} {:>6} {:>6} {:>10} {:>10}",
                "UPSTREAM", "CALLS", "FAILED", "SENT", "RECEIVED"
            ));
        }
        for (origin, passed) in &self.calls.upstreams {
            lines.add(format_args!(
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
                lines.add(format_args!("    asked {asked}, answered {answered}: {count}"));
            }
        }
    }

    /// Who made the calls.
    fn made_by(&self, lines: &mut Lines) {
        for (who, made) in self.makers.iter().take(NAMED) {
            let Made { connections, exchanges, .. } = made;
            lines.add(format_args!(
                "  made by        {}: {exchanges} over {connections} connections",
                shown(&who.said())
            ));
        }
    }

    /// What passed unread, and what did not pass.
    fn passed_or_refused(&self, lines: &mut Lines) {
        for (authority, unread) in &self.calls.opaque {
            lines.add(format_args!(
                "  opaque         {}: {} unread, {} out, {} back, {}",
                shown(authority),
                unread.tunnels,
                size(unread.sent),
                size(unread.received),
                unread.why
            ));
        }
        for (why, count) in &self.calls.refused {
            lines.add(format_args!("  refused        {count} with {why}"));
        }
    }

    /// What became of processes that the command left behind.
    fn left_running(&self, lines: &mut Lines) {
        let (what, then) = match self.coverage.is_ended() {
            true => ("ended        ", "the command left it running"),
            false if self.coverage.is_enforced() => ("still running", "it stays cut off"),
            false => ("still running", "what it sends from now on is not recorded"),
        };
        for process in &self.left {
            lines.add(format_args!("  {what}  {process}: {then}"));
        }
    }

    /// Where the record is.
    fn bundle(&self, lines: &mut Lines) {
        match &self.record {
            Ok(Some(path)) => {
                let (path, data) = (path.display(), self.data.root().display());
                let name = self.launch.name();
                lines.add(format_args!("  bundle         {path}"));
                lines.add(format_args!("  look           sealtap ls --data {data} --run {name}"));
            }
            Ok(None) => {
                let why = match &self.coverage {
                    Coverage::Variables(_) => "made no call, or ignores the proxy variables",
                    // What ignores them is led to the gateway all the same.
                    Coverage::Kernel { counted: Ok(_), .. } => "made no call that was led to it",
                    Coverage::Kernel { .. } => "made no call, as far as is known",
                };
                lines.add(format_args!(
                    "  bundle         none: nothing came through the gateway; the command {why}"
                ));
            }
            Err(_) => lines.add(format_args!("  bundle         none: the record is not whole")),
        }
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
        "{how} by the kernel: of {} connections and sends {} were led to the gateway, {} asked for names, {} \
         {what}, {} could not be told",
        counted.seen, counted.via_gateway, counted.allowed, around, counted.unparsable
    )];
    if counted.loopback > 0 {
        told.push(format!("{} went to listed places on this machine, unseen", counted.loopback));
    }
    let Told { seen, questions, unparsable, lost, .. } = covered.names;
    if seen > 0 {
        let unread = unparsable.saturating_add(lost);
        told.push(format!(
            "names asked: {questions} in {seen} packets, {unread} of them not read; `sealtap names` lists them"
        ));
    }
    for bypass in covered.around.iter().take(NAMED) {
        let how = if bypass.denied { "denied" } else { "around" };
        let unit = bypass.unit().as_str();
        let (way, to) = (&bypass.way, bypass.destination);
        told.push(format!("{how}: {unit} by {way} to {to} by {}", bypass.whose()));
    }
    let around_packets = packets.bypass_passed.saturating_add(packets.bypass_denied);
    if around_packets > 0 {
        told.push(format!("{what}: {around_packets} of {} packets", packets.seen));
    }
    let named = covered.around.iter().take(NAMED).filter(|one| one.unit() == BypassUnit::Connect);
    let more = around.saturating_sub(u64::try_from(named.count()).unwrap_or(0));
    if more > 0 {
        told.push(format!("{}: {more} more", if enforced { "denied" } else { "around" }));
    }
    told.push(if enforced { NOT_ENFORCED } else { NOT_COVERED }.to_owned());
    told.extend(also.iter().cloned());
    told
}
