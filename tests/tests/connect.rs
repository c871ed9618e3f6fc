//! CONNECT to hosts that are captured: TLS ends at the gateway and begins again to the host.

use std::sync::Arc;

use sealtap_tests::client_http2::Client;
use sealtap_tests::content::Content;
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::http2;
use sealtap_tests::records::{Direction, Exchange, as_they_came};
use sealtap_tests::tls::{Authority, trusting};
use sealtap_tests::upstream_http1::{Session, Upstream};
use sealtap_tests::upstream_http2;
use sealtap_tests::wire::Wire;

/// A gateway that trusts the authority's upstreams and captures every host.
fn gateway(authority: &Authority, config: &str) -> Gateway {
    let home = Arc::new(Home::new());
    Options::default().trusting(authority, &home).capturing_all().config(config).start_in(home)
}

fn answering(session: &mut Session, request: &Message) {
    let length = request.body.content.length() + 2;
    session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length.to_string())]));
    session.send([b"ok", request.bytes()].concat());
}

/// An HTTP/2 upstream that answers `two`.
fn http2_upstream(authority: &Authority) -> upstream_http2::Upstream {
    let tls = authority.server(&["h2"]);
    upstream_http2::Upstream::start(Some(tls), |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, &[("content-length", "3")], false);
        let _ = http2::send(&mut stream, "two", true).await;
    })
}

fn post(client: &mut Wire, target: &str, host: &str, body: &str) -> Message {
    let length = body.len().to_string();
    let fields =
        [("Host", host), ("Authorization", "Bearer sk-1"), ("Content-Length", length.as_str())];
    client.send(head(format!("POST {target} HTTP/1.1"), &fields));
    client.send(body);
    client.response("POST")
}

fn assert_complete(exchange: &Exchange, url: &str, request: &str, response: &str) {
    assert_eq!(exchange.text("/ingress"), "connect", "{}", exchange.json);
    assert_eq!(exchange.text("/url"), url);
    assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    assert_eq!(exchange.body(Direction::Request), Content::of(request));
    assert_eq!(exchange.body(Direction::Response), Content::of(response));
}

#[test]
fn tls_in_a_tunnel_is_opened_and_captured() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let gateway = gateway(&authority, "");
    let host = format!("localhost:{}", upstream.address().port());
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("localhost", trusting(gateway.home(), &["http/1.1"]));
    for body in ["one", "two"] {
        let answer = post(&mut client, "/run/is/theirs", &host, body);
        assert_eq!(answer.bytes(), format!("ok{body}").as_bytes());
    }
    assert_eq!(client.protocol().as_deref(), Some(b"http/1.1".as_slice()));
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 2, "{exchanges:?}");
    let url = format!("https://{host}/run/is/theirs");
    assert_complete(&exchanges[0], &url, "one", "okone");
    assert_complete(&exchanges[1], &url, "two", "oktwo");
    assert_eq!(upstream.connections(), 1, "the connection made to ask serves the requests");
    let requests = upstream.finish();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.head.target(), b"/run/is/theirs");
        assert_eq!(request.head.one("host"), Some(host.as_str()));
        assert_eq!(request.head.one("authorization"), Some("Bearer sk-1"));
    }
}

/// What a client offers, what an upstream takes, and what is then agreed on with the client.
#[test]
fn the_client_is_offered_what_its_upstream_speaks() {
    let both: &[&str] = &["h2", "http/1.1"];
    let (one, two, none): (&[&str], &[&str], &[&str]) = (&["http/1.1"], &["h2"], &[]);
    let cases: [(&[&str], &[&str], Option<&str>); 8] = [
        (both, one, Some("http/1.1")),
        (both, none, None),
        (one, one, Some("http/1.1")),
        (one, none, None),
        (none, one, None),
        (none, none, None),
        // The host takes nothing of what the client offers: translated.
        (two, one, Some("h2")),
        (two, none, Some("h2")),
    ];
    for (offered, taken, agreed) in cases {
        let authority = Authority::new();
        let upstream = Upstream::answering_tls(authority.server(taken), answering);
        let gateway = gateway(&authority, "");
        let host = format!("localhost:{}", upstream.address().port());
        let settings = trusting(gateway.home(), offered);
        // Once unknown, once remembered.
        for turn in ["first", "second"] {
            if agreed == Some("h2") {
                http2::run(async {
                    let mut client = Client::tunnel_tls(
                        gateway.address(),
                        &host,
                        "localhost",
                        Arc::clone(&settings),
                    )
                    .await;
                    let request = client.head("POST", "/x", &[]);
                    let answer = client.call(request, turn.as_bytes(), None).await;
                    assert_eq!(*answer.content(), Content::of(format!("ok{turn}")));
                    client.close().await;
                });
            } else {
                let client = Wire::tunnel(gateway.address(), &host);
                let mut client = client.into_tls("localhost", Arc::clone(&settings));
                let answer = post(&mut client, "/x", &host, turn);
                assert_eq!(answer.bytes(), format!("ok{turn}").as_bytes());
                let found = client.protocol();
                assert_eq!(found.as_deref(), agreed.map(str::as_bytes), "{offered:?} {taken:?}");
            }
        }
        let exchanges = as_they_came(gateway.finish());
        assert_eq!(exchanges.len(), 2, "{offered:?} {taken:?} {exchanges:?}");
        for (exchange, turn) in exchanges.iter().zip(["first", "second"]) {
            assert_complete(exchange, &format!("https://{host}/x"), turn, &format!("ok{turn}"));
        }
        upstream.finish();
    }
}

