//! Which reading serves whom, of a process with more threads than one: whatever was read of it is settled at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::channel;

use super::super::contents::What;
use super::super::execs::{Noted, Settling};
use super::super::process;
use super::*;
use crate::clock::boottime_ns;

struct Said(Rc<Cell<u64>>);

impl Noted for Said {
    fn latest(&self, _: u32) -> Option<u64> {
        Some(self.0.get())
    }
}

/// A connection of this process.
fn asked(looked: &mut Looked, number: u64, connected: u64) {
    let (process, unread) = process::see(std::process::id(), u64::MAX);
    looked.push(Waiting::new((number, 7), process.unwrap(), connected, unread));
}

/// What a thread reads now; before which moment.
fn read(looked: &mut Looked, number: u64, command: &str) -> u64 {
    let before = boottime_ns();
    let around = (before, Settling::after(boottime_ns()));
    let command = Some(command.as_bytes().to_vec());
    let what = What::First { command, around, digest: false };
    looked.take(Read { number, what, unread: Vec::new() });
    before
}

/// Who was told, with which command line.
fn told(next: Next) -> Vec<(u64, String)> {
    let told = next.told.into_iter().map(|(scope, told)| {
        assert_eq!(scope, 7);
        let Told::Looked { number, process, .. } = told else { panic!("it was looked at") };
        let command = process.unwrap().command.unwrap_or_else(|| b"unknown".to_vec());
        (number, String::from_utf8(command).unwrap())
    });
    told.collect()
}

fn is(number: u64, command: &str) -> (u64, String) {
    (number, command.to_owned())
}

#[test]
fn a_reading_serves_who_connects_soon() {
    let (ends, waits) = channel::<()>();
    std::thread::spawn(move || waits.recv());
    let mut readings = Readings::new(Box::new(Said(Rc::new(Cell::new(1)))));
    let key = (std::process::id(), process::started_at(std::process::id()).unwrap());
    let mut looked = Looked::new(key);
    asked(&mut looked, 1, boottime_ns());
    assert_eq!(looked.look(&mut readings, 1).asks, Some(7));
    asked(&mut looked, 2, boottime_ns());
    let next = looked.look(&mut readings, 2);
    assert_eq!((next.asks, next.again), (None, None), "it is being read");
    let before = read(&mut looked, 1, "first");
    asked(&mut looked, 3, before + FRESH - 1);
    // It may write to its command line: some time it is read again.
    asked(&mut looked, 4, before + FRESH);
    let next = looked.look(&mut readings, 3);
    assert_eq!(next.asks, Some(7));
    assert_eq!(told(next), [1, 2, 3].map(|number| is(number, "first")));
    read(&mut looked, 3, "second");
    assert_eq!(told(looked.look(&mut readings, 4)), [is(4, "second")]);
    drop(ends);
}

/// Read too soon for who connected last, it is read again.
#[test]
fn what_was_read_before_it_became_another_is_read_again() {
    let noted = Rc::new(Cell::new(1));
    let mut readings = Readings::new(Box::new(Said(Rc::clone(&noted))));
    let key = (std::process::id(), process::started_at(std::process::id()).unwrap());
    let mut looked = Looked::new(key);
    asked(&mut looked, 1, boottime_ns());
    assert_eq!(looked.look(&mut readings, 1).asks, Some(7));
    read(&mut looked, 1, "first");
    noted.set(boottime_ns());
    asked(&mut looked, 2, boottime_ns());
    // The first is of the program before; the second waits for what is read now.
    let mut next = looked.look(&mut readings, 2);
    let mut forgotten = std::mem::take(&mut next.forgotten);
    assert_eq!(next.asks, Some(7));
    assert_eq!(told(next), [is(1, "unknown")]);
    assert!(looked.refuse(2, "no room").len() == 1 && looked.waiting.is_empty());
    std::thread::sleep(Duration::from_nanos(FRESH));
    forgotten.extend(looked.look(&mut readings, 3).forgotten);
    assert_eq!(forgotten, [1]);
    assert!(looked.is_done());
}
