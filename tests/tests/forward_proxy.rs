//! Requests in absolute form, and who may use the proxy.

use std::sync::Arc;

use sealtap_tests::content::Content;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::records::{Direction, as_they_came};
use sealtap_tests::upstream_http1::{Session, Upstream};
use sealtap_tests::wire::Wire;

fn echoing(session: &mut Session, request: &Message) {
    let length = request.body.content.length().to_string();
    session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &length)]));
    session.send(request.bytes());
}

fn ask(gateway: &Gateway, line: &str, fields: &[(&str, &str)]) -> Message {
    let mut client = Wire::connect(gateway.address());
    client.send(head(line, fields));
    client.response("GET")
}

#[test]
fn an_absolute_target_goes_where_it_says() {
    let upstream = Upstream::answering(echoing);
    let gateway = Options::default().start();
    let host = upstream.address().to_string();
    let mut client = Wire::connect(gateway.address());
    for (target, sent) in [("/run/x/y?a=b", "/run/x/y?a=b"), ("", "/"), ("?q=1", "/?q=1")] {
        // What Host says counts for nothing beside an absolute target (RFC 9112 section 3.2.2).
        let fields = [
            ("Host", "elsewhere.example"),
            ("Proxy-Connection", "keep-alive"),
            ("X-One", "1"),
            ("Content-Length", "3"),
        ];
        client.send(head(format!("POST http://{host}{target} HTTP/1.1"), &fields));
        client.send("abc");
        assert_eq!(client.response("POST").bytes(), b"abc", "{sent}");
    }
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 3);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/ingress"), "forward");
        assert_eq!(exchange.text("/outcome"), "complete");
        assert_eq!(exchange.body(Direction::Request), Content::of("abc"));
    }
    assert_eq!(exchanges[0].text("/url"), format!("http://{host}/run/x/y?a=b"));
    let requests = upstream.finish();
    let targets: Vec<_> = requests.iter().map(|request| request.head.target()).collect();
    assert_eq!(targets, [b"/run/x/y?a=b".as_slice(), b"/", b"/?q=1"]);
    for request in &requests {
        assert_eq!(request.head.one("host"), Some(host.as_str()));
        assert_eq!(request.head.one("x-one"), Some("1"));
        assert_eq!(request.head.one("proxy-connection"), None);
    }
}

#[test]
fn the_listener_itself_in_absolute_form_is_reverse_mode() {
    let upstream = Upstream::answering(echoing);
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let own = gateway.address();
    let answer =
        ask(&gateway, &format!("GET http://{own}/up/x HTTP/1.1"), &[("Host", &own.to_string())]);
    assert_eq!(answer.status(), 200);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/ingress"), "reverse");
    assert_eq!(upstream.finish()[0].head.target(), b"/x");
}

#[test]
fn a_host_that_is_not_listed_is_refused_where_others_are() {
    let upstream = Upstream::answering(echoing);
    let config = "[proxy]\nother = \"refuse\"\n";
    let gateway = Options::default().config(config).start();
    let host = upstream.address().to_string();
    let answer = ask(&gateway, &format!("GET http://{host}/ HTTP/1.1"), &[("Host", &host)]);
    assert_eq!(answer.status(), 403);
    assert!(String::from_utf8_lossy(answer.bytes()).contains("capture"));
    let (_, head) = Wire::connect_by(gateway.address(), &host, &[]);
    assert_eq!(head.status(), 403);
    let exchanges = as_they_came(gateway.finish());
    assert_eq!(exchanges.len(), 2);
    for (exchange, ingress) in exchanges.iter().zip(["forward", "connect"]) {
        assert_eq!(exchange.text("/outcome"), "refused");
        assert_eq!(exchange.text("/error"), "destination_refused");
        assert_eq!(exchange.text("/ingress"), ingress);
    }
    assert!(upstream.finish().is_empty());
}

