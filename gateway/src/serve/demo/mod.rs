//! `sealtap demo`: the whole story on one machine, with real parts over real sockets.
//!
//! In: nothing; no key, no network. Out: the story on standard output and `./sealtap-demo/`, left to
//! look at. Can fail: every step says what should come out, and anything else ends with exit 1. The
//! only things made up are the model's wit, the app's key, and the lie that it tells.

mod answers;
mod app;
mod claims;
mod client;
mod error;
mod handed;
mod log;
mod model;
mod place;
mod record;
mod story;
mod traffic;

use std::path::Path;
use std::time::Instant;

use crate::command::demo::{Arguments, DIRECTORY};
use crate::command::{Exit, Outcome, Output};
use error::DemoError;
use place::Place;
use story::Story;

/// Runs the demonstration.
///
/// # Errors
///
/// A step could not be taken, or did not come out as told.
pub fn run(_: &Arguments, output: &mut Output<'_>) -> Outcome {
    tell(Path::new(DIRECTORY), &mut Story::new(output))?;
    Ok(Exit::Done)
}

fn tell(root: &Path, story: &mut Story<'_, '_>) -> Result<(), DemoError> {
    let began = Instant::now();
    let place = Place::prepare(root)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DemoError::system("start threads"))?;
    let passed = runtime.block_on(traffic::pass(&place, story))?;
    drop(runtime);
    let recorded = record::captured(&place, &passed, story)?;
    record::secret(&place, &recorded, story)?;
    let key = log::verified(&place, story)?;
    log::tampered(&place, &key, story)?;
    handed::on(&place, story)?;
    claims::compared(&place, &recorded, story)?;
    // Once more, now that all files are there.
    record::clean(&place)?;
    let took = began.elapsed().as_secs_f64();
    story.line("")?;
    story.line(&format!(
        "All came out as told, in {took:.1} s. It is left in {}:",
        root.display()
    ))?;
    next(&place, &recorded, story)
}

/// What to try on what is left.
fn next(
    place: &Place,
    recorded: &[record::Recorded],
    story: &mut Story<'_, '_>,
) -> Result<(), DemoError> {
    let path = |path: &Path| path.strip_prefix("./").unwrap_or(path).display().to_string();
    let (data, keys) = (path(place.data().root()), path(&place.keys()));
    let id = recorded.first().map(|first| first.detail.view.id.to_string()).unwrap_or_default();
    let id: String = id.chars().take(12).collect();
    story.line(&format!("  sealtap ls --data {data}"))?;
    story.line(&format!("  sealtap show {id} --data {data} --body request"))?;
    story.line(&format!("  sealtap verify {data} --key {keys}"))?;
    story.line(&format!("  sealtap verify {} --key {keys}", path(&place.bundle())))
}
