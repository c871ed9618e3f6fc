//! What is still in the journal, and readers that go away.

use std::io::{self, Write};

use sealtap_common::Id;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::super::*;
use super::{Journal, Sample, ls, put, show, show_people};
use crate::store::{Direction, SealedExchange};

/// Exchanges in the journal: rows made from sealed samples, as if their leaves were not stored.
struct Waiting {
    rows: Vec<(ExchangeView, SealedExchange, Vec<u8>)>,
}

impl Overlay for Waiting {
    fn rows(&mut self) -> io::Result<Vec<ExchangeView>> {
        Ok(self.rows.iter().map(|(row, ..)| row.clone()).collect())
    }

    fn units(&mut self, id: &[u8; 16]) -> io::Result<Option<PendingUnits>> {
        let found = self.rows.iter().find(|(row, ..)| row.id.0 == *id);
        Ok(found.map(|(_, sealed, _)| {
            sealed.units.iter().map(|unit| (unit.slot, unit.bytes.clone())).collect()
        }))
    }

    fn write_body(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        out: &mut dyn Write,
    ) -> io::Result<Option<u64>> {
        let found = self.rows.iter().find(|(row, ..)| row.id.0 == *id);
        let Some((_, _, body)) = found.filter(|_| direction == Direction::Request) else {
            return Ok(None);
        };
        out.write_all(body)?;
        Ok(Some(body.len() as u64))
    }
}

fn open(sealed: &SealedExchange, run: u8, body: &[u8]) -> ExchangeView {
    let units = sealed.units.iter().map(|unit| (unit.slot, unit.bytes.as_slice()));
    let parts = Parts {
        id: Id(sealed.id),
        run: Id([run; 16]),
        outcome: OPEN,
        error: None,
        started: 1_800_000_000_000_000,
        duration_ns: 5,
        ttfb_ns: None,
        leaf: None,
        request: (body.len() as u64, Sha256::digest(body).into(), OPEN),
        response: None,
        tunnel: None,
    };
    ExchangeView::new(&parts, &Units::decode(units).unwrap())
}

#[test]
fn what_is_pending_is_listed_last_and_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let both = Sample::new(0).run_name("both").bodies(&mut journal, b"stored", b"ok");
    let only =
        Sample::new(1).run(9).run_name("only").no_response().bodies(&mut journal, b"open", b"");
    let rows = |bodies: [&[u8]; 2]| Waiting {
        rows: vec![
            (open(&both, 1, bodies[0]), both.clone(), bodies[0].to_vec()),
            (open(&only, 9, bodies[1]), only.clone(), bodies[1].to_vec()),
        ],
    };
    // Before there is any store.
    let mut early = Query::open(directory.path(), rows([b"stored", b"open"])).unwrap();
    assert_eq!(ls(&mut early, None).len(), 2);
    put(directory.path(), std::slice::from_ref(&both), &mut journal);

    let mut query = Query::open(directory.path(), rows([b"stale", b"open"])).unwrap();
    let lines = ls(&mut query, None);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["outcome"], &lines[0]["leaf"]), (&json!("complete"), &json!(0)));
    assert_eq!((&lines[1]["outcome"], &lines[1]["leaf"]), (&json!("open"), &Value::Null));
    assert_eq!(lines[1]["response"], Value::Null);
    assert_eq!(ls(&mut query, Some("only")).len(), 1);
    assert_eq!(ls(&mut query, Some("both")).len(), 1);

    assert_eq!(show(&mut query, "only")["request"]["method"], "POST");
    assert!(show_people(&mut query, "only").contains("not sealed yet"));
    let body = |query: &mut Query<Waiting>, text: &str, direction| {
        let mut out = Vec::new();
        query.body(text, direction, &mut out).map(|written| {
            assert_eq!(written, out.len() as u64);
            out
        })
    };
    assert_eq!(body(&mut query, "only", Direction::Request).unwrap(), b"open");
    assert_eq!(body(&mut query, "both", Direction::Request).unwrap(), b"stored");
    let error = body(&mut query, "only", Direction::Response).unwrap_err();
    assert!(matches!(error, QueryError::Absent { .. }), "{error}");
}

#[test]
fn a_reader_that_went_away_is_told_from_a_failure() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let stored = Sample::new(0).run_name("stored").bodies(&mut journal, b"q", b"a");
    let waiting = Sample::new(1).run_name("open").bodies(&mut journal, b"q", b"a");
    put(directory.path(), std::slice::from_ref(&stored), &mut journal);
    let rows = vec![(open(&waiting, 9, b"q"), waiting.clone(), b"q".to_vec())];
    let mut query = Query::open(directory.path(), Waiting { rows }).unwrap();
    for format in [Format::Json, Format::People(Paint::Plain)] {
        assert!(query.list(None, format, &mut Gone).unwrap_err().is_closed_pipe());
        assert!(query.show("stored", format, &mut Gone).unwrap_err().is_closed_pipe());
    }
    for text in ["stored", "open"] {
        let error = query.body(text, Direction::Request, &mut Gone).unwrap_err();
        assert!(error.is_closed_pipe(), "{error:?}");
    }
}
