//! Pairs: each way in with each way out. The version and the cipher on one side are that side's
//! own; the message is the same on both.

use http::HeaderMap;
use sealtap_tests::client_http2::Client;
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{self, End, head};
use sealtap_tests::http2;
use sealtap_tests::records::Direction;
use sealtap_tests::tls::{Authority, LISTENER};
use sealtap_tests::upstream_http1::{self, Session};
use sealtap_tests::upstream_http2::{self, Exchange};
use sealtap_tests::wire::Wire;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

const KINDS: [Kind; 4] = [Kind::Http1, Kind::Http1Tls, Kind::Http2, Kind::Http2Tls];

const SIZES: [u64; 4] = [1, 65_536, 65_537, 400_000];

/// What an upstream saw of one request.
#[derive(Debug)]
struct Seen {
    target: String,
    host: String,
    content: Content,
    trailer: Option<String>,
}

enum Upstream {
    Http1(upstream_http1::Upstream),
    Http2(upstream_http2::Upstream),
}

impl Upstream {
    /// Echoes each body, with the request's trailer as its own.
    fn start(kind: Kind, authority: &Authority) -> Self {
        match kind {
            Kind::Http1 => Self::Http1(upstream_http1::Upstream::start(echo_http1)),
            Kind::Http1Tls => {
                let config = authority.server(&["http/1.1"]);
                Self::Http1(upstream_http1::Upstream::start_tls(config, echo_http1))
            }
            Kind::Http2 => Self::Http2(upstream_http2::Upstream::start(None, echo_http2)),
            Kind::Http2Tls => {
                let config = Some(authority.server(&["h2", "http/1.1"]));
                Self::Http2(upstream_http2::Upstream::start(config, echo_http2))
            }
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Http1(upstream) => upstream.url(),
            Self::Http2(upstream) => upstream.url(),
        }
    }

    fn authority(&self) -> String {
        match self {
            Self::Http1(upstream) => upstream.authority(),
            Self::Http2(upstream) => upstream.authority(),
        }
    }

    fn finish(self) -> Vec<Seen> {
        match self {
            Self::Http1(upstream) => upstream.finish().into_iter().map(seen_http1).collect(),
            Self::Http2(upstream) => upstream.finish().into_iter().map(seen_http2).collect(),
        }
    }
}

fn echo_http1(mut session: Session) {
    while let Some(request) = session.next_request() {
        let fields = [("X-Answer", "yes"), ("Trailer", "x-sum"), ("Transfer-Encoding", "chunked")];
        session.send(head("HTTP/1.1 201 Created", &fields));
        for piece in request.bytes().chunks(30_000) {
            session.send_chunk(piece);
        }
        let trailers = &request.body.trailers;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("ASCII");
        let trailers: Vec<(String, String)> =
            trailers.iter().map(|(name, value)| (text(name), text(value))).collect();
        let trailers: Vec<(&str, &str)> =
            trailers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        session.send(http1::last_chunk(&trailers));
    }
}

async fn echo_http2(mut exchange: Exchange) {
    let body = exchange.read().await;
    let mut stream = exchange.answer(201, &[("x-answer", "yes"), ("trailer", "x-sum")], false);
    let ended = body.trailers.is_none();
    let bytes = body.content.bytes().to_vec();
    http2::send(&mut stream, bytes, ended).await.expect("the answer is taken");
    if let Some(trailers) = body.trailers {
        stream.send_trailers(trailers).expect("the trailers are taken");
    }
}

fn seen_http1(request: http1::Message) -> Seen {
    assert_eq!(request.body.end, End::Complete);
    let trailer =
        request.body.trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"x-sum"));
    Seen {
        target: String::from_utf8_lossy(request.head.target()).into_owned(),
        host: request.head.one("host").expect("a Host").to_owned(),
        trailer: trailer.map(|(_, value)| String::from_utf8_lossy(value).into_owned()),
        content: request.body.content,
    }
}

fn seen_http2((head, body): (http::request::Parts, http2::Body)) -> Seen {
    assert_eq!(body.reset, None);
    let trailers = body.trailers.as_ref();
    Seen {
        target: head.uri.path_and_query().expect("a path").to_string(),
        host: head.uri.authority().expect("an authority").to_string(),
        trailer: trailers.map(|map| map["x-sum"].to_str().expect("ASCII").to_owned()),
        content: body.content,
    }
}

/// A gateway that listens in clear text or with TLS.
fn gateway(client: Kind, upstream: &Upstream, authority: &Authority) -> Gateway {
    let home = Arc::new(Home::new());
    let mut options = Options::default().upstream("up", upstream.url()).trusting(authority, &home);
    if matches!(client, Kind::Http1Tls | Kind::Http2Tls) {
        authority.write_identity(home.path());
        options = options.config(LISTENER);
    }
    options.start_in(home)
}

/// Sends one body with a trailer and checks the echo.
fn call_http1(client: &mut Wire, target: &str, body: &[u8]) {
    let fields =
        [("Host", "x"), ("TE", "trailers"), ("Trailer", "x-sum"), ("Transfer-Encoding", "chunked")];
    client.send(head(format!("POST {target} HTTP/1.1"), &fields));
    for piece in body.chunks(50_000) {
        client.send_chunk(piece);
    }
    client.send(http1::last_chunk(&[("x-sum", "mine")]));
    let answer = client.response("POST");
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.head.one("x-answer"), Some("yes"));
    assert_eq!(answer.body.content, Content::of(body));
    let trailers = answer.body.trailers;
    assert_eq!(trailers, [(b"x-sum".to_vec(), b"mine".to_vec())]);
}

