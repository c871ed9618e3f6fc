//! Step 9.12: what is said of an open exchange only grows, and its leaf begins with it.

use super::What;
use super::history::{Broken, broken};
use crate::leaf::{Body, Exchange, Prefix, ProgressEntry};

/// Whether an entry goes on from the one before of the same exchange.
pub(super) fn continues(entry: &ProgressEntry, earlier: &ProgressEntry) -> bool {
    let response = match (&entry.response, &earlier.response) {
        (_, None) => true,
        (Some(now), Some(before)) => now.continues(before),
        (None, Some(_)) => false,
    };
    response && entry.exchange == earlier.exchange && entry.request.continues(&earlier.request)
}

/// Step 9.12, when the exchange has its leaf.
pub(super) fn begins_with(leaf: &Exchange, earlier: &ProgressEntry) -> Result<(), Broken> {
    let begins =
        |prefix: &Prefix, body: Option<&Body>| body.is_some_and(|body| prefix.begins(body));
    let response = leaf.response.as_ref().map(|response| &response.body);
    let fits = leaf.exchange == earlier.exchange
        && begins(&earlier.request, Some(&leaf.request.body))
        && earlier.response.as_ref().is_none_or(|prefix| begins(prefix, response));
    if fits {
        return Ok(());
    }
    let detail = format!("exchange {} does not begin as a progress leaf says", leaf.number);
    broken(What::Progress, detail)
}
