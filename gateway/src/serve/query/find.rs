//! Find: which exchange, or which run, a text stands for.

use sealtap_common::Id;

use super::Query;
use super::error::QueryError;
use super::overlay::Overlay;
use super::view::ExchangeView;
use crate::store::{Found, RunFilter, StoredExchange};

/// An exchange, and where it is.
pub(super) enum Target {
    /// In the store.
    Stored(Box<StoredExchange>),
    /// In the journal only.
    Pending(Box<ExchangeView>),
}

impl<O: Overlay> Query<O> {
    /// The one exchange that `text` stands for.
    pub(super) fn find(&mut self, text: &str) -> Result<Target, QueryError> {
        // The journal first: what moves into the store in between is then met in both, not in none.
        let pending = self.overlay.rows().map_err(QueryError::Pending)?;
        let mut pending: Vec<_> = pending.into_iter().filter(|row| row.answers_to(text)).collect();
        let found = match &self.store {
            Some(store) => store.find(text)?,
            None => Found::None,
        };
        let mut ids: Vec<Id> = match found {
            Found::None => Vec::new(),
            Found::One(id) => vec![Id(id)],
            Found::Many(ids) => ids.into_iter().map(Id).collect(),
        };
        ids.extend(pending.iter().map(|row| row.id));
        ids.sort_unstable();
        ids.dedup();
        // A whole id is never ambiguous, even where a run is named like it.
        let whole = ids.iter().position(|id| id.to_string() == text);
        let id = match (ids.as_slice(), whole.and_then(|at| ids.get(at))) {
            ([], _) => return Err(QueryError::NotFound { text: text.to_owned() }),
            ([id], _) | (_, Some(id)) => *id,
            (several, None) => {
                let candidates = several.iter().take(20).map(Id::to_string).collect();
                return Err(QueryError::Ambiguous { text: text.to_owned(), candidates });
            }
        };
        if let Some(store) = &self.store
            && let Some(stored) = store.exchange(&id.0)?
        {
            return Ok(Target::Stored(Box::new(stored)));
        }
        pending.retain(|row| row.id == id);
        match pending.pop() {
            Some(row) => Ok(Target::Pending(Box::new(row))),
            None => Err(QueryError::NotFound { text: text.to_owned() }),
        }
    }

    /// The runs that `text` stands for: all of that name, or the one whose id begins so.
    pub(super) fn run_filter<'a>(
        &self,
        text: &'a str,
        pending: &[ExchangeView],
    ) -> Result<RunFilter<'a>, QueryError> {
        let mut runs: Vec<(Id, Option<String>)> = match &self.store {
            Some(store) => {
                store.runs(text)?.into_iter().map(|run| (Id(run.id), run.name)).collect()
            }
            None => Vec::new(),
        };
        let waiting = pending.iter().filter(|row| row.is_of_run(text));
        runs.extend(waiting.map(|row| (row.run.id, row.run.name.clone())));
        if runs.iter().any(|(_, name)| name.as_deref() == Some(text)) {
            return Ok(RunFilter::Name(text));
        }
        let mut ids: Vec<Id> = runs.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        match ids.as_slice() {
            [] => Err(QueryError::NotFound { text: text.to_owned() }),
            [id] => Ok(RunFilter::Id(id.0)),
            several => {
                let candidates = several.iter().take(20).map(Id::to_string).collect();
                Err(QueryError::Ambiguous { text: text.to_owned(), candidates })
            }
        }
    }
}