#[test]
fn an_http2_upstream_serves_clients_of_either_version() {
    for offered in [["h2", "http/1.1"].as_slice(), &["h2"], &["http/1.1"], &[]] {
        let authority = Authority::new();
        let upstream = http2_upstream(&authority);
        let gateway = gateway(&authority, "");
        let host = format!("localhost:{}", upstream.address().port());
        let settings = trusting(gateway.home(), offered);
        if offered.contains(&"h2") {
            http2::run(async {
                let mut client =
                    Client::tunnel_tls(gateway.address(), &host, "localhost", settings).await;
                let request = client.head("POST", "/x", &[]);
                let answer = client.call(request, b"hi", None).await;
                assert_eq!(*answer.content(), Content::of("two"));
                client.close().await;
            });
        } else {
            let client = Wire::tunnel(gateway.address(), &host);
            let mut client = client.into_tls("localhost", settings);
            let answer = post(&mut client, "/x", &host, "hi");
            assert_eq!(answer.bytes(), b"two");
        }
        let exchanges = gateway.finish();
        assert_eq!(exchanges.len(), 1, "{offered:?}");
        assert_complete(&exchanges[0], &format!("https://{host}/x"), "hi", "two");
        let requests = upstream.finish();
        let (head, body) = &requests[0];
        assert_eq!(head.uri.to_string(), format!("https://{host}/x"));
        assert_eq!(body.content, Content::of("hi"));
    }
}

#[test]
fn an_address_without_a_server_name_gets_a_leaf_for_the_address() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&[]), answering);
    let gateway = gateway(&authority, "");
    let host = upstream.address().to_string();
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("127.0.0.1", trusting(gateway.home(), &[]));
    assert_eq!(post(&mut client, "/x", &host, "a").bytes(), b"oka");
    drop(client);
    let exchanges = gateway.finish();
    assert_complete(&exchanges[0], &format!("https://{host}/x"), "a", "oka");
    upstream.finish();
}

/// A host that the CONNECT does not name is captured by the name that TLS gives it.
#[test]
fn a_listed_name_in_tls_is_captured_whatever_the_tunnel_leads_to() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&[]), answering);
    let home = Arc::new(Home::new());
    let gateway = Options::default()
        .trusting(&authority, &home)
        .config("[proxy]\ncapture = [\"localhost\"]\n")
        .start_in(home);
    let host = upstream.address().to_string();
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("localhost", trusting(gateway.home(), &[]));
    assert_eq!(post(&mut client, "/x", "localhost", "a").bytes(), b"oka");
    drop(client);
    let exchanges = gateway.finish();
    assert_complete(&exchanges[0], &format!("https://{host}/x"), "a", "oka");
    upstream.finish();
}

