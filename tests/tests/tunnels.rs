//! Tunnels in what is no plain HTTP/1: asked for over TLS, and over HTTP/2 (RFC 9113 section 8.5).

use std::process::{Command, Output};
use std::sync::Arc;

use sealtap_tests::client_http2::Client;
use sealtap_tests::content::Content;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::http2;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::tls::{Authority, LISTENER, trusting};
use sealtap_tests::upstream_http1::{Session, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A gateway with TLS on its listener that trusts the authority's upstreams.
fn gateway(authority: &Authority, config: &str, arguments: &[&str]) -> Gateway {
    let home = Arc::new(Home::new());
    authority.write_identity(home.path());
    let mut options = Options::default().trusting(authority, &home).config(config);
    for argument in arguments {
        options = options.argument(argument);
    }
    options.start_in(home)
}

fn answering(session: &mut Session, request: &Message) {
    let length = request.body.content.length() + 2;
    session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length.to_string())]));
    session.send([b"ok", request.bytes()].concat());
}

/// A POST of `body` by curl through the gateway as a proxy that speaks TLS; `ca` is what the host's
/// certificate is held against.
fn curl(gateway: &Gateway, ca: &str, url: &str, body: &str) -> Output {
    let proxy = format!("https://localhost:{}", gateway.address().port());
    Command::new("curl")
        .args(["-sS", "--noproxy", "", "--proxytunnel", "--proxy", &proxy, "-d", body])
        .args(["--proxy-cacert", "upstream-ca.pem", "--cacert", ca, url])
        .current_dir(gateway.home().path())
        .output()
        .expect("curl runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_captured(exchange: &Exchange, url: &str, body: &str) {
    assert_eq!(exchange.text("/ingress"), "connect", "{}", exchange.json);
    assert_eq!(exchange.text("/url"), url);
    assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    assert_eq!(exchange.body(Direction::Request), Content::of(body));
    assert_eq!(exchange.body(Direction::Response), Content::of(format!("ok{body}")));
}

#[test]
fn a_proxy_that_speaks_tls_opens_tunnels() {
    let authority = Authority::new();
    let secure = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let plain = Upstream::answering(answering);
    let gateway = gateway(&authority, LISTENER, &["--capture", "all"]);
    let ca = gateway.home().data().join("keys/ca.pem");
    let ca = ca.to_str().expect("text");
    let inside = format!("https://localhost:{}/in/tls", secure.address().port());
    assert_eq!(said(&curl(&gateway, ca, &inside, "one")), "okone");
    let outside = format!("http://localhost:{}/in/clear", plain.address().port());
    assert_eq!(said(&curl(&gateway, ca, &outside, "two")), "oktwo");
    // What the gateway shows is checked by the client, as in any tunnel.
    let pinned = curl(&gateway, "upstream-ca.pem", &inside, "three");
    assert!(!pinned.status.success());
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 3, "{exchanges:?}");
    assert_captured(&exchanges[0], &inside, "one");
    assert_captured(&exchanges[1], &outside, "two");
    assert_eq!(exchanges[2].text("/tunnel/reason"), "client_rejected");
    assert_eq!((secure.finish().len(), plain.finish().len()), (1, 1));
}

#[test]
fn a_proxy_that_speaks_tls_passes_other_hosts_on_unread() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let gateway = gateway(&authority, LISTENER, &[]);
    let url = format!("https://localhost:{}/secret", upstream.address().port());
    // The host's own certificate is seen.
    assert_eq!(said(&curl(&gateway, "upstream-ca.pem", &url, "x")), "okx");
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].text("/outcome"), "complete", "{}", exchanges[0].json);
    assert_eq!(exchanges[0].text("/tunnel/reason"), "not_listed");
    assert!(exchanges[0].number("/tunnel/to_client") > 500);
    upstream.finish();
}

