//! HTTP/2: resets and broken connections, and what they become across HTTP versions.

use std::future::poll_fn;
use std::sync::Arc;

use h2::Reason;
use sealtap_tests::bench::Path;
use sealtap_tests::bench_http2::{Bench, record};
use sealtap_tests::cases;
use sealtap_tests::client_http2::{Client, try_answer};
use sealtap_tests::content::Content;
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{End, Framing, head};
use sealtap_tests::http2::{reset_code, run, send};
use sealtap_tests::records::Direction;
use sealtap_tests::upstream_http1;
use sealtap_tests::upstream_http2::Upstream;
use sealtap_tests::wire::Wire;
use tokio::sync::Semaphore;

/// Every code a reset may carry across.
const CODES: [Reason; 5] = [
    Reason::CANCEL,
    Reason::INTERNAL_ERROR,
    Reason::REFUSED_STREAM,
    Reason::ENHANCE_YOUR_CALM,
    Reason::HTTP_1_1_REQUIRED,
];

cases! {
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
            run(async {
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
            run(async {
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
        run(async {
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
    run(async {
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
    run(async {
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
    assert_eq!(answer.response_framing("GET"), Framing::Chunked);
    let mut reader = client.body(Framing::Chunked);
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
