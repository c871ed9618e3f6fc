//! The real journal below: records written, synced, handed on, and stored by their extents.

use sealtap_common::commit::Dialect;

use super::super::{Direction, SealedBody, Store, StoreError, StoreReader};
use super::fixture::{KEY, Sample, body_of, cut, text_bytes};
use crate::capture::journal::{Extents, Journal, Options};
use crate::clock::Timeline;

#[test]
fn bytes_come_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let (journal_at, store_at) = (directory.path().join("journal"), directory.path().join("store"));
    let options = Options { file_size: 256 * 1024, ..Options::new(Timeline::start(0)) };
    let opened = Journal::open(&journal_at, [5; 16], options).unwrap();
    let journal = opened.journal;
    let request = text_bytes(1, 300_000);
    let response = text_bytes(2, 90_000);
    let (ticket, _) = journal.begin(1, &[b"head"]).unwrap();
    // Both directions interleaved, in records as uneven as reads from a socket.
    let mut answer = response.chunks(1_777);
    for (at, chunk) in request.chunks(9_001).enumerate() {
        journal.append(ticket, 2, &[chunk]).unwrap();
        for part in answer.by_ref().take(1 + at % 3) {
            journal.append(ticket, 3, &[part]).unwrap();
        }
    }
    for part in answer {
        journal.append(ticket, 3, &[part]).unwrap();
    }
    journal.close().unwrap();

    let batches: Vec<_> = opened.batches.iter().collect();
    let body = |direction, kind, bytes: &[u8]| SealedBody {
        direction,
        key: [kind; 32],
        dialect: Dialect::Bytes,
        segments: cut(bytes.len(), 65_536),
        extents: batches
            .iter()
            .flat_map(|batch| batch.records().filter(|record| record.kind == kind))
            .map(|record| record.at)
            .collect(),
    };
    let bodies =
        vec![body(Direction::Request, 2, &request), body(Direction::Response, 3, &response)];
    let mut extents = Extents::new(&journal_at);
    let sealed = Sample::new(0).seal(bodies, &mut extents);
    let mut store = Store::open(&store_at, &KEY).unwrap();

    // One byte of a file turned over is noticed before the store takes it for good.
    let at = sealed.bodies[0].extents[3];
    let file = journal_at.join(format!("{:020}.journal", at.file));
    let whole = std::fs::read(&file).unwrap();
    let mut turned = whole.clone();
    turned[usize::try_from(at.offset).unwrap() + 5] ^= 1;
    std::fs::write(&file, &turned).unwrap();
    let put = store.put(std::slice::from_ref(&sealed), &mut Extents::new(&journal_at));
    let error = put.unwrap_err();
    assert!(matches!(error, StoreError::Malformed { .. }), "{error}");
    std::fs::remove_file(&file).unwrap();
    let put = store.put(std::slice::from_ref(&sealed), &mut Extents::new(&journal_at));
    let error = put.unwrap_err();
    assert!(matches!(error, StoreError::Journal { .. }), "{error}");
    std::fs::write(&file, &whole).unwrap();

    let stored = store.put(std::slice::from_ref(&sealed), &mut Extents::new(&journal_at)).unwrap();
    assert_eq!(stored.bytes_read, 390_000);
    let mut reader = StoreReader::open(&store_at).unwrap();
    assert!(body_of(&mut reader, &sealed.id, Direction::Request) == request);
    assert!(body_of(&mut reader, &sealed.id, Direction::Response) == response);
}
