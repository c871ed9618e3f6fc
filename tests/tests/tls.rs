//! TLS: cuts without close_notify, streams, and trust, with HTTP/1 inside.

use std::sync::Arc;

use sealtap_tests::gate::Gate;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{End, Framing, Message, head};
use sealtap_tests::records::Exchange;
use sealtap_tests::tls::{Authority, LISTENER};
use sealtap_tests::upstream_http1::{Session, Upstream};
use sealtap_tests::wire::Wire;

/// A gateway with TLS on its listener that trusts the authority's upstreams.
fn gateway(authority: &Authority, upstream: &Upstream) -> Gateway {
    let home = Arc::new(Home::new());
    authority.write_identity(home.path());
    Options::default()
        .upstream("up", upstream.url())
        .trusting(authority, &home)
        .config(LISTENER)
        .start_in(home)
}

/// One GET over TLS on both sides.
fn get(script: impl Fn(Session) + Send + Sync + 'static) -> (Message, End, Exchange) {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), script);
    let gateway = gateway(&authority, &upstream);
    let mut client = Wire::connect_tls(gateway.address(), authority.client(&["http/1.1"]));
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = client.response("GET");
    let (rest, end) = client.read_to_end();
    assert_eq!(rest.length(), 0);
    drop(client);
    let exchange = gateway.finish().remove(0);
    upstream.finish();
    (answer, end, exchange)
}

#[test]
fn an_orderly_end_has_close_notify() {
    let (answer, end, exchange) = get(|mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
        session.drain();
    });
    assert_eq!((answer.bytes(), answer.body.end), (b"ok".as_slice(), End::Complete));
    assert_eq!(end, End::Complete, "close_notify ends the connection");
    assert_eq!(exchange.text("/outcome"), "complete");
}

#[test]
fn close_delimited_with_close_notify_is_whole() {
    let (answer, _, exchange) = get(|mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[]));
        session.send("all of it");
        session.into_wire().close();
    });
    assert_eq!((answer.bytes(), answer.body.end), (b"all of it".as_slice(), End::Complete));
    assert_eq!(exchange.text("/outcome"), "complete");
}

#[test]
fn close_delimited_without_close_notify_is_cut() {
    let (answer, _, exchange) = get(|mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[]));
        session.send("some of it");
        session.into_wire().truncate();
    });
    assert_eq!(answer.bytes(), b"some of it");
    assert!(matches!(answer.body.end, End::Truncated | End::Reset), "{:?}", answer.body.end);
    assert_eq!(exchange.text("/outcome"), "upstream_failed");
    assert_eq!(exchange.text("/response/end"), "upstream_failed");
}

#[test]
fn a_cut_answer_ends_without_close_notify() {
    for fields in [[("Content-Length", "100")], [("Transfer-Encoding", "chunked")]] {
        let (answer, _, exchange) = get(move |mut session| {
            session.request();
            session.send(head("HTTP/1.1 200 OK", &fields));
            session.send("4\r\npart\r\n");
            session.into_wire().close();
        });
        assert!(matches!(answer.body.end, End::Truncated | End::Reset), "{:?}", answer.body.end);
        assert_eq!(exchange.text("/outcome"), "upstream_failed");
    }
}

#[test]
fn a_whole_length_without_close_notify_is_whole() {
    let (answer, _, exchange) = get(|mut session| {
        session.request();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "5")]));
        session.send("whole");
        session.into_wire().truncate();
    });
    assert_eq!((answer.bytes(), answer.body.end), (b"whole".as_slice(), End::Complete));
    assert_eq!(exchange.text("/outcome"), "complete");
}

#[test]
fn events_stream_through_tls() {
    let gate = Gate::default();
    let held = gate.clone();
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), move |mut session| {
        session.request();
        let fields = [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")];
        session.send(head("HTTP/1.1 200 OK", &fields));
        for index in 0..10 {
            held.wait(index + 1);
            session.send_chunk(format!("data: {index}\n\n"));
        }
        session.send("0\r\n\r\n");
        session.drain();
    });
    let gateway = gateway(&authority, &upstream);
    let mut client = Wire::connect_tls(gateway.address(), authority.client(&["http/1.1"]));
    client.send("GET /up/events HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    assert_eq!(answer.status(), 200);
    let mut reader = client.body(Framing::Chunked);
    for index in 0..10 {
        gate.open();
        reader.at_least((index + 1) * 9);
    }
    let body = reader.finish();
    assert_eq!((body.content.length(), body.end), (90, End::Complete));
    client.close();
    assert_eq!(gateway.finish()[0].text("/outcome"), "complete");
    upstream.finish();
}

#[test]
fn a_client_that_trusts_someone_else_leaves_no_trace() {
    let authority = Authority::new();
    let upstream = Upstream::start(Session::drain);
    let gateway = gateway(&authority, &upstream);
    let mut client = Wire::connect_tls(gateway.address(), Authority::new().client(&["http/1.1"]));
    assert!(client.try_send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n").is_err());
    drop(client);
    // Clear text where TLS is expected is no request either.
    let mut plain = Wire::connect(gateway.address());
    plain.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let (answer, _) = plain.read_to_end();
    assert!(!answer.bytes().starts_with(b"HTTP/1.1 2"));
    assert_eq!(upstream.connections(), 0);
    assert_eq!(gateway.finish().len(), 0);
    upstream.finish();
}
