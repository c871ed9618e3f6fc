//! Outages: refusals counted, gaps told, the end of an outage at every point.

use std::time::{Duration, Instant};

use super::faults::{Outcome, Record, check, options, owned, runtime, told};
use super::memory::{Fault, Memory};
use super::*;

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
    // A batch is handed on behind the moment when whoever waited for it is told.
    let mut records: Vec<(u8, u64, Vec<u8>)> = Vec::new();
    while !records.iter().any(|(kind, ..)| *kind == RESUMED) {
        let batch = batches.recv_timeout(Duration::from_secs(20)).expect("it is handed on");
        records.extend(batch.records().map(|r| (r.kind, r.number, r.payload.to_vec())));
    }
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

/// One exchange is durable; then the first file takes no more.
fn first_fails(disk: &Memory, journal: &Journal) -> Record {
    let (ticket, position) = journal.begin(1, &[b"first"]).unwrap();
    runtime().block_on(journal.durable(position)).unwrap();
    disk.break_file(&open::file_name(1));
    (ticket.number, b"first".to_vec())
}

#[test]
fn failing_again_and_again_uses_up_neither_room_nor_sequences() {
    let disk = Memory::new(1);
    let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
    let journal = opened.journal;
    first_fails(&disk, &journal);
    // All that could come after it fails too.
    for sequence in 2..100 {
        disk.break_file(&open::file_name(sequence));
    }
    let (_, position) = journal.begin(1, &[b"a"]).unwrap();
    runtime().block_on(journal.durable(position)).unwrap_err();
    std::thread::sleep(Duration::from_millis(100));
    assert!(journal.stats().files <= 2, "{:?}", journal.stats());
    disk.heal();
    let reader = std::thread::spawn(move || opened.batches.iter().count());
    journal.close().unwrap();
    reader.join().unwrap();
    let opened = Journal::open_on(Arc::new(disk), [2; 16], options()).unwrap();
    assert_eq!(opened.recovered.first_file, 3);
    opened.journal.close().unwrap();
}

#[test]
fn without_a_reserve_it_stays_closed() {
    let disk = Memory::new(1);
    let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], options()).unwrap();
    let journal = opened.journal;
    first_fails(&disk, &journal);
    disk.break_file("reserve");
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

/// An outage of four refusals and no more, and eight exchanges behind it; the power goes after so many
/// operations. Nothing here depends on who is
/// quicker: the writer tries again when it is told to, and each record is on disk before the next one.
fn an_outage(disk: &Memory, journal: &Journal, power: u64) -> Outcome {
    let first = first_fails(disk, journal);
    disk.fail(power, Fault::Off);
    let mut outcome =
        Outcome { accepted: vec![first], durable: 1, refused: 0, refused_in_order: 0, told: 0 };
    let runtime = runtime();
    let (ticket, position) = journal.begin(1, &[b"cut"]).unwrap();
    outcome.accepted.push((ticket.number, b"cut".to_vec()));
    runtime.block_on(journal.durable(position)).unwrap_err();
    for _ in 0..4 {
        let power = disk.has_power();
        journal.begin(1, &[b"refused"]).unwrap_err();
        outcome.refused += 1;
        outcome.refused_in_order += u64::from(power && disk.has_power());
    }
    let syncs = journal.stats().syncs;
    journal.shared.retry();
    // Up, and the record that says so on disk by itself, or no power to do it with.
    while disk.has_power() && journal.stats().syncs < syncs + 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for n in 0..8 {
        let Ok((ticket, position)) = journal.begin(1, &[&[n; 300]]) else { break };
        outcome.accepted.push((ticket.number, vec![n; 300]));
        if runtime.block_on(journal.durable(position)).is_err() {
            break;
        }
        outcome.durable = outcome.accepted.len();
        let Ok(position) = journal.append(ticket, 2, &[&[n; 9_000]]) else { break };
        outcome.accepted.push((ticket.number, vec![n; 9_000]));
        if runtime.block_on(journal.durable(position)).is_err() {
            break;
        }
        outcome.durable = outcome.accepted.len();
    }
    outcome
}

#[test]
fn the_power_may_go_during_an_outage() {
    let mut ended = 0;
    for after in 0_u64.. {
        let disk = Memory::new(after);
        let patient = Options { retry_interval: Duration::from_secs(3600), ..options() };
        let opened = Journal::open_on(Arc::new(disk.clone()), [1; 16], patient).unwrap();
        let mut outcome = an_outage(&disk, &opened.journal, after);
        let past = disk.has_power();
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
        assert!(open || outcome.told >= outcome.refused_in_order, "at {after}");
        assert!(!open || outcome.told == 0, "a gap that ended is told as open, at {after}");
        ended += usize::from(!open && outcome.told > 0);
        opened.journal.close().unwrap();
        if past {
            break;
        }
    }
    assert!(ended > 40, "only {ended} outages came to their end");
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
