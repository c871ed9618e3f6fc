//! What is captured and tries not to be: HTTP in the guise of something else, TLS that the gateway
//! cannot read. None of it reaches its host unread.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{JoinHandle, park_timeout};
use std::time::Duration;

use sealtap_tests::content::Content;
use sealtap_tests::gate::PATIENCE;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::tls::{Authority, trusting};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// Longer than `detect` of these tests, whatever the machine does.
const PAUSE: Duration = Duration::from_millis(100);

/// A gateway that captures everything, and waits no longer than it must for what is silent.
fn gateway(timeouts: &str) -> Gateway {
    Options::default()
        .argument("--capture")
        .argument("all")
        .config(format!("[proxy]\ndetect = \"1ms\"\n{timeouts}"))
        .start()
}

/// A server that gives what reached it on its one connection.
fn listening() -> (String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
        let mut seen = Vec::new();
        // A reset is as good an end as any.
        let _ = stream.read_to_end(&mut seen);
        seen
    });
    (host, thread)
}

fn assert_rejected(exchange: &Exchange, reason: &str) {
    assert_eq!(exchange.text("/method"), "CONNECT", "{}", exchange.json);
    assert_eq!(exchange.text("/outcome"), "client_cancelled", "{}", exchange.json);
    assert_eq!(exchange.text("/tunnel/reason"), reason, "{}", exchange.json);
    assert_eq!(exchange.number("/tunnel/from_client"), 0, "{}", exchange.json);
    assert_eq!(exchange.number("/tunnel/to_client"), 0, "{}", exchange.json);
}

#[test]
fn a_request_that_comes_in_pieces_is_captured() {
    for pieces in [["PO", "ST /x HTTP/1.1\r\n"], ["\r\n", "POST /x HTTP/1.1\r\n"]] {
        let upstream = Upstream::answering(|session, _| {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
            session.send("ok");
        });
        let gateway = gateway("");
        let host = upstream.address().to_string();
        let mut client = Wire::tunnel(gateway.address(), &host);
        for piece in pieces {
            client.send(piece);
            park_timeout(PAUSE);
        }
        client.send(format!("Host: {host}\r\nContent-Length: 6\r\n\r\nprompt"));
        assert_eq!(client.response("POST").bytes(), b"ok", "{pieces:?}");
        drop(client);
        let exchanges = gateway.finish();
        assert_eq!(exchanges.len(), 1);
        assert_eq!(exchanges[0].text("/url"), format!("http://{host}/x"), "{pieces:?}");
        assert_eq!(exchanges[0].text("/outcome"), "complete");
        assert_eq!(exchanges[0].body(Direction::Request), Content::of("prompt"));
        assert_eq!(upstream.finish().len(), 1);
    }
}

