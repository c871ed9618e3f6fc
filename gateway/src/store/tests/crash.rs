//! Crashes and company: a writer killed at any moment, readers beside it in other processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::super::{Direction, RunFilter, Store, StoreReader};
use super::fixture::{Journal, KEY, Sample, body_of, noise_bytes, text_bytes};

const DIRECTORY: &str = "SEALTAP_STORE_TEST_DIRECTORY";
const PER_BATCH: u64 = 6;

fn sealed(leaf: u64, journal: &mut Journal) -> super::super::SealedExchange {
    let request = noise_bytes(leaf, 150_000);
    Sample::new(leaf).bodies(journal, &request, &text_bytes(leaf, 20_000))
}

/// Runs in a child process only: writes batches until it is killed.
#[test]
fn child_writes_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let mut store = Store::open(Path::new(&directory), &KEY).unwrap();
    loop {
        let from = store.watermark().unwrap();
        let mut journal = Journal::default();
        let batch: Vec<_> =
            (from..from + PER_BATCH).map(|leaf| sealed(leaf, &mut journal)).collect();
        store.put(&batch, &mut journal).unwrap();
    }
}

fn writer(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::child_writes_until_killed"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Reads every exchange there is, checks each against what was written, and gives the count.
fn check_all(directory: &Path) -> u64 {
    let mut reader = StoreReader::open(directory).unwrap();
    let mut next = 0;
    loop {
        let page = reader.page(next, 5, RunFilter::All).unwrap();
        let Some(last) = page.last() else { return next };
        let end = last.leaf_index + 1;
        for exchange in page {
            assert_eq!(exchange.leaf_index, next, "an exchange is missing");
            let request = body_of(&mut reader, &exchange.id, Direction::Request);
            assert!(request == noise_bytes(next, 150_000), "leaf {next}");
            let response = body_of(&mut reader, &exchange.id, Direction::Response);
            assert!(response == text_bytes(next, 20_000), "leaf {next}");
            next += 1;
        }
        assert_eq!(next, end);
    }
}

#[test]
fn a_killed_writer_leaves_whole_batches_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut held = 0;
    for round in 0_u64..12 {
        let mut child = writer(directory.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        // Killed at another moment each round, but never before something new was stored.
        loop {
            std::thread::sleep(Duration::from_millis(3 + round * 7 % 19));
            let watermark = StoreReader::open(directory.path())
                .ok()
                .and_then(|reader| reader.newest(1).unwrap().pop())
                .map_or(0, |exchange| exchange.leaf_index + 1);
            if watermark > held {
                break;
            }
            assert!(Instant::now() < deadline, "the writer stores nothing");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // A reader comes first after the kill, then the next writer.
        let found = check_all(directory.path());
        assert!(found >= held, "{held} were stored, {found} are left");
        assert_eq!(found % PER_BATCH, 0, "half a batch");
        held = found;
    }
    assert_eq!(Store::open(directory.path(), &KEY).unwrap().watermark().unwrap(), held);
}

#[test]
fn readers_work_beside_a_busy_writer() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path(), &KEY).unwrap());
    let mut child = writer(directory.path());
    let begin = Instant::now();
    let (mut rounds, mut seen) = (0, 0);
    // Longer where the writer is slow to begin, or to sync: while there is little, rounds are quick.
    let is_enough = |rounds: u32, seen: u64| seen >= 3 * PER_BATCH && rounds > 1;
    while begin.elapsed() < Duration::from_secs(3)
        || (!is_enough(rounds, seen) && begin.elapsed() < Duration::from_secs(60))
    {
        let count = check_all(directory.path());
        assert!(count >= seen, "exchanges went away");
        seen = count;
        rounds += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_enough(rounds, seen), "{seen} exchanges in {rounds} rounds");
    let log = directory.path().join("exchanges.db-wal");
    let size = std::fs::metadata(log).unwrap().len();
    assert!(size < 100 << 20, "the log grew to {size} bytes beside readers");
}
