//! The same bytes through hyper's server and client: what this codec accepts, hyper reads as the
//! same messages, or refuses, or it is in a table here with the reason.

use http_body_util::{BodyExt, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// What a receiver makes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    start: String,
    /// Sorted by name, in order within a name: `HeaderMap` keeps no more.
    fields: Vec<(String, Vec<u8>)>,
    /// `None` where the body was cut or refused.
    body: Option<Vec<u8>>,
    trailers: Vec<(String, Vec<u8>)>,
}

fn sorted<'a>(pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<(String, Vec<u8>)> {
    let lower = |name: &[u8]| String::from_utf8(name.to_ascii_lowercase()).unwrap();
    let mut list: Vec<_> = pairs.map(|(name, value)| (lower(name), value.to_vec())).collect();
    list.sort_by(|one, other| one.0.cmp(&other.0));
    list
}

fn sorted_map(map: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
}

/// Puts body and trailers into `seen`; false where nothing after them can be read.
fn read_body(seen: &mut Seen, framing: ResponseFraming, bytes: &mut &[u8]) -> bool {
    match decode_pieces(framing, [*bytes]) {
        Ok(whole) => {
            *bytes = &bytes[whole.consumed..];
            seen.body = Some(whole.payload);
            seen.trailers = whole.trailers.map(|list| sorted(list.iter())).unwrap_or_default();
            true
        }
        Err(_) => false,
    }
}

fn we_serve(mut bytes: &[u8]) -> Vec<Seen> {
    let mut list = Vec::new();
    loop {
        let mut scanner = HeadScanner::new();
        let Ok(Some(end)) = scanner.scan(bytes) else { return list };
        let Ok(found) = request(&bytes[scanner.leading()..end]) else { return list };
        bytes = &bytes[end..];
        let start = format!(
            "{} {} {}",
            found.head.method.escape_ascii(),
            found.head.target.escape_ascii(),
            found.head.version.as_str()
        );
        let fields = sorted(found.head.fields.iter());
        let mut seen = Seen { start, fields, body: None, trailers: Vec::new() };
        let more = read_body(&mut seen, found.framing.into(), &mut bytes);
        list.push(seen);
        if !more || found.connection.close {
            return list;
        }
    }
}

async fn body_of(seen: &mut Seen, body: hyper::body::Incoming) {
    if let Ok(whole) = body.collect().await {
        seen.trailers = whole.trailers().map(sorted_map).unwrap_or_default();
        seen.body = Some(whole.to_bytes().to_vec());
    }
}

fn version_of(version: http::Version) -> &'static str {
    if version == http::Version::HTTP_10 { "1.0" } else { "1.1" }
}

async fn hyper_serves(bytes: &[u8]) -> Vec<Seen> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let list = Arc::new(Mutex::new(Vec::new()));
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let list = Arc::clone(&list);
        async move {
            let (parts, body) = request.into_parts();
            let start = format!("{} {} {}", parts.method, parts.uri, version_of(parts.version));
            let fields = sorted_map(&parts.headers);
            let mut seen = Seen { start, fields, body: None, trailers: Vec::new() };
            body_of(&mut seen, body).await;
            list.lock().unwrap().push(seen);
            Ok::<_, std::convert::Infallible>(http::Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .max_headers(1_000)
        .serve_connection(TokioIo::new(server), service);
    let feed = async {
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    let _ = tokio::join!(connection, feed);
    let list = list.lock().unwrap();
    list.clone()
}

fn we_ask(method: &str, mut bytes: &[u8]) -> Option<Seen> {
    loop {
        let end = HeadScanner::for_response().scan(bytes).ok().flatten()?;
        let found = response_to(method.as_bytes(), &bytes[..end]).ok()?;
        bytes = &bytes[end..];
        if found.is_interim() {
            continue;
        }
        let start = format!("{} {}", found.head.version.as_str(), found.head.status);
        let fields = sorted(found.head.fields.iter());
        let mut seen = Seen { start, fields, body: None, trailers: Vec::new() };
        read_body(&mut seen, found.framing, &mut bytes);
        return Some(seen);
    }
}

async fn hyper_asks(method: &str, bytes: &[u8]) -> Option<Seen> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::builder().method(method).uri("/").header("host", "a");
    let feed = async {
        let mut head = [0; 512];
        let _ = server.read(&mut head).await.unwrap();
        server.write_all(bytes).await.unwrap();
        server.shutdown().await.unwrap();
    };
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap());
    let (answer, ()) = tokio::join!(answer, feed);
    let (parts, body) = answer.ok()?.into_parts();
    let start = format!("{} {}", version_of(parts.version), parts.status.as_u16());
    let fields = sorted_map(&parts.headers);
    let mut seen = Seen { start, fields, body: None, trailers: Vec::new() };
    body_of(&mut seen, body).await;
    connection.abort();
    Some(seen)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: b\r\n\r\n";

#[test]
fn requests_both_accept_are_the_same_messages() {
    let requests = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "get /a?b HTTP/1.1\r\nhost:a\r\nX:\r\nx: 1\r\nX:\t2 \r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nsum: 1\r\nSum: 2\r\n\r\n",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/x HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "GET /a//b/../c;%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /{a}|b HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for text in requests {
        let bytes = format!("{text}{NEXT}");
        let ours = we_serve(bytes.as_bytes());
        assert_eq!(ours.len(), 2, "{text:?}");
        assert_eq!(block_on(hyper_serves(bytes.as_bytes())), ours, "{text:?}");
    }
}

