//! Streams: what arrives goes on at once, whatever it looks like, in both directions.
//!
//! An upstream here sends its next piece only after the client has told, through a gate, that
//! it holds the piece before: a gateway that waits for more would never finish.

use std::io::Write as _;

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::Gate;
use sealtap_tests::http1::{self, End, Framing, head};

/// An event stream with everything that parsers trip over.
const EVENTS: [&[u8]; 12] = [
    b": a comment\n\n",
    b"event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
    b"data: one\ndata: two\ndata\n\n",
    b"data: crlf\r\n\r\n",
    b"data: bare cr\r\r",
    b"id: 7\nretry: 10\nunknown: field\ndata:no space\n\n",
    b"event: ping\n\n",
    b"\xef\xbb\xbfdata: a byte order mark in the middle\n\n",
    b"data: {\"delta\":\"\xf0\x9f\x91\x8b\"}\n\n",
    b"\n\n\n",
    b"data: [DONE]\n\n",
    b"data: never finished",
];

/// Sends `pieces` one at a time, each after the client has the piece before.
fn step_by_step(path: Path, kind: &str, framing: Framing, pieces: &[&[u8]]) {
    let gate = Gate::default();
    let whole: Vec<u8> = pieces.concat();
    let mut fields = vec![("Content-Type", kind)];
    let length = whole.len().to_string();
    match framing {
        Framing::Chunked => fields.push(("Transfer-Encoding", "chunked")),
        Framing::Length(_) => fields.push(("Content-Length", &length)),
        Framing::UntilClose => {}
    }
    let answer_head = head("HTTP/1.1 200 OK", &fields);
    let (reply, script) = (answer_head.clone(), gate.clone());
    let owned: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let bench = Bench::scripted(path, move |mut session| {
        session.request();
        session.send(&reply);
        for (index, piece) in owned.iter().enumerate() {
            script.wait(index as u64 + 1);
            if framing == Framing::Chunked {
                session.send_chunk(piece);
            } else {
                session.send(piece);
            }
        }
        match framing {
            Framing::Chunked => session.send("0\r\n\r\n"),
            Framing::UntilClose => return session.into_wire().close(),
            Framing::Length(_) => {}
        }
        session.drain();
    });
    let request = bench.head("GET", "/stream", &[("Accept", "text/event-stream")]);
    let mut client = bench.client();
    client.send(&request);
    // The head comes before any of the body.
    let (interim, answer) = client.response_head();
    assert!(interim.is_empty());
    let mut reader = client.body(answer.response_framing("GET"));
    let mut sent = 0;
    for (index, piece) in pieces.iter().enumerate() {
        gate.open();
        sent += piece.len() as u64;
        // The very last byte may wait for durability, and for the end that belongs to it.
        let held = u64::from(index + 1 == pieces.len());
        let got = reader.at_least(sent - held);
        assert_eq!(got.bytes()[..], whole[..usize::try_from(got.length()).expect("small")]);
    }
    let body = reader.finish();
    assert_eq!(body.end, End::Complete);
    drop(client);
    let received = http1::Message { interim, head: answer, body };
    bench.finish(&[Call::new(request, "", answer_head, whole, &received)]);
}

