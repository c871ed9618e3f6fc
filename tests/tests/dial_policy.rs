//! What a client may reach through the gateway: no metadata service, and not the gateway itself.

use std::sync::Arc;

use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{Message, head};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

fn get(gateway: &Gateway, authority: &str) -> Message {
    let mut client = Wire::connect(gateway.address());
    client.send(head(format!("GET http://{authority}/x HTTP/1.1"), &[("Host", authority)]));
    client.response("GET")
}

fn connect(gateway: &Gateway, authority: &str) -> u16 {
    Wire::connect_by(gateway.address(), authority, &[]).1.status()
}

#[test]
fn metadata_and_link_local_are_refused_by_either_door() {
    for arguments in [[].as_slice(), &["--capture", "all"]] {
        let mut options = Options::default();
        for argument in arguments {
            options = options.argument(argument);
        }
        let gateway = options.start();
        let addresses = [
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "[fd00:ec2::254]:80",
            "169.254.170.2:80",
            "[fe80::1]:80",
            // As `getaddrinfo` reads them.
            "0xa9fea9fe:80",
            "2852039166:80",
        ];
        for address in addresses {
            assert_eq!(connect(&gateway, address), 403, "{address}");
            let answer = get(&gateway, address);
            assert_eq!(answer.status(), 403, "{address}");
            let said = String::from_utf8_lossy(answer.bytes()).into_owned();
            assert!(said.contains("allow"), "{said}");
        }
        let exchanges = gateway.finish();
        assert_eq!(exchanges.len(), 2 * addresses.len());
        for exchange in &exchanges {
            assert_eq!(exchange.text("/outcome"), "refused", "{}", exchange.json);
            assert_eq!(exchange.text("/error"), "destination_refused");
        }
    }
}

#[test]
fn a_loop_is_refused_by_every_door() {
    let gateway = Options::default().start();
    let port = gateway.address().port();
    for host in ["localhost", "127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"] {
        assert_eq!(connect(&gateway, &format!("{host}:{port}")), 508, "{host}");
    }
    // Names of the listener itself are reverse mode; this one is not among them.
    assert_eq!(get(&gateway, &format!("0.0.0.0:{port}")).status(), 508);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 6);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/outcome"), "refused");
        assert_eq!(exchange.text("/error"), "destination_refused");
    }
}

/// A gateway with itself as an upstream: its port must be known before it starts.
fn its_own_upstream() -> Gateway {
    for _ in 0..20 {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address").port()
        };
        let options = Options::default()
            .upstream("self", format!("http://127.0.0.1:{port}"))
            .listening(&format!("127.0.0.1:{port}"));
        match options.try_start_in(Arc::new(Home::new())) {
            Ok(gateway) => return gateway,
            // Another case may have taken it meanwhile.
            Err((_, said)) => assert!(said.contains("in use"), "{said}"),
        }
    }
    panic!("no port stays free");
}

#[test]
fn an_upstream_that_is_the_gateway_itself_is_refused() {
    let gateway = its_own_upstream();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /self/self/self/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 508);
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1, "it did not come back");
    assert_eq!(exchanges[0].text("/error"), "destination_refused");
}

#[test]
fn a_gateway_on_every_address_knows_its_own() {
    let gateway =
        Options::default().config("[proxy]\nopen = true\n").listening("0.0.0.0:0").start();
    let port = gateway.address().port();
    let own = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    for host in ["127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost"] {
        let (_, head) = Wire::connect_by(own, &format!("{host}:{port}"), &[]);
        assert_eq!(head.status(), 508, "{host}");
    }
    assert_eq!(gateway.finish().len(), 4);
}

#[test]
fn allow_and_deny_are_obeyed() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let config = "[proxy]\ndeny = [\"127.0.0.0/8\", \"::1/128\"]\n";
    let gateway = Options::default().upstream("up", upstream.url()).config(config).start();
    let host = upstream.address().to_string();
    assert_eq!(get(&gateway, &host).status(), 403);
    assert_eq!(connect(&gateway, &host), 403);
    // No address in particular is loopback as well.
    for name in ["localhost", "0.0.0.0", "[::]", "0", "[::ffff:0.0.0.0]"] {
        let host = format!("{name}:{}", upstream.address().port());
        assert_eq!(connect(&gateway, &host), 403, "{name}");
    }
    // What the operator has configured is the operator's to know.
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
    drop(client);
    assert_eq!(gateway.finish().len(), 8);
    assert_eq!(upstream.finish().len(), 1);
}
