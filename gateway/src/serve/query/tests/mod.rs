//! Tests of `ls` and `show` over a real store and an overlay.

mod frames;
mod lines;
mod pending;

use std::path::Path;

use sealtap_common::Id;
use sealtap_common::unit::{Interim, Received, Shown, StatusLine, Trailers, Version};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::store::tests::fixture::{
    Journal, KEY, Sample, octets, plain, request_head, response_head, text_bytes,
};
use crate::store::{SealedExchange, Slot, Store};

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
