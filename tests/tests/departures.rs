//! Departures: where what goes on is not byte for byte what came. Each is recorded in
//! ARCHITECTURE.md and pinned here or in the suite named there; whoever mends one changes both.

use std::process::Command;

use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{End, head};
use sealtap_tests::programs;
use sealtap_tests::records::as_they_came;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::upstream_http2;
use sealtap_tests::verify::{Verdict, text, verify, write_keys};
use sealtap_tests::wire::Wire;

fn ok() -> Upstream {
    Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    })
}

/// Departure 2: `http::Uri` has no room for some bytes that HTTP/1 servers accept, so a target with
/// them cannot be sent over HTTP/2. It is the client's to send another: 400 (or 414 for one that is
/// too long, or has a name as long), recorded as refused; never altered, and no fault of the
/// upstream's.
#[test]
fn a_target_that_http2_cannot_carry_is_refused() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        exchange.read().await;
        exchange.answer(200, &[], true);
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let long = format!("/{}", "a".repeat(70_000));
    let name = "n".repeat(70_000);
    let cases = [
        ("/a<b", "X", 400, "malformed_request"),
        ("/a?x=1#part", "X", 400, "malformed_request"),
        ("/a#", "X", 400, "malformed_request"),
        (&*long, "X", 414, "head_too_large"),
        ("/name", &*name, 400, "malformed_request"),
    ];
    for (target, name, status, code) in cases {
        let mut client = Wire::connect(gateway.address());
        client.send(head(format!("GET /up{target} HTTP/1.1"), &[("Host", "gateway"), (name, "1")]));
        let answer = client.response("GET");
        assert_eq!(answer.status(), status, "{:?}", answer.body.content);
        let json: serde_json::Value = serde_json::from_slice(answer.bytes()).expect("JSON");
        assert_eq!(json["error"]["code"], code);
        // The request was whole and the connection goes on.
        client.send(head("GET /up/next HTTP/1.1", &[("Host", "gateway")]));
        assert_eq!(client.response("GET").status(), 200);
    }
    let exchanges = as_they_came(gateway.finish());
    for (pair, (target, _, status, code)) in exchanges.chunks(2).zip(cases) {
        let refused = &pair[0];
        assert_eq!([refused.text("/outcome"), refused.text("/error")], ["refused", code]);
        assert_eq!(refused.number("/status"), u64::from(status));
        assert!(refused.text("/url").ends_with(target), "{}", refused.json);
        assert_eq!(pair[1].text("/outcome"), "complete");
    }
    assert_eq!(upstream.finish().len(), cases.len(), "nothing else reached the upstream");
}

/// Departure 2, from the client's side: what `h2` hands on of a target has no fragment any more, so
/// the upstream and the record agree, on the target without it.
#[test]
fn a_fragment_from_http2_is_never_seen() {
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    // By hand, because `http` on this side would cut it off as well: SETTINGS, then HEADERS with
    // GET and http of the static table, :path and :authority as literals.
    let path = b"/up/a?x=1#part";
    let mut block = vec![0x82, 0x86, 0x44, u8::try_from(path.len()).expect("a short path")];
    block.extend_from_slice(path);
    block.extend_from_slice(b"\x41\x01x");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    let length = u8::try_from(block.len()).expect("a short head");
    bytes.extend_from_slice(&[0, 0, length, 1, 5, 0, 0, 0, 1]);
    bytes.extend_from_slice(&block);
    let mut client = Wire::connect(gateway.address());
    client.send(bytes);
    let exchanges = gateway.wait_sealed(1);
    drop(client);
    assert_eq!(exchanges[0].text("/outcome"), "complete", "{}", exchanges[0].json);
    let url = exchanges[0].text("/url");
    assert!(url.ends_with("/a?x=1"), "{url}");
    gateway.finish();
    assert_eq!(upstream.finish()[0].head.target(), b"/a?x=1");
}

/// Departure 4: whitespace around a field's value is no part of it (RFC 9110 section 5.5), and is
/// one space behind the colon when it goes on.
#[test]
fn whitespace_around_values_is_normalised() {
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\nX-Pad: \t a  b \t\r\nX-Bare:c\r\n\r\n");
    assert_eq!(client.response("GET").bytes(), b"ok");
    drop(client);
    let exchanges = gateway.finish();
    let sent = upstream.finish();
    assert_eq!(sent[0].head.one("x-pad"), Some("a  b"));
    assert_eq!(sent[0].head.one("x-bare"), Some("c"));
    let shown = exchanges[0].fields("/request/headers");
    assert!(shown.contains(&("X-Pad".to_owned(), "a  b".to_owned())), "{shown:?}");
}

/// Departure 5: persistence in HTTP/1.0 was never standard, so its connections end after an answer
/// even where the client asks to keep them.
#[test]
fn an_http10_connection_ends_after_the_answer() {
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.response("GET");
    assert_eq!(
        (answer.status(), answer.bytes(), answer.body.end),
        (200, &b"ok"[..], End::Complete)
    );
    client.assert_closed();
    drop(client);
    assert_eq!(gateway.finish().len(), 1);
    upstream.finish();
}

/// Not a departure but its counterpart: what the store keeps is what the leaf bound, and an edit of
/// the store is found by `sealtap verify` on the data directory.
#[test]
fn an_edited_store_is_found() {
    const BODY: &str = "the quick brown fox jumps over 13 lazy dogs";
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    let length = BODY.len().to_string();
    client.send(head("POST /up/x HTTP/1.1", &[("Host", "x"), ("Content-Length", &length)]));
    client.send(BODY);
    assert_eq!(client.response("POST").bytes(), b"ok");
    drop(client);
    let home = gateway.terminate();
    upstream.finish();
    let keys = write_keys(&home.data(), &home.path().join("keys.txt"));
    assert!(matches!(verify(&home.data(), Some(&keys)), (Verdict::Valid, _)));
    let mut edited = false;
    for entry in std::fs::read_dir(home.data().join("store")).expect("the store is there") {
        let path = entry.expect("it can be listed").path();
        let mut bytes = std::fs::read(&path).expect("it can be read");
        while let Some(at) = bytes.windows(BODY.len()).position(|found| found == BODY.as_bytes()) {
            bytes[at + 10] ^= 1;
            edited = true;
        }
        std::fs::write(&path, bytes).expect("it can be written");
    }
    assert!(edited, "a body this short is stored as it is");
    // The small verifier has no store to open; the product's must not be content.
    let mut command = Command::new(programs::sealtap());
    command.arg("verify").arg(home.data()).arg("--key").arg(&keys);
    let output = command.output().expect("sealtap can be run");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("content"), "{}", text(&output));
}
