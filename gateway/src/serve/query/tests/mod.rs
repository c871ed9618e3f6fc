//! Tests of `ls` and `show` over a real store and an overlay.

mod frames;

use std::io::{self, Write};
use std::path::Path;

use sealtap_common::Id;
use sealtap_common::unit::{Interim, Received, Shown, StatusLine, Trailers, Version};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::store::tests::fixture::{
    Journal, KEY, Sample, octets, plain, request_head, response_head, text_bytes,
};
use crate::store::{Direction, SealedExchange, Slot, Store};

const SECRET: [u8; 32] = [0x5a; 32];

fn put(directory: &Path, batch: &[SealedExchange], journal: &mut Journal) {
    Store::open(directory, &KEY).unwrap().put(batch, journal).unwrap();
}

fn query(directory: &Path) -> Query<NothingPending> {
    Query::open(directory, NothingPending).unwrap()
}

fn ls<O: Overlay>(query: &mut Query<O>, run: Option<&str>) -> Vec<Value> {
    let mut out = Vec::new();
    let count = query.list(run, Format::Json, &mut out).unwrap();
    let lines: Vec<Value> =
        out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect();
    assert_eq!(lines.len() as u64, count);
    lines
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn show<O: Overlay>(query: &mut Query<O>, text: &str) -> Value {
    let mut out = Vec::new();
    query.show(text, Format::Json, &mut out).unwrap();
    parse(&out)
}

fn show_people<O: Overlay>(query: &mut Query<O>, text: &str) -> String {
    let mut out = Vec::new();
    query.show(text, Format::People(Paint::Plain), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    view::hex(&Sha256::digest(bytes).into())
}

/// An exchange with a bit of everything.
fn rich(journal: &mut Journal) -> SealedExchange {
    let secret = |name: &str| (name.as_bytes().to_vec().into(), Shown::Secret(SECRET));
    let kept = [
        octets("Host", "api.example.com"),
        octets("Content-Type", "application/json"),
        secret("Authorization"),
        octets("X-Twice", "1"),
        octets("X-Twice", "2"),
    ];
    let mut came = kept.to_vec();
    came.insert(1, octets("Connection", "keep-alive"));
    let target = vec![plain("/v1/chat?key="), Shown::Secret(SECRET), plain("&a=b")];
    let early =
        StatusLine { reason: b"Early".to_vec().into(), status: 103, version: Version::Http11 };
    let interim = Interim { heads: vec![(early, vec![octets("Link", "</a>")])] };
    let trailers = Trailers {
        fields: vec![octets("Grpc-Status", "0")],
        received_fields: vec![Received::Same(0), Received::Own(octets("X-Hop", "1"))],
    };
    let zipped = [octets("content-type", "text/event-stream"), octets("Content-Encoding", "gzip")];
    Sample::new(0)
        .run_name("nightly")
        .unit(Slot::RequestHead, request_head("POST", target, &kept, &came))
        .unit(Slot::ResponseHead, response_head(200, &zipped, &[]))
        .unit(Slot::Interim, interim.encode())
        .unit(Slot::ResponseTrailers, trailers.encode())
        .bodies(journal, b"{\"q\":1}", &text_bytes(4, 100_000))
}

#[test]
fn ls_json_has_the_members_of_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let sealed = rich(&mut journal);
    put(directory.path(), std::slice::from_ref(&sealed), &mut journal);
    let lines = ls(&mut query(directory.path()), None);
    let expected = json!({
        "id": Id(sealed.id).to_string(),
        "run": "nightly",
        "ingress": "reverse",
        "method": "POST",
        "url": "https://api.example.com/v1/chat?key=<secret WlpaWlpa>&a=b",
        "status": 200,
        "outcome": "complete",
        "error": null,
        "started": "2027-01-15T08:00:00.000000Z",
        "duration_ns": 2_000_000,
        "request": {
            "bytes": 7,
            "sha256": sha256(b"{\"q\":1}"),
            "content_type": "application/json",
            "content_encoding": null,
            "end": "complete",
        },
        "response": {
            "bytes": 100_000,
            "sha256": sha256(&text_bytes(4, 100_000)),
            "content_type": "text/event-stream",
            "content_encoding": "gzip",
            "end": "complete",
            "ttfb_ns": 1_000_000,
        },
        "leaf": 0,
        "client": "127.0.0.1:50123",
        "upstream": "openai",
    });
    assert_eq!(lines, std::slice::from_ref(&expected));
    // The order of members is part of what people read.
    assert_eq!(lines[0].to_string(), expected.to_string());
}

#[test]
fn show_json_adds_heads_trailers_and_interim_answers() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let sealed = rich(&mut journal);
    put(directory.path(), std::slice::from_ref(&sealed), &mut journal);
    let mut query = query(directory.path());
    let shown = show(&mut query, "nightly");
    let tag = sealtap_common::encoding::base64(&SECRET);
    let kept = json!([
        ["Host", "api.example.com"],
        ["Content-Type", "application/json"],
        ["Authorization", { "secret": tag }],
        ["X-Twice", "1"],
        ["X-Twice", "2"],
    ]);
    let mut came = kept.clone();
    came.as_array_mut().unwrap().insert(1, json!(["Connection", "keep-alive"]));
    assert_eq!(shown["request"]["headers"], kept);
    assert_eq!(shown["request"]["received"]["headers"], came);
    assert_eq!(shown["request"]["target"], json!(["/v1/chat?key=", { "secret": tag }, "&a=b"]));
    assert_eq!(shown["response"]["trailers"], json!([["Grpc-Status", "0"]]));
    let came = json!([["Grpc-Status", "0"], ["X-Hop", "1"]]);
    assert_eq!(shown["response"]["received"]["trailers"], came);
    assert_eq!(shown["request"]["trailers"], Value::Null);
    assert_eq!(shown["interim"][0]["status"], 103);
    assert_eq!(shown["interim"][0]["headers"], json!([["Link", "</a>"]]));
    assert_eq!(shown["response"]["segments"], 2);
    assert_eq!(shown["websocket"], Value::Null);
    for (name, value) in ls(&mut query, None)[0].as_object().unwrap() {
        match value.as_object() {
            None => assert_eq!(&shown[name], value, "{name}"),
            Some(inner) => {
                for (member, value) in inner {
                    assert_eq!(&shown[name][member], value, "{name}.{member}");
                }
            }
        }
    }
}

