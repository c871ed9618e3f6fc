//! Smuggling: what two parsers could read in two ways is refused, and nothing of it goes on.
//!
//! Every input here is answered with 400 and the connection ends; none is mended. (A version or a
//! transfer coding that exists elsewhere may be answered 505 or 501, as RFC 9112 asks.) Each
//! carries a second request that a lenient parser would find in it: no upstream may ever see that.

use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{End, head};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

const INNER: &str = "GET /up/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

fn pair() -> (Upstream, Gateway) {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    (upstream, gateway)
}

/// Each raw message is refused with 400 before any of it goes on.
fn refused(messages: &[String]) {
    refused_with(&[400], messages);
}

/// Each raw message is refused with one of these statuses before any of it goes on.
fn refused_with(statuses: &[u16], messages: &[String]) {
    let (upstream, gateway) = pair();
    let mut seen = Vec::new();
    for message in messages {
        let mut client = Wire::connect(gateway.address());
        client.send(message);
        let answer = client.response("GET");
        let status = answer.status();
        assert!(statuses.contains(&status), "{message:?} gave {status} {:?}", answer.body.content);
        seen.push(status);
        assert_eq!(answer.head.one("content-type"), Some("application/json"), "{message:?}");
        let (rest, end) = client.read_to_end();
        assert_eq!(rest.length(), 0, "{message:?}: a second answer {rest:?}");
        assert!(matches!(end, End::Complete | End::Reset), "{message:?}: {end:?}");
    }
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), messages.len(), "each refusal is sealed");
    for ((exchange, message), status) in exchanges.iter().zip(messages).zip(seen) {
        assert_eq!(exchange.text("/outcome"), "refused", "{message:?} in {}", exchange.json);
        assert_eq!(exchange.number("/status"), u64::from(status), "{}", exchange.json);
    }
    assert_eq!(upstream.connections(), 0, "nothing was ever sent on");
    upstream.finish();
}

/// Requests with these field lines and body.
fn posts(variants: &[(&str, &str)]) -> Vec<String> {
    let variants = variants.iter();
    variants
        .map(|(fields, body)| {
            format!("POST /up/x HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}{INNER}")
        })
        .collect()
}

#[test]
fn more_than_one_length() {
    refused(&posts(&[
        ("Content-Length: 0\r\nContent-Length: 5\r\n", ""),
        ("Content-Length: 5\r\nContent-Length: 0\r\n", "abcde"),
        ("Content-Length: 5, 0\r\n", "abcde"),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", "abcde"),
        ("Content-Length: 5, 5\r\n", "abcde"),
        ("Content-Length: 5\r\ncontent-LENGTH: 05\r\n", "abcde"),
    ]));
}

#[test]
fn lengths_that_are_no_numbers() {
    refused(&posts(&[
        ("Content-Length: +5\r\n", "abcde"),
        ("Content-Length: -1\r\n", ""),
        ("Content-Length: 0x5\r\n", "abcde"),
        ("Content-Length: 5 5\r\n", "abcde"),
        ("Content-Length: 1e1\r\n", "abcde"),
        ("Content-Length: \r\n", ""),
        ("Content-Length: 5_0\r\n", "abcde"),
        ("Content-Length: 18446744073709551616\r\n", ""),
        ("Content-Length: 18446744073709551621\r\n", "abcde"),
        ("Content-Length: \u{661}\r\n", "a"),
    ]));
}

#[test]
fn a_length_with_chunks() {
    refused(&posts(&[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ]));
}

#[test]
fn transfer_codings_others_might_not_see() {
    refused_with(
        &[400, 501],
        &posts(&[
            ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding:\r\n", ""),
            ("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"),
            ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ]),
    );
}

