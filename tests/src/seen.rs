//! Seen: what the gateway of a `sealtap run` has found out by now, as its messages say in detail.
//!
//! Whoever is gone before the loader looks is unknown, and rightly so; how soon it looks is the machine's affair.
//! So a test that wants a process known keeps it until the gateway has said that it was looked at.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::{OF_A_GATEWAY, poll_for};
use crate::gateway::Home;

/// What has the gateway tell in detail: a variable, and its value.
pub const DETAILS: (&str, &str) = ("SEALTAP_LOG", "info,sealtap=debug");

/// How long thousands of connections may take: as long as whoever makes them stays.
const OF_MANY: Duration = Duration::from_secs(600);

/// Waits until so many connections that were led to the gateway were looked at; takes [`DETAILS`].
///
/// # Panics
/// If that does not come.
pub fn connections(home: &Home, count: usize) {
    looked_at(OF_A_GATEWAY, home, count);
}

/// The same of so many that it takes minutes.
///
/// # Panics
/// If that does not come.
pub fn many_connections(home: &Home, count: usize) {
    looked_at(OF_MANY, home, count);
}

fn looked_at(patience: Duration, home: &Home, count: usize) {
    let known = || lines(home, "connection attributed").len() >= count;
    until_within(patience, &format!("{count} connections that were looked at"), known);
}

/// Waits until so much that went around was told of, with who it was.
///
/// # Panics
/// If that does not come.
pub fn around(home: &Home, count: usize) {
    let known = || lines(home, "went around the gateway").len() >= count;
    until(&format!("{count} that went around"), known);
}

/// Waits until so many packets to the resolver were read, with who sent them; takes [`DETAILS`].
///
/// # Panics
/// If that does not come.
pub fn asked(home: &Home, count: u64) {
    let packets = |line: &String| {
        let (_, rest) = line.split_once("packets=")?;
        rest.split(' ').next()?.parse::<u64>().ok()
    };
    let known = || {
        let told = lines(home, "packets to the resolver were read");
        told.iter().filter_map(packets).sum::<u64>() >= count
    };
    until(&format!("{count} packets to the resolver"), known);
}

/// A pipe in the home that is opened once so many connections were looked at: whoever reads it last stays until
/// then. Takes [`DETAILS`].
///
/// # Panics
/// If it cannot be made.
pub fn last(home: &Arc<Home>, count: usize) -> PathBuf {
    let place = home.path().join("last");
    let made = Command::new("mkfifo").arg(&place).status();
    assert!(made.is_ok_and(|status| status.success()), "no pipe can be made");
    let (home, opened) = (Arc::clone(home), Opened(place.clone()));
    // Nobody waits for it: the reader may have failed before it came to this.
    std::thread::spawn(move || {
        let _opened = opened;
        connections(&home, count);
    });
    place
}

/// A pipe whose reader goes on when this is dropped, whatever came of what was waited for.
struct Opened(PathBuf);

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = OpenOptions::new().write(true).open(&self.0);
    }
}

/// Waits with patience: much may come before, the beginning of the gateway among it.
fn until(what: &str, known: impl Fn() -> bool) {
    until_within(OF_A_GATEWAY, what, known);
}

/// What is read each time grows.
fn until_within(patience: Duration, what: &str, known: impl Fn() -> bool) {
    poll_for(patience, what, || {
        let found = known().then_some(());
        if found.is_none() {
            std::thread::park_timeout(Duration::from_millis(25));
        }
        found
    });
}

/// The lines of its messages that say this.
fn lines(home: &Home, said: &str) -> Vec<String> {
    let messages = fs::read_to_string(home.data().join("messages.log")).unwrap_or_default();
    messages.lines().filter(|line| line.contains(said)).map(str::to_owned).collect()
}
