//! A model of the journal, held against it over a disk that fails and forgets.
//!
//! Whatever happens, what comes back after a restart is exactly what was accepted, in order, up to
//! some point not before the last record reported durable; every batch handed on is among it; and
//! each refused begin is counted in a `RESUMED` record or covered by an open gap.

use std::collections::HashSet;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use proptest::prelude::*;

use super::memory::{Fault, Memory};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Begin(usize),
    Append { ticket: usize, length: usize },
    Wait { back: usize },
    WaitInBulk,
    Fault { after: u64, fault: Fault },
    Full,
    Room,
    Rest(u64),
    Recycle,
    Carry { even: bool },
    Restart { power: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![Just(Fault::Fail), Just(Fault::Tear), Just(Fault::Full)];
    let length = prop_oneof![4 => 0_usize..300, 2 => 3_000_usize..9_000, 1 => 9_000_usize..20_000];
    let step = prop_oneof![
        8 => length.clone().prop_map(Step::Begin),
        16 => (0_usize..8, length).prop_map(|(ticket, length)| Step::Append { ticket, length }),
        8 => (0_usize..4).prop_map(|back| Step::Wait { back }),
        2 => Just(Step::WaitInBulk),
        3 => (0_u64..12, fault).prop_map(|(after, fault)| Step::Fault { after, fault }),
        1 => Just(Step::Full),
        2 => Just(Step::Room),
        2 => (0_u64..6).prop_map(Step::Rest),
        2 => Just(Step::Recycle),
        3 => any::<bool>().prop_map(|even| Step::Carry { even }),
        2 => any::<bool>().prop_map(|power| Step::Restart { power }),
    ];
    prop::collection::vec(step, 1..120)
}

/// A record, and the boot it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    boot: u8,
    kind: u8,
    number: u64,
    payload: Vec<u8>,
}

fn kept(batch: &Batch) -> Vec<Kept> {
    let boot = batch.boot[0];
    let owned = |r: RecordRef<'_>| Kept {
        boot,
        kind: r.kind,
        number: r.number,
        payload: r.payload.to_vec(),
    };
    batch.records().map(owned).collect()
}

