//! CONNECT to hosts that are captured: TLS ends at the gateway and begins again to the host.

use std::sync::Arc;

use sealtap_tests::content::Content;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::records::Direction;
use sealtap_tests::tls::{Authority, trusting};
use sealtap_tests::upstream_http1::{Session, Upstream};
use sealtap_tests::wire::Wire;

/// A gateway that trusts the authority's upstreams and captures every host.
fn gateway(authority: &Authority, config: &str) -> Gateway {
    let home = Arc::new(Home::new());
    let ca = home.path().join("upstream-ca.pem");
    authority.write(&ca);
    Options::default()
        .argument("--upstream-ca")
        .argument(ca)
        .argument("--capture")
        .argument("all")
        .config(config)
        .start_in(home)
}

fn answering(session: &mut Session, request: &Message) {
    let length = request.body.content.length() + 2;
    session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length.to_string())]));
    session.send([b"ok", request.bytes()].concat());
}

#[test]
fn tls_in_a_tunnel_is_opened_and_captured() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let gateway = gateway(&authority, "");
    let target = format!("localhost:{}", upstream.address().port());
    let client = Wire::tunnel(gateway.address(), &target);
    let mut client = client.into_tls("localhost", trusting(gateway.home(), &["http/1.1"]));
    for body in ["one", "two"] {
        let length = body.len().to_string();
        client.send(head(
            "POST /v1/chat HTTP/1.1",
            &[("Host", &target), ("Authorization", "Bearer sk-1"), ("Content-Length", &length)],
        ));
        client.send(body);
        let answer = client.response("POST");
        assert_eq!(answer.bytes(), format!("ok{body}").as_bytes());
    }
    assert_eq!(client.protocol().as_deref(), Some(b"http/1.1".as_slice()));
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 2, "{exchanges:?}");
    for (exchange, body) in exchanges.iter().zip(["one", "two"]) {
        assert_eq!(exchange.text("/ingress"), "connect");
        assert_eq!(exchange.text("/url"), format!("https://{target}/v1/chat"));
        assert_eq!(exchange.text("/outcome"), "complete");
        assert_eq!(exchange.body(Direction::Request), Content::of(body));
        assert_eq!(exchange.body(Direction::Response), Content::of(format!("ok{body}")));
    }
    let requests = upstream.finish();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(request.head.one("host"), Some(target.as_str()));
        assert_eq!(request.head.one("authorization"), Some("Bearer sk-1"));
    }
}
