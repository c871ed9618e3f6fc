//! What comes back from the journal is what was sealed, or is refused.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use sealtap_common::encoding::Id;

use super::super::digest::{Digest, Event};
use super::*;
use crate::capture::journal::{Extents, Journal, Options};
use crate::capture::record::{
    Answered, Connected, Dialect, Ended, ExchangeKeys, Opened, Requested,
};
use crate::clock::Timeline;

fn record<T: serde::Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap()
}

fn data(offset: u64, bytes: &[u8]) -> Vec<u8> {
    [&offset.to_le_bytes(), bytes].concat()
}

/// The records of one exchange, in order.
fn records(number: u8, pieces: u64) -> Vec<(u8, Vec<u8>)> {
    let key = |which: u8| [which ^ number; 32];
    let opened = Opened {
        id: [number; 16],
        started_us: 5,
        keys: ExchangeKeys {
            request_head: key(1),
            request_body: key(2),
            request_trailers: key(3),
            interim: key(4),
            response_head: key(5),
            response_body: key(6),
            response_trailers: key(7),
            context: key(8),
        },
        run: [9; 16],
        run_by: "header".into(),
        run_name: Some("a run".into()),
        client: "127.0.0.1:1".into(),
        upstream_name: Some("up".into()),
        upstream_url: Some("http://127.0.0.1:2".into()),
        strict: true,
    };
    let head = |text: &'static [u8]| Cow::Borrowed(serde_bytes::Bytes::new(text));
    let requested = Requested { dialect: Dialect::Bytes, head: head(b"a request") };
    let connected = Connected { address: "127.0.0.1:2".into(), tls: None };
    let answered = Answered {
        at_us: 7,
        by_gateway: None,
        websocket: false,
        dialect: Dialect::EventStream,
        head: head(b"an answer"),
    };
    let ended = |trailers| Ended { end: "complete".into(), same: true, trailers };
    let mut all = vec![
        (kind::OPENED, record(&opened)),
        (kind::REQUESTED, record(&requested)),
        (kind::REQUEST_DATA, data(0, &[number; 70_000])),
        (kind::REQUEST_ENDED, record(&ended(None))),
        (kind::CONNECTED, record(&connected)),
        (kind::ANSWERED, record(&answered)),
    ];
    for piece in 0..pieces {
        let event = format!("data: {number:03} {piece:03}\n\n");
        let offset = piece * u64::try_from(event.len()).unwrap();
        all.push((kind::RESPONSE_DATA, data(offset, event.as_bytes())));
    }
    let closed = Closed { at_us: 9, outcome: "complete".into(), error: None };
    all.push((kind::RESPONSE_ENDED, record(&ended(Some(head(b"trailers"))))));
    all.push((kind::CLOSED, record(&closed)));
    all
}

/// Writes exchanges side by side over several files, digests them, and gives each in both forms.
fn sealed(at: &Path, pieces: &[u64]) -> Vec<(Option<Deferred>, SealedExchange)> {
    let options = Options { file_size: 128 * 1024, ..Options::new(Timeline::start(0)) };
    let opened = Journal::open(at, [5; 16], options).unwrap();
    let journal = opened.journal;
    let mut rest: Vec<_> = (1..)
        .zip(pieces)
        .map(|(number, pieces)| (None, records(number, *pieces).into_iter()))
        .collect();
    let mut written = true;
    while written {
        written = false;
        for (ticket, records) in &mut rest {
            let Some((kind, payload)) = records.next() else { continue };
            written = true;
            match ticket {
                None => *ticket = Some(journal.begin(kind, &[&payload]).unwrap().0),
                Some(ticket) => drop(journal.append(*ticket, kind, &[&payload]).unwrap()),
            }
        }
    }
    journal.close().unwrap();
    let mut digest = Digest::default();
    let mut found = Vec::new();
    for batch in opened.batches.iter() {
        digest.batch(&batch, |event| {
            let Event::Exchange(digested) = event else { return };
            let index = digested.number + 100;
            let run = RunLink { id: Id(digested.run), position: index, previous: Some([1; 32]) };
            let leaf = digested.leaf(run, 11).encode().unwrap();
            let linked = Linked { run, sealed_us: 11, hash: leaf_hash(&leaf) };
            let deferred = Deferred::of(&digested, index, linked);
            found.push((deferred, digested.into_sealed(index, leaf)));
        });
    }
    found
}

#[test]
fn an_exchange_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let found = sealed(directory.path(), &[1, 40, 3]);
    assert_eq!(found.len(), 3);
    let mut extents = Extents::new(directory.path());
    for (deferred, whole) in found {
        let deferred = deferred.unwrap();
        assert_eq!(deferred.body_bytes(), whole.body_bytes());
        assert!(deferred.weight() * 8 < whole.weight, "{deferred:?}");
        let back = deferred.restore(&mut extents).unwrap();
        assert_eq!(back, SealedExchange { weight: back.weight, ..whole });
    }
}

#[test]
fn what_is_not_known_in_full_stays_whole() {
    let directory = tempfile::tempdir().unwrap();
    let found = sealed(directory.path(), &[100]);
    assert!(matches!(found.as_slice(), [(None, _)]));
    let opened = (kind::OPENED, Extent { file: 1, offset: 1, length: 1 });
    let mut records = Records::default();
    assert_eq!(records.pack(), None);
    records.push(opened.0, opened.1);
    assert_eq!(records.pack(), None, "nothing closed it");
}

#[test]
fn a_changed_or_missing_record_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let found = sealed(directory.path(), &[2]);
    let (Some(deferred), whole) = found.into_iter().next().unwrap() else { panic!("deferred") };
    let at = whole.bodies[0].extents[0];
    let file = directory.path().join(format!("{:020}.journal", at.file));
    let mut bytes = fs::read(&file).unwrap();
    bytes[usize::try_from(at.offset).unwrap() + 9] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = deferred.restore(&mut Extents::new(directory.path())).unwrap_err();
    assert!(matches!(error, DeferredError::OtherLeaf), "{error}");
    fs::remove_file(&file).unwrap();
    let error = deferred.restore(&mut Extents::new(directory.path())).unwrap_err();
    assert!(matches!(error, DeferredError::Journal(_)), "{error}");
}
