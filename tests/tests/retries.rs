//! Retries: a request is sent again only where a connection that had waited ended without one byte
//! in answer. Whatever was read of an answer, the request has been seen, and sending it again would
//! make it happen twice with one record.

use sealtap_tests::gateway::Options;
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;

/// The status and body of a DELETE on a connection that has served before and now ends behind
/// `begun`; and how often the upstream saw it.
fn deleted(begun: &'static str) -> (u16, Vec<u8>, usize) {
    let upstream = Upstream::start(move |mut session| {
        let mut served = false;
        while let Some(request) = session.next_request() {
            if served && request.head.target() == b"/thing" {
                session.send(begun);
                return session.into_wire().close();
            }
            served = true;
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
            session.send("ok");
        }
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/first HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").bytes(), b"ok");
    client.send("DELETE /up/thing HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.response("DELETE");
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 2);
    let outcome = if answer.status() == 200 { "complete" } else { "upstream_failed" };
    assert_eq!(exchanges[1].text("/outcome"), outcome, "{}", exchanges[1].json);
    let requests = upstream.finish();
    let seen = requests.iter().filter(|request| request.head.target() == b"/thing").count();
    (answer.status(), answer.bytes().to_vec(), seen)
}

#[test]
fn a_connection_that_ends_without_a_byte() {
    assert_eq!(deleted(""), (200, b"ok".to_vec(), 2));
}

#[test]
fn an_answer_that_has_begun() {
    for begun in [
        "H",
        "HTTP/1.1 200 OK\r\nX-Done: the delete has happ",
        "HTTP/1.1 103 Early Hints\r\nLink: </accepted>\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 20",
    ] {
        let (status, _, seen) = deleted(begun);
        assert_eq!((status, seen), (502, 1), "{begun:?}");
    }
}
