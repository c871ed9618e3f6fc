//! The journal on the real file system.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::*;

const BOOT: [u8; 16] = [7; 16];

fn options() -> Options {
    Options { file_size: 64 * 1024, ..Options::new(Timeline::start(0)) }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

type Record = (u8, u64, Vec<u8>, Extent);

fn owned(batch: &Batch) -> Vec<Record> {
    batch.records().map(|r| (r.kind, r.number, r.payload.to_vec(), r.at)).collect()
}

fn collect(batches: Receiver<Batch>) -> std::thread::JoinHandle<Vec<Record>> {
    std::thread::spawn(move || batches.iter().flat_map(|batch| owned(&batch)).collect())
}

fn read_all(directory: &Path) -> Vec<Record> {
    let mut reader = Reader::open(directory).unwrap();
    let mut records = Vec::new();
    while let Some(batch) = reader.next().unwrap() {
        records.extend(owned(&batch));
    }
    records
}

fn drain(mut recovered: Recovered) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(batch) = recovered.reader.next().unwrap() {
        records.extend(owned(&batch));
    }
    records
}

#[test]
fn what_is_durable_is_handed_on_read_back_and_recovered() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Journal::open(directory.path(), BOOT, options()).unwrap();
    let live = collect(opened.batches);
    let journal = opened.journal;
    runtime().block_on(async {
        for n in 1..=40_u64 {
            let (ticket, position) = journal.begin(1, &[b"head ", &n.to_le_bytes()]).unwrap();
            assert_eq!(ticket.number, n);
            journal.durable(position).await.unwrap();
            let body = vec![u8::try_from(n).unwrap(); 10_000];
            let position = journal.append(ticket, 2, &[&body]).unwrap();
            journal.durable(position).await.unwrap();
        }
        assert_eq!(read_all(directory.path()).len(), 80);
    });
    assert!(journal.stats().files > 5, "files must have been changed");
    assert!(journal.stats().syncs >= 40);
    journal.close().unwrap();
    let live = live.join().unwrap();
    assert_eq!(live.len(), 80);

    let opened = Journal::open(directory.path(), [8; 16], options()).unwrap();
    assert_eq!(opened.recovered.boots, [BOOT]);
    assert_eq!(opened.recovered.torn, []);
    let mut extents = Extents::new(directory.path());
    for (_, _, payload, at) in &live {
        let mut bytes = Vec::new();
        extents.read(*at, &mut bytes).unwrap();
        assert_eq!(&bytes, payload);
    }
    assert_eq!(drain(opened.recovered), live);
    opened.journal.close().unwrap();
}

#[test]
fn records_nobody_waits_for_reach_the_reader_promptly() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Journal::open(directory.path(), BOOT, options()).unwrap();
    let (ticket, _) = opened.journal.begin(1, &[b"a"]).unwrap();
    opened.batches.recv().unwrap();
    let started = Instant::now();
    opened.journal.append(ticket, 2, &[b"chunk"]).unwrap();
    let batch = opened.batches.recv().unwrap();
    assert!(started.elapsed() < Duration::from_millis(500));
    assert_eq!(batch.records().next().unwrap().payload, b"chunk");
    drop(batch);
    opened.journal.close().unwrap();
}

#[test]
fn one_process_per_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Journal::open(directory.path(), BOOT, options()).unwrap();
    let second = Journal::open(directory.path(), [8; 16], options());
    assert!(matches!(second, Err(JournalError::InUse { path }) if path.ends_with("lock")));
    first.journal.close().unwrap();
    Journal::open(directory.path(), [8; 16], options()).unwrap().journal.close().unwrap();
}
