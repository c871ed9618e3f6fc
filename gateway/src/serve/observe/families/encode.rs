//! One family of numbers as text, by way of `prometheus-client`.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::tally::{BOUNDS_US, Spread};

/// Names and values; never anything that a client chose.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A family with its numbers.
#[derive(Debug)]
pub(super) struct Family {
    /// Without unit and `_total`.
    pub(super) name: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
    pub(super) samples: Samples,
}

/// The numbers of one family.
#[derive(Debug)]
pub(super) enum Samples {
    Counter(Vec<(Labels, u64)>),
    /// One counter of seconds.
    Seconds(f64),
    Gauge(Vec<(Labels, f64)>),
    Histogram(Vec<(Labels, Spread)>),
    Info(Labels),
}

/// All of `families` as one page, or nothing where one cannot be written.
pub(super) fn text(families: Vec<Family>) -> Option<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(families)));
    let mut text = String::new();
    encode(&mut text, &registry).ok()?;
    Some(text)
}

#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match &self.samples {
            Samples::Counter(_) | Samples::Seconds(_) => MetricType::Counter,
            Samples::Gauge(_) => MetricType::Gauge,
            Samples::Histogram(_) => MetricType::Histogram,
            Samples::Info(_) => MetricType::Info,
        };
        let mut metric =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), kind)?;
        match &self.samples {
            Samples::Counter(samples) => samples.iter().try_for_each(|(labels, value)| {
                with(&mut metric, labels, |metric| {
                    metric.encode_counter::<NoLabelSet, _, f64>(value, None)
                })
            }),
            Samples::Seconds(value) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
            Samples::Gauge(samples) => samples.iter().try_for_each(|(labels, value)| {
                with(&mut metric, labels, |metric| metric.encode_gauge(value))
            }),
            Samples::Histogram(samples) => samples.iter().try_for_each(|(labels, spread)| {
                let (sum, count, buckets) = parts(spread);
                with(&mut metric, labels, |metric| {
                    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
                })
            }),
            Samples::Info(labels) => metric.encode_info(labels),
        }
    }
}

/// Encodes one sample under its labels; without any, no empty braces are written.
fn with(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

/// Sum, count and buckets in seconds; the last bound is written as `+Inf`.
fn parts(spread: &Spread) -> (f64, u64, Vec<(f64, u64)>) {
    let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
    let bounds = BOUNDS_US.iter().zip(spread.counts);
    let mut buckets: Vec<(f64, u64)> =
        bounds.map(|(bound, count)| (seconds(*bound), count)).collect();
    buckets.push((f64::INFINITY, spread.longer));
    (seconds(spread.sum_us), spread.count(), buckets)
}
