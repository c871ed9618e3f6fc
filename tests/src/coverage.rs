//! Coverage: what the log says of the kernel's part, and what the account of a run does.

use serde_json::Value;

use crate::gateway::Home;
use crate::launch::Launched;
use crate::verify;

/// Every coverage that a log tells of, which must be valid; the first armed first.
///
/// # Panics
/// If it is not.
pub fn all(home: &Home) -> Vec<Value> {
    verify::valid(home)["coverage"].as_array().expect("a list").clone()
}

/// The one coverage that it tells of.
///
/// # Panics
/// If there is another number of them, or the log is not valid.
pub fn one(home: &Home) -> Value {
    let all = all(home);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// The state of a channel in a coverage.
///
/// # Panics
/// If it is not listed.
pub fn state<'c>(covered: &'c Value, channel: &str) -> &'c str {
    let channels = covered["channels"].as_array().expect("a list");
    let found = channels.iter().find(|listed| listed["channel"] == channel);
    found.expect("every channel is listed")["state"].as_str().expect("a word")
}

/// The account's word for how far the kernel's part reached.
pub fn level(launched: &Launched) -> &str {
    launched.account["coverage"]["level"].as_str().unwrap_or_default()
}

/// A number of the account, in connections.
///
/// # Panics
/// If it has none of this name.
pub fn connections(launched: &Launched, name: &str) -> u64 {
    let value = &launched.account["coverage"]["connections"][name];
    value.as_u64().unwrap_or_else(|| panic!("no {name}: {}", launched.account))
}
