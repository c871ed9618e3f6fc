//! The families of what the kernel saw.

use sealtap_common::leaf::{BypassUnit, CanaryWay, Sums, Trial};

use super::Families;
use crate::serve::observe::kernel::{Kernel, State};

/// One of the kernel's numbers: its name, what it is, and where it stands.
type Number = (&'static str, &'static str, fn(&Sums) -> u64);

impl Families {
    /// What the kernel saw, where it was ever asked.
    pub(super) fn kernel(&mut self, kernel: &Kernel) {
        let now = kernel.now();
        let Some(armed) = now.armed else { return };
        self.gauges(
            "sealtap_coverage_armed",
            None,
            "Whether the kernel watches",
            vec![(Vec::new(), if armed { 1.0 } else { 0.0 })],
        );
        self.counter("sealtap_coverage_statements", "Statements of coverage made", now.statements);
        self.counter(
            "sealtap_redirected_connections",
            "Connections that the kernel led to the gateway, as of the last statement",
            now.arrived.known,
        );
        self.counter(
            "sealtap_redirected_attributed",
            "Those among them whose process was found",
            now.arrived.attributed,
        );
        self.counter(
            "sealtap_redirected_refused",
            "Connections to the listener for redirected ones that were turned away",
            now.arrived.refused,
        );
        self.counter(
            "sealtap_redirected_unknown",
            "Redirected connections whose process was gone before it was looked at",
            now.unknown,
        );
        let (parsed, unparsable, lost) = now.asked;
        let asked = [("parsed", parsed), ("unparsable", unparsable), ("lost", lost)];
        let asked = asked.map(|(outcome, count)| (vec![("outcome", outcome.to_owned())], count));
        let help = "Packets to the resolver, by whether what they ask was read";
        self.counters("sealtap_dns_queries", None, help, asked.to_vec());
        let around = now.around.iter().map(|((unit, way, verdict), count)| {
            let labels = [("unit", *unit), ("way", way.as_str()), ("verdict", *verdict)];
            (labels.map(|(name, value)| (name, value.to_owned())).to_vec(), *count)
        });
        let (help, around) = (
            "What went around the gateway, or tried to, but for canaries",
            around.collect::<Vec<_>>(),
        );
        // Nothing went around in no way.
        if !around.is_empty() {
            self.counters("sealtap_bypass", None, help, around);
        }
        self.counted(&now);
        self.canary(&now);
    }

    /// The kernel's own numbers.
    fn counted(&mut self, now: &State) {
        let Some(counts) = &now.counts else { return };
        let numbers: [Number; 4] = [
            ("sealtap_coverage_seen", "What the kernel saw of what is watched", |sums| sums.seen),
            ("sealtap_coverage_led", "What the kernel led to the gateway", |sums| sums.via_gateway),
            (
                "sealtap_coverage_unparsable",
                "What the kernel saw and could not tell where it goes",
                |sums| sums.unparsable,
            ),
            (
                "sealtap_coverage_events_lost",
                "Ways around that are counted, and of which no more is known for want of room",
                |sums| sums.events_lost,
            ),
        ];
        for (name, help, number) in numbers {
            let label = |unit: BypassUnit| vec![("unit", unit.as_str().to_owned())];
            let both = now.both(number).into_iter().map(|(unit, count)| (label(unit), count));
            self.counters(name, None, help, both.collect());
        }
        self.counter(
            "sealtap_coverage_late_cgroups",
            "Cgroups that were watched only when something ran in them",
            counts.late,
        );
        self.counter(
            "sealtap_coverage_older_sockets",
            "Sockets that were connected before they were watched",
            counts.older,
        );
        let listed = u64::try_from(counts.foreign.each().len()).unwrap_or(u64::MAX);
        let foreign = listed.saturating_add(counts.foreign.more().map_or(0, |more| more.count));
        self.gauge(
            "sealtap_coverage_foreign_programs",
            None,
            "Programs of others on the same hooks of the kernel",
            foreign,
        );
        self.gauge(
            "sealtap_redirected_not_come_connections",
            None,
            "Connections that the kernel led to the gateway and that are on their way, or never came; to it, \
             or to a canary: those of one that did not come back stay",
            now.not_come,
        );
    }

    /// What the last canary found.
    fn canary(&mut self, now: &State) {
        if now.canary.is_empty() {
            return;
        }
        self.counter("sealtap_canaries", "Canaries that came back", now.canaries);
        let way = |(way, trial): &(CanaryWay, Trial)| {
            let labels = [("way", way.as_str()), ("outcome", trial.outcome.as_str())];
            (labels.map(|(name, value)| (name, value.to_owned())).to_vec(), 1.0)
        };
        let help = "What the last canary found of each way, by the outcome: always 1";
        self.gauges("sealtap_canary_way", None, help, now.canary.iter().map(way).collect());
    }
}
