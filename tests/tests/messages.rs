//! Messages: heads exactly as sent, statuses without bodies, and how requests share connections.

use sealtap_tests::bench::{Bench, Call, Path};
use sealtap_tests::cases;
use sealtap_tests::http1::{End, Framing, head};

/// One request with these fields and this answer, compared everywhere.
fn relay(
    path: Path,
    method: &str,
    target: &[u8],
    fields: &[(&str, &str)],
    answer: (Vec<u8>, &[u8]),
) {
    let (answer_head, body) = answer;
    let reply = [&answer_head, body].concat();
    let bench = Bench::answering(path, move |session, _| session.send(&reply));
    let request = bench.raw_head(method, target, fields);
    let mut client = bench.client();
    client.send(&request);
    let received = client.response(method);
    assert_eq!(received.body.end, End::Complete);
    drop(client);
    bench.finish(&[Call::new(request, "", answer_head, body, &received)]);
}

fn ok(body: &'static str) -> (Vec<u8>, &'static [u8]) {
    let length = body.len().to_string();
    (head("HTTP/1.1 200 OK", &[("Content-Length", &length)]), body.as_bytes())
}

/// Two requests on one connection, the first answered with a head and no body.
fn without_body(path: Path, method: &'static str, answer_head: Vec<u8>) {
    let reply = answer_head.clone();
    let bench = Bench::answering(path, move |session, request| {
        if request.head.method() == "PUT" {
            session.send(ok("next").0);
        } else {
            session.send(&reply);
        }
        if request.head.method() == "PUT" {
            session.send("next");
        }
    });
    let mut client = bench.client();
    let first = bench.head(method, "/bodiless", &[]);
    client.send(&first);
    let bodiless = client.response(method);
    let second = bench.head("PUT", "/after", &[("Content-Length", "0")]);
    client.send(&second);
    let after = client.response("PUT");
    assert_eq!(after.bytes(), b"next");
    drop(client);
    bench.finish(&[
        Call::new(first, "", answer_head, "", &bodiless),
        Call::new(second, "", ok("next").0, "next", &after),
    ]);
}

