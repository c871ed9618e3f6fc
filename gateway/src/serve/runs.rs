//! `sealtap runs`: every run of a data directory, from the store and from what is not in it yet.

use std::collections::HashMap;
use std::io::Write;

use sealtap_common::Id;
use sealtap_common::leaf::Leaf;
use sealtap_common::unit::Context;
use serde_json::{Value, json};

use super::query::{ExchangeView, Overlay, time};
use super::records;
use crate::command::{Exit, Failure, Outcome, Output, runs};
use crate::seal::preview::Preview;
use crate::store::{RunSummary, Slot, StoreError, StoreReader};

/// Runs read at a time.
const PAGE: u32 = 200;

/// One run as it is listed.
struct Row {
    id: Id,
    name: Option<String>,
    by: Option<&'static str>,
    /// `open`, `closed` or `ended_with_boot`.
    state: &'static str,
    /// Why it was closed.
    reason: Option<&'static str>,
    exchanges: u64,
    /// Microseconds since the Unix epoch.
    started: u64,
    ended: Option<u64>,
    first: Option<u64>,
    last: Option<u64>,
    record: Option<u64>,
}

/// Lists runs.
///
/// # Errors
///
/// There is no such data directory, or something cannot be read.
pub fn run(arguments: &runs::Arguments, output: &mut Output<'_>) -> Outcome {
    let data = records::directory(&arguments.data)?;
    // The journal first: what moves into the store in between is then met in both, not in none.
    let mut preview = Preview::read(data.clone()).map_err(|error| Failure::of(&error))?;
    let mut pending: HashMap<Id, Vec<ExchangeView>> = HashMap::new();
    for row in preview.rows().map_err(|error| Failure::of(&error))? {
        pending.entry(row.run.id).or_default().push(row);
    }
    let mut lines = Lines { json: arguments.json, head: true, out: output.exact() };
    if let Some(store) = records::store(&data.store()).map_err(|error| Failure::of(&error))? {
        stored(&store, &mut pending, &mut lines)?;
    }
    let mut fresh: Vec<Row> = pending.into_iter().filter_map(|(id, rows)| open(id, rows)).collect();
    fresh.sort_by_key(|row| row.started);
    fresh.iter().try_for_each(|row| lines.write(row))?;
    Ok(Exit::Done)
}

fn stored(
    store: &StoreReader,
    pending: &mut HashMap<Id, Vec<ExchangeView>>,
    lines: &mut Lines<'_>,
) -> Result<(), Failure> {
    let failed = |error: StoreError| Failure::of(&error);
    let latest = store.latest_boot().map_err(failed)?;
    let mut after = 0;
    while let Some(page) = store.run_page(&mut after, PAGE).map_err(failed)? {
        for summary in page {
            let id = Id(summary.id);
            let waiting = pending.remove(&id).unwrap_or_default();
            let mut row = row(store, summary, latest).map_err(failed)?;
            for exchange in waiting {
                // What the store has by now was counted there.
                let counted = store.exchange(&exchange.id.0).map_err(failed)?.is_some();
                row.exchanges = row.exchanges.saturating_add(u64::from(!counted));
                row.started = row.started.min(exchange.started);
            }
            lines.write(&row)?;
        }
    }
    Ok(())
}

fn row(
    store: &StoreReader,
    summary: RunSummary,
    latest: Option<[u8; 16]>,
) -> Result<Row, StoreError> {
    let mut row = Row {
        id: Id(summary.id),
        name: summary.name,
        by: None,
        state: "open",
        reason: None,
        exchanges: summary.count,
        started: 0,
        ended: None,
        first: Some(summary.first),
        last: Some(summary.last),
        record: summary.record.as_ref().map(|record| record.record_index),
    };
    let closed = summary.record.as_ref().map(|record| Leaf::decode(&record.closed));
    if let Some(Ok(Leaf::RunClosed(leaf))) = closed {
        row.by = Some(leaf.by.as_str());
        row.state = "closed";
        row.reason = Some(leaf.reason.as_str());
        (row.started, row.ended) = (leaf.started, Some(leaf.ended));
        return Ok(row);
    }
    if latest.is_some_and(|latest| latest != summary.boot) {
        row.state = "ended_with_boot";
    }
    if let Some(first) = store.at_leaf(summary.first)? {
        if let Ok(Leaf::Exchange(leaf)) = Leaf::decode(&first.leaf) {
            row.started = leaf.started;
        }
        let context = first.unit(Slot::Context).map(Context::decode);
        row.by = context.and_then(Result::ok).map(|context| context.run_by.as_str());
    }
    if let Some(last) = store.at_leaf(summary.last)?
        && let Ok(Leaf::Exchange(leaf)) = Leaf::decode(&last.leaf)
    {
        row.ended = Some(leaf.ended);
    }
    Ok(row)
}

/// A run that is in the journal only.
fn open(id: Id, rows: Vec<ExchangeView>) -> Option<Row> {
    let first = rows.first()?;
    Some(Row {
        id,
        name: first.run.name.clone(),
        by: None,
        state: "open",
        reason: None,
        exchanges: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        started: rows.iter().map(|row| row.started).min().unwrap_or_default(),
        ended: None,
        first: rows.iter().filter_map(|row| row.leaf).min(),
        last: rows.iter().filter_map(|row| row.leaf).max(),
        record: None,
    })
}

struct Lines<'a> {
    json: bool,
    head: bool,
    out: &'a mut dyn Write,
}

impl Lines<'_> {
    fn write(&mut self, row: &Row) -> Result<(), Failure> {
        let line = if self.json { row.json().to_string() } else { row.text() };
        let head = std::mem::take(&mut self.head) && !self.json;
        let written = match head {
            true => writeln!(self.out, "{HEAD}\n{line}"),
            false => writeln!(self.out, "{line}"),
        };
        written.map_err(|error| Failure::writing(&error))
    }
}

const HEAD: &str = "STARTED (UTC)        ID            STATE            EXCHANGES  LEAVES         BY           NAME";

impl Row {
    fn json(&self) -> Value {
        json!({
            "id": self.id.to_string(),
            "name": self.name,
            "by": self.by,
            "state": self.state,
            "reason": self.reason,
            "exchanges": self.exchanges,
            "started": time(self.started),
            "ended": self.ended.map(time),
            "leaves": { "first": self.first, "last": self.last, "record": self.record },
        })
    }

    fn text(&self) -> String {
        let started = time(self.started);
        let started = started.get(..19).unwrap_or(&started).replace('T', " ");
        let id: String = self.id.to_string().chars().take(12).collect();
        let leaves = match (self.first, self.last) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "not sealed".to_owned(),
        };
        let by = self.by.unwrap_or("-");
        // A name is letters, digits and four marks: it steers no terminal.
        let name = self.name.as_deref().unwrap_or("-");
        format!(
            "{started}  {id}  {:<15}  {:>9}  {leaves:<13}  {by:<11}  {name}",
            self.state, self.exchanges
        )
    }
}
