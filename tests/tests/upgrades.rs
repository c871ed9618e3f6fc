//! Upgrades: after 101 each direction is raw bytes, to the last of them.

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::Gate;
use sealtap_tests::http1::{End, Framing, Message, head};
use sealtap_tests::websocket::Frame;

/// The sample of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn upgrade_fields() -> [(&'static str, &'static str); 4] {
    [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ]
}

fn switching() -> Vec<u8> {
    head(
        "HTTP/1.1 101 Switching Protocols",
        &[
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ],
    )
}

/// Client and upstream exchange these raw bytes in turns, then both close in good order.
fn session(path: Path, turns: Vec<(Vec<u8>, Vec<u8>)>) {
    let script = turns.clone();
    let bench = Bench::scripted(path, move |mut session| {
        let request = session.next_head().expect("a request comes");
        assert_eq!(request.one("upgrade"), Some("websocket"));
        assert!(
            request.one("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
        );
        session.send(switching());
        let mut got = Content::default();
        for (from_client, to_client) in &script {
            let bytes = session.read_exact(from_client.len());
            assert!(bytes == *from_client, "the upstream got other bytes than the client sent");
            got.push(&bytes);
            session.send(to_client);
        }
        let rest = session.body(Framing::UntilClose).finish();
        assert_eq!((rest.content.length(), rest.end), (0, End::Complete));
        let body = sealtap_tests::http1::Body { content: got, ..rest };
        session.log(Message { interim: Vec::new(), head: request, body });
        session.into_wire().close();
    });
    let request = bench.head("GET", "/socket?model=x", &upgrade_fields());
    let mut client = bench.client();
    client.send(&request);
    let (interim, answer) = client.response_head();
    assert!(interim.is_empty());
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.one("upgrade"), Some("websocket"));
    let mut got = Content::default();
    for (from_client, to_client) in &turns {
        client.send(from_client);
        let bytes = client.read_exact(to_client.len());
        assert!(bytes == *to_client, "the client got other bytes than the upstream sent");
        got.push(&bytes);
    }
    client.half_close();
    let rest = client.body(Framing::UntilClose).finish();
    assert_eq!((rest.content.length(), rest.end), (0, End::Complete));
    let received = Message {
        interim,
        head: answer,
        body: sealtap_tests::http1::Body { content: got, ..rest },
    };
    let sent: Vec<u8> = turns.iter().flat_map(|(sent, _)| sent.clone()).collect();
    let answered: Vec<u8> = turns.iter().flat_map(|(_, answered)| answered.clone()).collect();
    bench.finish(&[Call::new(request, sent, switching(), answered, &received)]);
}

