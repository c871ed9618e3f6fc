//! WebSocket over HTTP/2 (RFC 8441), on either side or both, recorded as one over HTTP/1 is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use sealtap_tests::client_http2::{Client, answer};
use sealtap_tests::content::Content;
use sealtap_tests::gate::Gate;
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{Framing, Head, head};
use sealtap_tests::http2::{run, send};
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::{self, Session};
use sealtap_tests::upstream_http2;
use sealtap_tests::websocket::Frame;
use sealtap_tests::wire::Wire;

/// What a server proves with that it read `key` (RFC 6455 section 4.2.2).
fn proof(key: &str) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// What the client sends, and what the upstream does.
fn frames() -> ([Vec<u8>; 2], [Vec<u8>; 2]) {
    let sent = [Frame::text("hello").masked(), Frame::close(1000, "bye").masked()];
    let answered = [Frame::text("and hello").bytes(), Frame::close(1000, "").bytes()];
    (sent, answered)
}

/// The upstream's part over HTTP/1: an echo of the frames' turns.
fn talk(session: &mut Session, fields: &[(&str, &str)]) -> Head {
    let asked = session.next_head().expect("a request comes");
    let proof = asked.one("sec-websocket-key").map(proof);
    let mut all = vec![("Upgrade", "websocket"), ("Connection", "Upgrade")];
    if let Some(proof) = &proof {
        all.push(("Sec-WebSocket-Accept", proof));
    }
    all.extend(fields);
    session.send(head("HTTP/1.1 101 Switching Protocols", &all));
    let (sent, answered) = frames();
    for (sent, answered) in sent.iter().zip(&answered) {
        assert_eq!(session.read_exact(sent.len()), *sent);
        session.send(answered);
    }
    asked
}

async fn read(stream: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut got = Vec::new();
    while got.len() < count {
        let data = stream.data().await.expect("more comes").expect("data comes");
        stream.flow_control().release_capacity(data.len()).expect("released");
        got.extend_from_slice(&data);
    }
    got
}

/// Whether nothing more comes, and the stream ends in good order.
async fn ends(stream: &mut RecvStream) -> bool {
    while let Some(data) = stream.data().await {
        if !data.is_ok_and(|data| data.is_empty()) {
            return false;
        }
    }
    true
}

async fn write(stream: &mut SendStream<Bytes>, bytes: &[u8]) {
    send(stream, Bytes::copy_from_slice(bytes), false).await.expect("taken");
}

/// The client's part over HTTP/2, to its good end.
async fn session(client: &mut Client, target: &str, fields: &[(&str, &str)]) -> http::HeaderMap {
    client.allowed_extended().await;
    let (response, mut up) =
        client.start(client.extended("websocket", target, fields), false).await;
    let (parts, mut down) = response.await.expect("a head").into_parts();
    assert_eq!(parts.status, 200);
    let (sent, answered) = frames();
    for (sent, answered) in sent.iter().zip(&answered) {
        write(&mut up, sent).await;
        assert_eq!(read(&mut down, answered.len()).await, *answered);
    }
    send(&mut up, Bytes::new(), true).await.expect("taken");
    assert!(ends(&mut down).await, "the other side ends as well");
    parts.headers
}

/// The upstream's part over HTTP/2.
async fn over_http2(mut exchange: upstream_http2::Exchange) {
    assert_eq!(exchange.head.method, "CONNECT");
    let protocol = exchange.head.extensions.get::<h2::ext::Protocol>().expect("a protocol");
    assert_eq!(protocol.as_str(), "websocket");
    assert_eq!(exchange.head.uri.path(), "/chat");
    assert!(exchange.head.headers.get("sec-websocket-key").is_none());
    assert_eq!(exchange.head.headers["sec-websocket-version"], "13");
    let mut body = exchange.body.take().expect("a body");
    let mut stream = exchange.answer(200, &[("sec-websocket-protocol", "chat")], false);
    let (sent, answered) = frames();
    for (sent, answered) in sent.iter().zip(&answered) {
        assert_eq!(read(&mut body, sent.len()).await, *sent);
        write(&mut stream, answered).await;
    }
    assert!(ends(&mut body).await, "the client ends first");
    send(&mut stream, Bytes::new(), true).await.expect("taken");
}

