//! Trailers: what came and what left, each recorded as it was, over every pair of framings.
//!
//! A trailer goes on only where the next hop has a place for it and nothing speaks against it.
//! What stays behind is in the record as received, and the record says that the two differ.

use http::HeaderMap;
use sealtap_tests::client_http2::{Answer, Client};
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{self, head};
use sealtap_tests::http2::{self, fields, send};
use sealtap_tests::records::Exchange;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::upstream_http2;
use sealtap_tests::wire::Wire;

type Pairs<'a> = &'a [(&'static str, &'static str)];

/// Of both kinds: what must go on, and what may not stand in trailers or cannot be written.
const MIXED: Pairs<'static> = &[
    ("x-sum", "42"),
    ("content-length", "5"),
    ("host", "elsewhere"),
    ("trailer", "x"),
    ("x-outer", " spaced "),
    ("x-last", "z"),
];

fn map(pairs: Pairs<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().expect("a value"));
    }
    map
}

fn owned(pairs: Pairs<'_>) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The record says which trailers came, which left, and whether they are the same.
fn recorded(exchange: &Exchange, message: &str, received: Pairs<'_>, sent: Pairs<'_>) {
    let shown = exchange.show();
    assert_eq!(exchange.text("/outcome"), "complete", "{shown}");
    assert_eq!(exchange.text(&format!("/{message}/end")), "trailers", "{shown}");
    assert_eq!(exchange.fields(&format!("/{message}/trailers")), owned(sent), "{shown}");
    let came = exchange.fields(&format!("/{message}/received/trailers"));
    assert_eq!(came, owned(received), "{shown}");
    assert_eq!(shown[message]["same"], received == sent, "{shown}");
}

fn gateway(url: String) -> Gateway {
    Options::default().upstream("up", url).start()
}

/// One request over HTTP/2 with these fields and trailers.
fn ask(gateway: &Gateway, more: &[(&str, &str)], trailers: Pairs<'_>) -> Answer {
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/up/x", more);
        let answer = client.call(request, b"data", Some(map(trailers))).await;
        client.close().await;
        answer
    })
}

/// An HTTP/2 upstream that answers `data` with these fields and trailers.
fn saying(more: Pairs<'static>, trailers: Pairs<'static>) -> upstream_http2::Upstream {
    upstream_http2::Upstream::start(None, move |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, more, false);
        send(&mut stream, "data", false).await.expect("taken");
        stream.send_trailers(map(trailers)).expect("taken");
    })
}

#[test]
fn behind_a_request_with_a_length_they_stay() {
    let upstream = Upstream::answering(|session, request| {
        assert_eq!(request.head.one("content-length"), Some("4"));
        assert!(request.body.trailers.is_empty());
        session.send(head("HTTP/1.1 204 No", &[]));
    });
    let gateway = gateway(upstream.url());
    assert_eq!(ask(&gateway, &[("content-length", "4")], &[("x-sum", "42")]).status(), 204);
    recorded(&gateway.finish()[0], "request", &[("x-sum", "42")], &[]);
    assert_eq!(upstream.finish()[0].bytes(), b"data");
}

#[test]
fn behind_an_answer_with_a_length_they_stay() {
    let upstream = saying(&[("content-length", "4")], &[("x-sum", "42")]);
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    for _ in 0..2 {
        client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = client.response("GET");
        assert_eq!((answer.bytes(), answer.body.trailers.len()), (&b"data"[..], 0));
        assert!(client.nothing_unread(), "the connection goes on clean");
    }
    drop(client);
    let exchanges = gateway.finish();
    exchanges.iter().for_each(|found| recorded(found, "response", &[("x-sum", "42")], &[]));
    upstream.finish();
}

#[test]
fn an_old_client_gets_none() {
    let upstream = saying(&[], &[("x-sum", "42")]);
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.0\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").bytes(), b"data");
    drop(client);
    recorded(&gateway.finish()[0], "response", &[("x-sum", "42")], &[]);
    upstream.finish();
}