#[test]
fn no_request_reaches_an_upstream_that_is_not_to_be_trusted() {
    let trusted = Authority::new();
    let unknown = Authority::new();
    let cases = [
        ("expired", trusted.expired_server()),
        ("wrong name", trusted.server_for("other.example")),
        ("unknown authority", unknown.server(&["h2", "http/1.1"])),
    ];
    for (what, server) in cases {
        for offered in [["http/1.1"].as_slice(), &["h2", "http/1.1"]] {
            let upstream = Upstream::answering_tls(Arc::clone(&server), answering);
            let gateway = gateway(&trusted, "");
            let host = format!("localhost:{}", upstream.address().port());
            let settings = trusting(gateway.home(), offered);
            let said = if offered.contains(&"h2") {
                http2::run(async {
                    let mut client =
                        Client::tunnel_tls(gateway.address(), &host, "localhost", settings).await;
                    let request = client.head("POST", "/x", &[]);
                    let answer = client.call(request, b"secret", None).await;
                    assert_eq!(answer.status(), 502, "{what}");
                    client.close().await;
                    String::new()
                })
            } else {
                let client = Wire::tunnel(gateway.address(), &host);
                let mut client = client.into_tls("localhost", settings);
                let answer = post(&mut client, "/x", &host, "secret");
                assert_eq!(answer.status(), 502, "{what}");
                String::from_utf8_lossy(answer.bytes()).into_owned()
            };
            assert!(said.is_empty() || said.contains("upstream_tls"), "{what}: {said}");
            assert!(said.is_empty() || said.contains("ertificate"), "{what}: {said}");
            let exchanges = gateway.finish();
            assert_eq!(exchanges.len(), 1);
            assert_eq!(exchanges[0].text("/error"), "upstream_tls");
            assert!(upstream.finish().is_empty(), "{what}: the upstream saw a request");
        }
    }
}

#[test]
fn a_client_that_pins_is_named_and_nothing_passes() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let gateway = gateway(&authority, "");
    let host = format!("localhost:{}", upstream.address().port());
    // It trusts the real authority and nobody else.
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("localhost", authority.client(&["http/1.1"]));
    client.handshake().expect_err("the leaf is not the host's");
    drop(client);
    let exchange = gateway.wait_sealed(1).remove(0);
    assert_eq!(exchange.text("/ingress"), "connect");
    assert_eq!(exchange.text("/method"), "CONNECT");
    assert_eq!(exchange.text("/url"), host);
    assert_eq!(exchange.text("/outcome"), "client_cancelled");
    assert_eq!(exchange.text("/error"), "client_tls");
    assert_eq!(exchange.text("/tunnel/reason"), "client_rejected");
    assert_eq!(exchange.number("/tunnel/alert/number"), 48);
    assert_eq!(exchange.text("/tunnel/alert/name"), "unknown_ca");
    assert!(exchange.text("/tunnel/hint").contains("sealtap ca"));
    assert_eq!(exchange.number("/tunnel/from_client"), 0);
    // Live lines follow a little later than the record.
    let line =
        poll("a live line", || gateway.live().into_iter().find(|line| line["event"] == "exchange"));
    assert_eq!(line["tunnel"]["alert"]["name"], "unknown_ca");
    gateway.finish();
    assert!(upstream.finish().is_empty(), "the upstream saw a request");
}

#[test]
fn a_run_named_by_the_connect_holds_for_what_is_in_the_tunnel() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&[]), answering);
    let gateway = gateway(&authority, "");
    let host = upstream.address().to_string();
    let fields = [("sealtap-run", "nightly")];
    let (client, head) = Wire::connect_by(gateway.address(), &host, &fields);
    assert_eq!(head.status(), 200);
    let mut client = client.into_tls("127.0.0.1", trusting(gateway.home(), &[]));
    assert_eq!(post(&mut client, "/x", &host, "a").bytes(), b"oka");
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/run"), "nightly");
    for request in upstream.finish() {
        assert_eq!(request.head.one("sealtap-run"), None);
    }
}

/// An answer under way is not cut by what becomes of the client's tunnel before it, and a stream
/// passes piece by piece.
#[test]
fn a_stream_passes_as_it_comes() {
    let authority = Authority::new();
    let gate = Gate::default();
    let opened = gate.clone();
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), move |mut session| {
        session.request();
        session.send(head(
            "HTTP/1.1 200 OK",
            &[("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")],
        ));
        session.send_chunk("data: 1\n\n");
        opened.wait(1);
        session.send_chunk("data: 2\n\n");
        session.send("0\r\n\r\n");
        session.drain();
    });
    let gateway = gateway(&authority, "");
    let host = format!("localhost:{}", upstream.address().port());
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("localhost", trusting(gateway.home(), &["http/1.1"]));
    client.send(head("GET /events HTTP/1.1", &[("Host", host.as_str())]));
    let answer = client.head();
    assert_eq!(answer.status(), 200);
    assert_eq!(client.read_exact(14), b"9\r\ndata: 1\n\n\r\n");
    gate.open();
    assert_eq!(client.read_exact(19), b"9\r\ndata: 2\n\n\r\n0\r\n\r\n");
    drop(client);
    let exchanges = gateway.finish();
    assert_complete(&exchanges[0], &format!("https://{host}/events"), "", "data: 1\n\ndata: 2\n\n");
    upstream.finish();
}
