//! Checks of this suite's own parts: a comparison that cannot fail would prove nothing.

use serde_json::json;

use crate::client::{Client, Outcome};
use crate::compare;
use crate::table::CLIENTS;
use crate::transcript::{self, Seen};

/// Every kind of body, an interim answer, an answer without a body, and an upgrade are told apart.
pub(crate) fn transcripts_are_read() {
    let sent = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nLast: one\r\n\r\n\
        HEAD /b HTTP/1.1\r\nHost: h\r\n\r\n\
        PUT /c HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nzz\
        GET /d HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\nup";
    let answered = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour\
        HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
        HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\ndown";
    let seen = transcript::read(sent, answered);
    let read: Vec<_> = seen
        .iter()
        .map(|seen| (&*seen.method, &*seen.target, &*seen.request, seen.status, &*seen.response))
        .collect();
    let expected = [
        ("POST", "/a", &b"abcde"[..], 200, &b"four"[..]),
        ("HEAD", "/b", b"", 200, b""),
        ("PUT", "/c", b"zz", 200, b"x"),
        ("GET", "/d", b"up", 101, b"down"),
    ];
    assert_eq!(read, expected);
    assert_eq!(seen[0].trailers, [("Last".to_owned(), "one".to_owned())]);
}

/// A changed byte anywhere in a request is found; what is new by nature is not.
pub(crate) fn a_changed_request_is_found() {
    let client = CLIENTS.iter().find(|client| client.differs == ["mcp-session-id"]);
    let client: &'static Client = client.expect("a client with a field that differs");
    let parse = |text: &str| transcript::read(text.as_bytes(), b"HTTP/1.1 204 No\r\n\r\n");
    let request = "POST /v1/file-AAAAAAAAAAAA HTTP/1.1\r\nHost: h\r\nMcp-Session-Id: one\r\n\
        Content-Type: multipart/form-data; boundary=edge1\r\nContent-Length: 7\r\n\r\n--edge1";
    let same = |other: &str| {
        let (left, right): (Vec<Seen>, Vec<Seen>) = (parse(request), parse(other));
        compare::requests(client, &left, &right).is_ok()
    };
    assert!(same(request));
    assert!(same(&request.replace("AAAAAAAAAAAA", "BBBBBBBBBBBB").replace("edge1", "edge2")));
    assert!(same(&request.replace(": one", ": two")));
    for (from, to) in
        [("POST", "PUT"), ("/v1", "/v2"), (": h", ": i"), ("--", "-+"), ("Host", "host")]
    {
        assert!(!same(&request.replace(from, to)), "{from} to {to}");
    }
    let (one, none) = (parse(request), Vec::new());
    assert!(compare::requests(client, &one, &none).is_err());
}

/// A changed result is found, and so is a case that is missing.
pub(crate) fn a_changed_result_is_found() {
    let outcome = |result| Outcome { case: "case".to_owned(), result };
    let left = [outcome(json!({ "Date": 1, "text": ["a", "req-AAAAAAAAAAAA"] }))];
    let same = |right: &[Outcome]| compare::results(&left, right).is_ok();
    assert!(same(&[outcome(json!({ "Date": 2, "text": ["a", "req-BBBBBBBBBBBB"] }))]));
    assert!(!same(&[outcome(json!({ "Date": 1, "text": ["b", "req-AAAAAAAAAAAA"] }))]));
    assert!(!same(&[outcome(json!({ "Date": 1, "text": ["a"] }))]));
    assert!(!same(&[]));
}
