//! Crash: `kill -9` at random moments under load, again and again on one data directory. After
//! each, the gateway starts again, the log verifies, and every exchange that a client saw
//! finished is sealed as complete; and whatever reached the upstream is in the record.
//!
//! `SEALTAP_CRASH_ROUNDS` says how often, 10 by default.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sealtap_tests::gate::poll;
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::load::Seen;
use sealtap_tests::programs;
use sealtap_tests::records::Exchange;

/// How soon a killed gateway must listen again, and then have sealed what was pending.
const LISTENS_WITHIN: Duration = Duration::from_secs(10);
const SEALS_WITHIN: Duration = Duration::from_secs(3);

fn rounds() -> u64 {
    let rounds = std::env::var("SEALTAP_CRASH_ROUNDS").ok();
    rounds.map_or(10, |rounds| rounds.parse().expect("SEALTAP_CRASH_ROUNDS is a number"))
}

/// Kills and restarts under load; holds each record against the clients, and gives the last one.
fn kill_at_random() -> (Seen, Vec<Exchange>) {
    let seen = Seen::default();
    let upstream = seen.upstream();
    let options = || Options::default().upstream("up", upstream.url());
    let mut home = Arc::new(Home::new());
    // Whoever comes first has it built, which is no part of listening.
    let _ = programs::sealtap();
    for round in 0..rounds() {
        let began = Instant::now();
        let gateway = options().start_in(home);
        assert!(began.elapsed() < LISTENS_WITHIN, "round {round}: listening took too long");
        let stop = Arc::new(AtomicBool::new(false));
        let before = seen.finished();
        let clients = seen.clients(gateway.address(), 6, &stop);
        // The moment: after so many finished calls, and a little more that nobody controls.
        let calls = usize::try_from(round * 13 % 29 + 1).expect("small");
        poll("calls to be finished", || (seen.finished() >= before + calls).then_some(()));
        home = gateway.crash();
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("a client saw only right answers");
        }
        let gateway = options().start_in(home);
        let listening = Instant::now();
        let records = poll("everything to be sealed", || {
            let records = gateway.list();
            records.iter().all(Exchange::sealed).then_some(records)
        });
        assert!(listening.elapsed() < SEALS_WITHIN + Duration::from_secs(1), "round {round}");
        seen.account(&records);
        gateway.home().assert_valid();
        // Half of the rounds crash a gateway that has just recovered and is idle.
        home = if round % 2 == 0 { gateway.crash() } else { gateway.terminate() };
    }
    let records = options().start_in(home).finish();
    drop(upstream);
    (seen, records)
}

#[test]
fn what_was_finished_is_recorded() {
    let (seen, records) = kill_at_random();
    seen.account(&records);
    let interrupted = records.iter().filter(|record| record.text("/outcome") == "interrupted");
    println!("{} finished, {} interrupted", seen.finished(), interrupted.count());
}

#[test]
fn what_was_forwarded_is_recorded() {
    let (seen, records) = kill_at_random();
    let lost = seen.unrecorded(&records);
    assert!(lost.is_empty(), "forwarded and in no record: {lost:?} beside {}", records.len());
}

/// A gateway killed while it starts, at ever later moments, is no worse for it.
#[test]
fn killed_while_starting() {
    let seen = Seen::default();
    let upstream = seen.upstream();
    let options = || Options::default().upstream("up", upstream.url());
    let gateway = options().start();
    for _ in 0..5 {
        assert!(seen.call(gateway.address()));
    }
    let mut home = gateway.crash();
    for _ in 0..rounds() {
        home = options().start_in(home).crash();
    }
    let records = options().start_in(home).finish();
    seen.account(&records);
    assert_eq!(records.len(), 5);
    assert!(seen.unrecorded(&records).is_empty());
    drop(upstream);
}
