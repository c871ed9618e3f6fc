//! Windows over HTTP/2: clients that read nothing hold their upstream up and cost the gateway little,
//! and nobody else's answers wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealtap_tests::client_http2::Client;
use sealtap_tests::gateway::Options;
use sealtap_tests::http2::{run, send};
use sealtap_tests::upstream_http2::Upstream;

/// Answers that nobody reads: more than one connection to the upstream has places for.
const UNREAD: usize = 150;

/// The length of each.
const LENGTH: usize = 512 << 10;

/// What the tests' client lets a whole connection send without reading.
const CLIENT_WINDOW: u64 = 4 << 20;

#[test]
fn answers_that_nobody_reads() {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&taken);
    let upstream = Upstream::start(None, move |mut exchange| {
        let counter = Arc::clone(&counter);
        async move {
            exchange.read().await;
            let quick = exchange.head.uri.path() == "/quick";
            let mut stream = exchange.answer(200, &[], false);
            if quick {
                send(&mut stream, vec![b'q'; LENGTH], true).await.expect("it is read");
                return;
            }
            for _ in 0..LENGTH >> 12 {
                // Until the client is gone.
                if send(&mut stream, vec![b'u'; 1 << 12], false).await.is_err() {
                    return;
                }
                counter.fetch_add(1 << 12, Ordering::SeqCst);
            }
        }
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let last = run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut open = Vec::with_capacity(UNREAD);
        for _ in 0..UNREAD {
            let request = client.head("GET", "/up/unread", &[]);
            let (response, stream) = client.start(request, true).await;
            open.push((response.await.expect("an answer"), stream));
        }
        // Until the upstream has not got on for a second.
        let (mut last, mut still) = (0, 0);
        while still < 50 {
            let now = taken.load(Ordering::SeqCst);
            still = if now == last && now > 0 { still + 1 } else { 0 };
            last = now;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut other = Client::connect(gateway.address()).await;
        for _ in 0..10 {
            let request = other.head("GET", "/up/quick", &[]);
            let answer = other.call(request, b"", None).await;
            assert_eq!((answer.status(), answer.content().length()), (200, LENGTH as u64));
        }
        other.close().await;
        drop(open);
        client.close().await;
        last
    });
    let streams = UNREAD as u64;
    println!("{last} of {} bytes taken", streams * LENGTH as u64);
    assert!(last <= CLIENT_WINDOW + streams * (160 << 10), "{last} bytes for {streams} streams");
    assert!(upstream.connections() > 1, "one connection's window serves no more than 128 streams");
    let exchanges = gateway.finish();
    let complete = exchanges.iter().filter(|found| found.text("/outcome") == "complete").count();
    assert_eq!((complete, exchanges.len()), (10, UNREAD + 10));
    upstream.finish();
}