#[test]
fn names_with_space_and_folded_lines() {
    refused(&posts(&[
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Content-Length\t: 5\r\n", "abcde"),
        (" Content-Length: 5\r\n", "abcde"),
        ("X: a\r\n Content-Length: 5\r\n", "abcde"),
        ("X: a\r\n\tb\r\n", ""),
        ("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
        (": empty\r\n", ""),
        ("no colon\r\n", ""),
        ("Content-Length\0: 5\r\n", "abcde"),
        ("X: nul\0\r\n", ""),
        ("X(y): z\r\n", ""),
    ]));
}

#[test]
fn line_ends_that_are_not_crlf() {
    let post = |head: &str| format!("{head}{INNER}");
    refused(&[
        post("POST /up/x HTTP/1.1\nHost: x\nContent-Length: 0\n\n"),
        post("POST /up/x HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n"),
        post("POST /up/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\n\r\n"),
        post("POST /up/x HTTP/1.1\r\nHost: x\rContent-Length: 0\r\n\r\n"),
        post("POST /up/x HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n"),
        post("POST /up/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\r\n\r\n"),
    ]);
}

#[test]
fn request_lines_that_are_none() {
    let lines = [
        "GET  /up/x HTTP/1.1",
        "GET /up/x  HTTP/1.1",
        " GET /up/x HTTP/1.1",
        "GET\t/up/x HTTP/1.1",
        "GET /up/x y HTTP/1.1",
        "GET /up/x",
        "GET /up/x HTTP/1.2",
        "GET /up/x HTTP/2.0",
        "GET /up/x HTTP/01.1",
        "GET /up/x http/1.1",
        "GET /up/x HTTP/1.1 ",
        "G(T /up/x HTTP/1.1",
        "GET up/x HTTP/1.1",
        "GET /up/\x01 HTTP/1.1",
        "GET /up/\x7f HTTP/1.1",
    ];
    refused_with(&[400, 505], &lines.map(|line| format!("{line}\r\nHost: x\r\n\r\n{INNER}")));
}

#[test]
fn hosts_that_are_none_or_many() {
    refused(&[
        format!("GET /up/x HTTP/1.1\r\n\r\n{INNER}"),
        format!("GET /up/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{INNER}"),
        format!("GET /up/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n{INNER}"),
        format!("GET /up/x HTTP/1.1\r\nHost: a b\r\n\r\n{INNER}"),
        format!("GET /up/x HTTP/1.1\r\nHost: a, b\r\n\r\n{INNER}"),
        format!("GET /up/x HTTP/1.1\r\nHost: a/b\r\n\r\n{INNER}"),
    ]);
}

#[test]
fn chunks_in_old_http() {
    refused(&[format!(
        "POST /up/x HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"
    )]);
}

#[test]
fn a_head_without_end() {
    let (upstream, gateway) = pair();
    let mut client = Wire::connect(gateway.address());
    let line = format!("X-{}: {}\r\n", "n".repeat(100), "v".repeat(8000));
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n");
    // Until the gateway has had enough; it may stop reading at any of these.
    for _ in 0..1000 {
        if client.try_send(&line).is_err() {
            break;
        }
        if !client.is_silent() {
            break;
        }
    }
    let answer = client.response("GET");
    assert!([400, 431].contains(&answer.status()), "{}", answer.status());
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].text("/outcome"), "refused");
    assert_eq!(upstream.connections(), 0);
    upstream.finish();
}

