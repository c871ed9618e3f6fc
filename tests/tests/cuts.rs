//! Cuts: what came before a cut is delivered and captured, and a cut never looks like an end.

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{self, End, Framing, Message, head};
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::Upstream;

/// How an upstream stops in the middle.
#[derive(Clone, Copy)]
enum Stop {
    Close,
    Reset,
}

/// The upstream sends `raw` after its head, of which `payload` is body, and stops once the client
/// holds that; the client must get all of it and see `end`.
fn cut_answer(
    path: Path,
    fields: &[(&str, &str)],
    raw: &[u8],
    payload: &[u8],
    stop: Stop,
    end: &[End],
) {
    let gate = Gate::default();
    let held = gate.clone();
    let answer_head = head("HTTP/1.1 200 OK", fields);
    let reply = [&answer_head, raw].concat();
    let bench = Bench::scripted(path, move |mut session| {
        session.request();
        session.send(&reply);
        held.wait(1);
        match stop {
            Stop::Close => session.into_wire().close(),
            Stop::Reset => session.into_wire().reset(),
        }
    });
    let request = bench.head("GET", "/cut", &[]);
    let mut client = bench.client();
    client.send(&request);
    let (interim, answer) = client.response_head();
    let mut reader = client.body(answer.response_framing("GET"));
    reader.at_least(payload.len() as u64);
    gate.open();
    let body = reader.finish();
    assert!(end.contains(&body.end), "the client saw {:?}", body.end);
    drop(client);
    let received = Message { interim, head: answer, body };
    let call = Call::new(request, "", answer_head, payload, &received).ends(
        "upstream_failed",
        "complete",
        "upstream_failed",
    );
    bench.finish(&[call]);
}

/// The only exchange of a gateway whose client went away.
fn cancelled(exchanges: &[Exchange]) -> Option<&Exchange> {
    let exchange = exchanges.first()?;
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchange.text("/outcome"), "client_cancelled", "{}", exchange.json);
    Some(exchange)
}