#[test]
fn what_connection_names_stays_on_its_hop() {
    let fields = [("Connection", "x-hop"), ("Transfer-Encoding", "chunked")];
    let sent: Pairs<'_> = &[("X-Sum", "42"), ("X-Hop", "mine"), ("X-Last", "z")];
    let reply = [head("HTTP/1.1 200 OK", &fields), http1::chunk(b"data"), http1::last_chunk(sent)];
    let reply = reply.concat();
    let upstream = Upstream::answering(move |session, _| session.send(&reply));
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    let mut own = vec![("Host", "x")];
    own.extend(fields);
    client.send(head("POST /up/x HTTP/1.1", &own));
    client.send(http1::chunk(b"data"));
    client.send(http1::last_chunk(sent));
    let answer = client.response("POST");
    let kept: Pairs<'_> = &[("X-Sum", "42"), ("X-Last", "z")];
    let bytes = |pairs: Pairs<'_>| -> Vec<(Vec<u8>, Vec<u8>)> {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect()
    };
    assert_eq!(answer.body.trailers, bytes(kept));
    drop(client);
    let exchanges = gateway.finish();
    recorded(&exchanges[0], "request", sent, kept);
    recorded(&exchanges[0], "response", sent, kept);
    assert_eq!(upstream.finish()[0].body.trailers, bytes(kept));
}

#[test]
fn what_may_stand_in_none_stays_on_the_way_to_http1() {
    let upstream = Upstream::answering(|session, request| {
        assert_eq!(request.body.trailers.len(), 2, "{request:?}");
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let gateway = gateway(upstream.url());
    assert_eq!(ask(&gateway, &[], MIXED).status(), 200);
    let kept: Pairs<'_> = &[("x-sum", "42"), ("x-last", "z")];
    recorded(&gateway.finish()[0], "request", MIXED, kept);
    upstream.finish();
}

#[test]
fn and_on_the_way_from_and_to_http2() {
    let upstream = saying(&[], MIXED);
    let gateway = gateway(upstream.url());
    let kept: Pairs<'_> = &[("x-sum", "42"), ("x-last", "z")];
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").body.trailers.len(), 2);
    drop(client);
    let answer = ask(&gateway, &[], MIXED);
    assert_eq!(fields(&answer.body.trailers.expect("trailers")), owned(kept));
    let exchanges = gateway.finish();
    recorded(&exchanges[0], "response", MIXED, kept);
    recorded(&exchanges[1], "request", MIXED, kept);
    recorded(&exchanges[1], "response", MIXED, kept);
    for (_, body) in upstream.finish().iter().skip(1) {
        assert_eq!(fields(body.trailers.as_ref().expect("trailers")), owned(kept));
    }
}

#[test]
fn where_nothing_speaks_against_them_all_go_on() {
    let upstream = saying(&[], &[("x-sum", "42"), ("x-more", "1")]);
    let gateway = gateway(upstream.url());
    let answer = ask(&gateway, &[], &[("x-sum", "41")]);
    assert_eq!(answer.body.trailers.expect("trailers").len(), 2);
    let exchanges = gateway.finish();
    recorded(&exchanges[0], "request", &[("x-sum", "41")], &[("x-sum", "41")]);
    let both: Pairs<'_> = &[("x-sum", "42"), ("x-more", "1")];
    recorded(&exchanges[0], "response", both, both);
    upstream.finish();
}

/// Trailers of a message without any body bytes, and an empty frame before them.
#[test]
fn behind_no_bytes_at_all() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        let body = exchange.read().await;
        assert_eq!(body.content.length(), 0);
        let mut stream = exchange.answer(200, &[], false);
        stream.send_data(bytes::Bytes::new(), false).expect("taken");
        stream.send_trailers(body.trailers.expect("trailers")).expect("taken");
    });
    let gateway = gateway(upstream.url());
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/up/x", &[]);
        let answer = client.call(request, b"", Some(map(&[("x-sum", "0")]))).await;
        assert_eq!((answer.status(), answer.body.reset), (200, None));
        assert_eq!(answer.body.trailers.expect("trailers")["x-sum"], "0");
        client.close().await;
    });
    let exchanges = gateway.finish();
    recorded(&exchanges[0], "request", &[("x-sum", "0")], &[("x-sum", "0")]);
    recorded(&exchanges[0], "response", &[("x-sum", "0")], &[("x-sum", "0")]);
    upstream.finish();
}