cases! {
    fn messages_and_an_orderly_close(path) {
        session(path, vec![
            (Frame::text("hello").masked(), Frame::text("welcome").bytes()),
            (Frame::binary(&Pattern::bytes(1, 200)).masked(), Frame::binary(&[]).bytes()),
            (Frame::ping(b"?").masked(), Frame::pong(b"?").bytes()),
            (
                [Frame::text("frag").unfinished().masked(), Frame::continuation("mented").masked()].concat(),
                [Frame::text("a").bytes(), Frame::text("b").bytes()].concat(),
            ),
            (Frame::close(1000, "bye").masked(), Frame::close(1000, "bye").bytes()),
        ]);
    }

    fn long_messages(path) {
        let long = Pattern::bytes(2, 1_000_000);
        session(path, vec![
            (Frame::binary(&long).masked(), Frame::binary(&long[..70_000]).bytes()),
            (Frame::close(1000, "").masked(), Frame::close(1000, "").bytes()),
        ]);
    }

    fn frames_no_one_understands(path) {
        // Reserved bits and opcodes, lengths not in their shortest form: bytes like any others.
        session(path, vec![
            (vec![0xf3, 0x81, 1, 2, 3, 4, 5], vec![0x8f, 0x00]),
            (vec![0x82, 0xfe, 0x00, 0x01, 9, 9, 9, 9, 9], vec![0x82, 0x7e, 0x00, 0x01, 0x61]),
            (Frame::close(1000, "").masked(), Frame::close(1000, "").bytes()),
        ]);
    }

    fn first_bytes_with_the_switching_head(path) {
        let first = Frame::text("at once").bytes();
        let reply = [switching(), first.clone()].concat();
        let bench = Bench::scripted(path, move |mut session| {
            let head = session.next_head().expect("a request comes");
            session.send(&reply);
            let body = session.body(Framing::UntilClose).finish();
            session.log(Message { interim: Vec::new(), head, body });
            session.into_wire().close();
        });
        let request = bench.head("GET", "/eager", &upgrade_fields());
        let mut client = bench.client();
        client.send(&request);
        let (interim, answer) = client.response_head();
        let close = Frame::close(1000, "").masked();
        assert_eq!(client.read_exact(first.len()), first);
        client.send(&close);
        client.half_close();
        let mut body = client.body(Framing::UntilClose).finish();
        assert_eq!(body.end, End::Complete);
        body.content = Content::of(&first);
        let received = Message { interim, head: answer, body };
        bench.finish(&[Call::new(request, close, switching(), first, &received)]);
    }

    fn a_refused_upgrade_is_an_ordinary_answer(path) {
        let answer_head = head("HTTP/1.1 403 No", &[("Content-Length", "2")]);
        let reply = [answer_head.as_slice(), b"no"].concat();
        let bench = Bench::answering(path, move |session, _| session.send(&reply));
        let request = bench.head("GET", "/refused", &upgrade_fields());
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        let again = bench.head("GET", "/again", &[]);
        client.send(&again);
        let second = client.response("GET");
        drop(client);
        bench.finish(&[
            Call::new(request, "", &answer_head, "no", &received),
            Call::new(again, "", &answer_head, "no", &second),
        ]);
    }

    fn an_upgrade_to_something_else(path) {
        let answer_head = head(
            "HTTP/1.1 101 Switching Protocols", &[("Upgrade", "raw/1"), ("Connection", "upgrade")],
        );
        let reply = answer_head.clone();
        let bench = Bench::scripted(path, move |mut session| {
            let head = session.next_head().expect("a request comes");
            session.send(&reply);
            let mut content = Content::of(session.read_exact(4));
            session.send(b"\0pong\xff");
            session.half_close();
            // The client may still speak after the upstream is done.
            let body = session.body(Framing::UntilClose).finish();
            content.push(body.content.bytes());
            let body = sealtap_tests::http1::Body { content, ..body };
            session.log(Message { interim: Vec::new(), head, body });
        });
        let request = bench.head("GET", "/raw", &[("Connection", "upgrade"), ("Upgrade", "raw/1")]);
        let mut client = bench.client();
        client.send(&request);
        let (interim, answer) = client.response_head();
        client.send("ping");
        let body = client.body(Framing::UntilClose).finish();
        assert_eq!((body.content.bytes(), body.end), (b"\0pong\xff".as_slice(), End::Complete));
        client.send("and more");
        client.half_close();
        drop(client);
        let received = Message { interim, head: answer, body };
        let call = Call::new(request, "pingand more", answer_head, b"\0pong\xff", &received);
        bench.finish(&[call]);
    }
}

/// One side vanishes without a Close frame; the other must not get one, and the record says so.
fn cut(by_upstream: bool) {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = sealtap_tests::upstream_http1::Upstream::start(move |mut session| {
        session.next_head().expect("a request comes");
        session.send(switching());
        session.send(Frame::text("part").bytes());
        held.wait(1);
        if by_upstream {
            session.into_wire().reset();
        } else {
            let body = session.body(Framing::UntilClose).finish();
            assert_eq!(body.content.length(), 0, "nobody may make up a Close frame");
        }
    });
    let bench = Bench::new(Path::Gateway, upstream, sealtap_tests::gateway::Options::default());
    let mut client = bench.client();
    client.send(bench.head("GET", "/cut", &upgrade_fields()));
    let (_, answer) = client.response_head();
    assert_eq!(answer.status(), 101);
    let frame = Frame::text("part").bytes();
    assert_eq!(client.read_exact(frame.len()), frame);
    if by_upstream {
        gate.open();
        let (rest, _) = client.read_to_end();
        assert_eq!(rest.length(), 0, "nobody may make up a Close frame");
        drop(client);
    } else {
        client.reset();
        gate.open();
    }
    let (exchanges, _) = bench.stop();
    let outcome = if by_upstream { "upstream_failed" } else { "client_cancelled" };
    assert_eq!(exchanges[0].text("/outcome"), outcome, "{}", exchanges[0].json);
    assert_eq!(exchanges[0].body(sealtap_tests::records::Direction::Response), Content::of(frame));
}

