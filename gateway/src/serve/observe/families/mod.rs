//! Families: every number of `/metrics`, with its name, unit and help.
//!
//! Names follow Prometheus (base units, `_total` for what only grows) and, where they have one,
//! OpenTelemetry's semantic conventions; `process_*` is what every Prometheus client says.

mod encode;
mod kernel;
mod vouching;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Unit;

use self::encode::{Family, Labels, Samples, text};
use super::process::Process;
use super::traffic::{ERRORS, OUTCOMES, Row};
use super::{Observe, Page};
use crate::capture::journal::{Down, Stats};
use crate::seal::progress::Standing;
use crate::tally::{Histogram, Spread};

/// OpenMetrics, as `prometheus-client` writes it.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

impl Observe {
    /// The page `/metrics`.
    pub(super) fn metrics(&self) -> Page {
        let journal = self.journal.stats();
        let standing = self.progress.standing();
        let mut families = Families(Vec::new());
        families.gateway(self);
        families.traffic(self);
        families.journal(&journal);
        families.seal(&standing);
        families.store(&standing);
        families.vouching(&self.vouching);
        families.kernel(&self.kernel);
        families.disks(self);
        families.process(self);
        let body = text(families.0);
        let status = if body.is_some() { 200 } else { 500 };
        Page { status, content_type: CONTENT_TYPE, body: body.unwrap_or_default().into() }
    }
}

