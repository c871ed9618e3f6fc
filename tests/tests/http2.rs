//! HTTP/2 on both sides: streams, resets, trailers, interim answers, many at once.

use std::future::{Future, poll_fn};
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use http::HeaderMap;
use sealtap_tests::bench::Path;
use sealtap_tests::cases;
use sealtap_tests::client_http2::{Client, answer, try_answer};
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{self, End, head};
use sealtap_tests::http2::{self, fields, read, reset_code, send};
use sealtap_tests::records::{Direction, Exchange as Record};
use sealtap_tests::upstream_http1;
use sealtap_tests::upstream_http2::{Exchange, Upstream};
use sealtap_tests::wire::Wire;
use tokio::sync::Semaphore;

/// A client's way to an HTTP/2 upstream, in clear text.
struct Bench {
    upstream: Upstream,
    gateway: Option<Gateway>,
}

impl Bench {
    fn new<F, T>(path: Path, script: F) -> Self
    where
        F: Fn(Exchange) -> T + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let upstream = Upstream::start(None, script);
        let gateway = match path {
            Path::Direct => None,
            Path::Gateway => Some(Options::default().upstream("up", upstream.url()).start()),
        };
        Self { upstream, gateway }
    }

    async fn client(&self) -> Client {
        let gateway = self.gateway.as_ref().map(Gateway::address);
        Client::connect(gateway.unwrap_or(self.upstream.address())).await
    }

    fn target(&self, rest: &str) -> String {
        format!("{}{rest}", if self.gateway.is_some() { "/up" } else { "" })
    }

    /// The records, if there was a gateway, and what the upstream read.
    fn finish(self) -> (Vec<Record>, Vec<(http::request::Parts, http2::Body)>) {
        let records = self.gateway.map(Gateway::finish).unwrap_or_default();
        (records, self.upstream.finish())
    }
}

/// A record of these ends and bodies.
fn record(record: &Record, ends: [&str; 3], request: &Content, response: &Content) {
    let found =
        [record.text("/outcome"), record.text("/request/end"), record.text("/response/end")];
    assert_eq!(found, ends, "{}", record.json);
    assert_eq!(record.body(Direction::Request), *request, "{}", record.json);
    assert_eq!(record.body(Direction::Response), *response, "{}", record.json);
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

/// One message of gRPC: not compressed, length, payload.
fn grpc(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&[0], length.as_slice(), payload].concat()
}

/// Every code a reset may carry across.
const CODES: [Reason; 5] = [
    Reason::CANCEL,
    Reason::INTERNAL_ERROR,
    Reason::REFUSED_STREAM,
    Reason::ENHANCE_YOUR_CALM,
    Reason::HTTP_1_1_REQUIRED,
];

