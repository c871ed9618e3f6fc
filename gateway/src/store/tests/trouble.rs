//! Trouble: no room, no permission.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use super::super::{Direction, RunFilter, SealedExchange, Store, StoreError, StoreReader, schema};
use super::fixture::{Journal, KEY, Sample, body_of, noise_bytes};

const DIRECTORY: &str = "SEALTAP_STORE_TEST_READABLE";
/// Whose processes own nothing.
const NOBODY: u32 = 65_534;

fn batch(journal: &mut Journal, from: u64, count: u64) -> Vec<SealedExchange> {
    let exchange = |leaf| Sample::new(leaf).bodies(journal, &noise_bytes(leaf, 50_000), b"ok");
    (from..from + count).map(exchange).collect()
}

#[test]
fn a_full_disk_is_said_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let first = batch(&mut journal, 0, 2);
    let second = batch(&mut journal, 2, 40);
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    store.put(&first, &mut journal).unwrap();
    // SQLite answers a database at its page limit as it does a disk without room.
    let limit = |store: &Store, pages: i64| {
        store
            .connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    limit(&store, 40);
    for _ in 0..3 {
        let error = store.put(&second, &mut journal).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert!(error.is_passing() && error.to_string().contains("disk is full"), "{error}");
        assert_eq!(store.watermark().unwrap(), 2);
        let reader = StoreReader::open(directory.path()).unwrap();
        assert_eq!(reader.page(0, 100, RunFilter::All).unwrap().len(), 2);
    }
    limit(&store, 1 << 30);
    assert_eq!(store.put(&second, &mut journal).unwrap().exchanges, 40);
    let mut reader = StoreReader::open(directory.path()).unwrap();
    let body = body_of(&mut reader, &second[39].id, Direction::Request);
    assert!(body == noise_bytes(41, 50_000));
}

/// Runs in a child process only: reads all there is, and writes nothing.
#[test]
fn child_reads_all() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let mut reader = StoreReader::open(Path::new(&directory)).unwrap_or_else(|error| {
        println!("refused: {error}");
        #[expect(clippy::disallowed_methods, reason = "a child of a test, with nothing to seal")]
        std::process::exit(3);
    });
    for exchange in reader.page(0, 100, RunFilter::All).unwrap() {
        let body = body_of(&mut reader, &exchange.id, Direction::Request);
        assert!(body == noise_bytes(exchange.leaf_index, 50_000));
        println!("read {}", exchange.leaf_index);
    }
}

/// Reads in a process without the right to write in `directory`.
fn read_as_nobody(directory: &Path) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--exact", "store::tests::trouble::child_reads_all", "--nocapture"])
        .env(DIRECTORY, directory);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().unwrap()
}

fn count(output: &Output) -> usize {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.matches("read ").count()
}

fn allow(directory: &Path, directory_mode: u32, file_mode: u32) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::set_permissions(path, Permissions::from_mode(file_mode)).unwrap();
    }
    fs::set_permissions(directory, Permissions::from_mode(directory_mode)).unwrap();
}

#[test]
fn who_may_only_read_can_read() {
    let outer = tempfile::tempdir().unwrap();
    fs::set_permissions(outer.path(), Permissions::from_mode(0o755)).unwrap();
    let directory = outer.path().join("store at 50%?");
    let mut journal = Journal::default();
    let mut store = Store::open(&directory, &KEY).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    store.put(&batch(&mut journal, 0, 2), &mut journal).unwrap();
    assert_eq!((mode(&directory), mode(&schema::file(&directory))), (0o700, 0o600));

    // Beside the writer, whose last batch is still in the log.
    allow(&directory, 0o555, 0o444);
    assert_eq!(count(&read_as_nobody(&directory)), 2);
    // At rest.
    allow(&directory, 0o755, 0o644);
    drop(store);
    allow(&directory, 0o555, 0o444);
    assert_eq!(count(&read_as_nobody(&directory)), 2);
    // A copy of the one file alone.
    allow(&directory, 0o755, 0o644);
    for file in ["exchanges.db-wal", "exchanges.db-shm"] {
        fs::remove_file(directory.join(file)).unwrap();
    }
    allow(&directory, 0o555, 0o444);
    assert_eq!(count(&read_as_nobody(&directory)), 2);
    // Not even that.
    allow(&directory, 0o755, 0o000);
    let refused = read_as_nobody(&directory);
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{text}");
    assert!(text.contains("exchanges.db: no permission"), "{text}");
    allow(&directory, 0o755, 0o644);
}