#[test]
fn a_proxy_that_is_switched_off_refuses() {
    let gateway = Options::default().config("[proxy]\nenabled = false\n").start();
    let answer = ask(&gateway, "GET http://a.example/ HTTP/1.1", &[("Host", "a.example")]);
    assert_eq!(answer.status(), 421);
    let (_, head) = Wire::connect_by(gateway.address(), "a.example:443", &[]);
    assert_eq!(head.status(), 501);
    assert_eq!(gateway.finish().len(), 2);
}

#[test]
fn credentials_are_asked_for_never_forwarded_and_never_recorded() {
    const SECRET: &str = "dXNlcjpodW50ZXIyLWlzLXNlY3JldA==";
    let upstream = Upstream::answering(echoing);
    let config = "[proxy]\ncredentials = \"user:hunter2-is-secret\"\n";
    let gateway = Options::default().upstream("up", upstream.url()).config(config).start();
    let host = upstream.address().to_string();
    let line = format!("GET http://{host}/x HTTP/1.1");
    let (right, wrong) = (format!("Basic {SECRET}"), "Basic d3Jvbmc6d3Jvbmc=");
    for shown in [None, Some(wrong), Some("Bearer x")] {
        let mut fields = vec![("Host", host.as_str())];
        fields.extend(shown.map(|shown| ("Proxy-Authorization", shown)));
        let answer = ask(&gateway, &line, &fields);
        assert_eq!(answer.status(), 407);
        assert_eq!(answer.head.one("proxy-authenticate"), Some("Basic realm=\"sealtap\""));
        let fields = fields.get(1..).unwrap_or_default();
        let (_, head) = Wire::connect_by(gateway.address(), &host, fields);
        assert_eq!(head.status(), 407);
    }
    let fields = [("Host", host.as_str()), ("Proxy-Authorization", right.as_str())];
    assert_eq!(ask(&gateway, &line, &fields).status(), 200);
    let (mut tunnel, head_of_it) = Wire::connect_by(gateway.address(), &host, &fields[1..]);
    assert_eq!(head_of_it.status(), 200);
    // Once as it should be, and once as some clients do.
    tunnel.send(head("GET /in HTTP/1.1", &fields[..1]));
    assert_eq!(tunnel.response("GET").status(), 200);
    tunnel.send(head("GET /in HTTP/1.1", &fields));
    assert_eq!(tunnel.response("GET").status(), 200);
    drop(tunnel);
    // Reverse mode asks for none.
    assert_eq!(ask(&gateway, "GET /up/y HTTP/1.1", &[("Host", "x")]).status(), 200);
    let home = gateway.home().clone();
    let exchanges = as_they_came(gateway.finish());
    assert_eq!(exchanges.len(), 10);
    for exchange in &exchanges[..6] {
        assert_eq!(exchange.text("/error"), "proxy_credentials");
    }
    let requests = upstream.finish();
    assert_eq!(requests.len(), 4);
    for request in &requests {
        assert_eq!(request.head.one("proxy-authorization"), None);
    }
    let secrets = [SECRET.as_bytes(), b"hunter2-is-secret", b"d3Jvbmc6d3Jvbmc="];
    for folder in ["journal", "store", "log", "keys"] {
        for secret in secrets {
            assert!(!holds(&home.data().join(folder), secret), "a secret in {folder}");
        }
    }
}

/// Whether any file below `folder` holds `bytes`.
fn holds(folder: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let content = std::fs::read(&path).expect("a file");
        memchr::memmem::find(&content, bytes).is_some()
    })
}

#[test]
fn an_open_proxy_is_refused_at_the_start_and_the_fix_is_named() {
    let beyond = |config: &str| {
        let options = Options::default().config(config).listening("0.0.0.0:0");
        options.try_start_in(Arc::new(Home::new()))
    };
    let (status, said) = beyond("").err().expect("it does not start");
    assert_eq!(status.code(), Some(1), "{said}");
    for fix in ["credentials", "open = true", "enabled = false"] {
        assert!(said.contains(fix), "{said}");
    }
    for config in
        ["[proxy]\nopen = true\n", "[proxy]\nenabled = false\n", "[proxy]\ncredentials = \"a:b\"\n"]
    {
        let gateway = beyond(config).unwrap_or_else(|(_, said)| panic!("{config}: {said}"));
        gateway.finish();
    }
}