cases! {
    fn a_head_arrives_byte_for_byte(path) {
        let answer_head = b"HTTP/1.1 203 Non-Authoritative But Fine\r\n\
            X-lower-UPPER: MiXeD\r\nETag: W/\"weak\"\r\ncontent-LENGTH: 2\r\n\
            Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nSERVER: itself\r\n\r\n";
        let reply = [answer_head.as_slice(), b"hi"].concat();
        let bench = Bench::answering(path, move |session, _| session.send(&reply));
        let fields = [
            ("accept", "*/*"),
            ("ACCEPT-Encoding", "identity"),
            ("user-Agent", "weird/1.0 (like, commas; and ; semicolons)"),
            ("x-empty", ""),
            ("X-Tab", "a\tb"),
            ("x_under.score!#$%&'*+-^`|~", "every token character"),
        ];
        let request = bench.head("GET", "/exact?a=b", &fields);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        drop(client);
        assert_eq!(received.head.raw.escape_ascii().to_string(), answer_head.escape_ascii().to_string());
        let mut all = vec![("Host", bench.upstream().authority())];
        all.extend(fields.map(|(name, value)| (name, value.to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected = head("GET /exact?a=b HTTP/1.1", &all);
        let reached = &bench.upstream().requests()[0].head.raw;
        assert_eq!(reached.escape_ascii().to_string(), expected.escape_ascii().to_string());
        bench.finish(&[Call::new(request, "", answer_head, "hi", &received)]);
    }

    fn a_thousand_fields_each_way(path) {
        let fields: Vec<(String, String)> =
            (0..1000).map(|index| (format!("X-Field-{index}"), format!("value {index}"))).collect();
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut answer = fields.clone();
        answer.push(("Content-Length", "0"));
        relay(path, "GET", b"/many", &fields, (head("HTTP/1.1 200 OK", &answer), b""));
    }

    fn repeated_fields_keep_their_places(path) {
        let fields = [
            ("X-A", "1"), ("X-B", "2"), ("x-a", "3"), ("Accept", "a"), ("X-A", "1"), ("accept", "b, c"),
        ];
        let mut answer = vec![
            ("Set-Cookie", "a=1; Path=/"), ("Vary", "x"), ("set-cookie", "b=2; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            ("Vary", "y"), ("WWW-Authenticate", "Basic realm=\"a\""), ("WWW-Authenticate", "Digest a=b, c=d"),
        ];
        answer.push(("Content-Length", "0"));
        relay(path, "GET", b"/twice", &fields, (head("HTTP/1.1 401 No", &answer), b""));
    }

    fn values_beyond_ascii_pass(path) {
        let fields = [("X-Utf8", "gr\u{fc}\u{df}e \u{1f44b}"), ("X-Quoted", "\"\\\"\"")];
        let answer = [("X-Utf8", "\u{e9}t\u{e9}"), ("Content-Length", "0")];
        relay(path, "GET", b"/utf8", &fields, (head("HTTP/1.1 200 \u{d6}K", &answer), b""));
    }

    fn reason_phrases_pass(path) {
        for line in ["HTTP/1.1 200 ", "HTTP/1.1 200 not OK at all", "HTTP/1.1 404 OK"] {
            let answer_head = head(line, &[("Content-Length", "0")]);
            relay(path, "GET", b"/reason", &[], (answer_head, b""));
        }
    }

    fn statuses_no_one_registered_pass(path) {
        for line in ["HTTP/1.1 299 Two", "HTTP/1.1 418 Teapot", "HTTP/1.1 529 Overloaded", "HTTP/1.1 599 X"] {
            let answer_head = head(line, &[("Content-Length", "4")]);
            relay(path, "GET", b"/status", &[], (answer_head, b"body"));
        }
    }

    fn odd_targets_pass(path) {
        let targets: [&[u8]; 22] = [
            b"/", b"//", b"//double//slashes//", b"/a/../b/./c/..", b"/..", b"/%00", b"/%2e%2e/%2F",
            b"/pipe|and{braces}^`\"<>\\", b"/gr\xc3\xbc\xc3\x9fe", b"/latin\xfc", b"/?", b"/??",
            b"/?a=1&a=2&;c&&=", b"/path;param=1;b", b"/?q=a+b%20c#not-a-fragment", b"/?x={\"json\":[1,2]}",
            b"/?url=http://other/path", b"/http://inside/", b"/%", b"/%zz", b"/:@!$&'()*+,=~", b"/run/x",
        ];
        let bench = Bench::answering(path, |session, _| {
            session.send(ok("ok").0);
            session.send("ok");
        });
        let mut client = bench.client();
        let calls: Vec<Call> = targets.iter().map(|target| {
            let request = bench.raw_head("GET", target, &[]);
            client.send(&request);
            let received = client.response("GET");
            Call::new(request, "", ok("ok").0, "ok", &received)
        }).collect();
        drop(client);
        bench.finish(&calls);
    }

    fn a_query_right_after_the_name(path) {
        // Directly, this is the target of an upstream whose path is empty.
        let rest: &[u8] = if path == Path::Gateway { b"?q=1" } else { b"/?q=1" };
        let bench = Bench::answering(path, |session, _| session.send([ok("").0, vec![]].concat()));
        let request = bench.raw_head("GET", rest, &[]);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        assert_eq!(received.status(), 200);
        drop(client);
        assert_eq!(bench.upstream().requests()[0].head.target(), b"/?q=1");
        let seen = bench.raw_head("GET", b"/?q=1", &[]);
        bench.finish(&[Call::new(seen, "", ok("").0, "", &received)]);
    }

    fn any_method_passes(path) {
        for method in ["DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "get", "M-SEARCH", "X"] {
            relay(path, method, b"/method", &[], ok("any"));
        }
    }

    fn head_has_a_length_and_no_body(path) {
        without_body(path, "HEAD", head("HTTP/1.1 200 OK", &[("Content-Length", "5000")]));
    }

    fn head_of_a_chunked_answer(path) {
        without_body(path, "HEAD", head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
    }

    fn no_content_has_no_body(path) {
        without_body(path, "DELETE", head("HTTP/1.1 204 No Content", &[("X-Gone", "yes")]));
    }

    fn not_modified_has_a_length_and_no_body(path) {
        let fields = [("ETag", "\"x\""), ("Content-Length", "5000")];
        without_body(path, "GET", head("HTTP/1.1 304 Not Modified", &fields));
    }

    fn one_connection_carries_many_exchanges(path) {
        let bench = Bench::answering(path, |session, request| {
            let body = request.head.target().to_vec();
            let length = body.len().to_string();
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
            session.send(body);
        });
        let mut client = bench.client();
        let calls: Vec<Call> = (0..50).map(|index| {
            let target = format!("/number/{index}");
            let request = bench.head("POST", &target, &[("Content-Length", "3")]);
            client.send([request.as_slice(), b"abc"].concat());
            let received = client.response("POST");
            let length = target.len().to_string();
            let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", &length)]);
            Call::new(request, "abc", answer_head, target, &received)
        }).collect();
        drop(client);
        assert_eq!(bench.upstream().connections(), 1, "one connection serves one client's calls");
        bench.finish(&calls);
    }

    fn pipelined_requests_are_answered_in_order(path) {
        let bench = Bench::answering(path, |session, request| {
            let length = request.body.content.length().to_string();
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
            session.send(request.bytes());
        });
        let requests: Vec<Vec<u8>> = (0..20)
            .map(|index| bench.head("POST", &format!("/pipe/{index}"), &[("Content-Length", "2")]))
            .collect();
        let mut client = bench.client();
        let all: Vec<u8> = requests.iter().enumerate()
            .flat_map(|(index, head)| [head.as_slice(), format!("{index:02}").as_bytes()].concat())
            .collect();
        client.send(all);
        let calls: Vec<Call> = requests.iter().enumerate().map(|(index, request)| {
            let received = client.response("POST");
            let body = format!("{index:02}");
            let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "2")]);
            Call::new(request, &body, answer_head, &body, &received)
        }).collect();
        drop(client);
        bench.finish(&calls);
    }

    fn a_half_closed_client_gets_its_whole_answer(path) {
        let bench = Bench::answering(path, |session, _| {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "200000")]));
            session.send_pattern(9, 200_000);
        });
        let request = bench.head("POST", "/half", &[("Content-Length", "4")]);
        let mut client = bench.client();
        client.send([request.as_slice(), b"done"].concat());
        client.half_close();
        let received = client.response("POST");
        assert_eq!(received.body.end, End::Complete);
        client.assert_closed();
        let answer_head = head("HTTP/1.1 200 OK", &[("Content-Length", "200000")]);
        let answered = sealtap_tests::content::Content::of_pattern(9, 200_000);
        bench.finish(&[Call::new(request, "done", answer_head, answered, &received)]);
    }

    fn connection_close_is_honoured(path) {
        let answer_head = head("HTTP/1.1 200 OK", &[("Connection", "close"), ("Content-Length", "3")]);
        let reply = answer_head.clone();
        let bench = Bench::scripted(path, move |mut session| {
            session.request();
            session.send([reply.as_slice(), b"bye"].concat());
            session.into_wire().close();
        });
        let request = bench.head("GET", "/bye", &[("Connection", "close")]);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        client.assert_closed();
        bench.finish(&[Call::new(request, "", answer_head, "bye", &received)]);
    }

    fn an_old_client_gets_an_answer_it_understands(path) {
        // The upstream sees a Host either way; chunks must not reach a client of HTTP/1.0.
        let bench = Bench::answering(path, |session, request| {
            assert!(request.head.one("host").is_some(), "the upstream needs a Host");
            if request.head.line.ends_with(b"HTTP/1.1") {
                session.send(head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
                session.send_chunk("old ");
                session.send_chunk("times");
                session.send("0\r\n\r\n");
            } else {
                session.send(head("HTTP/1.1 200 OK", &[("Connection", "close")]));
                session.send("old times");
                session.half_close();
            }
        });
        let mut client = bench.client();
        let line = format!("GET {}/old HTTP/1.0", bench.prefix());
        client.send(head(line, &[("Host", &bench.address().to_string())]));
        let received = client.response("GET");
        assert_eq!((received.status(), received.bytes()), (200, b"old times".as_slice()));
        assert!(received.head.all("transfer-encoding").is_empty());
        assert_eq!(received.head.response_framing("GET"), Framing::UntilClose);
        drop(client);
        let request = bench.head("GET", "/old", &[]);
        let mut answer = received;
        answer.head = sealtap_tests::http1::Head::parse(&head("HTTP/1.1 200 OK", &[]));
        bench.finish(&[Call::new(request, "", head("HTTP/1.1 200 OK", &[]), "old times", &answer)]);
    }

    fn an_old_client_may_keep_the_connection(path) {
        let answer_head = head(
            "HTTP/1.1 200 OK", &[("Connection", "keep-alive"), ("Content-Length", "2")],
        );
        let reply = [answer_head.as_slice(), b"ok"].concat();
        let bench = Bench::answering(path, move |session, _| session.send(&reply));
        let mut kept = None;
        let mut calls = Vec::new();
        for index in 0..3 {
            let mut client = kept.take().unwrap_or_else(|| bench.client());
            let line = format!("GET {}/keep/{index} HTTP/1.0", bench.prefix());
            let host = bench.address().to_string();
            let request = head(line, &[("Host", &host), ("Connection", "keep-alive")]);
            client.send(&request);
            let received = client.response("GET");
            assert_eq!(received.bytes(), b"ok");
            // Either is right, as long as what is said is done.
            if received.head.one("connection") == Some("keep-alive") {
                kept = Some(client);
            } else {
                client.assert_closed();
            }
            calls.push(Call::new(request, "", &answer_head, "ok", &received));
        }
        drop(kept);
        bench.finish(&calls);
    }

    fn an_old_upstream_is_understood(path) {
        let bench = Bench::scripted(path, |mut session| {
            session.request();
            session.send(head("HTTP/1.0 200 OK", &[("X-Age", "old")]));
            session.send("until the end");
            session.into_wire().close();
        });
        let request = bench.head("GET", "/ancient", &[]);
        let mut client = bench.client();
        client.send(&request);
        let received = client.response("GET");
        assert_eq!(received.bytes(), b"until the end");
        drop(client);
        // The version on each side is that side's own.
        let line = String::from_utf8(received.head.line.clone()).expect("a status line");
        let answer_head = head(line, &[("X-Age", "old")]);
        bench.finish(&[Call::new(request, "", answer_head, "until the end", &received)]);
    }
}
