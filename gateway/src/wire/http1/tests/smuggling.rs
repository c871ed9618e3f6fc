//! Every trick that makes two parsers see two messages, and the answer it gets.

use super::*;

#[test]
fn lengths_that_parsers_read_differently() {
    use HeadError::*;
    let cases = [
        ("Content-Length: 5\r\nContent-Length: 5\r\n", LengthRepeated),
        ("Content-Length: 5\r\ncontent-length: 6\r\n", LengthRepeated),
        ("Content-Length: 5\r\nX: y\r\nContent-Length: \r\n", LengthRepeated),
        ("Content-Length: 5, 5\r\n", LengthList),
        ("Content-Length: 5,\r\n", LengthList),
        ("Content-Length:\r\n", LengthInvalid),
        ("Content-Length: +5\r\n", LengthInvalid),
        ("Content-Length: -5\r\n", LengthInvalid),
        ("Content-Length: 5 5\r\n", LengthInvalid),
        ("Content-Length: 0x5\r\n", LengthInvalid),
        ("Content-Length: 5_0\r\n", LengthInvalid),
        ("Content-Length: 5.0\r\n", LengthInvalid),
        ("Content-Length: 5e1\r\n", LengthInvalid),
        ("Content-Length: \u{665}\r\n", LengthInvalid),
        ("Content-Length: 05\r\n", LengthLeadingZero),
        ("Content-Length: 00\r\n", LengthLeadingZero),
        ("Content-Length: 18446744073709551616\r\n", LengthOverflow),
        ("Content-Length: 99999999999999999999999\r\n", LengthOverflow),
        ("Content-Length: 99999999999999999999999x\r\n", LengthInvalid),
    ];
    for (lines, error) in cases {
        assert_eq!(request_with(lines), Err(error), "{lines:?}");
        match error {
            // Servers pad lengths they write afterwards; no request of anyone's is misread by it.
            LengthLeadingZero => assert!(response_with(lines).is_ok(), "{lines:?}"),
            _ => assert_eq!(response_with(lines), Err(error), "{lines:?}"),
        }
    }
}

#[test]
fn codings_that_parsers_read_differently() {
    use HeadError::*;
    let cases = [
        ("Transfer-Encoding: gzip, chunked\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: identity\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: xchunked\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: chunked;q=1\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: chunked chunked\r\n", TransferCodingUnknown),
        ("Transfer-Encoding: chunked, gzip\r\n", ChunkedNotFinal),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", ChunkedNotFinal),
        ("Transfer-Encoding: chunked, chunked\r\n", ChunkedTwice),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: Chunked\r\n", ChunkedTwice),
        ("Transfer-Encoding:\r\n", TransferEncodingEmpty),
        ("Transfer-Encoding: ,chunked\r\n", TransferEncodingEmpty),
        ("Transfer-Encoding: chunked,\r\n", TransferEncodingEmpty),
        ("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", TransferEncodingEmpty),
        ("Transfer-Encoding: \u{b}chunked\r\n", ValueControl { line: 3 }),
        ("Transfer-Encoding : chunked\r\n", WhitespaceBeforeColon { line: 3 }),
        ("Transfer-Encoding\u{b}: chunked\r\n", NameInvalid { line: 3 }),
        ("Transfer_Encoding: chunked\r\nTransfer-Encoding: x\r\n", TransferCodingUnknown),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthWithTransferEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", LengthWithTransferEncoding),
    ];
    for (lines, error) in cases {
        assert_eq!(request_with(lines), Err(error), "{lines:?}");
        let error = match error {
            WhitespaceBeforeColon { .. } => WhitespaceBeforeColon { line: 2 },
            ValueControl { .. } => ValueControl { line: 2 },
            NameInvalid { .. } => NameInvalid { line: 2 },
            error => error,
        };
        assert_eq!(response_with(lines), Err(error), "{lines:?}");
    }
    let old = "HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(format!("POST / {old}").as_bytes()), Err(TransferEncodingInHttp10));
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response(old), Err(TransferEncodingInHttp10));
    assert_eq!(TransferCodingUnknown.status(), 501);
    assert_eq!(ChunkedTwice.status(), 400);
}

