use super::*;

fn forwarded(lines: &str) -> Vec<(String, String)> {
    let head = request_with(lines).unwrap().head;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // `Host` comes first in these requests and always goes on.
    let passing = passing(&head.fields).into_iter().skip(1);
    passing.map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn fields_about_the_connection_stay_behind_in_any_case() {
    let lines = "a: 1\r\nCONNECTION: keep-alive\r\nKeep-Alive: 5\r\nproxy-connection: x\r\n\
        TE: trailers\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\nB: 2\r\n";
    assert_eq!(forwarded(lines), [("a".into(), "1".into()), ("B".into(), "2".into())]);
}

#[test]
fn what_connection_lists_stays_behind() {
    let lines = "X-Hop: 1\r\nConnection: close, x-hop\r\nx-hop: 2\r\nX-Hop-2: 3\r\n\
        Connection: ,HTTP2-Settings , \r\nHTTP2-Settings: 4\r\n";
    assert_eq!(forwarded(lines), [("X-Hop-2".into(), "3".into())]);
}

#[test]
fn everything_else_goes_on() {
    let lines = "Content-Length: 5\r\nTrailer: sum\r\nProxy-Authorization: x\r\nExpect: \
        100-continue\r\nSet-Cookie: a\r\nset-cookie: a\r\nCookie: \r\nVia: 1.1 x\r\n";
    assert_eq!(forwarded(lines).len(), 8);
}

#[test]
fn connection_speaks_for_the_trailers_too() {
    let head = request_with("Connection: x-sum\r\nTransfer-Encoding: chunked\r\n").unwrap().head;
    let trailers =
        Fields::from_pairs([(&b"X-Sum"[..], &b"1"[..]), (b"Y", b"2"), (b"Upgrade", b"3")]);
    let kept = Filter::of(&head.fields).trailers(&trailers);
    assert_eq!(kept, Fields::from_pairs([(&b"Y"[..], &b"2"[..])]));
}

#[test]
fn no_trailer_goes_on_that_could_not_be_written_or_would_frame() {
    let head = Fields::default();
    let trailers = Fields::from_pairs([
        (&b"X-Sum"[..], &b"1"[..]),
        (b"content-length", b"5"),
        (b"Host", b"a"),
        (b"trailer", b"x"),
        (b"x-outer", b" 1"),
        (b"x-line", b"a\r\nb: c"),
        (b"not a token", b"1"),
    ]);
    let kept = Filter::of(&head).trailers(&trailers);
    assert_eq!(kept, Fields::from_pairs([(&b"X-Sum"[..], &b"1"[..])]));
}

#[test]
fn the_lists_are_those_of_the_rfc() {
    for name in
        ["Connection", "keep-alive", "Proxy-Connection", "TE", "Transfer-Encoding", "Upgrade"]
    {
        assert!(is_hop_by_hop(name.as_bytes()) && is_forbidden_trailer(name.as_bytes()));
    }
    for name in ["Host", "Content-Length", "Trailer"] {
        assert!(!is_hop_by_hop(name.as_bytes()) && is_forbidden_trailer(name.as_bytes()));
    }
    for name in ["", "to", "cookies", "set-cookie", "grpc-status", "content-location-1"] {
        assert!(!is_forbidden_trailer(name.as_bytes()));
    }
}
