//! A journal of a few batches, changed anywhere: what is read is what was written, or an error.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sealtap::capture::journal::{Journal, Options, Reader};
use sealtap::clock::Timeline;

/// Kind, number and payload of a record.
type Record = (u8, u64, Vec<u8>);

struct Written {
    directory: tempfile::TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
    records: Vec<Record>,
}

/// Kept in memory where the machine offers that: thousands of journals are written a second.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

static WRITTEN: LazyLock<Written> = LazyLock::new(|| {
    let source = directory();
    let options = Options { file_size: 32 * 1024, ..Options::new(Timeline::start(0)) };
    let opened = Journal::open(source.path(), [7; 16], options).expect("a journal");
    let reader = std::thread::spawn(move || {
        let mut records = Vec::new();
        for batch in opened.batches.iter() {
            records.extend(batch.records().map(|it| (it.kind, it.number, it.payload.to_vec())));
        }
        records
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for length in [100, 5_000, 40, 9_000, 700, 12_000] {
        let (ticket, _) = opened.journal.begin(1, &[b"opened"]).expect("it takes records");
        let position = opened.journal.append(ticket, 3, &[&vec![0x5a; length]]).expect("taken");
        runtime.block_on(opened.journal.durable(position)).expect("on disk");
    }
    opened.journal.close().expect("closed");
    drop(opened.recovered);
    let records = reader.join().expect("read");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(source.path()).expect("listed") {
        let entry = entry.expect("an entry");
        files.push((entry.file_name().into(), std::fs::read(entry.path()).expect("read")));
    }
    files.sort();
    Written { directory: directory(), files, records }
});

fuzz_target!(|data: &[u8]| {
    let written = &*WRITTEN;
    let mut files = written.files.clone();
    // Each edit is a place (file, offset) and a byte; a length that is odd cuts the last file off.
    for edit in data.chunks_exact(4) {
        let file = usize::from(edit[0]) % files.len();
        let bytes = &mut files[file].1;
        let place = usize::from(u16::from_be_bytes([edit[1], edit[2]])) % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place) {
            *byte = edit[3];
        }
    }
    if let [.., cut] = data.chunks_exact(4).remainder()
        && let Some((_, bytes)) = files.last_mut()
    {
        bytes.truncate(bytes.len() / 256 * usize::from(*cut));
    }
    for (name, bytes) in &files {
        std::fs::write(written.directory.path().join(name), bytes).expect("written");
    }
    let Ok(mut reader) = Reader::open(written.directory.path()) else { return };
    let mut expected = written.records.iter();
    while let Ok(Some(batch)) = reader.next() {
        for record in batch.records() {
            let (kind, number, payload) = expected.next().expect("no record out of nothing");
            assert_eq!(
                (record.kind, record.number, record.payload),
                (*kind, *number, &payload[..])
            );
        }
    }
});