/// Servers there are that answer each of these.
#[test]
fn a_request_in_a_spelling_of_its_own_is_refused_and_does_not_pass() {
    for start in ["\nPOST /x", "\r\n\nPOST /x", "\rPOST /x", " POST /x", "POST\t/x"] {
        let (host, served) = listening();
        let gateway = gateway("");
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(format!("{start} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.response("POST").status(), 400, "{start:?}");
        drop(client);
        let exchanges = gateway.finish();
        assert_eq!(exchanges.len(), 1, "{start:?}");
        assert_eq!(exchanges[0].text("/outcome"), "refused", "{start:?}");
        assert_eq!(served.join().expect("the server is content"), b"", "{start:?}");
    }
}

/// A method that never ends hears what it would hear outside of a tunnel.
#[test]
fn half_a_method_is_waited_for_and_then_refused() {
    let (host, served) = listening();
    let gateway = gateway("[timeouts]\nclient_head = \"200ms\"\n");
    let mut client = Wire::tunnel(gateway.address(), &host);
    client.send("PO");
    assert_eq!(client.response("POST").status(), 408);
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/outcome"), "refused");
    assert_eq!(served.join().expect("the server is content"), b"");
}

/// A gateway that captures every host and trusts upstreams of `authority`.
fn capturing_all(authority: &Authority) -> Gateway {
    let home = Arc::new(Home::new());
    Options::default().trusting(authority, &home).capturing_all().start_in(home)
}

/// Web servers there are that choose `http/1.0` where a client offers nothing else, and then speak
/// HTTP/1.1; what two sides call their protocol says nothing of what it is.
#[test]
fn http_is_captured_whatever_tls_calls_it() {
    for name in ["http/1.0", "http/0.9", "anything"] {
        let authority = Authority::new();
        let upstream = Upstream::answering_tls(authority.server(&[name]), |session, _| {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
            session.send("ok");
        });
        let gateway = capturing_all(&authority);
        let host = format!("localhost:{}", upstream.address().port());
        let client = Wire::tunnel(gateway.address(), &host);
        let mut client = client.into_tls("localhost", trusting(gateway.home(), &[name]));
        client.send(head("GET /x HTTP/1.1", &[("Host", host.as_str())]));
        assert_eq!(client.response("GET").bytes(), b"ok");
        assert_eq!(client.protocol().as_deref(), Some(name.as_bytes()));
        drop(client);
        let exchanges = gateway.finish();
        assert_eq!(exchanges[0].text("/url"), format!("https://{host}/x"), "{name}");
        assert_eq!(exchanges[0].text("/outcome"), "complete", "{name}");
        upstream.finish();
    }
}

/// A record of a handshake whose hello is one byte long, and a hello as SSL 2 wrote it.
const ILLEGIBLE: [&[u8]; 2] = [
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff",
    b"\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10\x00\x00\x2f\x00\x00\x35more",
];

/// Its server may understand what the gateway does not.
#[test]
fn tls_that_cannot_be_read_does_not_pass_to_a_captured_host() {
    for hello in ILLEGIBLE {
        let (host, served) = listening();
        let gateway = gateway("");
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(hello);
        // A fatal alert, and then the end.
        let alert = client.read_exact(7);
        assert_eq!((alert[0], alert[5]), (0x15, 2), "{}", alert.escape_ascii());
        drop(client);
        let exchanges = gateway.finish();
        assert_rejected(&exchanges[0], "client_rejected");
        assert_eq!(exchanges[0].text("/error"), "client_tls");
        assert_eq!(served.join().expect("the server is content"), b"");
    }
}

#[test]
fn tls_that_cannot_be_read_passes_to_a_host_that_is_not_captured() {
    for hello in ILLEGIBLE {
        let (host, served) = listening();
        let gateway = Options::default().start();
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(hello);
        client.close();
        assert_eq!(served.join().expect("the server is content"), hello);
        let exchange = gateway.wait_sealed(1).remove(0);
        assert_eq!(exchange.text("/tunnel/reason"), "not_listed");
        gateway.finish();
    }
}

/// The rest of it could follow once nobody looks any more.
#[test]
fn a_hello_that_is_never_complete_does_not_pass() {
    let hello = b"\x16\x03\x01\x01\xfc\x01\x00\x01\xf8\x03\x03";
    for (arguments, reason) in
        [(["--capture", "all"], "client_rejected"), (["--capture", "known"], "not_listed")]
    {
        let (host, served) = listening();
        let gateway = Options::default()
            .argument(arguments[0])
            .argument(arguments[1])
            .config("[timeouts]\nclient_head = \"200ms\"\n")
            .start();
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(hello);
        let (rest, _) = client.read_to_end();
        assert_eq!(rest.length(), 0);
        drop(client);
        let exchanges = gateway.finish();
        assert_rejected(&exchanges[0], reason);
        assert_eq!(served.join().expect("the server is content"), b"", "{reason}");
    }
}

/// What could have been anything when its client fell silent, and went on as that, ends where it becomes HTTP
/// or TLS after all.
#[test]
fn what_becomes_http_only_later_does_not_pass() {
    for (first, rest) in
        [(b"PURGE".as_slice(), b" /x HTTP/1.1\r\n".as_slice()), (b"\x80\x2e", b"\x01\x03")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let (told, passed) = std::sync::mpsc::channel();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
            let mut seen = vec![0; first.len()];
            stream.read_exact(&mut seen).expect("it goes on");
            told.send(()).expect("the test listens");
            let _ = stream.read_to_end(&mut seen);
            seen
        });
        let gateway = gateway("");
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(first);
        passed.recv_timeout(PATIENCE).expect("it went on");
        client.send(rest);
        let (answer, _) = client.read_to_end();
        assert_eq!(answer.length(), 0);
        drop(client);
        assert_eq!(served.join().expect("the server is content"), first);
        let exchange = gateway.finish().remove(0);
        assert_eq!(exchange.text("/outcome"), "client_cancelled", "{}", exchange.json);
        assert_eq!(exchange.text("/tunnel/reason"), "undecided", "{}", exchange.json);
        assert_eq!(
            exchange.number("/tunnel/from_client"),
            u64::try_from(first.len()).expect("few")
        );
    }
}

/// What a client says to a host that is not to be trusted goes nowhere, and is not left out either.
#[test]
fn a_tunnel_that_falls_is_recorded() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(Authority::new().server(&[]), |_, _| {});
    let gateway = capturing_all(&authority);
    let host = format!("localhost:{}", upstream.address().port());
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("localhost", trusting(gateway.home(), &[]));
    client.send("\0not HTTP");
    let (rest, _) = client.read_to_end();
    assert_eq!(rest.length(), 0);
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].text("/outcome"), "upstream_failed", "{}", exchanges[0].json);
    assert_eq!(exchanges[0].text("/error"), "upstream_tls");
    assert_eq!(exchanges[0].text("/tunnel/reason"), "not_http");
    assert_eq!(exchanges[0].number("/tunnel/from_client"), 0);
    assert!(upstream.finish().is_empty());
}

/// An upstream is known by its address, and its address has many spellings.
#[test]
fn a_captured_address_is_captured_however_it_is_spelled() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    });
    let port = upstream.address().port();
    let gateway = Options::default().upstream("up", format!("http://127.0.0.1:{port}")).start();
    let spellings =
        ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"];
    for name in spellings {
        let host = format!("{name}:{port}");
        let mut client = Wire::tunnel(gateway.address(), &host);
        client.send(head("GET /x HTTP/1.1", &[("Host", host.as_str())]));
        assert_eq!(client.response("GET").bytes(), b"ok", "{name}");
    }
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), spellings.len());
    for exchange in &exchanges {
        assert_eq!(exchange.text("/method"), "GET", "{}", exchange.json);
        assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    }
    upstream.finish();
}
