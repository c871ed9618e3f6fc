//! Size: contents once, recipes short, memory bounded.

use std::io;

use sealtap_common::commit::Dialect;

use super::super::{Direction, ExtentSource, SealedBody, Segment, Store, StoreReader};
use super::fixture::{Journal, KEY, Sample, body_of, noise_bytes};
use crate::capture::journal::Extent;

/// What the database holds once its log is folded in, in bytes.
fn size(directory: &std::path::Path) -> u64 {
    std::fs::metadata(super::super::schema::file(directory)).unwrap().len()
}

#[test]
fn the_same_content_takes_its_room_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let megabyte = noise_bytes(5, 1 << 20);
    let batch: Vec<_> =
        (0..20).map(|leaf| Sample::new(leaf).bodies(&mut journal, &megabyte, b"ok")).collect();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    let stored = store.put(&batch, &mut journal).unwrap();
    drop(store);
    assert_eq!((stored.segments_new, stored.segments_shared), (17, 19 * 17));
    let size = size(directory.path());
    assert!(size < 3 << 19, "20 MiB of the same megabyte took {size} bytes");
}

/// A conversation of `steps` steps, each a body of all messages so far, a segment each.
fn conversation(journal: &mut Journal, steps: usize) -> Vec<super::super::SealedExchange> {
    let messages: Vec<_> = (0..steps as u64).map(|step| noise_bytes(step, 700)).collect();
    let extents: Vec<Vec<Extent>> = messages.iter().map(|bytes| journal.append(bytes)).collect();
    (1..=steps)
        .map(|step| {
            let body = |direction, count: usize| SealedBody {
                direction,
                key: [1; 32],
                dialect: Dialect::EventStream,
                segments: (0..count)
                    .map(|index| Segment { offset: index as u64 * 700, length: 700, kind: 0 })
                    .collect(),
                extents: extents[..count].concat(),
            };
            let bodies = vec![body(Direction::Request, step), body(Direction::Response, 0)];
            Sample::new(step as u64 - 1).seal(bodies, journal)
        })
        .collect()
}

#[test]
fn a_growing_conversation_does_not_grow_as_its_square() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch = conversation(&mut journal, 400);
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    store.put(&batch, &mut journal).unwrap();
    drop(store);
    let database =
        rusqlite::Connection::open(super::super::schema::file(directory.path())).unwrap();
    let (recipes, deepest, lists): (i64, i64, i64) = database
        .query_row(
            "SELECT (SELECT sum(length(recipe)) FROM body), (SELECT max(depth) FROM body),
             (SELECT sum(lists) FROM segment)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(deepest, super::super::recipe::DEEPEST);
    // Flat lists would hold 400 * 401 / 2 entries of at least three bytes.
    assert!(recipes < 30_000, "{recipes} bytes of recipes");
    let held: i64 = database
        .query_row(
            "SELECT count(*) FROM segment JOIN content ON content.key = content",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(held, 400);
    assert!(lists >= 400, "{lists}");
    let mut reader = StoreReader::open(directory.path()).unwrap();
    for step in [1_usize, 4, 5, 33, 34, 100, 399, 400] {
        let expected: Vec<u8> = (0..step as u64).flat_map(|at| noise_bytes(at, 700)).collect();
        let id = batch[step - 1].id;
        assert!(body_of(&mut reader, &id, Direction::Request) == expected, "step {step}");
    }
}

/// A journal whose bytes are made as they are read, so that nothing holds the whole body.
struct Endless;

impl ExtentSource for Endless {
    fn read(&mut self, extent: Extent, into: &mut Vec<u8>) -> io::Result<()> {
        into.extend(noise_bytes(extent.offset, extent.length as usize));
        Ok(())
    }
}

#[test]
fn a_body_of_160_mib_passes_in_little_memory() {
    const LENGTH: u64 = 160 << 20;
    let directory = tempfile::tempdir().unwrap();
    let empty = || SealedBody {
        direction: Direction::Response,
        key: [2; 32],
        dialect: Dialect::Bytes,
        segments: Vec::new(),
        extents: Vec::new(),
    };
    let large = SealedBody {
        direction: Direction::Request,
        segments: (0..LENGTH / 65_536)
            .map(|at| Segment { offset: at * 65_536, length: 65_536, kind: 0 })
            .collect(),
        extents: (0..LENGTH)
            .step_by(100_000)
            .map(|offset| {
                let length = u32::try_from((LENGTH - offset).min(100_000)).unwrap();
                Extent { file: 4, offset, length }
            })
            .collect(),
        ..empty()
    };
    let sealed = Sample::new(0).seal(vec![large, empty()], &mut Endless);
    let before = peak_kib();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    store.put(std::slice::from_ref(&sealed), &mut Endless).unwrap();
    let log = super::super::schema::log_length(&super::super::schema::file(directory.path()));
    assert!(log <= super::super::schema::LOG_KEPT_BYTES, "a log of {log} bytes stays");
    let mut reader = StoreReader::open(directory.path()).unwrap();
    let written = reader.write_body(&sealed.id, Direction::Request, &mut io::sink()).unwrap();
    assert_eq!(written, LENGTH);
    let grown = peak_kib().saturating_sub(before);
    // Other tests run beside this one; a body held whole would still be far above.
    assert!(grown < 100 << 10, "memory grew by {grown} KiB");
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
