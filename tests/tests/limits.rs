//! Limits: clients that are slow, silent, too many, or refused before anybody sees them.

use sealtap_tests::client_http2::Client;
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{End, head};
use sealtap_tests::http2;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A HEADERS frame that is a whole request on `stream`.
fn headers(stream: u8, block: &[u8]) -> Vec<u8> {
    let length = u8::try_from(block.len()).expect("a short block");
    [&[0, 0, length, 1, 5, 0, 0, 0, stream], block].concat()
}

/// What `h2` refuses by itself is recorded, as malformed HTTP/1 is.
#[test]
fn refused_http2_requests_are_recorded() {
    let gateway = Options::default().start();
    let mut client = Wire::connect(gateway.address());
    client.send(PREFACE);
    client.send(SETTINGS);
    // `:method` twice, in the static table's words.
    client.send(headers(1, &[0x82, 0x82, 0x86, 0x84]));
    gateway.wait_sealed(1);
    // A head that cannot be decoded ends the connection: index 127 is in no table.
    client.send(headers(3, &[0xff, 0x00]));
    let _ = client.read_to_end();
    gateway.wait_sealed(2);
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let long = "x".repeat(300 << 10);
        let request = client.head("GET", "/openai/v1", &[("x-long", &long)]);
        assert_eq!(client.call(request, b"", None).await.status(), 431);
        client.close().await;
    });
    let records = gateway.finish();
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(record.text("/outcome"), "refused");
    }
    assert_eq!(records[2].number("/status"), 431);
}

/// A preface that does not come to its end, and a connection without requests, are ended.
#[test]
fn slow_and_idle_http2_clients_are_let_go() {
    let limits = "[timeouts]\nclient_head = \"300ms\"\nclient_idle = \"300ms\"\n";
    let gateway = Options::default().config(limits).start();
    for sent in [&PREFACE[..10], PREFACE, &[PREFACE, SETTINGS].concat()] {
        let mut client = Wire::connect(gateway.address());
        client.send(sent);
        let (_, end) = client.read_to_end();
        assert!(matches!(end, End::Complete | End::Reset), "{end:?}");
    }
    assert_eq!(gateway.finish().len(), 0);
}

/// Beyond the limit a client waits until another has gone, and is served then.
#[test]
fn connections_beyond_the_limit_wait() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[limits]\nconnections = 1\n")
        .start();
    let request = "GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = Wire::connect(gateway.address());
    first.send(request);
    assert_eq!(first.response("GET").status(), 200);
    let mut second = Wire::connect(gateway.address());
    second.send(request);
    first.send(request);
    assert_eq!(first.response("GET").status(), 200);
    assert!(second.is_silent());
    drop(first);
    assert_eq!(second.response("GET").status(), 200);
    drop(second);
    assert_eq!(gateway.finish().len(), 3);
    upstream.finish();
}

/// One HTTP/2 client whose streams all wait for HTTP/1 upstreams takes no descriptor from the
/// journal: what has no socket left is answered and sealed, and everybody is served afterwards.
#[test]
fn one_client_does_not_use_up_the_open_files() {
    const STREAMS: usize = 160;
    // Of 192 descriptors half are the gateway's own, a quarter its clients'.
    const SOCKETS: usize = 48;
    let silent = Upstream::start(|mut session| {
        if session.next_head().is_some() {
            session.drain();
        }
    });
    let quick = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    // Files of the least size, so that the journal has to begin some meanwhile.
    let gateway = Options::default()
        .upstream("silent", silent.url())
        .upstream("up", quick.url())
        .config("[journal]\nfile_size = \"1MiB\"\n")
        .under(["sh", "-c", "ulimit -n 192 && exec \"$0\" \"$@\""])
        .start();
    let body = "x".repeat(700_000);
    let length = body.len().to_string();
    let request = head("POST /up/x HTTP/1.1", &[("Host", "x"), ("Content-Length", &length)]);
    let ask = || {
        let mut client = Wire::connect(gateway.address());
        client.send(&request);
        client.send(&body);
        client.response("POST").status()
    };
    assert_eq!(ask(), 200);
    let (refused, meanwhile) = http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut waiting = Vec::new();
        for _ in 0..STREAMS {
            let request = client.head("GET", "/silent/x", &[]);
            waiting.push(tokio::spawn(client.start(request, true).await.0));
        }
        // Those that find no socket are answered; the others wait for ever.
        let ended = || waiting.iter().filter(|task| task.is_finished()).count();
        while ended() < STREAMS - SOCKETS {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let refused = ended();
        let meanwhile: Vec<u16> = (0..4).map(|_| ask()).collect();
        client.abort();
        (refused, meanwhile)
    });
    assert_eq!(refused, STREAMS - SOCKETS);
    assert_eq!(meanwhile, [503; 4]);
    gateway.wait_sealed(1 + STREAMS + meanwhile.len());
    assert_eq!(ask(), 200);
    let messages = gateway.stderr();
    assert!(!messages.contains("os error 24"), "{messages}");
    let records = gateway.finish();
    let status = |record: &sealtap_tests::records::Exchange| record.json["status"].as_u64();
    let refusals = records.iter().filter(|record| status(record) == Some(503)).count();
    assert_eq!(refusals, refused + meanwhile.len());
    silent.finish();
    quick.finish();
}
