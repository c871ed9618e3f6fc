//! List: every exchange, newest last, a page at a time.

use std::collections::HashSet;
use std::io::Write;

use sealtap_common::Id;

use super::Query;
use super::error::QueryError;
use super::overlay::Overlay;
use super::people::Format;
use super::table::Table;
use super::view::ExchangeView;
use crate::store::{RunFilter, StoreReader};

/// Rows that are read, and laid out, together.
const PAGE: u32 = 200;

impl<O: Overlay> Query<O> {
    /// Writes one line per exchange, newest last, of one run only if `run` names one; gives how many.
    ///
    /// # Errors
    ///
    /// No run has that name, the store or the journal cannot be read, or `out` fails. An exchange
    /// that cannot be read is left out; the error comes after all others were listed.
    pub fn list(
        &mut self,
        run: Option<&str>,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<u64, QueryError> {
        // The journal first: what moves into the store in between is then met in both, not in none.
        let mut pending = self.overlay.rows().map_err(QueryError::Pending)?;
        let filter = match run {
            Some(text) => self.run_filter(text, &pending)?,
            None => RunFilter::All,
        };
        pending.retain(|row| match filter {
            RunFilter::All => true,
            RunFilter::Id(id) => row.run.id.0 == id,
            RunFilter::Name(name) => row.run.name.as_deref() == Some(name),
        });
        let mut waiting: HashSet<_> = pending.iter().map(|row| row.id).collect();
        let makers = self.store.as_ref().map_or(Ok(false), StoreReader::has_makers)?;
        let mut lines = Lines { format, table: Table::new(makers), count: 0, out };
        let mut unreadable = None;
        let mut next = 0;
        while let Some(store) = &self.store {
            let page = store.page(next, PAGE, filter)?;
            let Some(last) = page.last() else { break };
            next = last.leaf_index.saturating_add(1);
            let mut rows = Vec::with_capacity(page.len());
            for stored in &page {
                waiting.remove(&Id(stored.id));
                let row = ExchangeView::stored(stored)
                    .and_then(|(row, leaf, _)| row.made(&leaf, Some(store)));
                match row {
                    Ok(row) => rows.push(row),
                    Err(error) => unreadable = unreadable.or(Some(error)),
                }
            }
            lines.write(&rows)?;
        }
        pending.retain(|row| waiting.contains(&row.id));
        lines.write(&pending)?;
        lines.out.flush().map_err(QueryError::Output)?;
        unreadable.map_or(Ok(lines.count), Err)
    }
}

struct Lines<'a> {
    format: Format,
    table: Table,
    count: u64,
    out: &'a mut dyn Write,
}

impl Lines<'_> {
    fn write(&mut self, rows: &[ExchangeView]) -> Result<(), QueryError> {
        match self.format {
            Format::Json => {
                for row in rows {
                    serde_json::to_writer(&mut *self.out, row)
                        .map_err(|error| QueryError::Output(error.into()))?;
                    self.out.write_all(b"\n").map_err(QueryError::Output)?;
                }
            }
            Format::People(paint) => {
                self.table.write(rows, paint, self.out).map_err(QueryError::Output)?;
            }
        }
        self.count = self.count.saturating_add(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        Ok(())
    }
}
