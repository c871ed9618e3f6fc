use super::*;

#[test]
fn a_request_is_read_as_it_was_sent() {
    let text = b"POST /v1/chat HTTP/1.1\r\nhOsT: model.example\r\nX-A:  one \r\nx-a:\r\n\
        X-a: tw\to\t\r\nUTF: \xc3\xa9\xff\r\nTransfer-Encoding: Chunked\r\n\
        Expect: 100-Continue\r\n\r\n";
    let request = request(text).unwrap();
    assert_eq!(request.head.method, &b"POST"[..]);
    assert_eq!(request.head.version, Version::Http11);
    assert_eq!(request.framing, RequestFraming::Chunked);
    assert!(request.expect_continue);
    let fields: Vec<(&[u8], &[u8])> = vec![
        (b"hOsT", b"model.example"),
        (b"X-A", b"one"),
        (b"x-a", b""),
        (b"X-a", b"tw\to"),
        (b"UTF", b"\xc3\xa9\xff"),
        (b"Transfer-Encoding", b"Chunked"),
        (b"Expect", b"100-Continue"),
    ];
    assert_eq!(request.head.fields.iter().collect::<Vec<_>>(), fields);
}

#[test]
fn a_target_keeps_every_byte() {
    let targets: [&[u8]; 14] = [
        b"/",
        b"//",
        b"/a/../b/./c",
        b"/%00%0d%0a%2e%2E",
        b"/{x}|y^z`\"<>\\",
        b"/caf\xc3\xa9/\xff\x80",
        b"/?",
        b"/?q=a?b&c=[1]&d=%",
        b"/a#fragment",
        b"/;p=1;p=2",
        b"http://host",
        b"HTTP://host:8080?x",
        b"https://[::1]:443/a%20b",
        b"ws+unix://h#f",
    ];
    for target in targets {
        let text = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(request(&text).unwrap().head.target, target);
    }
    // Every byte that is neither control nor space, alone after the slash.
    for byte in (0x21..=0xff).filter(|byte| *byte != 0x7f) {
        let text = [b"GET /", &[byte][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(request(&text).unwrap().head.target, &[b'/', byte][..]);
    }
}

#[test]
fn a_thousand_fields_and_more_keep_their_order() {
    for count in [1, 39, 40, 41, 1_000, 5_000, MAX_FIELDS - 1] {
        let lines: String = (0..count).map(|n| format!("X-{n}: v{n}\r\n")).collect();
        let request = request_with(&lines).unwrap();
        assert_eq!(request.head.fields.len(), count + 1);
        for (n, (name, value)) in request.head.fields.iter().skip(1).enumerate() {
            assert_eq!(name, format!("X-{n}").as_bytes());
            assert_eq!(value, format!("v{n}").as_bytes());
        }
    }
    let lines = "a:\r\n".repeat(MAX_FIELDS);
    assert_eq!(request_with(&lines), Err(HeadError::TooManyFields));
}

#[test]
fn framing_follows_the_one_field_that_announces_it() {
    assert_eq!(request_with("").unwrap().framing, RequestFraming::None);
    for (value, length) in [("0", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
        let request = request_with(&format!("content-length:\t{value} \t\r\n")).unwrap();
        assert_eq!(request.framing, RequestFraming::Length(length));
    }
    for value in ["chunked", "CHUNKED", " \tchunked\t"] {
        let request = request_with(&format!("transfer-encoding:{value}\r\n")).unwrap();
        assert_eq!(request.framing, RequestFraming::Chunked);
    }
}

#[test]
fn the_forms_of_a_target() {
    let form = |method: &str, target| target_form(method.as_bytes(), target);
    assert_eq!(form("GET", b"/x"), Ok(TargetForm::Origin(b"/x")));
    assert_eq!(form("OPTIONS", b"*"), Ok(TargetForm::Asterisk));
    assert_eq!(form("CONNECT", b"h:443"), Ok(TargetForm::Authority(b"h:443")));
    assert_eq!(
        form("GET", b"Http://h:1?q"),
        Ok(TargetForm::Absolute { scheme: b"Http", authority: b"h:1", rest: b"?q" })
    );
    let invalid: [(&str, &[u8]); 12] = [
        ("GET", b"*"),
        ("GET", b"x"),
        ("GET", b"?q"),
        ("GET", b"h:443"),
        ("GET", b"http:/x"),
        ("GET", b"1http://h/"),
        ("GET", b"://h/"),
        ("connect", b"h:443"),
        ("CONNECT", b"/x"),
        ("CONNECT", b"h"),
        ("CONNECT", b"h:"),
        ("CONNECT", b"http://h:443/"),
    ];
    for (method, target) in invalid {
        assert_eq!(form(method, target), Err(HeadError::TargetInvalid), "{method} {target:?}");
    }
    for target in [&b"http:///x"[..], b"http://u@h/", b"http://h:99999/", b"http://h,g/"] {
        assert_eq!(form("GET", target), Err(HeadError::HostInvalid), "{target:?}");
    }
}

#[test]
fn hosts_that_are_and_are_not() {
    let good = [
        "",
        "a",
        "a.example:80",
        "a:",
        "127.0.0.1:65535",
        "[::1]",
        "[fe80::1%25eth0]:8080",
        "under_score",
        "%41",
        "xn--caf-dma.example",
    ];
    for host in good {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert!(request(head.as_bytes()).is_ok(), "{host:?}");
    }
    let bad = [
        "a b",
        "a,b",
        "u@a",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "a:b",
        "a:65536",
        "a:000080",
        "a:1:2",
        "[::1",
        "[]",
        "[::1]x",
        "[::1]:x",
        "caf\u{e9}",
        "a\"b",
        "<a>",
        "a|b",
    ];
    for host in bad {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(request(head.as_bytes()), Err(HeadError::HostInvalid), "{host:?}");
    }
}

#[test]
fn what_a_request_says_of_its_connection() {
    let of = |version: &str, lines: &str| {
        let head = format!("GET / {version}\r\nHost: a\r\n{lines}\r\n");
        request(head.as_bytes()).unwrap().connection
    };
    assert_eq!(of("HTTP/1.1", ""), Connection::default());
    assert!(of("HTTP/1.1", "Connection: Close\r\n").close);
    assert!(of("HTTP/1.1", "Connection: x,, close\r\n").close);
    assert!(!of("HTTP/1.1", "Connection: closed\r\n").close);
    assert!(of("HTTP/1.0", "").close);
    let kept = of("HTTP/1.0", "Connection: keep-alive\r\n");
    assert!(kept.keep_alive && !kept.close);
    assert!(of("HTTP/1.0", "Connection: keep-alive, close\r\n").close);

    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(of("HTTP/1.1", upgrade).upgrade.as_deref(), Some(&b"websocket"[..]));
    assert_eq!(of("HTTP/1.0", upgrade).upgrade, None);
    assert_eq!(of("HTTP/1.1", "Upgrade: websocket\r\n").upgrade, None);
    assert_eq!(of("HTTP/1.1", "Connection: upgrade\r\n").upgrade, None);
    let cleartext = "Connection: upgrade, http2-settings\r\nUpgrade: H2C\r\nHTTP2-Settings: A\r\n";
    assert_eq!(of("HTTP/1.1", cleartext).upgrade, None);
    let several = "Connection: upgrade\r\nUpgrade: h2c, a/1\r\nUpgrade: b\r\n";
    assert_eq!(of("HTTP/1.1", several).upgrade.as_deref(), Some(&b"a/1, b"[..]));
    for http in ["h2c/1", "H2C /1", "h2", "HTTP/1.1", "http/2.0", "TLS/1.3", "tls, h2c,HTTP/1.1"] {
        let fields = format!("Connection: upgrade\r\nUpgrade: {http}\r\nupgrade: h2c\r\n");
        assert_eq!(of("HTTP/1.1", &fields).upgrade, None, "{http}");
    }

    assert!(of("HTTP/1.1", "TE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n").trailers);
    assert!(!of("HTTP/1.1", "TE: gzip\r\n").trailers);
}

#[test]
fn expect_is_heard_in_http_1_1_alone() {
    assert!(request_with("Expect: 100-continue\r\n").unwrap().expect_continue);
    assert!(!request_with("Expect: 200-ok\r\n").unwrap().expect_continue);
    let old = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert!(!request(old).unwrap().expect_continue);
}

#[test]
fn why_start_lines_are_not_left_to_httparse() {
    let mut table = [httparse::EMPTY_HEADER; 4];
    let head = b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(request(head).is_ok());
    assert_eq!(httparse::Request::new(&mut table).parse(head), Err(httparse::Error::Token));
    let head = b"HTTP/1.1 200 a\xffb\r\n\r\n";
    assert_eq!(response(head).unwrap().head.reason, &b"a\xffb"[..]);
    let mut theirs = httparse::Response::new(&mut table);
    assert!(theirs.parse(head).is_ok());
    assert_eq!(theirs.reason, Some(""));
}