#[test]
fn requests_only_we_accept() {
    // hyper's targets are `http::Uri`: bytes no browser sends unescaped are refused there, and
    // served by others; this gateway passes them on.
    let requests: [&[u8]; 2] = [
        b"GET /a\"<>\\^` HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    let verdicts: Vec<_> = requests
        .iter()
        .map(|bytes| (we_serve(bytes).len(), block_on(hyper_serves(bytes)).len()))
        .collect();
    assert_eq!(verdicts, [(1, 0), (1, 0)]);
}

#[test]
fn requests_both_accept_and_hyper_alters() {
    // `http::Uri` drops the fragment; the bytes of the target say more than it does.
    let bytes = b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(we_serve(bytes)[0].start, "GET /a#b 1.1");
    assert_eq!(block_on(hyper_serves(bytes))[0].start, "GET /a 1.1");
}

#[test]
fn requests_only_hyper_accepts() {
    let requests = [
        ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
        ("no Host", "GET / HTTP/1.1\r\n\r\n"),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("an invalid Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (
            "two equal lengths",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        ),
        ("a length with zeros", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n"),
        (
            "both framings",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "another coding",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a listed Host", "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
    ];
    for (name, text) in requests {
        assert_eq!(we_serve(text.as_bytes()), vec![], "{name}");
        assert_eq!(block_on(hyper_serves(text.as_bytes())).len(), 1, "{name}");
    }
    let bodies = [
        ("a space after the size", "3 \r\nabc\r\n0\r\n\r\n"),
        ("a control byte in an extension", "3;\u{1}\r\nabc\r\n0\r\n\r\n"),
    ];
    for (name, body) in bodies {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(we_serve(text.as_bytes())[0].body, None, "{name}");
        let theirs = block_on(hyper_serves(text.as_bytes()));
        assert_eq!(theirs[0].body.as_deref(), Some(&b"abc"[..]), "{name}");
    }
}

#[test]
fn responses_both_accept_are_the_same_messages() {
    let responses = [
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"),
        ("GET", "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 200 \r\n\r\nuntil close"),
        ("GET", "HTTP/1.0 200 OK\r\n\r\nuntil close"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\na: b\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx",
        ),
        ("GET", "HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Same\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 999 Odd\r\nSet-Cookie: a\r\nset-cookie: b\r\nContent-Length: 007\r\n\r\n1234567",
        ),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut"),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
    ];
    for (method, text) in responses {
        let ours = we_ask(method, text.as_bytes());
        assert!(ours.is_some(), "{text:?}");
        assert_eq!(block_on(hyper_asks(method, text.as_bytes())), ours, "{text:?}");
    }
}

/// Messages made of parts that invite a misreading.
fn messages(start: Vec<&'static str>) -> impl Strategy<Value = String> {
    let field = select(vec![
        "Host: a",
        "Content-Length: 3",
        "Content-Length: 0",
        "Content-Length: +3",
        "Content-Length: 3, 3",
        "Content-Length: 003",
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: x",
        "Connection: close",
        "Connection: keep-alive",
        "X: y",
        "x:",
        "X : y",
        " X: y",
        "X:\ty\t",
        "Upgrade: x",
        "Expect: x",
        "X: \u{e9}",
    ]);
    let end = || prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    let body = select(vec![
        "",
        "abc",
        "3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        "0\r\n\r\n",
        "\r\n",
        "3;x\r\nabc\r\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        "03\r\nabc\r\n00\r\n\r\n",
        "\r\nabc",
        "0\r\nHost: b\r\n\r\n",
    ]);
    let lines = vec((field, end()).prop_map(|(field, end)| format!("{field}{end}")), 0..5);
    (select(start), end(), lines, end(), body)
        .prop_map(|(start, e1, lines, e2, body)| format!("{start}{e1}{}{e2}{body}", lines.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn hyper_never_reads_a_request_of_ours_as_another(text in messages(vec![
        "GET / HTTP/1.1\r\nHost: a", "POST /x HTTP/1.1\r\nHost: a", "POST / HTTP/1.0",
        "POST / HTTP/1.1", "GET  / HTTP/1.1",
    ])) {
        let bytes = format!("{text}{NEXT}");
        let ours = we_serve(bytes.as_bytes());
        if !ours.is_empty() {
            let theirs = block_on(hyper_serves(bytes.as_bytes()));
            // hyper may stop earlier, and read bodies that are refused here; never differently.
            for (our, their) in ours.iter().zip(&theirs) {
                prop_assert_eq!((&our.start, &our.fields), (&their.start, &their.fields));
                if our.body.is_some() {
                    prop_assert_eq!(&our.body, &their.body);
                    prop_assert_eq!(&our.trailers, &their.trailers);
                }
            }
            prop_assert!(!theirs.is_empty(), "hyper refuses {:?}", bytes);
        }
    }

    #[test]
    fn hyper_never_reads_a_response_of_ours_as_another(
        head in any::<bool>(),
        text in messages(vec![
            "HTTP/1.1 200 OK", "HTTP/1.0 200 OK", "HTTP/1.1 204", "HTTP/1.1 304 ", "HTTP/1.1 100",
        ]),
    ) {
        let method = if head { "HEAD" } else { "GET" };
        if let Some(our) = we_ask(method, text.as_bytes()) {
            let their = block_on(hyper_asks(method, text.as_bytes()));
            let Some(their) = their else { return Err(TestCaseError::fail("hyper refuses it")) };
            prop_assert_eq!((&our.start, &our.fields), (&their.start, &their.fields));
            if our.body.is_some() {
                prop_assert_eq!(&our.body, &their.body);
                prop_assert_eq!(&our.trailers, &their.trailers);
            }
        }
    }
}
