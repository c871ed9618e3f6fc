//! The families of what the kernel saw.

use super::Families;
use crate::serve::observe::kernel::Kernel;

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
        let around = now.around.into_iter().map(|((way, verdict), count)| {
            (vec![("way", way), ("verdict", verdict.to_owned())], count)
        });
        let (help, around) =
            ("What went around the gateway, or tried to", around.collect::<Vec<_>>());
        // Nothing went around in no way.
        if !around.is_empty() {
            self.counters("sealtap_bypass", None, help, around);
        }
    }
}