cases! {
    fn events_in_chunks(path) { step_by_step(path, "text/event-stream", Framing::Chunked, &EVENTS); }

    fn events_until_close(path) {
        step_by_step(path, "text/event-stream; charset=utf-8", Framing::UntilClose, &EVENTS);
    }

    fn events_of_known_length(path) {
        step_by_step(path, "text/event-stream", Framing::Length(0), &EVENTS);
    }

    fn events_cut_anywhere(path) {
        let whole: Vec<u8> = EVENTS.concat();
        let pieces: Vec<&[u8]> = whole.chunks(7).collect();
        step_by_step(path, "text/event-stream", Framing::Chunked, &pieces);
    }

    fn every_single_byte_goes_on(path) {
        let pieces: Vec<&[u8]> = EVENTS[1].chunks(1).collect();
        step_by_step(path, "text/event-stream", Framing::Chunked, &pieces);
    }

    fn one_event_of_many_chunks(path) {
        let long = [b"data: ".as_slice(), &vec![b'x'; 300_000], b"\n\n"].concat();
        let pieces: Vec<&[u8]> = long.chunks(50_000).collect();
        step_by_step(path, "text/event-stream", Framing::Chunked, &pieces);
    }

    fn lines_of_json(path) {
        let lines: [&[u8]; 4] = [b"{\"i\":1}\n", b"{\"i\":2}\r\n", b"\n", b"{\"i\":3,\"i\":3}"];
        step_by_step(path, "application/x-ndjson", Framing::Chunked, &lines);
    }

    fn plain_bytes(path) {
        step_by_step(path, "application/octet-stream", Framing::Chunked, &[b"\0", b"\xff\xfe", b"x"]);
    }

    fn trailers_pass_both_ways(path) {
        let answer_head = head(
            "HTTP/1.1 200 OK",
            &[("Trailer", "X-Checksum, Grpc-Status"), ("Transfer-Encoding", "chunked")],
        );
        let reply = answer_head.clone();
        let bench = Bench::answering(path, move |session, request| {
            let trailers: Vec<(&[u8], &[u8])> = request.body.trailers.iter()
                .map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            assert_eq!(trailers, [(b"X-Sent".as_slice(), b"1".as_slice()), (b"x-sent", b"2")]);
            session.send(&reply);
            session.send_chunk("payload");
            session.send(http1::last_chunk(&[("X-Checksum", "abc"), ("grpc-status", "0")]));
        });
        let request = bench.head(
            "POST", "/trailers",
            &[("TE", "trailers"), ("Trailer", "X-Sent"), ("Transfer-Encoding", "chunked")],
        );
        let mut client = bench.client();
        client.send(&request);
        client.send_chunk("question");
        client.send(http1::last_chunk(&[("X-Sent", "1"), ("x-sent", "2")]));
        let received = client.response("POST");
        let trailers: Vec<(&[u8], &[u8])> = received.body.trailers.iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        assert_eq!(trailers, [(b"X-Checksum".as_slice(), b"abc".as_slice()), (b"grpc-status", b"0")]);
        drop(client);
        let call = Call::new(request, "question", answer_head, "payload", &received)
            .ends("complete", "trailers", "trailers");
        bench.finish(&[call]);
    }

    fn an_early_answer_and_the_rest_of_the_request(path) {
        let gate = Gate::default();
        let answered = gate.clone();
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "5")]);
        let reply = answer_head.clone();
        let bench = Bench::scripted(path, move |mut session| {
            let request = session.next_head().expect("a request comes");
            session.send([reply.as_slice(), b"early"].concat());
            answered.wait(1);
            session.rest_of_request(request);
            session.drain();
        });
        let request = bench.head("POST", "/early", &[("Content-Length", "300000")]);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("POST");
        gate.open();
        client.send_pattern(5, 300_000);
        // Nobody answers a second time; the connection is over once the request is.
        client.half_close();
        client.assert_closed();
        let sent = Content::of_pattern(5, 300_000);
        bench.finish(&[Call::new(request, sent, answer_head, "early", &received)]);
    }

    fn both_directions_flow_at_once(path) {
        const ROUNDS: u64 = 20;
        let answer_head = head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]);
        let reply = answer_head.clone();
        // The upstream echoes each piece before the client sends the next.
        let bench = Bench::scripted(path, move |mut session| {
            let request = session.next_head().expect("a request comes");
            session.send(&reply);
            let mut writer = session.writer();
            let mut reader = session.body(Framing::Chunked);
            let mut seen = 0;
            while seen < ROUNDS * 1000 {
                let content = reader.at_least(seen + 1);
                let from = usize::try_from(seen).expect("small");
                seen = content.length();
                writer.write_all(&http1::chunk(&content.bytes()[from..])).expect("the peer reads");
            }
            let body = reader.finish();
            writer.write_all(b"0\r\n\r\n").expect("the peer reads");
            session.log(http1::Message { interim: Vec::new(), head: request, body });
            session.drain();
        });
        let request = bench.head("POST", "/echo", &[("Transfer-Encoding", "chunked")]);
        let mut client = bench.client();
        client.send(&request);
        let (interim, answer) = client.response_head();
        let mut writer = client.writer();
        let mut reader = client.body(Framing::Chunked);
        let bytes = Pattern::bytes(77, ROUNDS * 1000);
        for (round, piece) in bytes.chunks(1000).enumerate() {
            writer.write_all(&http1::chunk(piece)).expect("the peer reads");
            reader.at_least((round as u64 + 1) * 1000);
        }
        writer.write_all(b"0\r\n\r\n").expect("the peer reads");
        let body = reader.finish();
        drop((client, writer));
        let received = http1::Message { interim, head: answer, body };
        bench.finish(&[Call::new(request, &bytes, answer_head, &bytes, &received)]);
    }

    fn a_request_streams_too(path) {
        let gate = Gate::default();
        let got = gate.clone();
        let bench = Bench::scripted(path, move |mut session| {
            let request = session.next_head().expect("a request comes");
            got.open();
            let mut reader = session.body(request.request_framing());
            for length in 1..=9 {
                reader.at_least(length);
                got.open();
            }
            let body = reader.finish();
            session.log(http1::Message { interim: Vec::new(), head: request, body });
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
            session.drain();
        });
        let request = bench.head("POST", "/upload", &[("Content-Length", "10")]);
        let mut client = bench.client();
        client.send(&request);
        for (index, byte) in b"123456789".iter().enumerate() {
            gate.wait(index as u64 + 1);
            client.send([*byte]);
        }
        gate.wait(10);
        client.send("0");
        let received = client.response("POST");
        drop(client);
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "0")]);
        bench.finish(&[Call::new(request, "1234567890", answer_head, "", &received)]);
    }
}
