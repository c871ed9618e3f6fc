//! WebSocket in full: compression, fragments, control frames between them, and the sealed index.

use sealtap_tests::bench::{Bench, Path};
use sealtap_tests::bundle::{bundle, report};
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{Framing, head};
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::websocket::{Compressor, Frame};
use serde_json::{Value, json};

/// Runs a session in which the upstream agrees to `extensions`: each side sends its bytes in pieces
/// of `piece`, and the session ends in good order.
fn session(extensions: &str, sent: &[u8], answered: &[u8], piece: usize) -> Exchange {
    let mut fields = vec![("Upgrade", "websocket"), ("Connection", "Upgrade")];
    if !extensions.is_empty() {
        fields.push(("Sec-WebSocket-Extensions", extensions));
    }
    let switching = head("HTTP/1.1 101 Switching Protocols", &fields);
    let (expected, answer) = (sent.to_vec(), answered.to_vec());
    let upstream = Upstream::start(move |mut session| {
        session.next_head().expect("a request comes");
        session.send(&switching);
        assert!(session.read_exact(expected.len()) == expected, "other bytes came");
        answer.chunks(piece).for_each(|piece| session.send(piece));
        session.drain();
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let mut client = bench.client();
    let offer = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ];
    client.send(bench.head("GET", "/socket", &offer));
    let (_, answer) = client.response_head();
    assert_eq!(answer.status(), 101);
    sent.chunks(piece).for_each(|piece| client.send(piece));
    assert!(client.read_exact(answered.len()) == answered, "other bytes came back");
    client.half_close();
    let _ = client.body(Framing::UntilClose).finish();
    drop(client);
    let (mut exchanges, _) = bench.stop();
    let exchange = exchanges.remove(0);
    assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    assert_eq!(exchange.body(Direction::Request), Content::of(sent));
    assert_eq!(exchange.body(Direction::Response), Content::of(answered));
    exchange
}

/// What `show --json` lists, without the times, which must not run backwards in a direction.
fn listed(exchange: &Exchange) -> Vec<Value> {
    let shown = exchange.show();
    let mut messages = shown["websocket"].as_array().expect("a list of messages").clone();
    let mut last = (Value::Null, String::new());
    for message in &mut messages {
        let message = message.as_object_mut().expect("an object");
        let time = message.remove("time").expect("a time");
        let time = time.as_str().unwrap_or_default().to_owned();
        let complete = message["complete"] == true && message["op"] != "unparsed";
        assert_eq!(complete, !time.is_empty(), "{message:?}");
        if complete {
            assert!(last.0 != message["dir"] || last.1 <= time, "{message:?}");
            last = (message["dir"].clone(), time);
        }
    }
    messages
}

fn message(dir: &str, op: &str, payload: &[u8], range: [usize; 2]) -> Value {
    json!({
        "dir": dir, "op": op, "len": payload.len(), "sha256": Content::of(payload).sha256(),
        "compressed": false, "decoded": null, "range": range, "complete": true,
    })
}

fn compressed(dir: &str, op: &str, payload: &[u8], plain: &[u8], range: [usize; 2]) -> Value {
    let mut value = message(dir, op, payload, range);
    value["compressed"] = true.into();
    value["decoded"] = json!({ "len": plain.len(), "sha256": Content::of(plain).sha256() });
    value
}

#[test]
fn fragments_and_control_frames_are_indexed_and_verified() {
    let parts = [
        Frame::text("frag").unfinished().masked(),
        Frame::ping(b"between").masked(),
        Frame::continuation("mented").masked(),
        Frame::close(1000, "bye").masked(),
    ];
    let at = |count: usize| parts[..count].concat().len();
    let long = Pattern::bytes(3, 70_000);
    let answers = [Frame::binary(&long).bytes(), Frame::pong(b"between").bytes()];
    for piece in [1, 7, 100_000] {
        let answers = if piece == 1 { answers[1].clone() } else { answers.concat() };
        let exchange = session("", &parts.concat(), &answers, piece);
        let mut expected = vec![
            message("request", "ping", b"between", [at(1), at(2)]),
            message("request", "text", b"fragmented", [0, at(3)]),
            message("request", "close", b"\x03\xe8bye", [at(3), at(4)]),
        ];
        let length = answers.len();
        if piece > 1 {
            let end = length - 9;
            expected.push(message("response", "binary", &long, [0, end]));
            expected.push(message("response", "pong", b"between", [end, length]));
        } else {
            expected.push(message("response", "pong", b"between", [0, length]));
        }
        assert_eq!(listed(&exchange), expected, "pieces of {piece}");
    }
}

/// The run of a session, in one file: the index is disclosed, and derived again from what both said.
#[test]
fn a_bundle_shows_the_index_and_it_is_what_the_bodies_say() {
    let sent = [Frame::text("asked").masked(), Frame::close(1000, "").masked()].concat();
    let answers = [Frame::text("answered").bytes(), Frame::ping(b"still there").bytes()].concat();
    let exchange = session("", &sent, &answers, 4);
    let (home, run) = (exchange.home(), exchange.text("/run").to_owned());
    let all = report(home, &bundle(home, &run, &["all"]));
    assert_eq!((&all["verdict"], &all["derived"]), (&"valid".into(), &1.into()), "{all}");
    let index = bundle(home, &run, &["1/websocket-messages"]);
    let said = report(home, &index);
    assert_eq!((&said["verdict"], &said["derived"]), (&"valid".into(), &0.into()), "{said}");
    assert_eq!(said["parts"]["websocket-messages"], json!({ "disclosed": 1, "segments": 1 }));
    let bytes = std::fs::read(&index).expect("a bundle can be read");
    let holds = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
    assert!(holds("\"messages\":[[0,") && !holds("answered"), "only the index is disclosed");
    // Another index under the same commitment is none.
    let at = memchr::memmem::find(&bytes, b"\"messages\":[[0,").expect("the index");
    let mut changed = bytes.clone();
    changed[at + 14] ^= 1;
    std::fs::write(&index, changed).expect("written");
    assert_eq!(report(home, &index)["verdict"], "invalid");
}

/// What two compressors made, one of which begins anew with each message.
#[test]
fn compressed_messages_are_readable() {
    let texts = ["the same words again", "the same words again", "and others", ""];
    for (extensions, client_alone, server_alone) in [
        ("permessage-deflate", false, false),
        ("permessage-deflate; client_no_context_takeover; server_max_window_bits=12", true, false),
        ("permessage-deflate; server_no_context_takeover", false, true),
    ] {
        let (mut up, mut down) = (Compressor::new(client_alone), Compressor::new(server_alone));
        let (mut sent, mut answered, mut expected) = (Vec::new(), Vec::new(), [vec![], vec![]]);
        for (number, text) in texts.into_iter().enumerate() {
            let payload = up.message(text.as_bytes());
            let start = sent.len();
            if number == 2 {
                let (first, second) = payload.split_at(payload.len() / 2);
                sent.extend(Frame::data(1, first).compressed().unfinished().masked());
                sent.extend(Frame::pong(b"").masked());
                let end = sent.len();
                expected[0].push(message("request", "pong", b"", [end - 6, end]));
                sent.extend(Frame::data(0, second).masked());
            } else {
                sent.extend(Frame::data(1, &payload).compressed().masked());
            }
            let range = [start, sent.len()];
            expected[0].push(compressed("request", "text", &payload, text.as_bytes(), range));
            let long = text.repeat(5_000);
            let payload = down.message(long.as_bytes());
            let start = answered.len();
            answered.extend(Frame::data(2, &payload).compressed().bytes());
            let range = [start, answered.len()];
            expected[1].push(compressed("response", "binary", &payload, long.as_bytes(), range));
        }
        let exchange = session(extensions, &sent, &answered, 11);
        assert_eq!(listed(&exchange), expected.concat(), "{extensions}");
    }
}

/// Bytes that are no frames are kept, followed no further, and no reason to fail.
#[test]
fn a_session_that_stops_making_sense() {
    let good = Frame::text("good").masked();
    let sent = [good.as_slice(), &[0x83, 0x80, 9, 9, 9, 9], b"whatever"].concat();
    let exchange = session("", &sent, b"\x8f\0", 5);
    let mut unparsed = message("request", "unparsed", &sent[good.len()..], [0, 0]);
    unparsed["range"] = Value::Null;
    unparsed["complete"] = false.into();
    let mut answer = unparsed.clone();
    answer["dir"] = "response".into();
    answer["len"] = 2.into();
    answer["sha256"] = Content::of(b"\x8f\0").sha256().into();
    let first = message("request", "text", b"good", [0, good.len()]);
    assert_eq!(listed(&exchange), [first, unparsed, answer]);
}
