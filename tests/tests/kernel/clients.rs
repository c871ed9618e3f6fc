//! Clients whose proxy variables are cleared, over TLS, with what they trust by the variables that stay:
//! each is captured whole, in the versions of HTTP that it speaks.

use std::fs;
use std::net::SocketAddr;

use sealtap_tests::content::Content;
use sealtap_tests::http1::head;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::{http2, upstream_http2};

use super::{REQUIRE, connections, home, run};

/// What is sent: longer than any buffer, with every octet.
fn sent() -> Vec<u8> {
    (0..300_000_u32).map(|number| (number * 31 + number / 256).to_le_bytes()[0]).collect()
}

/// A server of HTTP/1.1 that answers with what it was sent.
fn echo_1(authority: &Authority) -> Upstream {
    Upstream::answering_tls(authority.server(&["http/1.1"]), |session, request| {
        let body = request.bytes().to_vec();
        let length = body.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", length.as_str())]));
        session.send(body);
    })
}

/// The same of HTTP/2.
fn echo_2(authority: &Authority) -> upstream_http2::Upstream {
    upstream_http2::Upstream::start(Some(authority.server(&["h2"])), |mut exchange| async move {
        let body = exchange.read().await;
        let mut stream = exchange.answer(200, &[], false);
        let _ = http2::send(&mut stream, body.content.bytes().to_vec(), true).await;
    })
}

/// Runs a script of the shell in a home where `sent` is, and holds every exchange against it: so many of
/// each version.
fn captured_whole(authority: &Authority, script: &str, versions: [usize; 2]) -> Launched {
    let home = home();
    let ca = home.path().join("upstream-ca.pem");
    authority.write(&ca);
    fs::write(home.path().join("sent"), sent()).expect("written");
    let ca = format!("--upstream-ca={}", ca.display());
    let launch = Launch::new(&home, &[REQUIRE, "--capture=all", &ca]);
    let launched = run(launch, &["sh", "-ec", script]).expect(0);
    let sent = Content::of(sent());
    let count = versions.iter().sum();
    let exchanges = launched.captured(count);
    for exchange in &exchanges {
        assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
        assert_eq!((exchange.text("/method"), exchange.number("/status")), ("POST", 200));
        assert_eq!(exchange.body(Direction::Request), sent, "{}", exchange.json);
        assert_eq!(exchange.body(Direction::Response), sent, "{}", exchange.json);
    }
    let of = |version: &str| {
        let has = |exchange: &&Exchange| version_of(exchange) == version;
        exchanges.iter().filter(has).count()
    };
    assert_eq!([of("1.1"), of("2")], versions, "{}", exchanges[0].show());
    assert_eq!(connections(&launched, "bypass_passed"), 0, "{}", launched.account);
    launched
}

/// The version that the client spoke, as `show` has it.
fn version_of(exchange: &Exchange) -> String {
    exchange.show()["request"]["received"]["version"].as_str().unwrap_or_default().to_owned()
}

/// `curl`, twice over one connection in each version.
pub(super) fn curl_is_captured_whole_in_either_version() {
    let authority = Authority::new();
    let (one, two) = (echo_1(&authority), echo_2(&authority));
    let calls = |version: &str, address: SocketAddr| {
        let url = format!("https://{address}/v1/echo");
        format!(
            "curl -sS {version} --noproxy '*' --data-binary @sent -o got.1 -o got.2 {url} {url}; \
             cmp sent got.1; cmp sent got.2; "
        )
    };
    let script = calls("--http1.1", one.address()) + &calls("--http2", two.address());
    let launched = captured_whole(&authority, &script, [2, 2]);
    assert_eq!(connections(&launched, "via_gateway"), 2, "{}", launched.account);
    assert_eq!((one.finish().len(), two.finish().len()), (2, 2));
}

/// Python's own clients: one that keeps its connection, and one that does not.
pub(super) fn python_is_captured_whole() {
    let authority = Authority::new();
    let upstream = echo_1(&authority);
    let script = format!(
        "exec python3 -c \"\n\
         import http.client,ssl,urllib.request\n\
         sent=open('sent','rb').read()\n\
         kept=http.client.HTTPSConnection('{0}')\n\
         for n in range(2):\n\
         \x20kept.request('POST','/v1/echo',sent); assert kept.getresponse().read()==sent\n\
         assert urllib.request.urlopen('https://{0}/v1/echo',sent).read()==sent\n\"",
        upstream.address()
    );
    let launched = captured_whole(&authority, &script, [3, 0]);
    assert_eq!(connections(&launched, "via_gateway"), 2, "{}", launched.account);
    assert_eq!(upstream.finish().len(), 3);
}

/// Node's `fetch`, and its client of HTTP/2.
pub(super) fn node_is_captured_whole() {
    let authority = Authority::new();
    let (one, two) = (echo_1(&authority), echo_2(&authority));
    let script = format!(
        "exec node -e \"\n\
         const sent = require('fs').readFileSync('sent');\n\
         const same = (got) => {{ if (!sent.equals(got)) process.exit(3); }};\n\
         (async () => {{\n\
         \x20 const told = await fetch('https://{}/v1/echo', {{ method: 'POST', body: sent }});\n\
         \x20 same(Buffer.from(await told.arrayBuffer()));\n\
         \x20 const held = require('http2').connect('https://{}');\n\
         \x20 const stream = held.request({{ ':method': 'POST', ':path': '/v1/echo' }});\n\
         \x20 stream.end(sent);\n\
         \x20 const got = [];\n\
         \x20 for await (const piece of stream) got.push(piece);\n\
         \x20 same(Buffer.concat(got));\n\
         \x20 held.close();\n\
         }})();\n\"",
        one.address(),
        two.address()
    );
    let launched = captured_whole(&authority, &script, [1, 1]);
    assert_eq!(connections(&launched, "via_gateway"), 2, "{}", launched.account);
    assert_eq!((one.finish().len(), two.finish().len()), (1, 1));
}