/// Over TLS, and with prior knowledge: two tunnels and a request of its own in one connection.
#[test]
fn streams_of_http2_are_tunnels() {
    for config in ["", LISTENER] {
        let authority = Authority::new();
        let secure = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
        let plain = Upstream::answering(answering);
        let up = format!("--upstream=up={}", plain.url());
        let gateway = gateway(&authority, config, &["--capture", "all", &up]);
        let inside = format!("localhost:{}", secure.address().port());
        let outside = format!("localhost:{}", plain.address().port());
        let settings = trusting(gateway.home(), &["h2"]);
        http2::run(async {
            let mut client = match config {
                "" => Client::connect(gateway.address()).await,
                _ => Client::connect_tls(gateway.address(), authority.client(&["h2"])).await,
            };
            let (status, first) = client.ask_for_tunnel(&inside).await;
            assert_eq!(status, 200);
            let (status, mut second) = client.ask_for_tunnel(&outside).await;
            assert_eq!(status, 200);
            let mut first = Client::inside(first, &inside, "localhost", settings).await;
            let body = vec![b'x'; 300_000];
            let request = first.head("POST", "/one", &[]);
            let answer = first.call(request, &body, None).await;
            let expected = [b"ok", body.as_slice()].concat();
            assert_eq!(*answer.content(), Content::of(&expected));
            let request = format!("POST /two HTTP/1.1\r\nHost: {outside}\r\nContent-Length: 2\r\n");
            let request = format!("{request}Connection: close\r\n\r\nhi");
            second.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            second.read_to_end(&mut answer).await.expect("read");
            assert!(answer.ends_with(b"\r\n\r\nokhi"), "{}", answer.escape_ascii());
            let request = client.head("POST", "/up/three", &[]);
            let answer = client.call(request, b"3", None).await;
            assert_eq!(*answer.content(), Content::of("ok3"));
            first.close().await;
            drop(second);
            client.close().await;
        });
        let mut exchanges = gateway.finish();
        assert_eq!(exchanges.len(), 3, "{exchanges:?}");
        exchanges.sort_by_key(|exchange| exchange.text("/url").len());
        let by_url = |url: &str| {
            let found = exchanges.iter().find(|exchange| exchange.text("/url") == url);
            found.unwrap_or_else(|| panic!("{url}: {exchanges:?}"))
        };
        let body = "x".repeat(300_000);
        assert_captured(
            by_url(&format!("https://{inside}/one")),
            &format!("https://{inside}/one"),
            &body,
        );
        assert_captured(
            by_url(&format!("http://{outside}/two")),
            &format!("http://{outside}/two"),
            "hi",
        );
        secure.finish();
        plain.finish();
    }
}

#[test]
fn a_stream_that_passes_unread_counts_and_one_that_is_refused_is_answered() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), answering);
    let gateway = gateway(&authority, LISTENER, &[]);
    let host = format!("localhost:{}", upstream.address().port());
    http2::run(async {
        let settings = authority.client(&["h2"]);
        let mut client = Client::connect_tls(gateway.address(), settings).await;
        let (status, refused) = client.ask_for_tunnel("169.254.169.254:80").await;
        assert_eq!(status, 403);
        drop(refused);
        let (status, tunnel) = client.ask_for_tunnel(&host).await;
        assert_eq!(status, 200);
        let connector = tokio_rustls::TlsConnector::from(authority.client(&["http/1.1"]));
        let name = "localhost".try_into().expect("a name");
        let mut inner = connector.connect(name, tunnel).await.expect("the host's own TLS");
        let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
        inner.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.push(inner.read_u8().await.expect("read"));
        }
        // The end of the one direction is heard by the server, whose end comes back.
        inner.shutdown().await.expect("ended");
        assert_eq!(inner.read(&mut [0]).await.unwrap_or(0), 0, "nothing more comes");
        drop(inner);
        client.close().await;
    });
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 2, "{exchanges:?}");
    let refused = &exchanges[0];
    assert_eq!(refused.text("/ingress"), "connect");
    assert_eq!(refused.text("/url"), "169.254.169.254:80", "{}", refused.json);
    let passed = &exchanges[1];
    assert_eq!(passed.text("/tunnel/reason"), "not_listed", "{}", passed.json);
    assert_eq!((passed.text("/method"), passed.text("/url")), ("CONNECT", host.as_str()));
    assert_eq!(passed.text("/outcome"), "complete", "{}", passed.json);
    assert!(passed.number("/tunnel/to_client") > 500);
    upstream.finish();
}
