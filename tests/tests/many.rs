//! Slow and hostile clients, and many at once: what they may cost the gateway, and what they may not.
//!
//! A plain run takes moderate numbers; with optimisation (`cargo xtask suite --release many`) there
//! are thousands. Figures are printed; only bounds that hold anywhere are asserted.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sealtap_tests::bench::NAME;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{End, chunk, head, last_chunk};
use sealtap_tests::records::Direction;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// Bytes of an answer that nobody reads.
const UNREAD: u64 = 64 << 20;

/// So many in a plain run, and so many with optimisation or where `SEALTAP_MANY` is set.
fn moderate_or(moderate: usize, many: usize) -> usize {
    let all = !cfg!(debug_assertions) || std::env::var_os("SEALTAP_MANY").is_some();
    if all { many } else { moderate }
}

/// Resident memory of the gateway, in bytes.
fn memory(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()));
    let status = status.expect("a running process has a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it has memory");
    let kibibytes = line.split_whitespace().nth(1).expect("a number");
    kibibytes.parse::<u64>().expect("a number") << 10
}

/// Heads that come a byte at a time hold nobody else up, and are answered 408 and recorded.
#[test]
fn heads_that_never_end() {
    let count = moderate_or(60, 1_000);
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 204 No Content", &[]));
    });
    let gateway = Options::default()
        .config("[timeouts]\nclient_head = \"3s\"\n")
        .upstream(NAME, upstream.url())
        .start();
    let connect = || TcpStream::connect(gateway.address()).expect("it listens");
    let mut slow: Vec<TcpStream> = (0..count).map(|_| connect()).collect();
    for byte in b"GET /up/slow HTTP/1.1\r\nHo" {
        // Who is refused already is read from below.
        slow.iter_mut().for_each(|stream| drop(stream.write_all(&[*byte])));
        let mut client = Wire::connect(gateway.address());
        client.send(head("GET /up/quick HTTP/1.1", &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 204);
    }
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    }
    drop(slow);
    let exchanges = gateway.finish();
    let refused = exchanges.iter().filter(|it| it.json["outcome"] == "refused").count();
    assert_eq!((refused, exchanges.len() - refused), (count, 25));
    upstream.finish();
}

/// A client that reads nothing holds its upstream up, and does not fill the gateway's memory.
#[test]
fn an_answer_that_nobody_reads() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let upstream = Upstream::start(move |mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &UNREAD.to_string())]));
        for piece in Pattern::new(5, UNREAD) {
            session.send(&piece);
            counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
    });
    let gateway = Options::default().upstream(NAME, upstream.url()).start();
    let before = memory(&gateway);
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/unread HTTP/1.1", &[("Host", "x")]));
    // Until the upstream has not got on for a second.
    let (mut last, mut still) = (0, 0);
    poll("an upstream that is held up", || {
        let now = sent.load(Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        std::thread::sleep(Duration::from_millis(20));
        (still > 50 || now == UNREAD).then_some(())
    });
    let grown = memory(&gateway).saturating_sub(before);
    println!("an unread answer: {last} of {UNREAD} bytes taken, {grown} bytes of memory more");
    assert!(last < UNREAD, "an answer that nobody reads was taken in whole");
    // Socket buffers lie in the kernel, the journal's pending batches in the gateway.
    assert!(grown < 48 << 20, "{grown} bytes are held for a client that reads nothing");
    let answer = client.response("GET");
    assert_eq!(
        (answer.body.end, answer.body.content),
        (End::Complete, Content::of_pattern(5, UNREAD))
    );
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].body(Direction::Response), Content::of_pattern(5, UNREAD));
    upstream.finish();
}

/// Event streams that stay open: each event passes at once, and a stream costs little.
#[test]
fn streams_that_are_held_open() {
    let count = moderate_or(150, 2_000);
    // Held until all streams are open, however long that takes.
    let gate = Arc::new(RwLock::new(()));
    let held = Arc::clone(&gate);
    let closed = gate.write().expect("nobody else holds it");
    let upstream = Upstream::start(move |mut session| {
        session.request();
        let fields = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")];
        session.send(head("HTTP/1.1 200 OK", &fields));
        session.send(chunk(b"data: one\n\n"));
        drop(held.read());
        session.send([chunk(b"data: two\n\n"), last_chunk(&[])].concat());
    });
    let gateway = Options::default().upstream(NAME, upstream.url()).start();
    let before = memory(&gateway);
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let mut client = Wire::connect(gateway.address());
        client.send(head(format!("GET /up/events/{number} HTTP/1.1"), &[("Host", "x")]));
        let (_, answer) = client.response_head();
        assert_eq!(answer.status(), 200);
        let event = chunk(b"data: one\n\n");
        assert_eq!(client.read_exact(event.len()), event);
        clients.push(client);
    }
    let grown = memory(&gateway).saturating_sub(before);
    println!("{count} open streams: {} bytes of memory each", grown / count as u64);
    assert!(grown / (count as u64) < 512 << 10, "{grown} bytes for {count} streams");
    assert_eq!(gateway.list().len(), count, "an open stream is listed");
    drop(closed);
    for client in &mut clients {
        let rest = [chunk(b"data: two\n\n"), last_chunk(&[])].concat();
        assert_eq!(client.read_exact(rest.len()), rest);
    }
    drop(clients);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), count);
    let complete = |it: &&sealtap_tests::records::Exchange| it.json["outcome"] == "complete";
    assert_eq!(exchanges.iter().filter(complete).count(), count);
    upstream.finish();
}
