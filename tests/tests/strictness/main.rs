//! Strictness: no message is released framing-complete before it is on disk.
//!
//! The gateway runs under `strace`, and every sync is held up for a while, so that an end which
//! does not wait for its sync is seen to overtake it. For each framing the suite finds the write
//! to the socket that carries the message's end, the write to the journal that carries the
//! message's last bytes, and between the two a sync of that journal file. The same is done with
//! `durability = "relaxed"`, where it must *not* hold: the suite can tell the difference.
//!
//! An answer that is whole in hand before anything of it has left goes out in one write, behind its
//! sync. One whose end is still to come is not held: its first bytes leave before any sync.

mod traced;

use std::process::ExitCode;

use http::HeaderMap;
use sealtap_tests::client_http2::Client;
use sealtap_tests::gate::Gate;
use sealtap_tests::http1::{self, Framing, head};
use sealtap_tests::http2;
use sealtap_tests::trace;
use sealtap_tests::upstream_http1::{Session, Upstream};
use sealtap_tests::upstream_http2;
use sealtap_tests::websocket::Frame;
use sealtap_tests::wire::Wire;

use self::traced::{HELD, OVERTAKEN, Release, Toward, Traced, traced};

/// Near the end of a request, and of an answer.
const ASKED: &[u8] = b"the-last-words-of-the-request";
const ANSWERED: &[u8] = b"the-last-words-of-the-answer";
/// At the beginning of an answer.
const FIRST: &[u8] = b"the-first-words-of-the-answer";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("ASCII")
}

/// An HTTP/1 exchange: these bytes each way, and how each message's end shows.
fn http1_case(
    strict: bool,
    request: &[u8],
    request_end: Release<'_>,
    answer: Vec<u8>,
    answer_end: Release<'_>,
) -> [bool; 2] {
    let whole = !matches!(answer_end, Release::Close(_));
    let run = http1_run(strict, request, answer, !whole);
    if whole {
        // The upstream wrote it at once, so it was whole in hand.
        assert_eq!(run.writes(Toward::Client), 1, "a whole answer leaves in one piece");
    }
    [
        run.check(Toward::Upstream, request_end, ASKED),
        run.check(Toward::Client, answer_end, ANSWERED),
    ]
}

/// Runs an HTTP/1 exchange whose messages are each written at once.
fn http1_run(strict: bool, request: &[u8], answer: Vec<u8>, closes: bool) -> Traced {
    let upstream = Upstream::start(move |mut session: Session| {
        session.request();
        session.send(&answer);
        if closes {
            session.into_wire().close();
        } else {
            session.drain();
        }
    });
    let method = if request.starts_with(b"HEAD") { "HEAD" } else { "POST" };
    let held = if strict { HELD } else { OVERTAKEN };
    let run = traced(upstream.url(), upstream.address(), (strict, held), |gateway| {
        let mut client = Wire::connect(gateway.address());
        client.send(request);
        client.response(method);
    });
    upstream.finish();
    run
}

fn request_of_length() -> Vec<u8> {
    let length = (ASKED.len()).to_string();
    let fields = [("Host", "x"), ("Content-Length", length.as_str())];
    [head("POST /up/x HTTP/1.1", &fields), ASKED.to_vec()].concat()
}

fn answer_of_length() -> Vec<u8> {
    let length = (ANSWERED.len()).to_string();
    [head("HTTP/1.1 200 OK", &[("Content-Length", &length)]), ANSWERED.to_vec()].concat()
}

fn length() {
    let ends = http1_case(
        true,
        &request_of_length(),
        Release::Bytes(ASKED),
        answer_of_length(),
        Release::Bytes(ANSWERED),
    );
    assert_eq!(ends, [true, true]);
}

fn chunks() {
    let fields = [("Host", "x"), ("Transfer-Encoding", "chunked")];
    let request =
        [head("POST /up/x HTTP/1.1", &fields), http1::chunk(ASKED), http1::last_chunk(&[])]
            .concat();
    let answer = [
        head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]),
        http1::chunk(ANSWERED),
        http1::last_chunk(&[]),
    ];
    let end = Release::Bytes(b"\r\n0\r\n\r\n");
    assert_eq!(http1_case(true, &request, end, answer.concat(), end), [true, true]);
}