cases! {
    fn bodies_of_many_sizes(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let length = body.content.length();
            let mut stream = exchange.answer(200, &[("x-length", &length.to_string())], false);
            let bytes = Pattern::bytes(length + 1, length);
            send(&mut stream, bytes, true).await.expect("the answer is taken");
        });
        let sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20];
        http2::run(async {
            let mut client = bench.client().await;
            for size in sizes {
                let request = client.head("POST", &bench.target(&format!("/{size}")), &[]);
                let answer = client.call(request, &Pattern::bytes(size, size), None).await;
                assert_eq!(answer.status(), 200);
                assert_eq!(*answer.content(), Content::of_pattern(size + 1, size));
                assert_eq!(answer.body.reset, None);
            }
            client.close().await;
        });
        let (records, requests) = bench.finish();
        assert_eq!(requests.len(), sizes.len());
        for ((_, body), size) in requests.iter().zip(sizes) {
            assert_eq!(body.content, Content::of_pattern(size, size));
        }
        for (found, size) in records.iter().zip(sizes) {
            let (request, response) = (Content::of_pattern(size, size), Content::of_pattern(size + 1, size));
            record(found, ["complete"; 3], &request, &response);
        }
    }

    fn sixty_four_mebibytes(path) {
        const SIZE: u64 = 64 << 20;
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            for piece in Pattern::new(8, SIZE) {
                send(&mut stream, piece, false).await.expect("the answer is taken");
            }
            send(&mut stream, Bytes::new(), true).await.expect("the end is taken");
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("PUT", &bench.target("/big"), &[]);
            let (response, mut stream) = client.start(request, false).await;
            for piece in Pattern::new(7, SIZE) {
                send(&mut stream, piece, false).await.expect("the body is taken");
            }
            send(&mut stream, Bytes::new(), true).await.expect("the end is taken");
            let answer = answer(response).await;
            assert_eq!(*answer.content(), Content::of_pattern(8, SIZE));
            drop(stream);
            client.close().await;
        });
        let (records, requests) = bench.finish();
        assert_eq!(requests[0].1.content, Content::of_pattern(7, SIZE));
        for found in &records {
            let (request, response) = (Content::of_pattern(7, SIZE), Content::of_pattern(8, SIZE));
            record(found, ["complete"; 3], &request, &response);
        }
    }

    fn grpc_with_status_in_trailers(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            assert_eq!(exchange.head.headers["te"], "trailers");
            assert_eq!(body.trailers, None);
            let mut stream = exchange.answer(200, &[("content-type", "application/grpc")], false);
            for _ in 0..3 {
                send(&mut stream, grpc(b"answer"), false).await.expect("taken");
            }
            let status = trailers(&[("grpc-status", "0"), ("grpc-message", "ok%20then"), ("x-bin", "AA"), ("x-bin", "BB")]);
            stream.send_trailers(status).expect("taken");
        });
        let sent = grpc(b"question");
        http2::run(async {
            let mut client = bench.client().await;
            let fields = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1S")];
            let request = client.head("POST", &bench.target("/pkg.Service/Method"), &fields);
            let answer = client.call(request, &sent, None).await;
            assert_eq!(*answer.content(), Content::of(grpc(b"answer").repeat(3)));
            let got = answer.body.trailers.expect("trailers");
            let expected = [("grpc-status", "0"), ("grpc-message", "ok%20then"), ("x-bin", "AA"), ("x-bin", "BB")];
            let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(http2::fields(&got), expected);
            client.close().await;
        });
        let (records, _) = bench.finish();
        for found in &records {
            let response = Content::of(grpc(b"answer").repeat(3));
            record(found, ["complete", "complete", "trailers"], &Content::of(&sent), &response);
        }
    }

    fn an_answer_of_a_head_alone(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            exchange.answer(200, &[("grpc-status", "12")], true);
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/alone"), &[]);
            let answer = client.call(request, &grpc(b"x"), None).await;
            assert_eq!(answer.head.headers["grpc-status"], "12");
            assert_eq!((answer.content().length(), answer.body.reset), (0, None));
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::of(grpc(b"x")), &Content::default());
        }
    }

    fn trailers_after_a_request(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let sum = body.trailers.expect("trailers")["x-sum"].clone();
            exchange.answer(200, &[("x-got", sum.to_str().expect("ASCII"))], true);
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/sum"), &[("trailer", "x-sum")]);
            let answer = client.call(request, b"data", Some(trailers(&[("x-sum", "42")]))).await;
            assert_eq!(answer.head.headers["x-got"], "42");
            client.close().await;
        });
        for found in &bench.finish().0 {
            let ends = ["complete", "trailers", "complete"];
            record(found, ends, &Content::of("data"), &Content::default());
        }
    }

    fn heads_keep_their_fields(path) {
        let many: Vec<(String, String)> =
            (0..1000).map(|index| (format!("x-field-{index}"), format!("value {index}"))).collect();
        let sent = Arc::new(many);
        let answered = Arc::clone(&sent);
        let bench = Bench::new(path, move |mut exchange| {
            let answered = Arc::clone(&answered);
            async move {
                exchange.read().await;
                let mut all: Vec<(&str, &str)> = vec![("set-cookie", "a=1"), ("vary", "x"), ("set-cookie", "b=2")];
                all.extend(answered.iter().map(|(name, value)| (name.as_str(), value.as_str())));
                exchange.answer(404, &all, true);
            }
        });
        http2::run(async {
            let mut client = bench.client().await;
            let mut all = vec![("x-twice", "1"), ("x-between", "2"), ("x-twice", "3"), ("cookie", "a=1"), ("cookie", "b=2")];
            all.extend(sent.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let request = client.head("GET", &bench.target("/fields"), &all);
            let answer = client.call(request, b"", None).await;
            assert_eq!(answer.status(), 404);
            let mut expected = HeaderMap::new();
            for (name, value) in [("set-cookie", "a=1"), ("vary", "x"), ("set-cookie", "b=2")] {
                expected.append(name, value.parse().expect("a value"));
            }
            for (name, value) in sent.iter() {
                let name: http::HeaderName = name.parse().expect("a name");
                expected.append(name, value.parse().expect("a value"));
            }
            assert_eq!(fields(&answer.head.headers), fields(&expected));
            client.close().await;
        });
        let (_, requests) = bench.finish();
        let got = fields(&requests[0].0.headers);
        let start: Vec<(&str, &str)> =
            got.iter().take(5).map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // The `h2` crate groups the values of one name; nothing else is between.
        let expected =
            [("x-twice", "1"), ("x-twice", "3"), ("x-between", "2"), ("cookie", "a=1"), ("cookie", "b=2")];
        assert_eq!(start, expected);
        assert_eq!(got[5..], sent[..]);
    }

    fn odd_targets(path) {
        let targets = ["/", "//a//", "/a/../b", "/%00%2f", "/?", "/a?b?c", "/a;b=c", "/x?a=%20&a=+", "/*", "/~!$&'()*,=:@"];
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            exchange.answer(204, &[], true);
        });
        http2::run(async {
            let mut client = bench.client().await;
            for target in targets {
                let request = client.head("GET", &bench.target(target), &[]);
                assert_eq!(client.call(request, b"", None).await.status(), 204, "{target}");
            }
            client.close().await;
        });
        let authority = bench.upstream.authority();
        for ((head, _), target) in bench.finish().1.iter().zip(targets) {
            assert_eq!(head.uri.path_and_query().expect("a path").as_str(), target);
            assert_eq!(head.uri.authority().expect("an authority").as_str(), authority);
            assert_eq!(head.uri.scheme_str(), Some("http"));
        }
    }

    fn heads_without_bodies(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            exchange.read().await;
            let status = if exchange.head.method == "HEAD" { 200 } else { 304 };
            exchange.answer(status, &[("content-length", "5000"), ("etag", "\"x\"")], true);
        });
        http2::run(async {
            let mut client = bench.client().await;
            for (method, status) in [("HEAD", 200), ("GET", 304)] {
                let request = client.head(method, &bench.target("/none"), &[]);
                let answer = client.call(request, b"", None).await;
                assert_eq!((answer.status(), answer.content().length()), (status, 0));
                assert_eq!(answer.head.headers["content-length"], "5000");
                assert_eq!(answer.body.reset, None);
            }
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::default(), &Content::default());
        }
    }

    fn both_directions_flow_at_once(path) {
        const ROUNDS: usize = 30;
        let bench = Bench::new(path, |mut exchange| async move {
            let mut body = exchange.body.take().expect("a body");
            let mut stream = exchange.answer(200, &[], false);
            while let Some(data) = body.data().await {
                let data = data.expect("data comes");
                body.flow_control().release_capacity(data.len()).expect("released");
                if !data.is_empty() {
                    send(&mut stream, data, false).await.expect("taken");
                }
            }
            send(&mut stream, Bytes::new(), true).await.expect("taken");
        });
        let whole = Pattern::bytes(4, 100 * ROUNDS as u64);
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/echo"), &[]);
            let (response, mut up) = client.start(request, false).await;
            let (head, mut down) = response.await.expect("a head").into_parts();
            assert_eq!(head.status, 200);
            let mut got = Vec::new();
            for piece in whole.chunks(100) {
                send(&mut up, Bytes::copy_from_slice(piece), false).await.expect("taken");
                let wanted = got.len() + piece.len();
                while got.len() < wanted {
                    let data = down.data().await.expect("more comes").expect("data comes");
                    down.flow_control().release_capacity(data.len()).expect("released");
                    got.extend_from_slice(&data);
                }
            }
            send(&mut up, Bytes::new(), true).await.expect("taken");
            let rest = read(down).await;
            assert_eq!((rest.content.length(), rest.reset), (0, None));
            assert!(got == whole);
            drop(up);
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::of(&whole), &Content::of(&whole));
        }
    }

    fn events_come_one_by_one(path) {
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let bench = Bench::new(path, move |mut exchange| {
            let held = Arc::clone(&held);
            async move {
                exchange.read().await;
                let mut stream = exchange.answer(200, &[("content-type", "text/event-stream")], false);
                for index in 0..20 {
                    held.acquire().await.expect("open").forget();
                    send(&mut stream, format!(": ping\n\ndata: {index}\n\n"), false).await.expect("taken");
                }
                held.acquire().await.expect("open").forget();
                send(&mut stream, Bytes::new(), true).await.expect("taken");
            }
        });
        let mut whole = String::new();
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("GET", &bench.target("/events"), &[]);
            let (response, _) = client.start(request, true).await;
            let mut stream = response.await.expect("a head").into_body();
            let mut got = Vec::new();
            for index in 0..20 {
                gate.add_permits(1);
                whole.push_str(&format!(": ping\n\ndata: {index}\n\n"));
                while got.len() < whole.len() {
                    let data = stream.data().await.expect("more comes").expect("data comes");
                    stream.flow_control().release_capacity(data.len()).expect("released");
                    got.extend_from_slice(&data);
                }
                assert_eq!(got, whole.as_bytes());
            }
            gate.add_permits(1);
            let rest = read(stream).await;
            assert_eq!((rest.content.length(), rest.reset), (0, None));
            client.close().await;
        });
        for found in &bench.finish().0 {
            record(found, ["complete"; 3], &Content::default(), &Content::of(&whole));
        }
    }

    fn an_early_answer_and_the_rest_of_the_request(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, "early", true).await.expect("taken");
            exchange.read().await;
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/early"), &[]);
            let (response, mut stream) = client.start(request, false).await;
            let answer = answer(response).await;
            assert_eq!(*answer.content(), Content::of("early"));
            for piece in Pattern::new(3, 300_000) {
                send(&mut stream, piece, false).await.expect("the rest is taken");
            }
            send(&mut stream, Bytes::new(), true).await.expect("the end is taken");
            drop(stream);
            client.close().await;
        });
        let (records, requests) = bench.finish();
        let sent = Content::of_pattern(3, 300_000);
        assert_eq!(requests[0].1.content, sent);
        for found in &records {
            record(found, ["complete"; 3], &sent, &Content::of("early"));
        }
    }

    fn interim_answers_pass(path) {
        let bench = Bench::new(path, |mut exchange| async move {
            for (status, value) in [(102, "a"), (103, "</style.css>; rel=preload")] {
                let interim = http::Response::builder().status(status).header("link", value);
                exchange.respond.send_informational(interim.body(()).expect("sound")).expect("taken");
            }
            exchange.read().await;
            exchange.answer(200, &[], true);
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("GET", &bench.target("/hints"), &[]);
            let (mut response, _) = client.start(request, true).await;
            let mut seen = Vec::new();
            while let Some(interim) = poll_fn(|context| response.poll_informational(context)).await {
                let interim = interim.expect("an interim answer");
                seen.push((interim.status().as_u16(), fields(interim.headers())));
            }
            let link = |value: &str| vec![("link".to_owned(), value.to_owned())];
            assert_eq!(seen, [(102, link("a")), (103, link("</style.css>; rel=preload"))]);
            assert_eq!(answer(response).await.status(), 200);
            client.close().await;
        });
        bench.finish();
    }

    fn resets_by_the_upstream_keep_their_code(path) {
        for code in CODES {
            let gate = Arc::new(Semaphore::new(0));
            let held = Arc::clone(&gate);
            let bench = Bench::new(path, move |mut exchange| {
                let held = Arc::clone(&held);
                async move {
                    exchange.read().await;
                    let mut stream = exchange.answer(200, &[], false);
                    send(&mut stream, "part", false).await.expect("taken");
                    held.acquire().await.expect("open").forget();
                    stream.send_reset(code);
                }
            });
            http2::run(async {
                let mut client = bench.client().await;
                let request = client.head("GET", &bench.target("/reset"), &[]);
                let (response, _) = client.start(request, true).await;
                let mut stream = response.await.expect("a head").into_body();
                assert_eq!(stream.data().await.expect("data").expect("data"), "part");
                gate.add_permits(1);
                let error = stream.data().await.expect("an error").expect_err("an error");
                assert_eq!(reset_code(&error), code);
                drop(stream);
                client.close().await;
            });
            for found in &bench.finish().0 {
                let ends = ["upstream_failed", "complete", "upstream_failed"];
                record(found, ends, &Content::default(), &Content::of("part"));
            }
        }
    }

    fn resets_by_the_client_keep_their_code(path) {
        for code in CODES {
            let seen = Arc::new(Semaphore::new(0));
            let told = Arc::clone(&seen);
            let bench = Bench::new(path, move |mut exchange| {
                let told = Arc::clone(&told);
                async move {
                    exchange.read().await;
                    let mut stream = exchange.answer(200, &[], false);
                    send(&mut stream, "part", false).await.expect("taken");
                    let reason = poll_fn(|context| stream.poll_reset(context)).await;
                    assert_eq!(reason.expect("a reset"), code);
                    told.add_permits(1);
                }
            });
            http2::run(async {
                let mut client = bench.client().await;
                let request = client.head("GET", &bench.target("/reset"), &[]);
                let (response, mut up) = client.start(request, false).await;
                send(&mut up, "x", true).await.expect("taken");
                let mut stream = response.await.expect("a head").into_body();
                assert_eq!(stream.data().await.expect("data").expect("data"), "part");
                up.send_reset(code);
                seen.acquire().await.expect("open").forget();
                drop((stream, up));
                client.close().await;
            });
            for found in &bench.finish().0 {
                let ends = ["client_cancelled", "complete", "client_cancelled"];
                record(found, ends, &Content::of("x"), &Content::of("part"));
            }
        }
    }

    fn a_request_reset_in_the_middle(path) {
        let got = Arc::new(Semaphore::new(0));
        let told = Arc::clone(&got);
        let bench = Bench::new(path, move |mut exchange| {
            let told = Arc::clone(&told);
            async move {
                let mut body = exchange.body.take().expect("a body");
                assert_eq!(body.data().await.expect("data").expect("data"), "part");
                told.add_permits(1);
                let error = body.data().await.expect("an error").expect_err("an error");
                assert_eq!(reset_code(&error), Reason::CANCEL);
                told.add_permits(1);
            }
        });
        http2::run(async {
            let mut client = bench.client().await;
            let request = client.head("POST", &bench.target("/stop"), &[]);
            let (response, mut up) = client.start(request, false).await;
            send(&mut up, "part", false).await.expect("taken");
            got.acquire().await.expect("open").forget();
            up.send_reset(Reason::CANCEL);
            got.acquire().await.expect("open").forget();
            assert_eq!(try_answer(response).await.expect_err("no answer"), Reason::CANCEL);
            drop(up);
            client.close().await;
        });
        for found in &bench.finish().0 {
            assert_eq!(found.text("/outcome"), "client_cancelled", "{}", found.json);
            assert_eq!(found.text("/request/end"), "client_cancelled", "{}", found.json);
            assert_eq!(found.body(Direction::Request), Content::of("part"));
        }
    }

    fn many_streams_at_once(path) {
        const STREAMS: usize = 50;
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, body.content.bytes().to_vec(), true).await.expect("taken");
        });
        http2::run(async {
            let mut client = bench.client().await;
            let mut open = Vec::new();
            for index in 0..STREAMS {
                let request = client.head("POST", &bench.target(&format!("/many/{index}")), &[]);
                open.push((index as u64, client.start(request, false).await));
            }
            for (index, (_, stream)) in &mut open {
                send(stream, Pattern::bytes(*index, 5000), true).await.expect("taken");
            }
            // The last first: no stream waits for another.
            for (index, (response, _)) in open.into_iter().rev() {
                assert_eq!(*answer(response).await.content(), Content::of_pattern(index, 5000));
            }
            client.close().await;
        });
        let (records, requests) = bench.finish();
        assert_eq!(requests.len(), STREAMS);
        for found in &records {
            assert_eq!(found.text("/outcome"), "complete");
            assert_eq!(found.body(Direction::Request), found.body(Direction::Response));
        }
    }
}