#[test]
fn an_upstream_that_vanishes() {
    cut(true);
}

#[test]
fn a_client_that_vanishes() {
    cut(false);
}

#[test]
fn show_lists_the_messages() {
    let upstream = sealtap_tests::upstream_http1::Upstream::start(move |mut session| {
        session.next_head().expect("a request comes");
        session.send(switching());
        session.send([Frame::text("one").bytes(), Frame::close(1000, "").bytes()].concat());
        session.drain();
    });
    let bench = Bench::new(Path::Gateway, upstream, sealtap_tests::gateway::Options::default());
    let mut client = bench.client();
    client.send(bench.head("GET", "/list", &upgrade_fields()));
    client.response_head();
    client.send([Frame::binary(b"\0\x01").masked(), Frame::close(1000, "").masked()].concat());
    client.half_close();
    let _ = client.body(Framing::UntilClose).finish();
    drop(client);
    let (exchanges, _) = bench.stop();
    let shown = exchanges[0].show();
    let text = shown.to_string();
    let of = |bytes: &[u8]| Content::of(bytes).sha256();
    for sha256 in [of(b"one"), of(b"\0\x01")] {
        assert!(text.contains(&sha256), "no message with {sha256} in {text}");
    }
}

/// HTTP in any spelling is never asked for: what is said inside it would be no exchanges of their own.
#[test]
fn http_inside_an_upgrade_is_not_carried_on() {
    let cases: [(&[&str], Option<&str>); 7] = [
        (&["websocket, h2c"], Some("websocket")),
        (&["websocket", "h2c"], Some("websocket")),
        (&["h2c/1, raw/1", "TLS/1.3,websocket"], Some("raw/1, websocket")),
        (&["h2c"], None),
        (&["H2C/1", "h2"], None),
        (&["HTTP/1.1"], None),
        (&["HTTP/2.0, TLS/1.2"], None),
    ];
    let bench = Bench::answering(Path::Gateway, |session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    });
    for (offers, _) in cases {
        let mut fields = vec![("Connection", "Upgrade"), ("HTTP2-Settings", "AAMAAABk")];
        fields.extend(offers.iter().map(|offer| ("Upgrade", *offer)));
        let mut client = bench.client();
        client.send(bench.head("GET", "/x", &fields));
        assert_eq!(client.response("GET").bytes(), b"ok");
    }
    let (exchanges, requests) = bench.stop();
    assert_eq!(exchanges.len(), cases.len());
    for (request, (offers, sent)) in requests.iter().zip(cases) {
        let found = request.head.all("upgrade");
        assert_eq!(found, Vec::from_iter(sent.map(str::as_bytes)), "{offers:?}");
        assert_eq!(request.head.all("connection").len(), found.len(), "{offers:?}");
        assert_eq!(request.head.all("http2-settings").len(), 0, "{offers:?}");
    }
}

/// A 101 to a protocol that was not asked for (RFC 9110 section 7.8) opens no tunnel.
#[test]
fn a_change_to_another_protocol_than_asked_for() {
    let changes: [&[&str]; 4] = [&["h2c"], &["websocket, h2c"], &["websocket", "raw/1"], &[]];
    for change in changes {
        let mut fields = vec![("Connection", "Upgrade")];
        fields.extend(change.iter().map(|protocol| ("Upgrade", *protocol)));
        let reply = head("HTTP/1.1 101 Switching Protocols", &fields);
        let bench = Bench::scripted(Path::Gateway, move |mut session| {
            session.next_head().expect("a request comes");
            session.send(&reply);
            let rest = session.body(Framing::UntilClose).finish();
            assert_eq!(rest.content.length(), 0, "nothing goes through");
        });
        let mut client = bench.client();
        let request = bench.head("GET", "/x", &upgrade_fields());
        client.send([request.as_slice(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"].concat());
        let answer = client.response("GET");
        assert_eq!(answer.status(), 502, "{change:?}");
        drop(client);
        let (exchanges, _) = bench.stop();
        assert_eq!(exchanges[0].text("/error"), "upstream_protocol", "{}", exchanges[0].json);
        assert_eq!(exchanges[0].text("/outcome"), "upstream_failed", "{}", exchanges[0].json);
    }
}