cases! {
    fn within_a_length(path) {
        let fields = [("Content-Length", "100000")];
        let part = Pattern::bytes(1, 70_000);
        cut_answer(path, &fields, &part, &part, Stop::Close, &[End::Cut]);
    }

    fn within_a_length_by_reset(path) {
        let fields = [("Content-Length", "100")];
        cut_answer(path, &fields, b"part", b"part", Stop::Reset, &[End::Cut, End::Reset]);
    }

    fn one_byte_before_the_end(path) {
        cut_answer(path, &[("Content-Length", "5")], b"four", b"four", Stop::Close, &[End::Cut]);
    }

    fn after_the_head_of_a_length(path) {
        cut_answer(path, &[("Content-Length", "5")], b"", b"", Stop::Close, &[End::Cut]);
    }

    fn within_a_chunk(path) {
        let fields = [("Transfer-Encoding", "chunked")];
        cut_answer(path, &fields, b"3\r\nabc\r\na\r\nhalf", b"abchalf", Stop::Close, &[End::Cut]);
    }

    fn within_a_chunk_line(path) {
        let fields = [("Transfer-Encoding", "chunked")];
        cut_answer(path, &fields, b"3\r\nabc\r\n1", b"abc", Stop::Close, &[End::Cut]);
    }

    fn after_a_chunk(path) {
        let fields = [("Transfer-Encoding", "chunked")];
        cut_answer(path, &fields, b"3\r\nabc\r\n", b"abc", Stop::Close, &[End::Cut]);
    }

    fn after_a_chunk_by_reset(path) {
        let fields = [("Transfer-Encoding", "chunked")];
        let ends = [End::Cut, End::Reset];
        cut_answer(path, &fields, b"3\r\nabc\r\n", b"abc", Stop::Reset, &ends);
    }

    fn within_the_last_chunk(path) {
        let fields = [("Transfer-Encoding", "chunked")];
        cut_answer(path, &fields, b"3\r\nabc\r\n0\r\n", b"abc", Stop::Close, &[End::Cut]);
    }

    fn within_trailers(path) {
        let fields = [("Trailer", "X-Sum"), ("Transfer-Encoding", "chunked")];
        cut_answer(path, &fields, b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n", b"abc", Stop::Close, &[End::Cut]);
    }

    fn until_close_by_reset(path) {
        // Only a reset tells a client that such a body is not whole.
        cut_answer(path, &[("X-A", "b")], b"some of it", b"some of it", Stop::Reset, &[End::Reset]);
    }

    fn a_stream_of_events(path) {
        let fields = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")];
        let events = b"data: 1\n\ndata: tw";
        cut_answer(path, &fields, &http1::chunk(events), events, Stop::Close, &[End::Cut]);
    }

    fn a_client_that_goes_away_cancels(path) {
        let gate = Gate::default();
        let (gone, ended) = (gate.clone(), Gate::default());
        let upstream_ended = ended.clone();
        let bench = Bench::scripted(path, move |mut session| {
            session.request();
            session.send(head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
            session.send_chunk("first");
            gone.wait(1);
            // Goes on until nobody takes it: the gateway must not swallow it for ever.
            while session.try_send(http1::chunk(&[b'x'; 10_000])).is_ok() {}
            upstream_ended.open();
        });
        let request = bench.head("GET", "/leave", &[]);
        let mut client = bench.client();
        client.send(&request);
        let (_, answer) = client.response_head();
        assert_eq!(answer.status(), 200);
        client.body(Framing::Chunked).at_least(5);
        client.reset();
        gate.open();
        ended.wait(1);
        let exchanges = bench_exchanges(bench);
        let Some(exchange) = cancelled(&exchanges) else { return };
        assert_eq!(exchange.text("/request/end"), "complete");
        assert_eq!(exchange.text("/response/end"), "client_cancelled");
        assert_eq!(exchange.number("/status"), 200);
        let body = exchange.body(Direction::Response);
        assert!(body.bytes().starts_with(b"first"), "what the client got is captured");
    }

    fn a_client_that_goes_away_while_asking(path) {
        for (fields, raw) in [
            ([("Content-Length", "100")], b"some".as_slice()),
            ([("Transfer-Encoding", "chunked")], b"4\r\nsome\r\n"),
        ] {
            let gate = Gate::default();
            let got = gate.clone();
            let bench = Bench::scripted(path, move |mut session| {
                let request = session.next_head().expect("a request comes");
                let mut reader = session.body(request.request_framing());
                reader.at_least(4);
                got.open();
                let body = reader.finish();
                assert_ne!(body.end, End::Complete, "a cut request must not look whole");
                session.log(Message { interim: Vec::new(), head: request, body });
            });
            let request = bench.head("POST", "/stop", &fields);
            let mut client = bench.client();
            client.send([&request, raw].concat());
            gate.wait(1);
            client.reset();
            poll("the upstream's log", || bench.upstream().requests().pop());
            let exchanges = bench_exchanges(bench);
            let Some(exchange) = cancelled(&exchanges) else { return };
            assert_eq!(exchange.text("/request/end"), "client_cancelled");
            assert_eq!(exchange.body(Direction::Request), Content::of("some"));
            assert!(exchange.json["response"].is_null(), "{}", exchange.json);
        }
    }

    fn a_request_that_stops_short_of_its_length(path) {
        // A FIN in the middle of a request is no half-close after it.
        let gate = Gate::default();
        let got = gate.clone();
        let bench = Bench::scripted(path, move |mut session| {
            let request = session.next_head().expect("a request comes");
            let mut reader = session.body(request.request_framing());
            reader.at_least(4);
            got.open();
            let body = reader.finish();
            assert_ne!(body.end, End::Complete, "a cut request must not look whole");
            session.log(Message { interim: Vec::new(), head: request, body });
        });
        let request = bench.head("POST", "/short", &[("Content-Length", "5")]);
        let mut client = bench.client();
        client.send([request.as_slice(), b"four"].concat());
        gate.wait(1);
        client.half_close();
        poll("the upstream's log", || bench.upstream().requests().pop());
        drop(client);
        let exchanges = bench_exchanges(bench);
        let Some(exchange) = cancelled(&exchanges) else { return };
        assert_eq!(exchange.text("/request/end"), "client_cancelled");
        assert_eq!(exchange.body(Direction::Request), Content::of("four"));
    }
}

fn bench_exchanges(bench: Bench) -> Vec<Exchange> {
    bench.stop().0
}

/// The upstream ends before a final head is whole; the gateway answers 502 itself.
fn no_final_head(reply: &'static [u8], stop: Stop) {
    let upstream = Upstream::start(move |mut session| {
        session.request();
        session.send(reply);
        match stop {
            Stop::Close => session.into_wire().close(),
            Stop::Reset => session.into_wire().reset(),
        }
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let mut client = bench.client();
    client.send(bench.head("POST", "/dead", &[("Content-Length", "0")]));
    let answer = client.response("POST");
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.head.one("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(answer.bytes()).expect("a JSON body");
    assert!(json.to_string().contains("upstream_"), "it says what failed: {json}");
    drop(client);
    let (exchanges, requests) = bench.stop();
    assert_eq!((exchanges.len(), requests.len()), (1, 1), "it was tried once");
    assert_eq!(exchanges[0].text("/outcome"), "upstream_failed");
    assert_eq!(exchanges[0].text("/request/end"), "complete");
    assert_eq!(exchanges[0].number("/status"), 502);
    assert_eq!(exchanges[0].body(Direction::Response), answer.body.content);
}

#[test]
fn before_any_byte_of_an_answer() {
    no_final_head(b"", Stop::Close);
}

#[test]
fn before_any_byte_of_an_answer_by_reset() {
    no_final_head(b"", Stop::Reset);
}

#[test]
fn within_the_head_of_an_answer() {
    no_final_head(b"HTTP/1.1 200 OK\r\nContent-Le", Stop::Close);
}

#[test]
fn an_answer_that_is_not_http() {
    no_final_head(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Stop::Close);
}

#[test]
fn an_answer_with_two_lengths() {
    no_final_head(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        Stop::Close,
    );
}

#[test]
fn a_broken_chunk_is_a_cut() {
    for raw in ["3\r\nabc\r\nzz\r\n", "3\r\nabc\r\n2\r\nxyz\r\n", "3\r\nabc\r\n-1\r\n"] {
        let reply = [head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]), raw.into()];
        let reply = reply.concat();
        let upstream = Upstream::start(move |mut session| {
            session.request();
            session.send(&reply);
            session.drain();
        });
        let bench = Bench::new(Path::Gateway, upstream, Options::default());
        let mut client = bench.client();
        client.send(bench.head("GET", "/broken", &[]));
        let answer = client.response("GET");
        assert_eq!(answer.body.end, End::Cut, "after {raw:?}");
        assert!(answer.bytes().starts_with(b"abc"));
        drop(client);
        let (exchanges, _) = bench.stop();
        assert_eq!(exchanges[0].text("/outcome"), "upstream_failed");
        assert_eq!(exchanges[0].text("/response/end"), "upstream_failed");
        assert_eq!(exchanges[0].body(Direction::Response), answer.body.content);
    }
}
