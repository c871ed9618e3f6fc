//! Tunnels that are passed on unread: counted, sealed under a number, and never captured.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, park_timeout};
use std::time::Duration;

use sealtap_tests::gate::{Gate, PATIENCE, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{End, head};
use sealtap_tests::records::Exchange;
use sealtap_tests::tls::{Authority, trusting};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// A server that runs `script` on one connection.
fn server(script: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
        script(stream);
    });
    (address, thread)
}

fn assert_tunnel(exchange: &Exchange, host: &str, reason: &str, counts: [u64; 2]) {
    let json = &exchange.json;
    assert_eq!(exchange.text("/method"), "CONNECT", "{json}");
    assert_eq!(exchange.text("/url"), host, "{json}");
    assert_eq!(exchange.text("/ingress"), "connect", "{json}");
    assert_eq!(exchange.text("/tunnel/reason"), reason, "{json}");
    assert_eq!(exchange.number("/tunnel/from_client"), counts[0], "{json}");
    assert_eq!(exchange.number("/tunnel/to_client"), counts[1], "{json}");
    assert_eq!(exchange.number("/request/bytes"), 0, "{json}");
}

#[test]
fn a_host_that_is_not_listed_passes_unread() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), |session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    });
    let gateway = Options::default().start();
    let host = format!("localhost:{}", upstream.address().port());
    let client = Wire::tunnel(gateway.address(), &host);
    // It sees the host's own certificate.
    let mut client = client.into_tls("localhost", authority.client(&["http/1.1"]));
    client.send(head("GET /secret HTTP/1.1", &[("Host", host.as_str())]));
    assert_eq!(client.response("GET").bytes(), b"ok");
    client.close();
    let exchange = gateway.wait_sealed(1).remove(0);
    assert_eq!(exchange.text("/outcome"), "complete");
    assert_eq!(exchange.text("/tunnel/reason"), "not_listed");
    assert!(exchange.number("/tunnel/from_client") > 100, "{}", exchange.json);
    assert!(exchange.number("/tunnel/to_client") > 500, "{}", exchange.json);
    let home = gateway.terminate();
    assert_eq!(upstream.finish().len(), 1);
    for folder in ["journal", "store", "log"] {
        assert!(!contains(&home.data().join(folder), b"/secret"), "captured in {folder}");
    }
}

/// Whether any file below `folder` holds `bytes`.
fn contains(folder: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return contains(&path, bytes);
        }
        let content = std::fs::read(&path).expect("a file");
        memchr::memmem::find(&content, bytes).is_some()
    })
}

#[test]
fn a_server_that_speaks_first_is_heard_outside_of_tls() {
    for arguments in [[].as_slice(), &["--capture", "all"]] {
        let (address, served) = server(|mut stream| {
            stream.write_all(b"220 ready\r\n").expect("the greeting leaves");
            let mut line = [0; 6];
            stream.read_exact(&mut line).expect("the answer comes");
            assert_eq!(&line, b"QUIT\r\n");
            stream.write_all(b"221 bye\r\n").expect("the end leaves");
        });
        let mut options = Options::default();
        for argument in arguments {
            options = options.argument(argument);
        }
        let gateway = options.start();
        let mut client = Wire::tunnel(gateway.address(), &address.to_string());
        assert_eq!(client.read_exact(11), b"220 ready\r\n");
        client.send("QUIT\r\n");
        assert_eq!(client.read_exact(9), b"221 bye\r\n");
        client.close();
        served.join().expect("the server is content");
        let exchanges = gateway.finish();
        let reason = if arguments.is_empty() { "not_listed" } else { "not_http" };
        assert_tunnel(&exchanges[0], &address.to_string(), reason, [6, 20]);
        assert_eq!(exchanges[0].text("/outcome"), "complete");
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_inside_of_tls() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&[]), |session| {
        let mut wire = session.into_wire();
        wire.send("220 ready\r\n");
        assert_eq!(wire.read_exact(6), b"QUIT\r\n");
        wire.close();
    });
    let gateway = capturing(&authority);
    let host = upstream.address().to_string();
    let client = Wire::tunnel(gateway.address(), &host);
    let mut client = client.into_tls("127.0.0.1", trusting(gateway.home(), &[]));
    client.handshake().expect("TLS");
    assert_eq!(client.read_exact(11), b"220 ready\r\n");
    client.send("QUIT\r\n");
    let (rest, end) = client.read_to_end();
    assert_eq!((rest.length(), end), (0, End::Complete));
    client.close();
    let exchange = gateway.wait_sealed(1).remove(0);
    assert_tunnel(&exchange, &host, "not_http", [6, 11]);
    gateway.finish();
    upstream.finish();
}

fn capturing(authority: &Authority) -> Gateway {
    let home = Arc::new(Home::new());
    Options::default().trusting(authority, &home).capturing_all().start_in(home)
}

#[test]
fn what_is_not_http_passes_at_once() {
    let (address, served) = server(|mut stream| {
        let mut seen = Vec::new();
        stream.read_to_end(&mut seen).expect("all of it comes");
        assert_eq!(seen, b"SSH-2.0-test\r\nmore");
        stream.write_all(b"SSH-2.0-too\r\n").expect("the answer leaves");
    });
    // Were it waited for, the test would not end.
    let gateway = Options::default()
        .argument("--capture")
        .argument("all")
        .config("[proxy]\ndetect = \"60s\"\n")
        .start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    client.send("SSH-2.0-test\r\n");
    client.send("more");
    client.half_close();
    let (rest, end) = client.read_to_end();
    assert_eq!((rest.length(), end), (13, End::Complete));
    drop(client);
    served.join().expect("the server is content");
    let exchanges = gateway.finish();
    assert_tunnel(&exchanges[0], &address.to_string(), "not_http", [18, 13]);
}