#[test]
fn lines_that_parsers_split_differently() {
    use HeadError::*;
    let start = "GET / HTTP/1.1\r\nHost: a\r\n".len();
    let cases = [
        ("X: y\nTransfer-Encoding: chunked\r\n", BareLineFeed { at: start + 4 }),
        ("X: y\n", BareLineFeed { at: start + 4 }),
        ("X: y\rZ: w\r\n", BareCarriageReturn { at: start + 4 }),
        ("X: y\r\r\n", BareCarriageReturn { at: start + 4 }),
        ("X: \0y\r\n", Nul { at: start + 3 }),
        ("X\0: y\r\n", Nul { at: start + 1 }),
        ("X: y\r\n z\r\n", FoldedLine { line: 4 }),
        ("X: y\r\n\tz\r\n", FoldedLine { line: 4 }),
        ("X: y\r\n \r\n", FoldedLine { line: 4 }),
        ("X : y\r\n", WhitespaceBeforeColon { line: 3 }),
        ("X\t: y\r\n", WhitespaceBeforeColon { line: 3 }),
        (": y\r\n", NameEmpty { line: 3 }),
        ("X\r\n", ColonMissing { line: 3 }),
        ("X Y: z\r\n", NameInvalid { line: 3 }),
        ("X(Y): z\r\n", NameInvalid { line: 3 }),
        ("X\u{e9}: z\r\n", NameInvalid { line: 3 }),
        ("\"X\": z\r\n", NameInvalid { line: 3 }),
        ("X: \u{1}\r\n", ValueControl { line: 3 }),
        ("X: \u{7f}\r\n", ValueControl { line: 3 }),
        ("X: y\u{8}\r\n", ValueControl { line: 3 }),
        ("X: \u{1b}[0m\r\n", ValueControl { line: 3 }),
        ("X: \u{c}\r\n", ValueControl { line: 3 }),
    ];
    for (lines, error) in cases {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(request(head.as_bytes()), Err(error), "{lines:?}");
    }
    let ends: [(&[u8], usize); 3] = [
        (b"GET / HTTP/1.0\r\n\n", 16),
        (b"GET / HTTP/1.0\r\nX: y\r\n\n", 22),
        (b"GET / HTTP/1.0\n\r\n", 14),
    ];
    for (head, at) in ends {
        assert_eq!(request(head), Err(BareLineFeed { at }));
    }
    let first = b"GET / HTTP/1.1\r\n Host: a\r\n\r\n";
    assert_eq!(request(first), Err(WhitespaceBeforeFirstField));
    let first = b"HTTP/1.1 200 OK\r\n\tX: a\r\n\r\n";
    assert_eq!(response(first), Err(WhitespaceBeforeFirstField));
    // Beyond the table on the stack, where a second parse does the work.
    let many = "a: b\r\n".repeat(100);
    let line = 103;
    assert_eq!(request_with(&format!("{many}c : d\r\n")), Err(WhitespaceBeforeColon { line }));
    assert_eq!(request_with(&format!("{many}c: d\n")), Err(BareLineFeed { at: start + 605 }));
}

