//! Bodies: any length, any content type, either framing, both ways.

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::http1::{self, End, Framing, head};
use sealtap_tests::upstream_http1::Session;
use sealtap_tests::wire::Wire;

/// Around one 64 KiB segment, and a few segments.
const SIZES: [u64; 8] = [0, 1, 2, 65_535, 65_536, 65_537, 131_072, 1 << 20];

/// Sends a body of `length` bytes both ways, each with `Content-Length`.
fn by_length(path: Path, sizes: &'static [u64]) {
    let bench = Bench::answering(path, |session, request| {
        let seed = request.body.content.length() + 1;
        session.send(length_head(request.body.content.length()));
        session.send_pattern(seed, request.body.content.length());
    });
    let mut client = bench.client();
    let calls: Vec<Call> = sizes
        .iter()
        .map(|&size| {
            let length = size.to_string();
            let fields =
                [("Content-Type", "application/octet-stream"), ("Content-Length", &length)];
            let request = bench.head("POST", &format!("/v1/bytes/{size}"), &fields);
            client.send(&request);
            client.send_pattern(size, size);
            let answer = client.response("POST");
            assert_eq!(answer.body.end, End::Complete);
            let sent = Content::of_pattern(size, size);
            let answered = Content::of_pattern(size + 1, size);
            Call::new(request, sent, length_head(size), answered, &answer)
        })
        .collect();
    drop(client);
    bench.finish(&calls);
}

fn length_head(length: u64) -> Vec<u8> {
    head("HTTP/1.1 200 OK", &[("Content-Length", &length.to_string())])
}

fn send_chunked(wire: &mut Wire, seed: u64, length: u64) {
    for piece in Pattern::new(seed, length) {
        wire.send_chunk(piece);
    }
    wire.send(http1::last_chunk(&[]));
}

fn chunked_head() -> Vec<u8> {
    head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")])
}

/// The same in chunks.
fn by_chunks(path: Path, sizes: &'static [u64]) {
    let bench = Bench::answering(path, |session, request| {
        let length = request.body.content.length();
        session.send(chunked_head());
        send_chunked(session, length + 1, length);
    });
    let mut client = bench.client();
    let calls: Vec<Call> = sizes
        .iter()
        .map(|&size| {
            let target = format!("/v1/chunks/{size}");
            let request = bench.head("POST", &target, &[("Transfer-Encoding", "chunked")]);
            client.send(&request);
            send_chunked(&mut client, size, size);
            let answer = client.response("POST");
            assert_eq!(answer.body.end, End::Complete);
            let sent = Content::of_pattern(size, size);
            let answered = Content::of_pattern(size + 1, size);
            Call::new(request, sent, chunked_head(), answered, &answer)
        })
        .collect();
    drop(client);
    bench.finish(&calls);
}

