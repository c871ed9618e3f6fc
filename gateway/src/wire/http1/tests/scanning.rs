use super::*;

/// Feeds the first byte, then the first two, and so on; gives the result and where it came.
fn crawl(mut scanner: HeadScanner, bytes: &[u8]) -> (usize, Result<Option<usize>, HeadError>) {
    for length in 0..=bytes.len() {
        match scanner.scan(&bytes[..length]) {
            Ok(None) => {}
            found => return (length, found),
        }
    }
    (bytes.len(), Ok(None))
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let more = [&head[..], b"GET /\n\0"].concat();
    assert_eq!(crawl(HeadScanner::new(), &more), (head.len(), Ok(Some(head.len()))));
    for cut in 0..head.len() {
        let mut scanner = HeadScanner::new();
        assert_eq!(scanner.scan(&more[..cut]), Ok(None));
        assert_eq!(scanner.scan(&more), Ok(Some(head.len())));
        assert_eq!(scanner.leading(), 0);
    }
    let no_fields = b"GET / HTTP/1.0\r\n\r\n";
    assert_eq!(HeadScanner::new().scan(no_fields), Ok(Some(no_fields.len())));
}

#[test]
fn empty_lines_before_a_request_are_reported_and_before_a_response_refused() {
    let bytes = b"\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    for piece in 1..bytes.len() {
        let mut scanner = HeadScanner::new();
        let first = scanner.scan(&bytes[..piece]).unwrap();
        let found = first.or(scanner.scan(bytes).unwrap());
        assert_eq!((found, scanner.leading()), (Some(bytes.len()), 4));
    }
    assert!(request(&bytes[4..]).is_ok());
    let response = b"\r\nHTTP/1.1 200 OK\r\n\r\n";
    let refused = Err(HeadError::EmptyLineBeforeStatus);
    assert_eq!(crawl(HeadScanner::for_response(), response), (2, refused));
}

#[test]
fn what_no_head_may_hold_is_refused_at_once() {
    use HeadError::*;
    let cases: [(&[u8], usize, HeadError); 8] = [
        (b"GET / HTTP/1.1\n", 15, BareLineFeed { at: 14 }),
        (b"\n", 1, BareLineFeed { at: 0 }),
        (b"GET / HTTP/1.1\r\n\n", 17, BareLineFeed { at: 16 }),
        (b"GET / HTTP/1.1\r\nA: b\r\n\n", 23, BareLineFeed { at: 22 }),
        (b"GET / HTTP/1.1\rH", 16, BareCarriageReturn { at: 14 }),
        (b"GET / HTTP/1.1\r\r\n", 16, BareCarriageReturn { at: 14 }),
        (b"GET /\0", 6, Nul { at: 5 }),
        (b"\x16\x03\x01\x00", 4, Nul { at: 3 }),
    ];
    for (bytes, length, error) in cases {
        assert_eq!(crawl(HeadScanner::new(), bytes), (length, Err(error)));
        assert_eq!(HeadScanner::new().scan(bytes), Err(error));
    }
}

#[test]
fn a_head_is_bounded() {
    let start = b"GET / HTTP/1.1\r\nX: ";
    let full = |length: usize| {
        let filler = vec![b'a'; length - start.len() - 4];
        [&start[..], &filler, b"\r\n\r\n"].concat()
    };
    assert_eq!(HeadScanner::new().scan(&full(MAX_HEAD)), Ok(Some(MAX_HEAD)));
    assert_eq!(HeadScanner::new().scan(&full(MAX_HEAD + 1)), Err(HeadError::TooLarge));
    // The parsers hold to it on their own too.
    assert_eq!(request(&full(MAX_HEAD + 1)), Err(HeadError::TooLarge));
    assert_eq!(response(&full(MAX_HEAD + 1)), Err(HeadError::TooLarge));
    // No end can come in time, so nothing more is waited for.
    let unfinished = &full(MAX_HEAD + 1)[..MAX_HEAD];
    assert_eq!(HeadScanner::new().scan(unfinished), Err(HeadError::TooLarge));
    assert_eq!(HeadScanner::new().scan(&unfinished[1..]), Ok(None));
    // The verdict is the same when the last bytes arrive alone.
    let bytes = full(MAX_HEAD + 1);
    for cut in MAX_HEAD - 5..=MAX_HEAD {
        let mut scanner = HeadScanner::new();
        let first = scanner.scan(&bytes[..cut]);
        assert_eq!(first.and_then(|_| scanner.scan(&bytes)), Err(HeadError::TooLarge));
    }
    assert_eq!(HeadScanner::new().scan(&b"\r\n".repeat(MAX_HEAD)), Err(HeadError::TooLarge));
    assert_eq!(HeadError::TooLarge.status(), 431);
}

#[test]
fn the_preface_of_http_2_is_told_apart() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for length in 0..preface.len() {
        assert_eq!(opening(&preface[..length]), Opening::Undecided);
    }
    assert_eq!(opening(preface), Opening::Http2);
    assert_eq!(opening(&[&preface[..], b"\0\0"].concat()), Opening::Http2);
    assert_eq!(opening(b"P"), Opening::Undecided);
    assert_eq!(opening(b"POST"), Opening::Http1);
    assert_eq!(opening(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX"), Opening::Http1);
}