struct Model {
    disk: Memory,
    boot: u8,
    journal: Option<Journal>,
    batches: Option<Receiver<Batch>>,
    runtime: tokio::runtime::Runtime,
    /// What must come back of earlier boots.
    history: Vec<Kept>,
    /// What this boot accepted, in order, its own records left out.
    accepted: Vec<Kept>,
    /// What all boots accepted, in order. A power failure may bring back what was removed before.
    ever: Vec<Kept>,
    positions: Vec<Position>,
    durable: usize,
    refused: u64,
    tickets: Vec<Ticket>,
    /// What was handed on, all records, and the file of each.
    handed: Vec<(u64, Kept)>,
    written: u64,
    recycled: bool,
    /// Payloads in files that may be taken back, oldest first and at any moment.
    given_up: Vec<Vec<u8>>,
    reserve_failed: bool,
    gaps: usize,
    /// Payloads that nobody needs any more, so that carrying over may leave them behind.
    unneeded: HashSet<Vec<u8>>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut model = Self {
            disk: Memory::new(seed),
            boot: 0,
            journal: None,
            batches: None,
            runtime,
            history: Vec::new(),
            accepted: Vec::new(),
            ever: Vec::new(),
            positions: Vec::new(),
            durable: 0,
            refused: 0,
            tickets: Vec::new(),
            handed: Vec::new(),
            written: 0,
            recycled: false,
            given_up: Vec::new(),
            reserve_failed: false,
            gaps: 0,
            unneeded: HashSet::new(),
        };
        model.open();
        model
    }

    fn open(&mut self) {
        self.disk.heal();
        self.disk.set_room(None);
        let previous = self.boot;
        self.boot += 1;
        let options = Options {
            file_size: 32 * 1024,
            retry_interval: Duration::from_millis(1),
            sync_interval: Duration::from_millis(2),
            ..Options::new(Timeline::start(0))
        };
        let disk = Arc::new(self.disk.clone());
        let mut opened = Journal::open_on(disk, [self.boot; 16], options).unwrap();
        let mut found = Vec::new();
        while let Some(batch) = opened.recovered.reader.next().unwrap() {
            found.extend(kept(&batch));
        }
        self.check(previous, found, &opened.recovered);
        self.journal = Some(opened.journal);
        self.batches = Some(opened.batches);
    }

    fn check(&mut self, boot: u8, found: Vec<Kept>, recovered: &Recovered) {
        let told: Vec<Resumed> = found
            .iter()
            .filter(|record| record.boot == boot && record.kind == RESUMED)
            .map(|record| Resumed::decode(&record.payload).unwrap())
            .collect();
        let counted: u64 = told.iter().map(|resumed| resumed.refused).sum();
        let open = recovered.open_gaps.iter().any(|gap| gap.boot == [boot; 16]);
        if !self.recycled {
            assert!(counted <= self.refused, "{counted} refusals told of {}", self.refused);
            // With the reserve failing too, there is no place left to say that it refuses.
            assert!(
                open || self.reserve_failed || counted == self.refused,
                "refusals lost: {counted} of {}",
                self.refused
            );
        }
        assert!(recovered.open_gaps.len() >= self.gaps, "a gap was forgotten");
        self.gaps = recovered.open_gaps.len();

        // Of what nobody needs any part may be left out; what is there is as it was, and where.
        self.ever.append(&mut self.accepted.clone());
        let mut ever = self.ever.iter();
        let callers = found.iter().filter(|record| record.kind < FIRST_OWN_KIND);
        for record in callers {
            assert!(ever.any(|it| it == record), "invented, twice, or in another order");
        }
        // What was handed on came from the disk, so it is there, exactly.
        let handed: Vec<Kept> = self.handed.iter().map(|(_, record)| record.clone()).collect();
        let mut expected = self.history.clone();
        let unneeded = &self.unneeded;
        let own =
            |record: &&Kept| record.kind < FIRST_OWN_KIND && !unneeded.contains(&record.payload);
        let durable = self.accepted.iter().take(self.durable).filter(own).count();
        let accepted: Vec<Kept> = self.accepted.iter().filter(own).cloned().collect();
        let found_callers: Vec<Kept> = found.iter().filter(own).cloned().collect();
        let handed_callers: Vec<Kept> = handed.iter().filter(own).cloned().collect();
        assert!(accepted.starts_with(&handed_callers), "handed on what was not accepted");
        expected.retain(|record| own(&record));
        expected.extend(accepted);
        let from = match found_callers.first() {
            Some(first) => expected.iter().position(|record| record == first).expect("invented"),
            None => expected.len().min(if self.recycled { usize::MAX } else { 0 }),
        };
        assert!(from == 0 || self.recycled, "the oldest records are gone");
        let to = from + found_callers.len();
        assert_eq!(found_callers, expected[from..to], "not what was accepted");
        let history = self.history.iter().filter(own).count();
        let least = history + durable.max(handed_callers.len());
        assert!(to >= least, "{least} records were durable, {to} came back");
        self.history = found;
        self.accepted.clear();
        self.positions.clear();
        self.handed.clear();
        self.tickets.clear();
        self.durable = 0;
        self.refused = 0;
        self.recycled = false;
        self.given_up.clear();
        self.reserve_failed = false;
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.written += 1;
        let mut payload = self.written.to_le_bytes().to_vec();
        payload.resize(length.max(8), self.written.to_le_bytes()[0]);
        payload
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn accept(&mut self, kind: u8, number: u64, payload: Vec<u8>, position: Position) {
        self.accepted.push(Kept { boot: self.boot, kind, number, payload });
        self.positions.push(position);
    }

    fn drain(&mut self) {
        for batch in self.batches.as_ref().unwrap().try_iter() {
            let file = batch.file;
            self.handed.extend(kept(&batch).into_iter().map(|record| (file, record)));
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Begin(length) => {
                let payload = self.payload(length);
                match self.journal().begin(1, &[&payload]) {
                    Ok((ticket, position)) => {
                        let last = self.accepted.iter().map(|record| record.number).max();
                        assert_eq!(ticket.number, last.unwrap_or(0) + 1);
                        self.tickets.push(ticket);
                        self.accept(1, ticket.number, payload, position);
                    }
                    Err(_) => self.refused += 1,
                }
            }
            Step::Append { ticket, length } => {
                let Some(ticket) = self.tickets.iter().rev().nth(ticket).copied() else { return };
                let payload = self.payload(length);
                let (a, b) = payload.split_at(payload.len() / 2);
                if let Ok(position) = self.journal().append(ticket, 2, &[a, b]) {
                    self.accept(2, ticket.number, payload, position);
                }
            }
            Step::Wait { back } => {
                let Some(index) = self.positions.len().checked_sub(back + 1) else { return };
                self.wait(index);
            }
            Step::WaitInBulk => self.wait_in_bulk(),
            Step::Fault { after, fault } => self.disk.fail(after, fault),
            Step::Full => self.disk.set_room(Some(self.disk.taken() + 10_000)),
            Step::Room => self.disk.set_room(None),
            Step::Rest(time) => std::thread::sleep(Duration::from_millis(time)),
            Step::Recycle => {
                if let Some((file, _)) = self.handed.last() {
                    self.recycled = true;
                    // Only what nothing stands in front of may go.
                    if self.journal().forget_carried().is_ok() {
                        let below = self.handed.iter().filter(|(of, _)| of < file);
                        let below = self.history.iter().chain(below.map(|(_, record)| record));
                        self.given_up = below.map(|record| record.payload.clone()).collect();
                        self.journal().recycle_below(*file);
                    }
                }
            }
            Step::Carry { even } => self.carry(even),
            Step::Restart { power } => self.restart(power),
        }
        self.drain();
    }

    /// Carries over the exchanges with even numbers, or those with odd ones.
    fn carry(&mut self, even: bool) {
        let Some(next) = self.handed.last().map(|(file, _)| *file) else { return };
        let is_needed = |record: &Kept| record.number.is_multiple_of(2) == even;
        let below = self.handed.iter().filter(|(file, _)| *file < next).map(|(_, record)| record);
        let all: Vec<&Kept> = self.history.iter().chain(below).collect();
        let needed = all.iter().filter(|record| is_needed(record));
        let needed: HashSet<_> = needed.map(|record| ([record.boot; 16], record.number)).collect();
        let others = all.iter().filter(|record| !is_needed(record));
        let others: Vec<Vec<u8>> = others.map(|record| record.payload.clone()).collect();
        self.unneeded.extend(others);
        // Files go while others are read: of what was given up, any part may be copied.
        self.unneeded.extend(self.given_up.iter().cloned());
        if self
            .journal()
            .carry(&|boot, record| needed.contains(&(*boot, record.number)), next)
            .is_ok()
        {
            self.journal().recycle_below(next);
        }
    }

    fn wait(&mut self, index: usize) {
        let journal = self.journal().clone();
        let position = self.positions[index];
        let limit = Duration::from_secs(20);
        let waited = self.runtime.block_on(async {
            tokio::time::timeout(limit, journal.durable(position)).await.expect("never woken")
        });
        if waited.is_ok() {
            self.durable = self.durable.max(index + 1);
        }
    }

    fn wait_in_bulk(&mut self) {
        let journal = self.journal().clone();
        let from = self.positions.len().saturating_sub(6);
        let positions: Vec<_> = self.positions[from..].to_vec();
        let waited = self.runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for (index, position) in positions.into_iter().enumerate() {
                let journal = journal.clone();
                tasks.spawn(async move { (index, journal.durable(position).await) });
            }
            // One of them goes away while it waits.
            tasks.spawn(async move { (0, Err(Down::Closed)) }).abort();
            tasks.join_all_ok().await
        });
        for (index, result) in waited {
            if result.is_ok() {
                self.durable = self.durable.max(from + index + 1);
            }
        }
    }

    fn restart(&mut self, power: bool) {
        self.drain();
        let journal = self.journal.take().unwrap();
        let batches = self.batches.take().unwrap();
        self.reserve_failed = self.disk.has_failed("reserve");
        let after = if power { Some(self.disk.lose_power()) } else { None };
        let rest = std::thread::spawn(move || batches.iter().collect::<Vec<_>>());
        let closed = journal.close();
        for batch in rest.join().unwrap() {
            if !power {
                let file = batch.file;
                self.handed.extend(kept(&batch).into_iter().map(|record| (file, record)));
            }
        }
        if closed.is_ok() && !power {
            self.durable = self.accepted.len();
        }
        if let Some(after) = after {
            self.disk = after;
        }
        self.open();
    }
}

trait JoinAllOk<T> {
    async fn join_all_ok(self) -> Vec<T>;
}

impl<T: 'static> JoinAllOk<T> for tokio::task::JoinSet<T> {
    async fn join_all_ok(mut self) -> Vec<T> {
        let mut all = Vec::new();
        while let Some(result) = self.join_next().await {
            all.extend(result.ok());
        }
        all
    }
}

proptest! {
    #[test]
    fn the_journal_keeps_what_it_promised(seed in any::<u64>(), steps in steps()) {
        let mut model = Model::new(seed);
        for step in &steps {
            model.step(step);
        }
        model.restart(true);
        model.restart(false);
    }
}
