//! Missing: the log is whole, and rows of the store are gone or the journal was changed. What `sealtap
//! verify` says of the data directory then is its exit code: 1 where something claims what is not so, 2
//! where nothing is left to say, 0 as long as the journal vouches.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rusqlite::Connection;
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::records;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, verify, verify_product};
use sealtap_tests::wire::Wire;

const EXCHANGES: usize = 3;

/// Exchanges of one connection, sealed and stored, with the gateway gone.
fn home() -> &'static Arc<Home> {
    static HOME: OnceLock<Arc<Home>> = OnceLock::new();
    HOME.get_or_init(|| {
        let upstream = Upstream::answering(|session, request| {
            let reply = [b"reply to ", request.head.target()].concat();
            let length = reply.len().to_string();
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
            session.send(reply);
        });
        let small = "[journal]\nfile_size = \"1MiB\"\n";
        let gateway = Options::default().config(small).upstream("up", upstream.url()).start();
        let mut client = Wire::connect(gateway.address());
        for index in 0..EXCHANGES {
            let fields = [("Host", "x"), ("Content-Length", "13")];
            client.send(head(format!("POST /up/answer-{index} HTTP/1.1"), &fields));
            client.send(format!("request-{index:05}"));
            assert_eq!(client.response("POST").status(), 200);
        }
        drop(client);
        let home = gateway.terminate();
        upstream.finish();
        home
    })
}

/// A copy of the data directory that can be spoiled.
struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        copy(&home().data(), &directory.path().join("data"));
        let copy = Self { directory };
        copy.assert(Verdict::Valid, "as it was");
        copy
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The leaves of the exchanges, oldest first.
    fn leaves() -> Vec<u64> {
        records::list(home()).iter().map(|row| row.json["leaf"].as_u64().expect("sealed")).collect()
    }

    /// Runs SQL on the store, and wants it to change something.
    fn spoil(&self, sql: &str) {
        let store = Connection::open(self.data().join("store/exchanges.db")).expect("a database");
        store.pragma_update(None, "foreign_keys", false).expect("a pragma");
        let before = store.total_changes();
        store.execute_batch(sql).expect("SQL");
        assert!(store.total_changes() > before, "nothing was changed by {sql}");
    }

    /// Every file of the journal that has records in it.
    fn journal(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.data().join("journal")).expect("a journal");
        let mut files: Vec<PathBuf> = files
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "journal"))
            .collect();
        files.sort();
        assert!(!files.is_empty(), "the journal keeps its last file");
        files
    }

    fn without_journal(&self) {
        self.journal().iter().for_each(|path| std::fs::remove_file(path).expect("removed"));
    }

    fn without_store(&self) {
        std::fs::remove_dir_all(self.data().join("store")).expect("removed");
    }

    /// `sealtap verify` gives this verdict, and the log by itself is whole.
    fn assert(&self, wanted: Verdict, what: &str) -> String {
        let (verdict, said) = verify_product(&self.data(), &home().keys());
        assert_eq!(verdict, wanted, "{what}: {said}");
        let (log, said_of_log) = verify(&self.data().join("log"), Some(&home().keys()));
        assert_eq!(log, Verdict::Valid, "{said_of_log}");
        said
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            // A spare file of the journal is large and means nothing.
            false if entry.file_name().to_string_lossy().starts_with("spare") => {}
            false => drop(std::fs::copy(entry.path(), target).expect("copied")),
        }
    }
}

#[test]
fn parts_of_an_exchange_cannot_be_removed() {
    let leaf = Copy::leaves()[1];
    for (sql, part) in [
        (format!("DELETE FROM body WHERE place = {leaf} << 1"), "request body"),
        (format!("DELETE FROM body WHERE place = ({leaf} << 1) + 1"), "response body"),
        (format!("DELETE FROM unit WHERE place = {leaf} << 3"), "request head"),
        (format!("DELETE FROM unit WHERE place >> 3 = {leaf} AND place & 7 > 1"), "context"),
        ("DELETE FROM content".to_owned(), "body"),
    ] {
        let copy = Copy::new();
        copy.spoil(&sql);
        let said = copy.assert(Verdict::NotValid, &sql);
        assert!(said.contains(part) && said.contains("findings say which"), "{sql}: {said}");
    }
}