async fn call_http2(client: &mut Client, target: &str, body: &[u8]) {
    let request = client.head("POST", target, &[("te", "trailers"), ("trailer", "x-sum")]);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "mine".parse().expect("a value"));
    let answer = client.call(request, body, Some(trailers)).await;
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.head.headers["x-answer"], "yes");
    assert_eq!(*answer.content(), Content::of(body));
    assert_eq!(answer.body.reset, None);
    assert_eq!(answer.body.trailers.expect("trailers")["x-sum"], "mine");
}

fn pair(client: Kind, upstream_kind: Kind) {
    let authority = Authority::new();
    let upstream = Upstream::start(upstream_kind, &authority);
    let host = upstream.authority();
    let gateway = gateway(client, &upstream, &authority);
    let address = gateway.address();
    let targets: Vec<(String, Vec<u8>)> = SIZES
        .iter()
        .map(|size| (format!("/up/echo/{size}?a=b&c"), Pattern::bytes(*size, *size)))
        .collect();
    match client {
        Kind::Http1 | Kind::Http1Tls => {
            let mut wire = match client {
                Kind::Http1 => Wire::connect(address),
                _ => Wire::connect_tls(address, authority.client(&["http/1.1"])),
            };
            for (target, body) in &targets {
                call_http1(&mut wire, target, body);
            }
            wire.close();
        }
        Kind::Http2 | Kind::Http2Tls => http2::run(async {
            let mut connection = match client {
                Kind::Http2 => Client::connect(address).await,
                _ => Client::connect_tls(address, authority.client(&["h2"])).await,
            };
            for (target, body) in &targets {
                call_http2(&mut connection, target, body).await;
            }
            connection.close().await;
        }),
    }
    let exchanges = gateway.finish();
    let seen = upstream.finish();
    assert_eq!((exchanges.len(), seen.len()), (SIZES.len(), SIZES.len()));
    for ((exchange, seen), (target, body)) in exchanges.iter().zip(&seen).zip(&targets) {
        let pair = format!("{client:?} to {upstream_kind:?}: {}", exchange.json);
        let body = Content::of(body);
        assert_eq!(seen.target, target["/up".len()..], "{pair}");
        assert_eq!(seen.host, host, "{pair}");
        assert_eq!(seen.content, body, "{pair}");
        assert_eq!(seen.trailer.as_deref(), Some("mine"), "{pair}");
        assert_eq!(exchange.text("/outcome"), "complete", "{pair}");
        assert_eq!(exchange.text("/request/end"), "trailers", "{pair}");
        assert_eq!(exchange.text("/response/end"), "trailers", "{pair}");
        assert_eq!(exchange.number("/status"), 201, "{pair}");
        assert_eq!(exchange.body(Direction::Request), body, "{pair}");
        assert_eq!(exchange.body(Direction::Response), body, "{pair}");
    }
}

#[test]
fn http1_to_each() {
    KINDS.iter().for_each(|upstream| pair(Kind::Http1, *upstream));
}

#[test]
fn http1_tls_to_each() {
    KINDS.iter().for_each(|upstream| pair(Kind::Http1Tls, *upstream));
}

#[test]
fn http2_to_each() {
    KINDS.iter().for_each(|upstream| pair(Kind::Http2, *upstream));
}

#[test]
fn http2_tls_to_each() {
    KINDS.iter().for_each(|upstream| pair(Kind::Http2Tls, *upstream));
}

/// Calls with a body that the client holds back, of an upstream that offers both versions or HTTP/2
/// alone. `told` is whether the answer is preceded by 100.
fn held_back(upstream: Upstream, authority: &Authority, told: bool) {
    let gateway = gateway(Kind::Http1, &upstream, authority);
    let mut wire = Wire::connect(gateway.address());
    for body in ["first", "again"] {
        let length = body.len().to_string();
        let fields: [(&str, &str); 3] =
            [("Host", "x"), ("Expect", "100-continue"), ("Content-Length", &length)];
        wire.send(head("POST /up/held HTTP/1.1", &fields));
        if told {
            assert_eq!(wire.head().status(), 100);
        }
        wire.send(body);
        let answer = wire.response("POST");
        assert_eq!((answer.status(), &answer.body.content), (201, &Content::of(body.as_bytes())));
    }
    wire.close();
    let exchanges = gateway.finish();
    assert_eq!(upstream.finish().len(), 2);
    let outcomes: Vec<_> = exchanges.iter().map(|exchange| exchange.text("/outcome")).collect();
    assert_eq!(outcomes, ["complete", "complete"]);
}

/// An upstream that would rather speak HTTP/2, over which interim answers are rare, is asked over
/// HTTP/1 by a client that waits for one.
#[test]
fn who_waits_for_100_is_asked_for_over_http1() {
    let authority = Authority::new();
    let config = authority.server(&["h2", "http/1.1"]);
    let upstream = upstream_http1::Upstream::start_tls(config, |mut session| {
        while let Some(request) = session.next_head() {
            assert_eq!(request.one("expect"), Some("100-continue"));
            session.send("HTTP/1.1 100 Continue\r\n\r\n");
            let request = session.rest_of_request(request);
            let length = request.body.content.length().to_string();
            session.send(head("HTTP/1.1 201 Created", &[("Content-Length", &length)]));
            session.send(request.bytes());
        }
    });
    held_back(Upstream::Http1(upstream), &authority, true);
}

/// One that speaks HTTP/2 alone is still asked; nobody says 100 for it.
#[test]
fn who_waits_for_100_is_served_by_http2_alone() {
    let authority = Authority::new();
    let config = Some(authority.server(&["h2"]));
    let upstream = upstream_http2::Upstream::start(config, echo_http2);
    held_back(Upstream::Http2(upstream), &authority, false);
}
