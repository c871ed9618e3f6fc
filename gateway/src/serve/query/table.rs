//! Table: the lines of `ls` for people, aligned page by page.

use std::io::{self, Write};

use super::maker::MakerView;
use super::octets::printable;
use super::people::{Paint, Tone, duration, size, tone};
use super::view::{ExchangeView, rfc3339};

const COLUMNS: usize = 9;
/// The column that is left out where no maker of any connection is known.
const MAKER: usize = 7;
const HEADS: [&str; COLUMNS] =
    ["STARTED (UTC)", "ID", "RUN", "STATUS", "REQUEST", "RESPONSE", "TIME", "MADE BY", "WHAT"];
/// Columns of figures stand to the right.
const TO_THE_RIGHT: [bool; COLUMNS] = [false, false, false, false, true, true, true, false, false];
/// A run's name longer than this is cut; `--json` has all of it.
const LONGEST_RUN: usize = 24;

/// Widths so far; a later page is never narrower than an earlier one.
#[derive(Default)]
pub(super) struct Table {
    widths: Option<[usize; COLUMNS]>,
    /// Whether it has a column for who made the connections.
    makers: bool,
}

impl Table {
    /// A table with a column for who made the connections, or without.
    pub(super) fn new(makers: bool) -> Self {
        Self { widths: None, makers }
    }

    /// Writes a page of rows, the head before the first one.
    pub(super) fn write(
        &mut self,
        rows: &[ExchangeView],
        paint: Paint,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = rows.iter().map(cells).collect();
        let is_first = self.widths.is_none();
        let widths = self.widths.get_or_insert_with(|| HEADS.map(str::len));
        for line in &lines {
            for (width, (text, _)) in widths.iter_mut().zip(line) {
                *width = (*width).max(text.chars().count());
            }
        }
        let (widths, hidden) = (*widths, if self.makers { COLUMNS } else { MAKER });
        if is_first {
            let heads = HEADS.map(|head| (head.to_owned(), Tone::Quiet));
            write_line(&heads, &widths, hidden, paint, out)?;
        }
        lines.iter().try_for_each(|line| write_line(line, &widths, hidden, paint, out))
    }
}

type Line = [(String, Tone); COLUMNS];

fn cells(row: &ExchangeView) -> Line {
    let started = rfc3339(row.started);
    let started = started.get(..19).unwrap_or(&started).replace('T', " ");
    let mut id = row.id.to_string();
    id.truncate(12);
    let run = match &row.run.name {
        Some(name) => cut(&printable(name), LONGEST_RUN),
        None => cut(&row.run.id.to_string(), 8),
    };
    let passed = row.tunnel.as_ref();
    let status = match (row.status, row.outcome) {
        (_, "complete") if passed.is_some() => "opaque".to_owned(),
        (_, outcome) if passed.is_some() => format!("opaque {outcome}"),
        (Some(status), "complete") => status.to_string(),
        (Some(status), outcome) => format!("{status} {outcome}"),
        (None, outcome) => outcome.to_owned(),
    };
    let response = row.response.as_ref();
    let response = response.map_or_else(|| "-".to_owned(), |it| size(it.message.bytes));
    let response = passed.map_or(response, |tunnel| size(tunnel.to_client));
    let request = passed.map_or(row.request.bytes, |tunnel| tunnel.from_client);
    let why = passed.map(|tunnel| format!("  ({})", tunnel.said())).unwrap_or_default();
    let method = row.method.as_deref().map_or_else(|| "-".to_owned(), printable);
    let without = if row.pruned.is_some() { "(held no longer)" } else { "(no readable head)" };
    let url = row.url.as_deref().map_or_else(|| without.to_owned(), printable);
    [
        (started, Tone::Quiet),
        (id, Tone::Strong),
        (run, Tone::Normal),
        (status, tone(row.outcome, row.status)),
        (size(request), Tone::Normal),
        (response, Tone::Normal),
        (duration(row.duration_ns), Tone::Normal),
        (row.maker.as_ref().map_or_else(|| "-".to_owned(), MakerView::name), Tone::Normal),
        (format!("{method} {url}{why}"), Tone::Normal),
    ]
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(most.saturating_sub(2)).collect();
    cut.push_str("..");
    cut
}

fn write_line(
    line: &Line,
    widths: &[usize; COLUMNS],
    hidden: usize,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut text = String::with_capacity(160);
    let columns = line.iter().zip(widths).zip(TO_THE_RIGHT).enumerate();
    for (_, (((cell, tone), width), right)) in columns.filter(|(column, _)| *column != hidden) {
        let gap = width.saturating_sub(cell.chars().count());
        let (before, after) = if right { (gap, 0) } else { (0, gap) };
        text.extend(std::iter::repeat_n(' ', before));
        text.push_str(&paint.paint(*tone, cell));
        text.extend(std::iter::repeat_n(' ', after.saturating_add(2)));
    }
    writeln!(out, "{}", text.trim_end())
}