/// After GOAWAY the open stream ends well and the next request goes over a new connection.
#[test]
fn go_away_between_requests() {
    let bench = Bench::new(Path::Gateway, |mut exchange| async move {
        exchange.go_away.notify_one();
        exchange.read().await;
        let mut stream = exchange.answer(200, &[], false);
        send(&mut stream, "still whole", true).await.expect("taken");
    });
    http2::run(async {
        let mut client = bench.client().await;
        for _ in 0..5 {
            let request = client.head("GET", &bench.target("/x"), &[]);
            let answer = client.call(request, b"", None).await;
            assert_eq!((answer.status(), answer.body.reset), (200, None));
            assert_eq!(*answer.content(), Content::of("still whole"));
        }
        client.close().await;
    });
    let (records, requests) = bench.finish();
    assert_eq!((records.len(), requests.len()), (5, 5), "nothing was sent twice");
}

/// A client that is gone, connection and all, has cancelled what was open.
#[test]
fn a_client_whose_connection_breaks() {
    let seen = Arc::new(Semaphore::new(0));
    let told = Arc::clone(&seen);
    let bench = Bench::new(Path::Gateway, move |mut exchange| {
        let told = Arc::clone(&told);
        async move {
            exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, "part", false).await.expect("taken");
            let _ = poll_fn(|context| stream.poll_reset(context)).await;
            told.add_permits(1);
        }
    });
    http2::run(async {
        let mut client = bench.client().await;
        let request = client.head("GET", &bench.target("/x"), &[]);
        let (response, _) = client.start(request, true).await;
        let mut stream = response.await.expect("a head").into_body();
        assert_eq!(stream.data().await.expect("data").expect("data"), "part");
        client.abort();
        seen.acquire().await.expect("open").forget();
    });
    let (records, _) = bench.finish();
    let ends = ["client_cancelled", "complete", "client_cancelled"];
    record(&records[0], ends, &Content::default(), &Content::of("part"));
}