fn trailers() {
    let fields = [("Host", "x"), ("Trailer", "x-sum"), ("Transfer-Encoding", "chunked")];
    let request = [
        head("POST /up/x HTTP/1.1", &fields),
        http1::chunk(b"data"),
        http1::last_chunk(&[("x-sum", text(ASKED))]),
    ];
    let fields = [("Trailer", "x-sum"), ("Transfer-Encoding", "chunked")];
    let answer = [
        head("HTTP/1.1 200 OK", &fields),
        http1::chunk(b"data"),
        http1::last_chunk(&[("x-sum", text(ANSWERED))]),
    ];
    let ends = http1_case(
        true,
        &request.concat(),
        Release::Bytes(&[ASKED, b"\r\n\r\n"].concat()),
        answer.concat(),
        Release::Bytes(&[ANSWERED, b"\r\n\r\n"].concat()),
    );
    assert_eq!(ends, [true, true]);
}

fn heads_alone() {
    let request = head("HEAD /up/x HTTP/1.1", &[("Host", "x"), ("X-Last", text(ASKED))]);
    let answer = head("HTTP/1.1 200 OK", &[("Content-Length", "9"), ("X-Last", text(ANSWERED))]);
    let ends = http1_case(
        true,
        &request,
        Release::Bytes(&[ASKED, b"\r\n\r\n"].concat()),
        answer,
        Release::Bytes(&[ANSWERED, b"\r\n\r\n"].concat()),
    );
    assert_eq!(ends, [true, true]);
}

fn close() {
    let answer = [head("HTTP/1.1 200 OK", &[("X-A", "b")]), ANSWERED.to_vec()].concat();
    let ends = http1_case(
        true,
        &request_of_length(),
        Release::Bytes(ASKED),
        answer,
        Release::Close(ANSWERED),
    );
    assert_eq!(ends, [true, true]);
}

/// Runs an exchange whose upstream says the end of its answer only when the client has what came
/// before it.
fn in_two_parts(strict: bool, answer_head: &[u8], first: &[u8], rest: Vec<u8>) -> Traced {
    let had = Gate::default();
    let upstream = {
        let (had, first) = (had.clone(), [answer_head, first].concat());
        Upstream::start(move |mut session: Session| {
            session.request();
            session.send(&first);
            had.wait(1);
            session.send(&rest);
            session.drain();
        })
    };
    let run = traced(upstream.url(), upstream.address(), (strict, OVERTAKEN), |gateway| {
        let mut client = Wire::connect(gateway.address());
        client.send(request_of_length());
        client.response_head();
        client.read_exact(first.len());
        had.open();
        client.half_close();
        let _ = client.body(Framing::UntilClose).finish();
    });
    upstream.finish();
    run
}

/// Nothing of an answer whose end is still to come is held: what came before the end left before it
/// was on disk.
fn first_bytes(answer_head: &[u8], first: &[u8], rest: Vec<u8>, end: Release<'_>) {
    let run = in_two_parts(true, answer_head, first, rest);
    let began = Release::Bytes(FIRST);
    assert!(!run.check(Toward::Client, began, FIRST), "first bytes waited for the disk");
    assert!(run.check(Toward::Client, end, ANSWERED), "the end did not");
}

fn first_bytes_of_a_length() {
    let length = (FIRST.len() + ANSWERED.len()).to_string();
    let fields = [("Content-Length", length.as_str()), ("Connection", "close")];
    let head = head("HTTP/1.1 200 OK", &fields);
    first_bytes(&head, FIRST, ANSWERED.to_vec(), Release::Bytes(ANSWERED));
}

fn first_bytes_of_chunks() {
    let fields = [("Transfer-Encoding", "chunked"), ("Connection", "close")];
    first_bytes(
        &head("HTTP/1.1 200 OK", &fields),
        &http1::chunk(FIRST),
        [http1::chunk(ANSWERED), http1::last_chunk(&[])].concat(),
        Release::Bytes(b"\r\n0\r\n\r\n"),
    );
}

/// Without strictness no end is split from what it came with; with it, it is.
fn relaxed_is_not_split() {
    let length = ANSWERED.len().to_string();
    let head = head("HTTP/1.1 200 OK", &[("Content-Length", &length)]);
    for (strict, writes) in [(true, 3), (false, 2)] {
        let run = in_two_parts(strict, &head, &[], ANSWERED.to_vec());
        assert_eq!(run.writes(Toward::Client), writes, "strict: {strict}");
    }
}

