//! The journal on the real file system.

use std::future::Future as _;
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
fn a_hurried_start_keeps_what_is_durable_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let options = || Options { file_size: 1 << 20, hurried: true, ..options() };
    let opened = Journal::open(directory.path(), BOOT, options()).unwrap();
    let first = std::fs::metadata(directory.path().join(open::file_name(1))).unwrap();
    assert_eq!(first.len(), 1 << 20);
    let live = collect(opened.batches);
    // More than one file: the next ones are laid down beside the traffic.
    for n in 1..=40_u64 {
        let (_, position) = opened.journal.begin(1, &[&n.to_le_bytes(), &[1; 60_000]]).unwrap();
        runtime().block_on(opened.journal.durable(position)).unwrap();
        assert_eq!(read_all(directory.path()).len(), usize::try_from(n).unwrap());
    }
    assert!(opened.journal.stats().files > 2);
    opened.journal.close().unwrap();
    let opened = Journal::open(directory.path(), [8; 16], options()).unwrap();
    assert_eq!(opened.recovered.torn, []);
    assert_eq!(drain(opened.recovered), live.join().unwrap());
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
    // A sync may take as long as the disk likes, but not each of so many; what waits for the next one, or for
    // somebody who wants it, is late each time.
    let mut quickest = Duration::MAX;
    for _ in 0..50 {
        let started = Instant::now();
        opened.journal.append(ticket, 2, &[b"chunk"]).unwrap();
        let batch = opened.batches.recv().unwrap();
        quickest = quickest.min(started.elapsed());
        assert_eq!(batch.records().next().unwrap().payload, b"chunk");
        if quickest < Duration::from_millis(500) {
            break;
        }
    }
    assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    opened.journal.close().unwrap();
}

#[test]
fn many_may_wait_and_go_away() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Journal::open(directory.path(), BOOT, options()).unwrap();
    let live = collect(opened.batches);
    let journal = opened.journal;
    runtime().block_on(async {
        let (ticket, first) = journal.begin(1, &[b"a"]).unwrap();
        journal.durable(first).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..10_000_u32 {
            let position = journal.append(ticket, 2, &[&n.to_le_bytes()]).unwrap();
            let journal = journal.clone();
            let task = tasks.spawn(async move { journal.durable(position).await });
            if n % 3 == 0 {
                task.abort();
            }
        }
        let mut done = 0;
        while let Some(result) = tasks.join_next().await {
            done += usize::from(matches!(result, Ok(Ok(()))));
        }
        assert_eq!(done, 6_666);
        // One that waits for what is far off goes away and leaves nothing behind.
        let position = journal.append(ticket, 2, &[b"z"]).unwrap();
        {
            let mut wait = std::pin::pin!(journal.durable(position));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _pending = wait.as_mut().poll(&mut context);
        }
        assert_eq!(journal.shared.waiting(), 0);
    });
    assert!(journal.stats().syncs < 1_000, "they shared syncs");
    journal.close().unwrap();
    assert_eq!(live.join().unwrap().len(), 10_002);
}

#[test]
fn callers_are_held_back_while_the_reader_is_behind() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { max_pending: 256 * 1024, ..options() };
    let opened = Journal::open(directory.path(), BOOT, options).unwrap();
    let journal = opened.journal;
    runtime().block_on(async {
        let (ticket, _) = journal.begin(1, &[b"a"]).unwrap();
        let mut appended = 0;
        let full = async {
            loop {
                journal.room().await;
                journal.append(ticket, 2, &[&[9; 20_000]]).unwrap();
                appended += 1;
            }
        };
        tokio::time::timeout(Duration::from_millis(300), full).await.unwrap_err();
        assert!((12..=15).contains(&appended), "{appended} chunks went in");
        assert!(journal.stats().pending > 256 * 1024);
        let reader = collect(opened.batches);
        // Some files are filled before there is room: each takes syncs that may be slow.
        tokio::time::timeout(Duration::from_secs(60), journal.room()).await.unwrap();
        assert!(journal.append(ticket, 2, &[&vec![0; 64 * 1024]]).is_err(), "too long");
        journal.close().unwrap();
        assert_eq!(reader.join().unwrap().len(), appended + 1);
    });
}

#[test]
fn a_reader_beside_a_running_journal_follows_it_through_recycled_files() {
    let directory = tempfile::tempdir().unwrap();
    let opened = Journal::open(directory.path(), BOOT, options()).unwrap();
    let journal = opened.journal;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let follower = {
        let (path, done) = (directory.path().to_owned(), Arc::clone(&done));
        std::thread::spawn(move || {
            let (mut last, mut seen, mut again) = (0, 0, 0);
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let mut reader = Reader::open(&path).unwrap();
                last = 0;
                while let Some(batch) = reader.next().unwrap() {
                    for record in batch.records() {
                        let n = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
                        assert!(n > last, "{n} after {last}");
                        last = n;
                        seen += 1;
                    }
                }
                again += 1;
            }
            (last, seen, again)
        })
    };
    let (ticket, _) = journal.begin(1, &[&1_u64.to_le_bytes()]).unwrap();
    let runtime = runtime();
    for n in 2..=600_u64 {
        let body = vec![0; usize::try_from(n % 7).unwrap() * 3_000];
        let position = journal.append(ticket, 2, &[&n.to_le_bytes(), &body]).unwrap();
        runtime.block_on(journal.durable(position)).unwrap();
        for batch in opened.batches.try_iter() {
            journal.recycle_below(batch.file.saturating_sub(2));
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    done.store(true, std::sync::atomic::Ordering::Release);
    let (_, seen, again) = follower.join().unwrap();
    assert!(seen > 100 && again > 1, "{seen} records in {again} readings");
    // They are taken back one after the other, each by a sync of its own.
    let files = || std::fs::read_dir(directory.path()).unwrap().count();
    let deadline = Instant::now() + Duration::from_secs(20);
    while files() >= 12 {
        assert!(Instant::now() < deadline, "{} files are kept", files());
        std::thread::sleep(Duration::from_millis(5));
    }
    let reader = collect(opened.batches);
    journal.close().unwrap();
    reader.join().unwrap();
}

#[test]
fn relaxed_does_not_wait_but_everything_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { durability: Durability::Relaxed, ..options() };
    let opened = Journal::open(directory.path(), BOOT, options).unwrap();
    let (ticket, _) = opened.journal.begin(1, &[b"a"]).unwrap();
    let position = opened.journal.append(ticket, 2, &[b"b"]).unwrap();
    let mut wait = std::pin::pin!(opened.journal.durable(position));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert_eq!(wait.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(())));
    let live = collect(opened.batches);
    opened.journal.clone().close().unwrap();
    assert_eq!(live.join().unwrap().len(), 2);
    assert_eq!(opened.journal.begin(1, &[b"c"]), Err(Down::Closed));
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
