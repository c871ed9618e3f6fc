//! What is known of processes that become others, by what is noted and by what they do.

use std::cell::Cell;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use super::super::execs::{Holds, Noted, Settling, holds};
use super::super::held::Held;
use super::super::process::{self, Found, Stat};
use super::{Executable, Now, Readings};
use crate::clock::boottime_ns;

/// What a test says is noted.
struct Said(Rc<Cell<Option<u64>>>);

impl Noted for Said {
    fn latest(&self, _: u32) -> Option<u64> {
        self.0.get()
    }
}

fn readings(noted: Option<u64>) -> (Rc<Cell<Option<u64>>>, Readings) {
    let said = Rc::new(Cell::new(noted));
    (Rc::clone(&said), Readings::new(Box::new(Said(said))))
}

fn stat(threads: u64, sleeps: bool, mapped: bool, spent: u64) -> Stat {
    Stat { started: 1, sleeps, threads, mapped, spent }
}

#[test]
fn a_reading_settles_by_what_nobody_does_who_becomes_another() {
    let after = |seen: &[Stat]| {
        let mut settling = Settling::after(9);
        (10..).zip(seen).for_each(|(at, seen)| settling.add(at, seen));
        settling.is_settled()
    };
    let (runs, sleeps) = (stat(1, false, true, 5), stat(1, true, true, 5));
    assert!(!after(&[]));
    assert!(after(&[stat(2, false, false, 0)]), "another thread");
    assert!(!after(&[runs.clone(), runs.clone()]));
    assert!(after(&[runs.clone(), sleeps.clone()]));
    // The file of what it becomes may be slow, and the address can be given in the middle of a look.
    assert!(!after(std::slice::from_ref(&sleeps)));
    let maps = stat(1, true, false, 5);
    assert!(!after(&[maps.clone(), maps.clone(), sleeps.clone()]));
    assert!(after(&[maps, sleeps.clone(), sleeps]));
    assert!(!after(&[runs.clone(), stat(1, false, true, 14)]));
    assert!(after(&[runs, stat(1, false, true, 15)]), "long at work");
}

/// What it sees may be of two moments, and neither of them after the other.
#[test]
fn one_look_says_no_more_when_it_is_taken_in_again() {
    let (sleeps, threads) = (stat(1, true, true, 5), stat(2, false, true, 5));
    let mut settling = Settling::after(9);
    settling.add(9, &threads);
    assert!(!settling.is_settled(), "it began before what was read");
    (0..3).for_each(|_| settling.add(10, &sleeps));
    assert!(!settling.is_settled());
    assert!(settling.is_behind(9) && !settling.is_behind(10));
    settling.add(11, &sleeps);
    assert!(settling.is_settled());
}

#[test]
fn what_is_noted_decides_before_and_behind_a_reading() {
    let (open, mut settled) = (Settling::after(20), Settling::after(20));
    settled.went_on(20);
    assert!(!settled.is_settled(), "that was not after it");
    settled.went_on(21);
    // Connected at 10, read at 20; and the other way round.
    for (connected, read) in [(10, 20), (20, 10)] {
        assert_eq!(holds(Some(9), connected, read, &settled), Holds::Yes);
        assert_eq!(holds(Some(9), connected, read, &open), Holds::NotYet);
        for noted in [10, 15, 20, 25] {
            assert_eq!(holds(Some(noted), connected, read, &settled), Holds::No, "{noted}");
            assert_eq!(holds(Some(noted), connected, read, &open), Holds::No, "{noted}");
        }
        assert_eq!(holds(None, connected, read, &settled), Holds::Unnoted);
    }
}

/// A process that sleeps, or works, until it is dropped.
struct Other(Child);

impl Other {
    fn start(script: &str) -> Self {
        let mut command = Command::new("sh");
        Self(command.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap())
    }