/// Both directions, their messages, and the outcome, as for a session over HTTP/1.
fn recorded(exchange: &Exchange, method: &str, status: u64) {
    let (sent, answered) = frames();
    assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    assert_eq!((exchange.text("/method"), exchange.number("/status")), (method, status));
    assert_eq!(exchange.body(Direction::Request), Content::of(sent.concat()));
    assert_eq!(exchange.body(Direction::Response), Content::of(answered.concat()));
    let shown = exchange.show();
    let messages = shown["websocket"].as_array().expect("a list of messages");
    let said: Vec<_> = messages
        .iter()
        .map(|message| (message["dir"].as_str().unwrap(), message["op"].as_str().unwrap()))
        .collect();
    let expected =
        [("request", "text"), ("request", "close"), ("response", "text"), ("response", "close")];
    assert_eq!(said, expected, "{shown}");
    assert!(messages.iter().all(|message| message["complete"] == true), "{shown}");
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

#[test]
fn from_http2_to_http1() {
    let upstream = upstream_http1::Upstream::start(|mut session| {
        let asked = talk(&mut session, &[("Sec-WebSocket-Protocol", "chat")]);
        assert_eq!((asked.method(), asked.target()), ("GET", b"/chat".as_slice()));
        assert_eq!(asked.one("upgrade"), Some("websocket"));
        assert_eq!(asked.one("connection"), Some("Upgrade"));
        assert_eq!(asked.one("sec-websocket-version"), Some("13"));
        let key = STANDARD.decode(asked.one("sec-websocket-key").expect("a key")).expect("base64");
        assert_eq!(key.len(), 16);
        assert_eq!(asked.one(":protocol"), None);
        session.drain();
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let headers = run(async {
        let mut client = Client::connect(gateway.address()).await;
        let headers = session(&mut client, "/up/chat", &[VERSION]).await;
        client.close().await;
        headers
    });
    assert_eq!(headers["sec-websocket-protocol"], "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(headers.get(name).is_none(), "{name}");
    }
    let exchange = gateway.finish().remove(0);
    recorded(&exchange, "GET", 200);
    let shown = exchange.show().to_string();
    assert!(shown.contains("\":protocol\""), "what the client asked is recorded: {shown}");
    upstream.finish();
}

#[test]
fn from_http2_to_http2() {
    let upstream = upstream_http2::Upstream::start_extended(None, over_http2);
    let gateway = Options::default().upstream("up", upstream.url()).start();
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        let headers = session(&mut client, "/up/chat", &[VERSION]).await;
        assert_eq!(headers["sec-websocket-protocol"], "chat");
        // Two more on the same connections, one behind the other.
        session(&mut client, "/up/chat", &[VERSION]).await;
        session(&mut client, "/up/chat", &[VERSION]).await;
        client.close().await;
    });
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 3);
    exchanges.iter().for_each(|exchange| recorded(exchange, "CONNECT", 200));
    assert_eq!(upstream.connections(), 1);
    upstream.finish();
}