/// Its row says that it was pruned, and no leaf does.
#[test]
fn an_exchange_cannot_be_emptied() {
    let leaf = Copy::leaves()[0];
    let copy = Copy::new();
    copy.spoil(&format!(
        "DELETE FROM body WHERE place >> 1 = {leaf}; DELETE FROM unit WHERE place >> 3 = {leaf}"
    ));
    let said = copy.assert(Verdict::NotValid, "emptied");
    assert!(said.contains("no leaf states that it is held no longer"), "{said}");
}

fn without(leaf: u64) -> String {
    format!(
        "DELETE FROM body WHERE place >> 1 = {leaf};
         DELETE FROM unit WHERE place >> 3 = {leaf};
         DELETE FROM exchange WHERE leaf = {leaf};"
    )
}

#[test]
fn an_exchange_whose_rows_are_gone_is_in_the_journal_or_missing() {
    for leaf in Copy::leaves() {
        let copy = Copy::new();
        copy.spoil(&without(leaf));
        let said = copy.assert(Verdict::Valid, "the journal has it");
        assert!(said.contains("journal"), "{said}");
        copy.without_journal();
        let said = copy.assert(Verdict::NotValid, "the store says that it has it");
        assert!(said.contains("it is not in the store"), "{said}");
        // A store that does not claim it leaves it open.
        copy.spoil("UPDATE meta SET value = 0 WHERE name = 'watermark'");
        let said = copy.assert(Verdict::Undecided, "nobody claims to have it");
        assert!(said.contains("1 sealed exchange is neither in the store nor"), "{said}");
    }
}

#[test]
fn a_store_that_is_gone_is_not_passed_over() {
    let copy = Copy::new();
    copy.without_store();
    copy.assert(Verdict::Valid, "the journal has all of it");
    copy.without_journal();
    let said = copy.assert(Verdict::Undecided, "nothing has it");
    assert!(said.contains(&format!("{EXCHANGES} sealed exchanges are neither")), "{said}");
}

/// Where a batch stands in a journal file, and how long it is with its padding.
fn batches(file: &[u8]) -> Vec<(usize, usize)> {
    let mut batches = Vec::new();
    let mut at = 4096;
    while file.get(at..at + 8) == Some(b"sealtapB") {
        let length = number(file, at + 40);
        batches.push((at, 64 + length));
        at += (64 + length).next_multiple_of(4096);
    }
    batches
}

fn number(file: &[u8], at: usize) -> usize {
    u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Gives every batch the checksum of what it holds now, as whoever can write the file can.
fn seal_again(file: &mut [u8]) {
    let salt: [u8; 16] = file[36..52].try_into().expect("sixteen bytes");
    let mut before = None;
    for (at, length) in batches(file) {
        if let Some(crc) = before {
            file[at + 12..at + 16].copy_from_slice(&u32::to_le_bytes(crc));
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&salt);
        hasher.update(&file[at + 12..at + length]);
        let crc = hasher.finalize();
        file[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
        before = Some(crc);
    }
}

#[test]
fn what_the_journal_has_is_held_against_the_log() {
    for (old, new) in [
        ("request-00001", "request-00009"),
        ("/answer-2", "/answer-8"),
        // Answers are never in one batch with their requests, which then end in the middle.
        ("reply to /answer-0", "reply to /answer-7"),
    ] {
        let copy = Copy::new();
        copy.without_store();
        let mut changed = 0;
        for path in copy.journal() {
            let mut file = std::fs::read(&path).expect("read");
            let untouched = file.clone();
            seal_again(&mut file);
            assert!(file == untouched, "the test computes other checksums than the gateway");
            let places: Vec<usize> = memchr::memmem::find_iter(&file, old).collect();
            for at in &places {
                file[*at..at + new.len()].copy_from_slice(new.as_bytes());
            }
            changed += places.len();
            std::fs::write(&path, &file).expect("written");
            if places.is_empty() {
                continue;
            }
            // With the checksum of before, the journal itself is found to be damaged.
            copy.assert(Verdict::Undecided, "a damaged journal");
            seal_again(&mut file);
            std::fs::write(&path, &file).expect("written");
        }
        assert!(changed > 0, "{old} is not in the journal");
        let said = copy.assert(Verdict::NotValid, old);
        assert!(said.contains("journal"), "{said}");
    }
}