/// The suite can tell: without strictness the ends overtake their syncs.
fn relaxed_is_different() {
    let ends = http1_case(
        false,
        &request_of_length(),
        Release::Bytes(ASKED),
        answer_of_length(),
        Release::Bytes(ANSWERED),
    );
    assert_eq!(ends, [false, false]);
}

fn http2_case(with_trailers: bool) {
    let map = |value: &[u8]| {
        let mut map = HeaderMap::new();
        // Never indexed and never shortened, so that nothing hides it from the journal's search.
        map.insert("x-sum", text(value).parse().expect("a value"));
        map
    };
    let upstream = upstream_http2::Upstream::start(None, move |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, &[], false);
        if with_trailers {
            http2::send(&mut stream, "data", false).await.expect("taken");
            stream.send_trailers(map(ANSWERED)).expect("taken");
        } else {
            http2::send(&mut stream, ANSWERED.to_vec(), true).await.expect("taken");
        }
    });
    let run = traced(upstream.url(), upstream.address(), (true, HELD), |gateway| {
        http2::run(async {
            let mut client = Client::connect(gateway.address()).await;
            let request = client.head("POST", "/up/x", &[("te", "trailers")]);
            let answer = match with_trailers {
                true => client.call(request, b"data", Some(map(ASKED))).await,
                false => client.call(request, ASKED, None).await,
            };
            assert_eq!(answer.body.reset, None);
            client.close().await;
        });
    });
    upstream.finish();
    assert!(run.check(Toward::Upstream, Release::EndStream, ASKED), "request");
    assert!(run.check(Toward::Client, Release::EndStream, ANSWERED), "answer");
}

fn http2_data() {
    http2_case(false);
}

fn http2_trailers() {
    http2_case(true);
}

fn websocket() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let message = Frame::text(text(ASKED)).masked();
    let close = Frame::close(1000, text(ANSWERED));
    let client_close = Frame::close(1001, "client-says-bye").masked();
    let (length, upstream_close) = (message.len(), close.bytes());
    let reply = upstream_close.clone();
    let upstream = Upstream::start(move |mut session| {
        session.next_head().expect("a request comes");
        session.send(SWITCH);
        session.read_exact(length);
        session.send(&reply);
        let _ = session.body(Framing::UntilClose).finish();
        session.into_wire().close();
    });
    let (sent, last) = (message.clone(), client_close.clone());
    let run = traced(upstream.url(), upstream.address(), (true, HELD), move |gateway| {
        let mut client = Wire::connect(gateway.address());
        client.send(head(
            "GET /up/x HTTP/1.1",
            &[
                ("Host", "x"),
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("X-Last", "head-mark"),
            ],
        ));
        client.response_head();
        client.send(sent);
        client.read_exact(upstream_close.len());
        client.send(last);
        client.half_close();
        let _ = client.body(Framing::UntilClose).finish();
    });
    upstream.finish();
    let whole_head = Release::Bytes(b"head-mark\r\n\r\n");
    assert!(run.check(Toward::Upstream, whole_head, b"head-mark"), "the request's head");
    assert!(run.check(Toward::Client, Release::Bytes(b"\r\n\r\n"), b"head-mark"), "101");
    assert!(run.check(Toward::Upstream, Release::Bytes(&message), &message), "a client's message");
    let close = close.bytes();
    assert!(run.check(Toward::Client, Release::Bytes(&close), &close), "the upstream's Close");
    let close = Release::Bytes(&client_close);
    assert!(run.check(Toward::Upstream, close, &client_close), "the client's Close");
}

fn main() -> ExitCode {
    trace::main(&[
        ("length", length),
        ("chunks", chunks),
        ("trailers", trailers),
        ("heads_alone", heads_alone),
        ("close", close),
        ("http2_data", http2_data),
        ("http2_trailers", http2_trailers),
        ("websocket", websocket),
        ("first_bytes_of_a_length", first_bytes_of_a_length),
        ("first_bytes_of_chunks", first_bytes_of_chunks),
        ("relaxed_is_not_split", relaxed_is_not_split),
        ("relaxed_is_different", relaxed_is_different),
    ])
}
