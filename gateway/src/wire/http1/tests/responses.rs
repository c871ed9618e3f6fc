use super::*;

#[test]
fn a_response_is_read_as_it_was_sent() {
    let text = b"HTTP/1.1 200 Tr\xc3\xa8s bien\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\
        SET-COOKIE: a=1\r\ncontent-LENGTH: 3\r\n\r\n";
    let response = response(text).unwrap();
    assert_eq!(response.head.status, 200);
    assert_eq!(response.head.reason, &b"Tr\xc3\xa8s bien"[..]);
    assert_eq!(response.framing, ResponseFraming::Length(3));
    let fields: Vec<(&[u8], &[u8])> = vec![
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"SET-COOKIE", b"a=1"),
        (b"content-LENGTH", b"3"),
    ];
    assert_eq!(response.head.fields.iter().collect::<Vec<_>>(), fields);
}

#[test]
fn status_lines_that_servers_send() {
    let cases: [(&[u8], u16, &[u8]); 9] = [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200  OK", 200, b" OK"),
        (b"HTTP/1.1 404 Not\tFound - (really)  ", 404, b"Not\tFound - (really)  "),
        (b"HTTP/1.0 500 x:y", 500, b"x:y"),
        (b"HTTP/1.1 999 Denied", 999, b"Denied"),
        (b"HTTP/1.1 299 \xff\x80", 299, b"\xff\x80"),
        (b"HTTP/1.1 100 Continue", 100, b"Continue"),
    ];
    for (line, status, reason) in cases {
        let head = response(&[line, b"\r\n\r\n"].concat()).unwrap().head;
        assert_eq!((head.status, &head.reason[..]), (status, reason));
    }
}

#[test]
fn status_lines_that_are_refused() {
    use HeadError::*;
    let cases: [(&[u8], HeadError); 14] = [
        (b"", VersionInvalid),
        (b"200 OK", VersionInvalid),
        (b"ICY 200 OK", VersionInvalid),
        (b" HTTP/1.1 200 OK", VersionInvalid),
        (b"HTTP/2 200", VersionInvalid),
        (b"HTTP/2.0 200 OK", VersionUnsupported),
        (b"HTTP/1.1", StatusInvalid),
        (b"HTTP/1.1  200 OK", StatusInvalid),
        (b"HTTP/1.1 20 OK", StatusInvalid),
        (b"HTTP/1.1 2000 OK", StatusInvalid),
        (b"HTTP/1.1 099 OK", StatusInvalid),
        (b"HTTP/1.1 +20 OK", StatusInvalid),
        (b"HTTP/1.1 200\tOK", StatusInvalid),
        (b"HTTP/1.1 200 O\x01K", ReasonControl),
    ];
    for (line, error) in cases {
        let found = response(&[line, b"\r\nX: y\r\n\r\n"].concat());
        assert_eq!(found, Err(error), "{}", line.escape_ascii());
    }
}

#[test]
fn framing_by_method_and_status() {
    use ResponseFraming::*;
    let length = "Content-Length: 7\r\n";
    let coded = "Transfer-Encoding: chunked\r\n";
    let cases = [
        ("GET", 200, "", Ok(UntilClose)),
        ("GET", 200, "Content-Length: 0\r\n", Ok(Length(0))),
        ("GET", 200, length, Ok(Length(7))),
        ("GET", 200, coded, Ok(Chunked)),
        ("GET", 205, length, Ok(Length(7))),
        ("HEAD", 200, "", Ok(None)),
        ("HEAD", 200, length, Ok(None)),
        ("HEAD", 200, coded, Ok(None)),
        ("GET", 304, "", Ok(None)),
        ("GET", 304, length, Ok(None)),
        ("GET", 304, coded, Ok(None)),
        ("GET", 204, "", Ok(None)),
        ("GET", 204, "Content-Length: 0\r\n", Ok(None)),
        ("GET", 204, length, Err(HeadError::BodyForbidden)),
        ("GET", 204, coded, Err(HeadError::BodyForbidden)),
        ("HEAD", 204, length, Err(HeadError::BodyForbidden)),
        ("GET", 100, "", Ok(None)),
        ("GET", 103, "Link: x\r\n", Ok(None)),
        ("GET", 103, length, Err(HeadError::BodyForbidden)),
        ("GET", 102, coded, Err(HeadError::BodyForbidden)),
        ("GET", 101, "Upgrade: x\r\nConnection: upgrade\r\n", Ok(Upgraded)),
        ("GET", 101, "Content-Length: 0\r\n", Ok(Upgraded)),
        ("GET", 101, coded, Err(HeadError::BodyForbidden)),
        ("CONNECT", 200, "", Ok(Upgraded)),
        ("CONNECT", 200, length, Ok(Upgraded)),
        ("CONNECT", 299, coded, Ok(Upgraded)),
        ("CONNECT", 403, length, Ok(Length(7))),
        ("CONNECT", 403, "", Ok(UntilClose)),
    ];
    for (method, status, lines, framing) in cases {
        let head = format!("HTTP/1.1 {status} x\r\n{lines}\r\n");
        let found = response_to(method.as_bytes(), head.as_bytes());
        assert_eq!(found.as_ref().map(|found| found.framing), framing.as_ref().copied());
        if let Ok(found) = found {
            let interim = (100..200).contains(&status) && status != 101;
            assert_eq!(found.is_interim(), interim);
        }
    }
}

#[test]
fn a_length_beside_chunked_is_taken_only_where_the_connection_ends() {
    let both = "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(response_with(both), Err(HeadError::LengthWithTransferEncoding));
    let found = response_with(&format!("{both}Connection: close\r\n")).unwrap();
    assert_eq!(found.framing, ResponseFraming::Chunked);
    assert!(found.connection.close);
    assert_eq!(passing(&found.head.fields), vec![]);
    // A request never: what follows it on another connection is someone else's.
    let lines = format!("{both}Connection: close\r\n");
    assert_eq!(request_with(&lines), Err(HeadError::LengthWithTransferEncoding));
}

#[test]
fn what_a_response_says_of_its_connection() {
    let close = |text: &[u8]| response(text).unwrap().connection.close;
    assert!(close(b"HTTP/1.1 200 OK\r\n\r\n"));
    assert!(!close(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"));
    assert!(close(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: CLOSE\r\n\r\n"));
    assert!(close(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"));
    assert!(!close(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n"));
}