cases! {
    fn lengths_around_a_segment(path) { by_length(path, &SIZES); }

    fn chunks_around_a_segment(path) { by_chunks(path, &SIZES); }

    fn sixty_four_mebibytes_by_length(path) { by_length(path, &[64 << 20]); }

    fn sixty_four_mebibytes_by_chunks(path) { by_chunks(path, &[64 << 20]); }

    fn every_content_type_is_only_bytes(path) {
        const ANSWER: [&str; 3] =
            ["HTTP/1.1 200 OK", "Content-Type", "Content-Length"];
        let bench = Bench::answering(path, |session, request| {
            let kind = request.head.one("content-type").expect("a type").to_owned();
            let length = request.body.content.length().to_string();
            session.send(head(ANSWER[0], &[(ANSWER[1], &kind), (ANSWER[2], &length)]));
            session.send(request.bytes());
        });
        let bodies: [(&str, &[u8]); 9] = [
            ("application/json", b"{\"a\":1,\"a\":2,\"n\":9007199254740993,\"x\":1.10,\"u\":\"\\u00e9\"}"),
            ("application/json; charset=utf-8", b"{ \"spaced\" :\t[ 1 , 2 ]\r\n}\n\n"),
            ("application/json", b"{not json at all"),
            ("text/plain; charset=utf-16le", b"h\0i\0"),
            ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xfe"),
            ("multipart/form-data; boundary=x", b"--x\r\n\r\nGET / HTTP/1.1\r\n\r\n--x--\r\n"),
            ("application/x-ndjson", b"{\"i\":1}\n{\"i\":2}\r\n\n{\"i\":3}"),
            ("application/grpc", b"\0\0\0\0\x02\x08\x01"),
            ("completely made up;;;=", b"\0\0\0"),
        ];
        let mut client = bench.client();
        let calls: Vec<Call> = bodies
            .iter()
            .enumerate()
            .map(|(index, (kind, body))| {
                let length = body.len().to_string();
                let fields = [("Content-Type", *kind), ("Content-Length", &length)];
                let request = bench.head("POST", &format!("/kind/{index}"), &fields);
                client.send([&request, *body].concat());
                let answer = client.response("POST");
                let head = head(ANSWER[0], &[(ANSWER[1], kind), (ANSWER[2], &length)]);
                Call::new(request, body, head, body, &answer)
            })
            .collect();
        drop(client);
        let exchanges = bench.finish(&calls);
        for (exchange, (kind, _)) in exchanges.iter().zip(bodies) {
            assert_eq!(exchange.text("/request/content_type"), kind);
            assert_eq!(exchange.text("/response/content_type"), kind);
        }
    }

    fn a_compressed_body_stays_compressed(path) {
        // gzip of "hello\n", and of nothing sensible after it: not ours to unpack.
        let gzip: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\xe7\x02\0\x20\x30\x3a\x36\x06\0\0\0";
        let body = [gzip, b"trailing garbage"].concat();
        let length = body.len().to_string();
        let answer_head = head(
            "HTTP/1.1 200 OK",
            &[("Content-Encoding", "gzip"), ("Content-Type", "text/plain"), ("Content-Length", &length)],
        );
        let reply = [answer_head.clone(), body.clone()].concat();
        let bench = Bench::answering(path, move |session, _| session.send(&reply));
        let request = bench.head(
            "POST",
            "/gz",
            &[("Accept-Encoding", "gzip, br;q=0.5"), ("Content-Encoding", "gzip"), ("Content-Length", &length)],
        );
        let mut client = bench.client();
        client.send([request.clone(), body.clone()].concat());
        let answer = client.response("POST");
        drop(client);
        let exchanges = bench.finish(&[Call::new(request, &body, answer_head, &body, &answer)]);
        for exchange in exchanges {
            assert_eq!(exchange.text("/request/content_encoding"), "gzip");
            assert_eq!(exchange.text("/response/content_encoding"), "gzip");
        }
    }

    fn odd_chunk_sizes_carry_the_same_payload(path) {
        let script = |mut session: Session| {
            let request = session.request();
            session.send(chunked_head());
            // One byte a chunk, sizes with leading zeros and in upper case, an extension, a chunk
            // that comes in three writes.
            for byte in b"abc" {
                session.send_chunk([*byte]);
            }
            session.send("000A\r\n0123456789\r\n");
            session.send("b;name=\"quoted;value\"\r\nhello world\r\n");
            session.send("5\r");
            session.send("\nfi");
            session.send("rst\r\n");
            session.send("0\r\n\r\n");
            assert_eq!(request.bytes(), b"xyz");
            session.drain();
        };
        let bench = Bench::scripted(path, script);
        let request = bench.head("PUT", "/odd", &[("Transfer-Encoding", "chunked")]);
        let mut client = bench.client();
        client.send(&request);
        client.send("1\r\nx\r\n");
        client.send("02;a=b\r\nyz\r\n0");
        client.send("\r\n\r\n");
        let answer = client.response("PUT");
        assert_eq!(answer.bytes(), b"abc0123456789hello worldfirst");
        let answered = answer.bytes().to_vec();
        drop(client);
        bench.finish(&[Call::new(request, "xyz", chunked_head(), answered, &answer)]);
    }

    fn an_answer_delimited_by_close(path) {
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Type", "text/plain")]);
        let reply = answer_head.clone();
        let bench = Bench::scripted(path, move |mut session| {
            session.request();
            session.send(&reply);
            session.send("as long as ");
            session.send("it lasts");
            session.into_wire().close();
        });
        let request = bench.head("GET", "/close", &[]);
        let mut client = bench.client();
        client.send(&request);
        let answer = client.response("GET");
        assert_eq!(answer.body.end, End::Complete);
        if answer.head.response_framing("GET") == Framing::UntilClose {
            client.assert_closed();
        }
        drop(client);
        bench.finish(&[Call::new(request, "", answer_head, "as long as it lasts", &answer)]);
    }
}