struct Families(Vec<Family>);

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn since_epoch(time: SystemTime) -> f64 {
    seconds(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

impl Families {
    fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, None, help, vec![(Vec::new(), value)]);
    }

    fn counters(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        samples: Vec<(Labels, u64)>,
    ) {
        self.0.push(Family { name, unit, help, samples: Samples::Counter(samples) });
    }

    fn bytes(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.counters(name, Some(Unit::Bytes), help, vec![(Vec::new(), value)]);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float; 2^53 is beyond any of them"
    )]
    fn gauge(&mut self, name: &'static str, unit: Option<Unit>, help: &'static str, value: u64) {
        self.gauges(name, unit, help, vec![(Vec::new(), value as f64)]);
    }

    fn gauges(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
        samples: Vec<(Labels, f64)>,
    ) {
        self.0.push(Family { name, unit, help, samples: Samples::Gauge(samples) });
    }

    fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        samples: Vec<(Labels, Spread)>,
    ) {
        let samples = Samples::Histogram(samples);
        self.0.push(Family { name, unit: Some(Unit::Seconds), help, samples });
    }

    fn gateway(&mut self, observe: &Observe) {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let samples = Samples::Info(vec![("version", version)]);
        let help = "Which sealtap this is";
        self.0.push(Family { name: "sealtap_build", unit: None, help, samples });
        let checks = observe.checks().into_iter().map(|check| {
            let healthy = if check.wrong.is_none() { 1.0 } else { 0.0 };
            (vec![("check", check.name.to_owned())], healthy)
        });
        self.gauges(
            "sealtap_healthy",
            None,
            "Whether each thing that capture needs works, as /healthz says it",
            checks.collect(),
        );
    }

    fn traffic(&mut self, observe: &Observe) {
        let traffic = observe.traffic();
        let upstream = |name: &str| ("upstream", name.to_owned());
        let rows: Vec<_> = traffic.rows().collect();
        let by_outcome = rows.iter().flat_map(|(name, row)| {
            row.outcomes.iter().zip(OUTCOMES).map(move |(count, outcome)| {
                (vec![upstream(name), ("outcome", outcome.as_str().to_owned())], load(count))
            })
        });
        self.counters(
            "sealtap_exchanges",
            None,
            "Exchanges that are over, by upstream (- is none) and outcome",
            by_outcome.collect(),
        );
        let errors = traffic.errors.iter().zip(ERRORS);
        self.counters(
            "sealtap_exchange_errors",
            None,
            "Exchanges that ended with an error, by the error's registered word",
            errors
                .map(|(count, error)| {
                    (vec![("error_type", error.as_str().to_owned())], load(count))
                })
                .collect(),
        );
        self.counter(
            "sealtap_requests_turned_away",
            "Requests refused without a record of their own, because the journal was down",
            load(&traffic.turned_away),
        );
        let of_rows = |field: fn(&Row) -> &AtomicU64, direction: &str| -> Vec<(Labels, u64)> {
            let labels = |name| vec![upstream(name), ("direction", direction.to_owned())];
            rows.iter().map(|(name, row)| (labels(name), load(field(row)))).collect()
        };
        let mut bodies = of_rows(|row| &row.request_bytes, "request");
        bodies.extend(of_rows(|row| &row.response_bytes, "response"));
        self.counters(
            "sealtap_body",
            Some(Unit::Bytes),
            "Body bytes of exchanges that are over, by upstream and direction",
            bodies,
        );
        let times = |field: fn(&Row) -> &Histogram| -> Vec<(Labels, Spread)> {
            rows.iter().map(|(name, row)| (vec![upstream(name)], field(row).spread())).collect()
        };
        self.histograms(
            "http_server_request_duration",
            "From a request's head to the end of its answer",
            times(|row| &row.duration),
        );
        self.histograms(
            "sealtap_first_byte",
            "From a request's head to the head of its answer",
            times(|row| &row.first_byte),
        );
        let open = load(&traffic.open);
        self.gauge("http_server_active_requests", None, "Exchanges under way", open);
        let connections = load(&traffic.connections);
        self.gauge("sealtap_connections", None, "Connections of clients", connections);
        let accepted = load(&traffic.accepted);
        self.counter("sealtap_connections_accepted", "Connections of clients so far", accepted);
    }

    fn journal(&mut self, stats: &Stats) {
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let unit = || Some(Unit::Bytes);
        self.gauge(
            "sealtap_journal_pending",
            unit(),
            "Bytes gathering, being written, or not yet digested",
            bytes(stats.pending),
        );
        self.gauge(
            "sealtap_journal_pending_limit",
            unit(),
            "Pending bytes beyond which traffic is held back",
            bytes(stats.limit),
        );
        self.histograms(
            "sealtap_journal_sync",
            "How long the disk took for each sync; ends of messages wait for one",
            vec![(Vec::new(), stats.sync_times.clone())],
        );
        self.gauges(
            "sealtap_journal_last_sync",
            Some(Unit::Seconds),
            "How long the last sync took",
            vec![(Vec::new(), seconds(Duration::from_nanos(stats.last_sync_ns)))],
        );
        self.bytes(
            "sealtap_journal_written",
            "Bytes written and synced, headers and padding included",
            stats.bytes,
        );
        self.gauge(
            "sealtap_journal_files",
            None,
            "Journal files that hold what is not stored yet",
            stats.files,
        );
        self.gauge(
            "sealtap_journal_spare_files",
            None,
            "Journal files ready for use",
            stats.spares,
        );
        let reason = match &stats.down {
            None => "",
            Some(Down::DiskFull(_)) => "disk_full",
            Some(Down::Closed) => "closed",
            Some(_) => "journal_failed",
        };
        let states = ["disk_full", "journal_failed", "closed"].into_iter().map(|state| {
            (vec![("reason", state.to_owned())], if state == reason { 1.0 } else { 0.0 })
        });
        self.gauges(
            "sealtap_journal_down",
            None,
            "Whether the journal takes nothing, and why",
            states.collect(),
        );
    }

    fn seal(&mut self, standing: &Standing) {
        self.gauges(
            "sealtap_seal_lag",
            Some(Unit::Seconds),
            "How long the oldest exchange without a published leaf has waited",
            vec![(Vec::new(), seconds(standing.seal_lag()))],
        );
        self.gauge(
            "sealtap_unsealed_exchanges",
            None,
            "Exchanges that are over and have no published leaf yet",
            standing.unsealed,
        );
        self.gauge("sealtap_log_size", None, "Leaves in the log", standing.log_size);
        self.counter("sealtap_leaves", "Leaves published since the start", standing.leaves);
        let checkpoint = standing.checkpoint_at.map_or(0.0, since_epoch);
        self.gauges(
            "sealtap_checkpoint_timestamp",
            Some(Unit::Seconds),
            "When the last checkpoint was published, since the Unix epoch",
            vec![(Vec::new(), checkpoint)],
        );
        let failing = u64::from(standing.log_failing.is_some());
        self.gauge("sealtap_log_failing", None, "Whether the log cannot be written", failing);
        self.counter("sealtap_gaps", "Times without capture", standing.gaps);
        self.counter(
            "sealtap_gap_exchanges",
            "Exchanges refused in times without capture that are over",
            standing.gap_exchanges,
        );
    }

    fn store(&mut self, standing: &Standing) {
        let (stored, pruned) = (standing.stored, standing.pruned);
        let unit = || Some(Unit::Bytes);
        let unstored = standing.unstored;
        self.gauge("sealtap_unstored_exchanges", None, "Sealed exchanges to be stored", unstored);
        let bytes = standing.unstored_bytes;
        self.gauge("sealtap_unstored", unit(), "Body bytes of exchanges to be stored", bytes);
        let failing = u64::from(standing.store_failing.is_some());
        self.gauge("sealtap_store_failing", None, "Whether the store cannot be written", failing);
        let stuck = standing.not_stored;
        self.counter("sealtap_exchanges_not_stored", "Exchanges left in the journal", stuck);
        self.counter("sealtap_stored_exchanges", "Exchanges stored", stored.exchanges);
        let kinds = [("new", stored.segments_new), ("shared", stored.segments_shared)];
        self.counters(
            "sealtap_stored_segments",
            None,
            "Segments stored, by whether their content was new",
            kinds.map(|(kind, count)| (vec![("content", kind.to_owned())], count)).to_vec(),
        );
        self.bytes("sealtap_stored_body", "Body bytes compacted", stored.bytes_read);
        self.bytes("sealtap_stored_kept", "Bytes kept of them, compressed", stored.bytes_kept);
        self.counter(
            "sealtap_pruned_exchanges",
            "Exchanges whose bodies, heads and keys retention destroyed",
            pruned.exchanges,
        );
        self.bytes("sealtap_pruned", "Bytes of contents that retention destroyed", pruned.bytes);
    }

    fn disks(&mut self, observe: &Observe) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let of = |field: fn(&super::Disk) -> Option<u64>| -> Vec<(Labels, f64)> {
            let disks = observe.disks();
            let known = disks.iter().filter_map(|disk| Some((disk.what, field(disk)?)));
            known
                .map(|(what, bytes)| (vec![("directory", what.to_owned())], bytes as f64))
                .collect()
        };
        let left = of(|disk| disk.left);
        self.gauges(
            "sealtap_disk_left",
            Some(Unit::Bytes),
            "Bytes left on the disk of each directory",
            left,
        );
        let size = of(|disk| disk.size);
        self.gauges(
            "sealtap_disk_size",
            Some(Unit::Bytes),
            "Bytes of the disk of each directory",
            size,
        );
    }

    fn process(&mut self, observe: &Observe) {
        let process = Process::read();
        if let Some(spent) = process.cpu_seconds {
            let samples = Samples::Seconds(spent);
            let (unit, help) = (Some(Unit::Seconds), "Processor time, user and system");
            self.0.push(Family { name: "process_cpu", unit, help, samples });
        }
        let gauges = [
            ("process_resident_memory", true, "Memory in use", process.resident_bytes),
            ("process_virtual_memory", true, "Address space", process.virtual_bytes),
            ("process_open_fds", false, "Open file descriptors", process.open_files),
            ("process_max_fds", false, "File descriptors there may be", process.most_files),
            ("process_threads", false, "Threads", process.threads),
        ];
        for (name, bytes, help, value) in gauges {
            if let Some(value) = value {
                self.gauge(name, bytes.then_some(Unit::Bytes), help, value);
            }
        }
        self.gauges(
            "process_start_time",
            Some(Unit::Seconds),
            "When the gateway started, since the Unix epoch",
            vec![(Vec::new(), since_epoch(observe.started))],
        );
    }
}
