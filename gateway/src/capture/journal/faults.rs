//! Each operation on the disk failed in turn, and the power lost at each.

use std::time::{Duration, Instant};

use super::memory::{Fault, Memory};
use super::*;

fn options() -> Options {
    Options {
        file_size: 32 * 1024,
        retry_interval: Duration::from_millis(1),
        ..Options::new(Timeline::start(0))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

type Record = (u64, Vec<u8>);

struct Outcome {
    accepted: Vec<Record>,
    durable: usize,
    refused: u64,
    /// Refusals that `RESUMED` records handed on tell of.
    told: u64,
}

fn told(batch: &Batch) -> u64 {
    let own = batch.records().filter(|record| record.kind == RESUMED);
    own.map(|record| Resumed::decode(record.payload).unwrap().refused).sum()
}

fn owned(batch: &Batch) -> Vec<Record> {
    let callers = batch.records().filter(|record| record.kind < FIRST_OWN_KIND);
    callers.map(|record| (record.number, record.payload.to_vec())).collect()
}

/// Some exchanges over several files, with files taken back on the way.
fn exchanges(journal: &Journal, batches: &std::sync::mpsc::Receiver<Batch>) -> Outcome {
    let mut outcome = Outcome { accepted: Vec::new(), durable: 0, refused: 0, told: 0 };
    let runtime = runtime();
    for n in 0..12_u8 {
        let head = vec![n; 300];
        let Ok((ticket, position)) = journal.begin(1, &[&head]) else {
            outcome.refused += 1;
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
fn check(found: &[Record], outcome: &Outcome) {
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
            let mut outcome = exchanges(&journal, &batches);
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
            let outcome = exchanges(&opened.journal, &opened.batches);
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
            let mut outcome = exchanges(&opened.journal, &opened.batches);
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

#[test]
fn refusals_are_counted_and_a_gap_without_an_end_is_told_until_settled() {
    let disk = Memory::new(1);
    let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
    let (journal, batches) = (opened.journal, opened.batches);
    disk.set_room(Some(0));
    let runtime = runtime();
    let mut refused = 0;
    let mut tickets = Vec::new();
    // Files fill until there is no room for the next.
    while refused == 0 {
        match journal.begin(1, &[&[0; 9_000]]) {
            Ok((ticket, position)) => {
                tickets.push(ticket);
                let _either = runtime.block_on(journal.durable(position));
            }
            Err(Down::DiskFull(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(matches!(journal.append(tickets[0], 2, &[b"x"]), Err(Down::DiskFull(_))));
    assert!(matches!(journal.stats().down, Some(Down::DiskFull(_))));
    for _ in 0..41 {
        journal.begin(1, &[b"x"]).unwrap_err();
    }
    runtime.block_on(journal.room());
    disk.set_room(None);
    let number = loop {
        match journal.begin(1, &[b"after"]) {
            Ok((ticket, position)) => {
                runtime.block_on(journal.durable(position)).unwrap();
                break ticket.number;
            }
            Err(_) => refused += 1,
        }
    };
    assert_eq!(number, tickets.last().unwrap().number + 1, "a refusal used up a number");
    // What began before is over for good.
    assert!(journal.append(tickets[0], 2, &[b"x"]).is_err());
    let records: Vec<(u8, u64, Vec<u8>)> = batches
        .try_iter()
        .flat_map(|batch| {
            batch.records().map(|r| (r.kind, r.number, r.payload.to_vec())).collect::<Vec<_>>()
        })
        .collect();
    let at = records.iter().position(|(kind, ..)| *kind == RESUMED).unwrap();
    let resumed = Resumed::decode(&records[at].2).unwrap();
    assert_eq!(records[at].1, number - 1, "it names the last exchange begun before");
    assert_eq!(resumed.refused, refused + 41);
    assert_eq!(resumed.reason, Reason::DiskFull);
    assert!(resumed.began_us <= resumed.ended_us);

    // A second outage that is cut off leaves its beginning.
    disk.set_room(Some(0));
    while journal.begin(1, &[&[0; 9_000]]).is_ok() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let after = disk.lose_power();
    let reader = std::thread::spawn(move || batches.iter().count());
    assert!(matches!(journal.close(), Err(JournalError::Unwritten { .. })));
    reader.join().unwrap();
    for boot in 2..4 {
        let disk = Arc::new(after.clone());
        let opened = Journal::open_on(disk, [boot; 16], options()).unwrap();
        let gaps = &opened.recovered.open_gaps;
        assert_eq!(gaps.len(), 1);
        assert_eq!((gaps[0].boot, gaps[0].number), ([1; 16], 2));
        assert!(gaps[0].began_us >= resumed.ended_us);
        if boot == 3 {
            opened.journal.settle_gaps();
        }
        opened.journal.close().unwrap();
    }
    let opened = Journal::open_on(Arc::new(after), [4; 16], options()).unwrap();
    assert_eq!(opened.recovered.open_gaps, []);
}

#[test]
fn without_a_reserve_it_stays_closed() {
    let disk = Memory::new(1);
    let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
    let journal = opened.journal;
    disk.break_file("reserve");
    disk.break_file(&super::open::file_name(1));
    let (_, position) = journal.begin(1, &[b"a"]).unwrap();
    runtime().block_on(journal.durable(position)).unwrap_err();
    std::thread::sleep(Duration::from_millis(50));
    journal.begin(1, &[b"b"]).unwrap_err();
    disk.heal();
    let started = Instant::now();
    while journal.begin(1, &[b"c"]).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "does not come back");
    }
    journal.close().unwrap();
}

#[test]
fn a_gap_told_again_keeps_its_beginning() {
    use super::reserve::Reserve;
    let disk: Arc<Memory> = Arc::new(Memory::new(1));
    let gap = |boot, number| Gap {
        boot: [boot; 16],
        number,
        began_us: u64::from(boot) * 1000 + number,
        reason: Reason::JournalFailed,
    };
    let mut reserve = Reserve::open(disk.clone()).unwrap();
    reserve.begin(gap(1, 1)).unwrap();
    reserve.begin(gap(1, 2)).unwrap();
    for boot in 2..=80 {
        reserve.begin(gap(boot, 1)).unwrap();
    }
    let reserve = Reserve::open(disk).unwrap();
    assert_eq!(reserve.gaps()[0], Gap { began_us: 1001, ..gap(1, 2) });
    assert_eq!(reserve.gaps().len(), 64);
    assert_eq!(reserve.gaps()[63], gap(64, 1));
}

#[test]
fn the_power_may_go_during_an_outage() {
    let mut ended = 0;
    for after in 4_u64.. {
        let disk = Memory::new(after);
        let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
        let before = disk.done();
        disk.fail(3, Fault::Fail);
        disk.fail(after, Fault::Off);
        let mut outcome = exchanges(&opened.journal, &std::sync::mpsc::sync_channel(1).1);
        let past = disk.done() - before <= after;
        let reserve_failed = disk.has_failed("reserve");
        let after_loss = disk.lose_power();
        drop(opened.batches);
        let _unwritten = opened.journal.close();

        let mut opened = Journal::open_on(Arc::new(after_loss), [2; 16], options()).unwrap();
        let mut records = Vec::new();
        while let Some(batch) = opened.recovered.reader.next().unwrap() {
            outcome.told += told(&batch);
            records.extend(owned(&batch));
        }
        check(&records, &outcome);
        let open = !opened.recovered.open_gaps.is_empty();
        assert!(open || reserve_failed || outcome.told == outcome.refused, "at {after}");
        ended += usize::from(!open && outcome.told > 0);
        opened.journal.close().unwrap();
        if past {
            break;
        }
    }
    assert!(ended > 3, "no outage came to its end");
}

#[test]
fn without_a_reader_it_stays_closed() {
    let disk = Memory::new(1);
    let opened = Journal::open_on(Arc::new(disk), [1; 16], options()).unwrap();
    drop(opened.batches);
    let journal = opened.journal;
    let (_, position) = journal.begin(1, &[b"a"]).unwrap();
    let _either = runtime().block_on(journal.durable(position));
    let started = Instant::now();
    while journal.stats().down.is_none() {
        assert!(started.elapsed() < Duration::from_secs(10));
    }
    std::thread::sleep(Duration::from_millis(20));
    assert!(matches!(journal.begin(1, &[b"b"]), Err(Down::Failed(why)) if why.contains("seal")));
    journal.close().unwrap_err();
}
