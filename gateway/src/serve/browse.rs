//! `sealtap ls` and `sealtap show`: the store, and over it what is still in the journal.

use std::path::Path;

use super::query::{Format, Paint, Query, QueryError};
use super::records;
use crate::command::show::Body;
use crate::command::{Exit, Failure, Outcome, Output, ls, show};
use crate::seal::preview::Preview;
use crate::store::Direction;

/// Lists exchanges.
///
/// # Errors
///
/// There is no such data directory or run, or something cannot be read.
pub fn list(arguments: &ls::Arguments, output: &mut Output<'_>) -> Outcome {
    let mut query = open(&arguments.data)?;
    let format = format(arguments.json);
    query.list(arguments.run.as_deref(), format, output.exact()).map_err(failure)?;
    Ok(Exit::Done)
}

/// Shows one exchange, or one of its bodies.
///
/// # Errors
///
/// There is no such exchange or body, or something cannot be read.
pub fn show(arguments: &show::Arguments, output: &mut Output<'_>) -> Outcome {
    let mut query = open(&arguments.data)?;
    let id = &arguments.id;
    let output = output.exact();
    match arguments.body {
        None => query.show(id, format(arguments.json), output),
        Some(Body::Request) => query.body(id, Direction::Request, output).map(drop),
        Some(Body::Response) => query.body(id, Direction::Response, output).map(drop),
    }
    .map_err(failure)?;
    Ok(Exit::Done)
}

fn open(data: &Path) -> Result<Query<Preview>, Failure> {
    let data = records::directory(data)?;
    let preview = Preview::read(data.clone()).map_err(|error| Failure::of(&error))?;
    Query::open(&data.store(), preview).map_err(failure)
}

fn format(json: bool) -> Format {
    if json { Format::Json } else { Format::People(Paint::for_stdout()) }
}

fn failure(error: QueryError) -> Failure {
    match error {
        QueryError::Output(error) => Failure::writing(&error),
        error => Failure::of(&error),
    }
}