fn offer(gateway: &Gateway) -> (Wire, Head) {
    let mut client = Wire::connect(gateway.address());
    let fields = [
        ("Host", "x"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    client.send(head("GET /up/chat HTTP/1.1", &fields));
    let (_, answer) = client.response_head();
    (client, answer)
}

#[test]
fn from_http1_to_http2() {
    let upstream = upstream_http2::Upstream::start_extended(None, over_http2);
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let (mut client, answer) = offer(&gateway);
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.one("upgrade"), Some("websocket"));
    assert_eq!(answer.one("connection"), Some("Upgrade"));
    assert_eq!(answer.one("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.one("sec-websocket-protocol"), Some("chat"));
    let (sent, answered) = frames();
    for (sent, answered) in sent.iter().zip(&answered) {
        client.send(sent);
        assert_eq!(client.read_exact(answered.len()), *answered);
    }
    client.half_close();
    let _ = client.body(Framing::UntilClose).finish();
    drop(client);
    recorded(&gateway.finish().remove(0), "CONNECT", 101);
    upstream.finish();
}

#[test]
fn what_was_not_made_is_not_called_made() {
    let upstream = upstream_http1::Upstream::start(|mut session| {
        while let Some(asked) = session.next_head() {
            match asked.target() {
                b"/refused" => {
                    session.send(head("HTTP/1.1 403 Forbidden", &[("Content-Length", "2")]));
                    session.send("no");
                }
                b"/ignored" => {
                    session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
                    session.send("hi");
                }
                _ => {
                    let fields = [
                        ("Upgrade", "websocket"),
                        ("Connection", "Upgrade"),
                        ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                    ];
                    session.send(head("HTTP/1.1 101 Switching Protocols", &fields));
                    return session.drain();
                }
            }
        }
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        client.allowed_extended().await;
        for (target, protocol, status, text) in [
            ("/up/refused", "websocket", 403, "no"),
            ("/up/ignored", "websocket", 502, "answered 200 and did not change"),
            ("/up/unproven", "websocket", 502, "was not asked to change to"),
            ("/up/other", "h2c", 501, "other than HTTP or TLS"),
            ("/none/x", "websocket", 404, "unknown"),
        ] {
            let request = client.extended(protocol, target, &[VERSION]);
            let (response, _up) = client.start(request, false).await;
            let answer = answer(response).await;
            assert_eq!(answer.status(), status, "{target}");
            let said = String::from_utf8_lossy(answer.content().bytes()).into_owned();
            assert!(said.contains(text), "{target}: {said}");
        }
        client.close().await;
    });
    let exchanges = gateway.finish();
    let outcomes: Vec<_> = exchanges.iter().map(|exchange| exchange.text("/outcome")).collect();
    let expected = ["complete", "upstream_failed", "upstream_failed", "refused", "refused"];
    assert_eq!(outcomes, expected);
    upstream.finish();
}

#[test]
fn an_upstream_that_does_not_allow_it_is_named() {
    let upstream = upstream_http2::Upstream::start(None, |_| async {});
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let (mut client, answer) = offer(&gateway);
    assert_eq!(answer.status(), 502);
    let body = client.body(answer.response_framing("GET")).finish();
    let said = String::from_utf8_lossy(body.content.bytes()).into_owned();
    assert!(said.contains("does not allow extended CONNECT"), "{said}");
    drop(client);
    assert_eq!(gateway.finish()[0].text("/outcome"), "upstream_failed");
    upstream.finish();
}

#[test]
fn a_reset_on_one_side_is_a_cut_on_the_other() {
    let arrived = Gate::default();
    let read = arrived.clone();
    let upstream = upstream_http1::Upstream::start(move |mut session| {
        let asked = session.next_head().expect("a request comes");
        let proof = proof(asked.one("sec-websocket-key").expect("a key"));
        let fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", &*proof),
        ];
        session.send(head("HTTP/1.1 101 Switching Protocols", &fields));
        let (sent, _) = frames();
        assert_eq!(session.read_exact(sent[0].len()), sent[0]);
        read.open();
        let (rest, _) = session.into_wire().read_to_end();
        assert_eq!(rest.length(), 0);
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    run(async {
        let mut client = Client::connect(gateway.address()).await;
        client.allowed_extended().await;
        let request = client.extended("websocket", "/up/chat", &[VERSION]);
        let (response, mut up) = client.start(request, false).await;
        let (parts, mut down) = response.await.expect("a head").into_parts();
        assert_eq!(parts.status, 200);
        write(&mut up, &frames().0[0]).await;
        // An ordinary exchange beside it.
        let metrics = client.head("GET", "/healthz", &[]);
        assert_eq!(client.call(metrics, b"", None).await.status(), 200);
        tokio::task::yield_now().await;
        gateway_has(&gateway, 1).await;
        // A message's last byte is on its way only after it was captured.
        tokio::task::spawn_blocking(move || arrived.wait(1)).await.expect("it arrives");
        up.send_reset(h2::Reason::CANCEL);
        assert!(down.data().await.is_none_or(|data| data.is_err()));
        drop((up, down));
        client.close().await;
    });
    let exchange = gateway.finish().remove(0);
    assert_eq!(exchange.text("/outcome"), "client_cancelled");
    assert_eq!(exchange.body(Direction::Request), Content::of(&frames().0[0]));
    upstream.finish();
}

/// Waits until the upstream had time to read: the exchange is listed with its bytes.
async fn gateway_has(gateway: &Gateway, count: usize) {
    let wanted = u64::try_from(frames().0[0].len()).expect("short");
    for _ in 0..1_000 {
        let list = gateway.list();
        if list.len() == count && list[0].number("/request/bytes") == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the message was not captured");
}