/// A client that is slow, not silent, is captured however late it speaks.
/// One that could begin anything, and whose client then waits for an answer.
#[test]
fn a_short_word_that_comes_late_passes_at_once_where_nothing_is_captured() {
    let (address, thread) = server(|mut stream| {
        let mut word = [0; 4];
        stream.read_exact(&mut word).expect("the word comes before anything else does");
        stream.write_all(b"PONG").expect("the answer leaves");
    });
    let gateway = Options::default().start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    // By now the server is listened to as well.
    park_timeout(Duration::from_millis(50));
    client.send("PING");
    assert_eq!(client.read_exact(4), b"PONG");
    client.close();
    thread.join().expect("the server heard it");
    assert_tunnel(&gateway.wait_sealed(1)[0], &address.to_string(), "not_listed", [4, 4]);
    gateway.finish();
}

#[test]
fn a_slow_client_is_captured_all_the_same() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    });
    let gateway = Options::default()
        .argument("--capture")
        .argument("all")
        .config("[proxy]\ndetect = \"1ms\"\n")
        .start();
    let host = upstream.address().to_string();
    let mut client = Wire::tunnel(gateway.address(), &host);
    park_timeout(Duration::from_millis(100));
    client.send(head("GET /late HTTP/1.1", &[("Host", host.as_str())]));
    assert_eq!(client.response("GET").bytes(), b"ok");
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/url"), format!("http://{host}/late"));
    upstream.finish();
}

#[test]
fn a_tunnel_that_is_reset_says_who_left() {
    let (address, served) = server(|mut stream| {
        let mut four = [0; 4];
        stream.read_exact(&mut four).expect("it comes");
        // Unread bytes make the close a reset.
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
            .expect("a socket can linger");
    });
    let gateway = Options::default().start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    client.send("four");
    let (rest, end) = client.read_to_end();
    assert_eq!((rest.length(), end), (0, End::Reset));
    drop(client);
    served.join().expect("the server is content");
    let exchanges = gateway.finish();
    assert_eq!(exchanges[0].text("/outcome"), "upstream_failed");
    assert_tunnel(&exchanges[0], &address.to_string(), "not_listed", [4, 0]);
}

/// A server that says nothing and never leaves does not keep the tunnel of a client that is gone.
#[test]
fn a_client_that_leaves_after_its_fin_takes_its_tunnel_with_it() {
    let heard = Gate::default();
    let fin = heard.clone();
    let (address, served) = server(move |mut stream| {
        let mut four = [0; 4];
        stream.read_exact(&mut four).expect("it comes");
        assert_eq!(stream.read(&mut four).expect("the FIN comes"), 0);
        fin.open();
        // It hears of the end without having said or asked anything.
        let socket = stream.try_clone().expect("a socket can be shared");
        poll("a reset", || socket.take_error().expect("a socket has an error").map(drop));
    });
    let gateway = Options::default().start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    client.send("four");
    client.half_close();
    heard.wait(1);
    client.reset();
    let exchange = gateway.wait_sealed(1).remove(0);
    assert_eq!(exchange.text("/outcome"), "client_cancelled");
    assert_tunnel(&exchange, &address.to_string(), "not_listed", [4, 0]);
    served.join().expect("the server is content");
    gateway.finish();
}

#[test]
fn a_tunnel_that_is_open_at_the_end_is_sealed_with_its_counts() {
    let (address, served) = server(|mut stream| {
        stream.write_all(b"hello").expect("it leaves");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = Options::default().start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    assert_eq!(client.read_exact(5), b"hello");
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1);
    assert_eq!(exchanges[0].text("/outcome"), "interrupted");
    assert_tunnel(&exchanges[0], &address.to_string(), "not_listed", [0, 5]);
    drop(client);
    served.join().expect("the server is content");
}

#[test]
fn a_tunnel_that_a_crash_cut_is_sealed_by_the_next_start() {
    let (address, served) = server(|mut stream| {
        stream.write_all(b"hello").expect("it leaves");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let gateway = Options::default().start();
    let mut client = Wire::tunnel(gateway.address(), &address.to_string());
    assert_eq!(client.read_exact(5), b"hello");
    let home = gateway.crash();
    let gateway = Options::default().start_in(home);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1, "what had passed had a number");
    assert_eq!(exchanges[0].text("/outcome"), "interrupted");
    assert_eq!(exchanges[0].text("/tunnel/reason"), "not_listed");
    drop(client);
    served.join().expect("the server is content");
}

/// TLS that was opened, and the clear: a client that asks for nothing leaves a tunnel without a byte.
#[test]
fn a_tunnel_in_which_nothing_is_asked_for_is_told() {
    let authority = Authority::new();
    let upstream = Upstream::answering_tls(authority.server(&["http/1.1"]), |_, _| {});
    let gateway = capturing(&authority);
    let host = format!("localhost:{}", upstream.address().port());
    for protocols in [Some(&["http/1.1"][..]), Some(&[]), None] {
        let client = Wire::tunnel(gateway.address(), &host);
        match protocols {
            Some(protocols) => {
                let settings = trusting(gateway.home(), protocols);
                let mut client = client.into_tls("localhost", settings);
                client.handshake().expect("the leaf is taken");
                client.close();
            }
            None => client.close(),
        }
    }
    for exchange in gateway.wait_sealed(3) {
        assert_tunnel(&exchange, &host, "not_http", [0, 0]);
        assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
    }
    gateway.terminate();
    assert!(upstream.finish().is_empty());
}