/// Chunked bodies that are wrong after a head that is right: the head and what was sound before
/// the fault may have gone on, but the upstream must not see a whole request, nor the inner one.
#[test]
fn chunk_tricks_never_become_a_request() {
    let bodies = [
        "5\nabcde\r\n0\r\n\r\n",
        "5\rabcde\r\n0\r\n\r\n",
        "5 \r\nabcde\r\n0\r\n\r\n",
        " 5\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "-5\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5_\r\nabcde\r\n0\r\n\r\n",
        "\r\nabcde\r\n0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n0\r\n\r\n",
        "5;\x00\r\nabcde\r\n0\r\n\r\n",
        "5\r\nabcdefg\r\n0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
        "5\r\nabcde\n0\r\n\r\n",
        "10000000000000005\r\nabcde\r\n0\r\n\r\n",
        "ffffffffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
        "0\r\nBad Trailer: x\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n folded\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
    ];
    let upstream = Upstream::start(|mut session| {
        if let Some(head) = session.next_head() {
            let request = session.rest_of_request(head);
            assert_ne!(request.body.end, End::Complete, "a whole request: {request:?}");
        }
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let clients = bodies.map(|body| {
        let mut client = Wire::connect(gateway.address());
        client.send(format!(
            "POST /up/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}{INNER}"
        ));
        (client, body)
    });
    for (mut client, body) in clients {
        // An answer may or may not have been possible; a second one is not.
        let (answers, _) = client.read_to_end();
        let text = String::from_utf8_lossy(answers.bytes()).into_owned();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400"), "{body:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1").count(), usize::from(!text.is_empty()), "{text}");
    }
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), bodies.len());
    for exchange in &exchanges {
        assert_ne!(exchange.text("/outcome"), "complete", "{}", exchange.json);
        assert_ne!(exchange.text("/request/end"), "complete", "{}", exchange.json);
    }
    for request in upstream.finish() {
        assert_eq!(request.head.target(), b"/x");
    }
}

/// Bytes after a request are the next request, and are judged alone.
#[test]
fn garbage_after_a_request_is_refused_by_itself() {
    let (upstream, gateway) = pair();
    let mut client = Wire::connect(gateway.address());
    client.send("POST /up/good HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nokGARBAGE\r\n\r\n");
    assert_eq!(client.response("POST").status(), 200);
    assert_eq!(client.response("GET").status(), 400);
    client.assert_closed();
    let exchanges = gateway.finish();
    let outcomes: Vec<&str> = exchanges.iter().map(|exchange| exchange.text("/outcome")).collect();
    assert_eq!(outcomes, ["complete", "refused"]);
    assert_eq!(upstream.finish().len(), 1);
}

/// Empty lines before a request are dropped (RFC 9112 section 2.2). They begin none: a client that
/// sends one behind a body and nothing more is idle, not late, and leaves no record.
#[test]
fn empty_lines_between_requests_are_no_request() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let options = Options::default().upstream("up", upstream.url());
    let gateway =
        options.config("[timeouts]\nclient_head = \"300ms\"\nclient_idle = \"8s\"\n").start();
    let post = "POST /up/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
    let clients = ["\r\n", "\r\n\r\n\r\n", "\r", "\r\n\r"].map(|tail| {
        let mut client = Wire::connect(gateway.address());
        client.send(format!("\r\n\r\n{post}\r\n"));
        assert_eq!(client.response("POST").status(), 200);
        client.send(format!("\r\n{post}{tail}"));
        assert_eq!(client.response("POST").status(), 200, "behind an empty line");
        client
    });
    // Longer than a head may take: silence, then the end of an idle connection.
    for mut client in clients {
        client.assert_closed();
    }
    let mut client = Wire::connect(gateway.address());
    client.send(format!("{post}\r"));
    assert_eq!(client.response("POST").status(), 200);
    client.send(format!("\n{post}"));
    assert_eq!(client.response("POST").status(), 200, "an empty line in two pieces");
    client.send("\rX");
    assert_eq!(client.response("POST").status(), 400, "half an empty line is none");
    drop(client);
    let exchanges = gateway.finish();
    let refused = exchanges.iter().filter(|found| found.text("/outcome") == "refused").count();
    assert_eq!((exchanges.len(), refused), (11, 1), "no record of empty lines");
    assert_eq!(upstream.finish().len(), 10);
}

/// Requests sent ahead are answered one by one, in order; a refused one ends the connection and
/// what lies behind it goes nowhere.
#[test]
fn requests_sent_ahead_of_their_answers() {
    let (upstream, gateway) = pair();
    let mut client = Wire::connect(gateway.address());
    let good = |name: &str, body: &str| {
        format!(
            "POST /up/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let bad = "POST /up/bad HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\na";
    client.send([&*good("1", "one"), &*good("2", ""), &*good("3", "three"), bad, INNER].concat());
    let statuses = [(); 4].map(|()| client.response("POST").status());
    assert_eq!(statuses, [200, 200, 200, 400]);
    client.assert_closed();
    let exchanges = gateway.finish();
    let outcomes: Vec<&str> = exchanges.iter().map(|found| found.text("/outcome")).collect();
    assert_eq!(outcomes, ["complete", "complete", "complete", "refused"]);
    let seen = upstream.finish();
    let bodies: Vec<&[u8]> = seen.iter().map(|request| request.bytes()).collect();
    assert_eq!(bodies, [&b"one"[..], b"", b"three"]);
}