#[test]
fn show_tells_people_what_changed_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let sealed = rich(&mut journal);
    put(directory.path(), std::slice::from_ref(&sealed), &mut journal);
    let text = show_people(&mut query(directory.path()), "nightly");
    for line in [
        "- Connection: keep-alive",
        "  X-Twice: 2",
        "  Authorization: <secret WlpaWlpa>",
        "103 Early  HTTP/1.1  (interim)",
        "  Grpc-Status: 0",
        "- X-Hop: 1",
        "  body 100.0 kB (100000 bytes), complete, bytes/1 in 2 segments",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
    }
    assert!(text.contains("--body response"), "{text}");
}

#[test]
fn nothing_captured_steers_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\r\n\u{202e}";
    let fields = [octets("X-Evil", evil)];
    let target = vec![plain(&format!("/{evil}"))];
    let sealed = Sample::new(0)
        .run_name("\u{1b}[2J")
        .unit(Slot::RequestHead, request_head("GET", target, &fields, &[]))
        .bodies(&mut journal, b"", b"ok");
    put(directory.path(), &[sealed], &mut journal);
    let mut query = query(directory.path());
    let mut out = Vec::new();
    query.list(None, Format::People(Paint::Plain), &mut out).unwrap();
    query.show("\u{1b}[2J", Format::People(Paint::Plain), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(harmful), "{text:?}");
    assert!(text.contains("\\u{1b}]0;owned"), "{text}");
}

#[test]
fn ls_for_people_is_aligned_and_coloured_only_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch: Vec<_> = (0..450_u16)
        .map(|number| {
            let leaf = u64::from(number);
            let sample = Sample::new(leaf).run(u8::try_from(leaf % 3).unwrap());
            let sample = if leaf == 449 { sample.no_response() } else { sample };
            sample.bodies(&mut journal, &vec![b'q'; usize::from(number) * 40], b"answer")
        })
        .collect();
    put(directory.path(), &batch, &mut journal);
    let mut query = query(directory.path());
    let mut plain = Vec::new();
    assert_eq!(query.list(None, Format::People(Paint::Plain), &mut plain).unwrap(), 450);
    let plain = String::from_utf8(plain).unwrap();
    let lines: Vec<_> = plain.lines().collect();
    assert_eq!(lines.len(), 451);
    assert!(lines[0].starts_with("STARTED (UTC)"), "{}", lines[0]);
    let column = lines[0].find("WHAT").unwrap();
    assert!(lines[1..200].iter().all(|line| line[column..].starts_with("POST https")));
    assert!(lines[450].contains("upstream_failed"), "{}", lines[450]);
    assert!(!plain.contains('\u{1b}'));
    let mut colour = Vec::new();
    query.list(None, Format::People(Paint::Colour), &mut colour).unwrap();
    assert!(String::from_utf8(colour).unwrap().contains("\u{1b}["));
    assert_eq!(ls(&mut query, Some(&"01".repeat(16))).len(), 150);
    assert!(matches!(query.list(Some("0"), Format::Json, &mut io::sink()),
        Err(QueryError::Ambiguous { candidates, .. }) if candidates.len() == 3));
    assert!(matches!(
        query.list(Some("nobody"), Format::Json, &mut io::sink()),
        Err(QueryError::NotFound { .. })
    ));
}

#[test]
fn one_damaged_exchange_does_not_hide_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch = [0, 1, 2].map(|leaf| Sample::new(leaf).bodies(&mut journal, b"q", b"a"));
    put(directory.path(), &batch, &mut journal);
    let database = rusqlite::Connection::open(directory.path().join("exchanges.db")).unwrap();
    database.execute("UPDATE unit SET bytes = x'7b' WHERE place = 8", []).unwrap();
    let mut out = Vec::new();
    let error = query(directory.path()).list(None, Format::Json, &mut out).unwrap_err();
    assert!(error.to_string().contains("its request head cannot be read"), "{error}");
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 2);
}

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

#[test]
fn sizes_and_durations_read_well() {
    let sizes = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB")];
    for (bytes, text) in sizes.into_iter().chain([(999_950, "1.0 MB"), (999_949, "999.9 kB")]) {
        assert_eq!(people::size(bytes), text);
    }
    assert_eq!(people::size(u64::MAX), "18446.7 PB");
    for (nanoseconds, text) in [
        (0, "0 us"),
        (1_499, "1 us"),
        (999_499, "999 us"),
        (999_500, "1.0 ms"),
        (12_345_678, "12.3 ms"),
        (999_950_000, "1.0 s"),
        (59_949_999_999, "59.9 s"),
        (59_950_000_000, "1 min 0 s"),
        (3_599_499_999_999, "59 min 59 s"),
        (3_600_000_000_000, "1 h 0 min"),
    ] {
        assert_eq!(people::duration(nanoseconds), text);
    }
}
