use super::*;
use crate::wire::message::ResponseHead;

type Pairs<'a> = &'a [(&'a [u8], &'a [u8])];

fn head(status: u16, reason: &'static [u8], version: Version) -> ResponseHead {
    ResponseHead { status, reason: reason.into(), version, fields: Fields::default() }
}

#[test]
fn heads_chunks_and_trailers_are_written_plainly() {
    let mut out = Vec::new();
    let pairs: Pairs<'_> = &[(b"hOst", b"a"), (b"X", b""), (b"x", b"\xff y")];
    write_request_head(&mut out, b"PoST", b"/\xff|", Version::Http10, pairs.iter().copied())
        .unwrap();
    write_chunk_head(&mut out, 0xab);
    out.extend_from_slice(CHUNK_END);
    out.extend_from_slice(LAST_CHUNK);
    write_trailers(&mut out, [(&b"a"[..], &b"b"[..])].into_iter()).unwrap();
    write_trailers(&mut out, [].into_iter()).unwrap();
    let text = b"PoST /\xff| HTTP/1.0\r\nhOst: a\r\nX: \r\nx: \xff y\r\n\r\n\
        ab\r\n\r\n0\r\na: b\r\n\r\n\r\n";
    assert_eq!(out, text);

    let mut out = Vec::new();
    write_response_head(&mut out, &head(207, b"", Version::Http11), [].into_iter()).unwrap();
    write_response_head(&mut out, &head(999, b" x ", Version::Http10), [].into_iter()).unwrap();
    assert_eq!(out, b"HTTP/1.1 207 \r\n\r\nHTTP/1.0 999  x \r\n\r\n");
}

#[test]
fn a_chunk_head_is_its_length_in_hexadecimal() {
    for length in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 65_536, 0x1234_5678, usize::MAX] {
        let mut out = Vec::new();
        write_chunk_head(&mut out, length);
        assert_eq!(out, format!("{length:x}\r\n").as_bytes());
    }
}

#[test]
fn what_would_read_back_as_something_else_is_not_written() {
    use WriteError::{Method, Name, Reason, Status, Target, Value};
    let pairs: [(Pairs<'_>, WriteError); 10] = [
        (&[(b"a", b"b\r\nc: d")], Value),
        (&[(b"a", b"b\nc")], Value),
        (&[(b"a", b"b\0")], Value),
        (&[(b"a", b" b")], Value),
        (&[(b"a", b"b\t")], Value),
        (&[(b"fine", b"yes"), (b"a", b"\r")], Value),
        (&[(b"", b"b")], Name),
        (&[(b"a: b\r\nc", b"d")], Name),
        (&[(b"a ", b"b")], Name),
        (&[(b":path", b"/")], Name),
    ];
    let mut out = b"before".to_vec();
    for (pairs, error) in pairs {
        let response = head(200, b"OK", Version::Http11);
        let fields = || pairs.iter().copied();
        let (method, target) = (&b"GET"[..], &b"/"[..]);
        assert_eq!(
            write_request_head(&mut out, method, target, Version::Http11, fields()),
            Err(error)
        );
        assert_eq!(write_response_head(&mut out, &response, fields()), Err(error));
        assert_eq!(write_trailers(&mut out, fields()), Err(error));
        assert_eq!(out, b"before");
    }
    let requests: [(&[u8], &[u8], Version, WriteError); 6] = [
        (b"", b"/", Version::Http11, Method),
        (b"GET /", b"/", Version::Http11, Method),
        (b"GET", b"", Version::Http11, Target),
        (b"GET", b"/ HTTP/1.1\r\nX: ", Version::Http11, Target),
        (b"GET", b"/\x7f", Version::Http11, Target),
        (b"GET", b"/", Version::Http2, WriteError::Version),
    ];
    for (method, target, version, error) in requests {
        let found = write_request_head(&mut out, method, target, version, [].into_iter());
        assert_eq!(found, Err(error));
    }
    let responses = [
        (head(99, b"", Version::Http11), Status),
        (head(1000, b"", Version::Http11), Status),
        (head(200, b"\r\nX: y", Version::Http11), Reason),
        (head(200, b"", Version::Http2), WriteError::Version),
    ];
    for (head, error) in responses {
        assert_eq!(write_response_head(&mut out, &head, [].into_iter()), Err(error));
    }
    assert_eq!(out, b"before");
}

#[test]
fn a_message_with_two_framings_is_not_written() {
    let cases: [Pairs<'_>; 5] = [
        &[(b"Content-Length", b"1"), (b"a", b"b"), (b"content-length", b"1")],
        &[(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        &[(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"1")],
        &[(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")],
        &[(b"Host", b"a"), (b"HOST", b"a")],
    ];
    let mut out = b"before".to_vec();
    for pairs in cases {
        let (fields, version) = (pairs.iter().copied(), Version::Http11);
        let found = write_request_head(&mut out, b"GET", b"/", version, fields);
        assert_eq!(found, Err(WriteError::Ambiguous));
        let response = head(200, b"OK", version);
        let found = write_response_head(&mut out, &response, pairs.iter().copied());
        // In a response `Host` means nothing.
        let same = pairs[0].0 == b"Host";
        assert_eq!(found, if same { Ok(()) } else { Err(WriteError::Ambiguous) });
        out.truncate(6);
    }
    for name in ["Content-Length", "host", "Transfer-Encoding", "Connection"] {
        let fields = [(&b"a"[..], &b"b"[..]), (name.as_bytes(), b"1")];
        let found = write_trailers(&mut out, fields.into_iter());
        assert_eq!(found, Err(WriteError::Trailer), "{name}");
    }
    assert_eq!(out, b"before");
}

#[test]
fn a_length_from_http_2_is_held_to_the_same_rule() {
    let length = |values: &[&str]| {
        let pairs = values.iter().map(|value| (&b"content-length"[..], value.as_bytes()));
        declared_length(&Fields::from_pairs(pairs))
    };
    assert_eq!(length(&[]), Ok(None));
    assert_eq!(length(&["7"]), Ok(Some(7)));
    assert_eq!(length(&["7", "7"]), Err(HeadError::LengthRepeated));
    assert_eq!(length(&["+7"]), Err(HeadError::LengthInvalid));
    assert_eq!(length(&["7,7"]), Err(HeadError::LengthList));
}
