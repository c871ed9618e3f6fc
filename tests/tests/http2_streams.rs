//! HTTP/2 on both sides: both directions at once, events, many streams, GOAWAY.

use std::sync::Arc;

use bytes::Bytes;
use sealtap_tests::bench::Path;
use sealtap_tests::bench_http2::{Bench, record};
use sealtap_tests::cases;
use sealtap_tests::client_http2::answer;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::http2::{read, run, send};
use sealtap_tests::records::Direction;
use tokio::sync::Semaphore;

cases! {
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
        run(async {
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
        run(async {
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
        run(async {
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

    fn many_streams_at_once(path) {
        const STREAMS: usize = 50;
        let bench = Bench::new(path, |mut exchange| async move {
            let body = exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, body.content.bytes().to_vec(), true).await.expect("taken");
        });
        run(async {
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
    run(async {
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