#[test]
fn control_bytes_are_refused_everywhere_and_high_bytes_pass_in_values() {
    for byte in 0..=255_u8 {
        let legal = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
        let value = [b"X: a", &[byte][..], b"b\r\n\r\n"].concat();
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", &value[..]].concat();
        assert_eq!(request(&head).is_ok(), legal, "{byte}");
        let head = [b"HTTP/1.1 200 a", &[byte][..], b"b\r\n\r\n"].concat();
        assert_eq!(response(&head).is_ok(), legal, "{byte}");
        let head = [b"G", &[byte][..], b"T / HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(request(&head).is_ok(), is_token(&[byte]), "{byte}");
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\nX", &[byte][..], b"Y: z\r\n\r\n"].concat();
        // With a colon the rest of the name is a value.
        assert_eq!(request(&head).is_ok(), is_token(&[byte]) || byte == b':', "{byte}");
    }
}

#[test]
fn request_lines_that_parsers_split_differently() {
    use HeadError::*;
    let cases: [(&[u8], HeadError); 26] = [
        (b"GET  / HTTP/1.1", RequestLineWhitespace),
        (b"GET /  HTTP/1.1", RequestLineWhitespace),
        (b"GET  HTTP/1.1", RequestLineWhitespace),
        (b"GET / HTTP/1.1 ", RequestLineWhitespace),
        (b"GET / a HTTP/1.1", RequestLineWhitespace),
        (b"GET\t/ HTTP/1.1", RequestLineWhitespace),
        (b"GET /\tHTTP/1.1", RequestLineWhitespace),
        (b"GET /\x0b HTTP/1.1", TargetControl),
        (b"GET /\x7f HTTP/1.1", TargetControl),
        (b" GET / HTTP/1.1", RequestLineWhitespace),
        (b" / HTTP/1.1", MethodInvalid),
        (b"GET /", RequestLineIncomplete),
        (b"GET", RequestLineIncomplete),
        (b"", RequestLineIncomplete),
        (b"G@T / HTTP/1.1", MethodInvalid),
        (b"\xef\xbb\xbfGET / HTTP/1.1", MethodInvalid),
        (b"GET: / HTTP/1.1", MethodInvalid),
        (b"GET / http/1.1", VersionInvalid),
        (b"GET / HTTP/1.1x", VersionInvalid),
        (b"GET / HTTP/01.1", VersionInvalid),
        (b"GET / HTTP/1", VersionInvalid),
        (b"GET / ", VersionInvalid),
        (b"GET / HTTP/1.2", VersionUnsupported),
        (b"GET / HTTP/0.9", VersionUnsupported),
        (b"PRI * HTTP/2.0", VersionUnsupported),
        (b"GET / HTTP/2.0", VersionUnsupported),
    ];
    for (line, error) in cases {
        let head = [line, b"\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(request(&head), Err(error), "{}", line.escape_ascii());
    }
    assert_eq!(VersionUnsupported.status(), 505);
}

#[test]
fn hosts_and_connection_lists_that_route_differently() {
    use HeadError::*;
    let bare = |line: &str| request(format!("GET {line}\r\n\r\n").as_bytes());
    assert_eq!(bare("/ HTTP/1.1"), Err(HostMissing));
    assert_eq!(bare("http://a/ HTTP/1.1"), Err(HostMissing));
    assert!(bare("/ HTTP/1.0").is_ok());
    assert_eq!(request_with("Host: a\r\n"), Err(HostRepeated));
    assert_eq!(bare("/ HTTP/1.0\r\nHost: a\r\nHost: a"), Err(HostRepeated));
    assert_eq!(bare("http://a/ HTTP/1.1\r\nHost: a b"), Err(HostInvalid));
    for name in ["Host", "content-length"] {
        let lines = format!("Content-Length: 1\r\nConnection: close, {name}\r\n");
        assert_eq!(request_with(&lines), Err(ConnectionListsFraming));
        assert_eq!(response_with(&lines), Err(ConnectionListsFraming));
    }
    let full = vec!["x"; MAX_CONNECTION_OPTIONS].join(",");
    assert!(request_with(&format!("Connection: {full}\r\n")).is_ok());
    let lines = format!("Connection: {full}\r\nConnection: y\r\n");
    assert_eq!(request_with(&lines), Err(ConnectionTooLong));
}

#[test]
fn bodies_where_none_may_be() {
    let connect = |lines: &str| {
        request(format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n{lines}\r\n").as_bytes())
    };
    assert_eq!(connect("Content-Length: 1\r\n"), Err(HeadError::BodyForbidden));
    assert_eq!(connect("Transfer-Encoding: chunked\r\n"), Err(HeadError::BodyForbidden));
    assert_eq!(connect("Content-Length: 0\r\n").unwrap().framing, RequestFraming::Length(0));
    assert_eq!(connect("").unwrap().framing, RequestFraming::None);
}

#[test]
fn a_head_must_be_whole_and_alone() {
    let whole = b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for length in 0..whole.len() {
        let found = request(&whole[..length]).unwrap_err();
        let cut_inside =
            matches!(found, HeadError::Incomplete | HeadError::BareCarriageReturn { .. });
        assert!(cut_inside, "{length}: {found:?}");
    }
    let more = [&whole[..], b"GET "].concat();
    assert_eq!(request(&more), Err(HeadError::Incomplete));
    let more = [&whole[..], b"\r\n"].concat();
    assert_eq!(request(&more), Err(HeadError::Incomplete));
}
