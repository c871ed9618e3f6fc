//! Each operation on the disk failed in turn, and the power lost at each.

use std::time::{Duration, Instant};

use super::memory::{Fault, Memory};
use super::*;

pub(super) fn options() -> Options {
    Options {
        file_size: 32 * 1024,
        retry_interval: Duration::from_millis(1),
        ..Options::new(Timeline::start(0))
    }
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

pub(super) type Record = (u64, Vec<u8>);

pub(super) struct Outcome {
    pub(super) accepted: Vec<Record>,
    pub(super) durable: usize,
    pub(super) refused: u64,
    /// Of these, while there was power for sure.
    pub(super) refused_in_order: u64,
    /// Refusals that `RESUMED` records handed on tell of.
    pub(super) told: u64,
}

pub(super) fn told(batch: &Batch) -> u64 {
    let own = batch.records().filter(|record| record.kind == RESUMED);
    own.map(|record| Resumed::decode(record.payload).unwrap().refused).sum()
}

pub(super) fn owned(batch: &Batch) -> Vec<Record> {
    let callers = batch.records().filter(|record| record.kind < FIRST_OWN_KIND);
    callers.map(|record| (record.number, record.payload.to_vec())).collect()
}

/// Some exchanges over several files, with files taken back on the way.
pub(super) fn exchanges(
    disk: &Memory,
    journal: &Journal,
    batches: &std::sync::mpsc::Receiver<Batch>,
) -> Outcome {
    let mut outcome =
        Outcome { accepted: Vec::new(), durable: 0, refused: 0, refused_in_order: 0, told: 0 };
    let runtime = runtime();
    for n in 0..12_u8 {
        let head = vec![n; 300];
        let Ok((ticket, position)) = journal.begin(1, &[&head]) else {
            outcome.refused += 1;
            outcome.refused_in_order += u64::from(disk.has_power());
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        outcome.accepted.push((ticket.number, head));
        if runtime.block_on(journal.durable(position)).is_ok() {
            outcome.durable = outcome.accepted.len();
        }
        let body = vec![n; 9_000];
        if let Ok(position) = journal.append(ticket, 2, &[&body]) {
            outcome.accepted.push((ticket.number, body));
            if runtime.block_on(journal.durable(position)).is_ok() {
                outcome.durable = outcome.accepted.len();
            }
        }
        for batch in batches.try_iter() {
            outcome.told += told(&batch);
            if n == 8 {
                journal.recycle_below(batch.file);
            }
        }
    }
    outcome
}

fn recovered(recovered: &mut Recovered) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(batch) = recovered.reader.next().unwrap() {
        records.extend(owned(&batch));
    }
    records
}

/// What came back is a run of what was accepted that ends no earlier than what was durable.
pub(super) fn check(found: &[Record], outcome: &Outcome) {
    let from = found
        .first()
        .map_or(0, |first| outcome.accepted.iter().position(|record| record == first).unwrap());
    assert_eq!(found, &outcome.accepted[from..from + found.len()]);
    assert!(from + found.len() >= outcome.durable, "lost what was durable");
}

#[test]
fn any_operation_may_fail_and_the_journal_comes_back() {
    let mut outages = 0;
    for fault in [Fault::Fail, Fault::Tear, Fault::Full] {
        for after in 0_u64.. {
            let disk = Memory::new(after);
            let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
            let (journal, batches) = (opened.journal, opened.batches);
            let before = disk.done();
            disk.fail(after, fault);
            let mut outcome = exchanges(&disk, &journal, &batches);
            let past = disk.done() - before <= after;
            // It is up again within moments, and says how many it turned away.
            let started = Instant::now();
            while journal
                .begin(1, &[b"again"])
                .map(|(ticket, _)| {
                    outcome.accepted.push((ticket.number, b"again".to_vec()));
                })
                .is_err()
            {
                outcome.refused += 1;
                assert!(started.elapsed() < Duration::from_secs(10), "does not come back");
                std::thread::sleep(Duration::from_millis(1));
            }
            let reader =
                std::thread::spawn(move || batches.iter().map(|batch| told(&batch)).sum::<u64>());
            journal.close().unwrap();
            outcome.told += reader.join().unwrap();
            outcome.durable = outcome.accepted.len();

            // How many operations a run takes differs; a fault that nobody met is not the opening's.
            disk.heal();
            let mut opened = Journal::open_on(Arc::new(disk), [2; 16], options()).unwrap();
            let found = recovered(&mut opened.recovered);
            check(&found, &outcome);
            assert_eq!(outcome.told, outcome.refused, "{fault:?} at {after}");
            assert_eq!(opened.recovered.open_gaps, [], "{fault:?} at {after}");
            assert_eq!(opened.recovered.torn, []);
            outages += u64::from(outcome.refused > 0);
            if past {
                break;
            }
        }
    }
    assert!(outages > 10, "only {outages} faults were felt");
}

#[test]
fn the_power_may_go_at_any_operation() {
    for seed in 0..4 {
        for after in 0_u64.. {
            let disk = Memory::new(seed * 1000 + after);
            let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
            let before = disk.done();
            disk.fail(after, Fault::Off);
            let outcome = exchanges(&disk, &opened.journal, &opened.batches);
            let past = disk.done() - before <= after;
            let after_loss = disk.lose_power();
            drop(opened.batches);
            let _unwritten = opened.journal.close();

            let mut opened = Journal::open_on(Arc::new(after_loss), [2; 16], options()).unwrap();
            let found = recovered(&mut opened.recovered);
            check(&found, &outcome);
            if past {
                break;
            }
        }
    }
}

#[test]
fn an_opening_that_fails_or_is_cut_off_harms_nothing() {
    for fault in [Fault::Fail, Fault::Tear, Fault::Full, Fault::Off] {
        for after in 0_u64.. {
            let mut disk = Memory::new(after);
            let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
            let mut outcome = exchanges(&disk, &opened.journal, &opened.batches);
            drop(opened.recovered);
            let reader = std::thread::spawn(move || opened.batches.iter().count());
            opened.journal.close().unwrap();
            reader.join().unwrap();
            outcome.durable = outcome.accepted.len();

            let before = disk.done();
            disk.fail(after, fault);
            let second = Journal::open_on(Arc::new(disk.clone()), [2; 16], options());
            let past = disk.done() - before <= after;
            if fault == Fault::Off {
                disk = disk.lose_power();
            }
            if let Ok(opened) = second {
                drop(opened.batches);
                let _down = opened.journal.close();
            }
            disk.heal();
            let mut third = Journal::open_on(Arc::new(disk), [3; 16], options()).unwrap();
            let found = recovered(&mut third.recovered);
            check(&found, &outcome);
            assert_eq!(third.recovered.torn, []);
            if past {
                break;
            }
        }
    }
}