    /// What is known of it for the moment `connected`, once that is told.
    fn asked(&self, readings: &mut Readings, connected: u64) -> Executable {
        loop {
            let mut now = readings.now(self.0.id());
            match readings.of(self.0.id(), connected, &mut now) {
                Executable::NotYet => std::thread::sleep(Duration::from_millis(1)),
                told => return told,
            }
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_reading_holds_until_something_is_noted() {
    for script in ["read line", "while :; do :; done"] {
        let other = Other::start(script);
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        // It begins as this program.
        while std::fs::read_link(format!("/proc/{}/exe", other.0.id())).unwrap() != shell {}
        let is_shell = Executable::Is(shell.to_str().unwrap().to_owned());
        let (noted, mut readings) = readings(Some(1));
        let connected = boottime_ns();
        assert_eq!(other.asked(&mut readings, 1), Executable::Unknown, "before it began");
        assert_eq!(other.asked(&mut readings, connected), is_shell);
        // What it does next settles what was read at once, whatever it is doing now.
        let mut now = readings.now(other.0.id());
        assert_eq!(readings.of(other.0.id(), boottime_ns(), &mut now), is_shell);
        noted.set(Some(boottime_ns()));
        assert_eq!(other.asked(&mut readings, connected), Executable::Became);
        // Of what it is since then it is known again.
        assert_eq!(other.asked(&mut readings, boottime_ns()), is_shell);
        noted.set(None);
        assert_eq!(other.asked(&mut readings, boottime_ns()), Executable::Unnoted);
    }
}

/// One look serves all that a process did, and a reading that is made meanwhile is younger than it.
#[test]
fn what_was_seen_before_a_reading_does_not_settle_it() {
    let other = Other::start("while :; do :; done");
    let (noted, mut readings) = readings(Some(1));
    let process = other.0.id();
    let Now { found: Found::There(seen), .. } = readings.now(process) else {
        panic!("it is there")
    };
    let (connected, spent) = (boottime_ns(), seen.spent);
    // As it is before it becomes another: with a thread more.
    let found = Found::There(Stat { threads: 2, ..seen });
    let mut before = Now { at: boottime_ns(), found, noted: Some(1) };
    let first = readings.of(process, connected, &mut before.clone());
    let second = readings.of(process, connected, &mut before.clone());
    // A machine that stands still may have charged it for long at work.
    let worked = process::found(process).there().is_some_and(|stat| stat.spent >= spent + 10);
    assert!(worked || (first, second) == (Executable::NotYet, Executable::NotYet));
    // And what is noted meanwhile is known.
    noted.set(Some(boottime_ns()));
    assert_eq!(readings.of(process, connected, &mut before), Executable::Became);
}

/// That it cannot be looked at is not that it is gone.
#[test]
fn what_cannot_be_looked_at_is_not_gone() {
    let (_, mut readings) = readings(Some(1));
    let process = std::process::id();
    let mut of = |found| {
        let mut now = Now { at: boottime_ns(), found, noted: Some(1) };
        readings.of(process, boottime_ns(), &mut now)
    };
    assert_eq!(of(Found::Gone), Executable::Unknown);
    let why = "too many open files".to_owned();
    assert_eq!(of(Found::Unread(why.clone())), Executable::Unread(why));
}

#[test]
fn what_waits_is_given_with_the_path_or_without_when_it_must() {
    let (_, mut readings) = readings(Some(1));
    let working = Other::start("while :; do :; done");
    let mut held = Held::default();
    held.push("nobody", 0, 1);
    held.push("gone", u32::MAX, u64::MAX);
    held.push("working", working.0.id(), boottime_ns());
    let mut released = held.release(&mut readings, false);
    assert_eq!(released.remove(0), ("nobody", None));
    assert_eq!(released.remove(0), ("gone", None));
    while held.pause().is_some() {
        std::thread::sleep(Duration::from_millis(1));
        released.extend(held.release(&mut readings, false));
    }
    assert_eq!(released.len(), 1, "{released:?}");
    held.push("again", u32::MAX, u64::MAX);
    assert_eq!(held.release(&mut readings, true), [("again", None)]);
    assert!(held.pause().is_none());
}