/// An HTTP/1 upstream that stops short is a reset for an HTTP/2 client, never END_STREAM.
#[test]
fn an_http1_cut_is_a_reset() {
    let upstream = upstream_http1::Upstream::start(|mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
        session.send_chunk("part");
        session.into_wire().close();
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("GET", "/up/x", &[]);
        let answer = client.call(request, b"", None).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(*answer.content(), Content::of("part"));
        assert!(answer.body.reset.is_some(), "a cut looks like an end");
        client.close().await;
    });
    let records = gateway.finish();
    let ends = ["upstream_failed", "complete", "upstream_failed"];
    record(&records[0], ends, &Content::default(), &Content::of("part"));
    upstream.finish();
}

/// And a reset by an HTTP/2 upstream is a cut for an HTTP/1 client.
#[test]
fn an_http2_reset_is_a_cut() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let upstream = Upstream::start(None, move |mut exchange| {
        let held = Arc::clone(&held);
        async move {
            exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, "part", false).await.expect("taken");
            held.acquire().await.expect("open").forget();
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    assert_eq!(answer.response_framing("GET"), http1::Framing::Chunked);
    let mut reader = client.body(http1::Framing::Chunked);
    reader.at_least(4);
    gate.add_permits(1);
    let body = reader.finish();
    assert_eq!((body.content, body.end), (Content::of("part"), End::Cut));
    drop(client);
    let records = gateway.finish();
    let ends = ["upstream_failed", "complete", "upstream_failed"];
    record(&records[0], ends, &Content::default(), &Content::of("part"));
    upstream.finish();
}

/// What the gateway answers by itself, it answers in HTTP/2 as well.
#[test]
fn an_unknown_name() {
    let gateway = Options::default().start();
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/nowhere/x", &[]);
        let answer = client.call(request, b"a body nobody wants", None).await;
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.head.headers["content-type"], "application/json");
        let text = String::from_utf8_lossy(answer.content().bytes()).into_owned();
        assert!(text.contains("openai"), "{text}");
        client.close().await;
    });
    let records = gateway.finish();
    assert_eq!(records[0].text("/outcome"), "refused");
}
