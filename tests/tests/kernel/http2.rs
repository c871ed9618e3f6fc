//! HTTP/2 without TLS on connections that were led here: which of them is captured, by the names in its requests.

use std::fs;

use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::{http2, upstream_http2};

use super::{REQUIRE, connections, home, run};

const NAMED: &str = "[proxy]\ncapture = [\"model.example\"]\ndetect = \"2s\"\n";

/// A server of HTTP/2 without TLS that answers `two`; it speaks first.
fn two() -> upstream_http2::Upstream {
    upstream_http2::Upstream::start(None, |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, &[("content-length", "3")], false);
        let _ = http2::send(&mut stream, "two", true).await;
    })
}

/// A command whose connections are captured where they name `model.example`.
fn launch(line: &[&str]) -> Launched {
    let home = home();
    let path = home.path().join("sealtap.toml");
    fs::write(&path, NAMED).expect("a config");
    run(Launch::new(&home, &[REQUIRE, &format!("--config={}", path.display())]), line)
}

/// By prior knowledge, to a host that only the first request's `:authority` names; the control names another.
pub(super) fn http2_without_tls_is_captured_by_its_name() {
    let upstream = two();
    let port = upstream.address().port();
    let asks = |name: &str| {
        format!(
            "curl -sS --http2-prior-knowledge --noproxy '*' --resolve {name}:{port}:127.0.0.1 \
             -d hello http://{name}:{port}/v1/{name}"
        )
    };
    let script = format!("{} && {}", asks("model.example"), asks("other.example"));
    let launched = launch(&["sh", "-c", &script]).expect(0);
    assert_eq!(launched.stdout(), "twotwo", "{}", launched.stderr());
    let all = launched.captured(2);
    let (tunnels, calls): (Vec<_>, Vec<_>) =
        all.iter().partition(|one| one.json["tunnel"].is_object());
    let ([tunnel], [call]) = (tunnels.as_slice(), calls.as_slice()) else {
        panic!("one of each: {:?}", all.iter().map(|one| &one.json).collect::<Vec<_>>());
    };
    assert_eq!(tunnel.text("/tunnel/reason"), "not_listed", "{}", tunnel.json);
    assert_eq!(call.text("/ingress"), "transparent", "{}", call.json);
    assert_eq!((call.text("/method"), call.number("/status")), ("POST", 200), "{}", call.json);
    assert!(call.text("/url").ends_with("/v1/model.example"), "{}", call.json);
    assert_eq!((call.number("/request/bytes"), call.number("/response/bytes")), (5, 3));
    assert_eq!(connections(&launched, "via_gateway"), 2, "{}", launched.account);
    upstream.finish();
}

/// On a connection whose first request names another host, a later one to a captured host does not go on; nor does a
/// first one that comes only once the server was heard, when it was passed on.
pub(super) fn a_captured_name_does_not_pass_in_a_later_stream() {
    let upstream = two();
    let port = upstream.address().port();
    // Fields as they are: no name of theirs is in a table.
    let script = format!(
        "import socket,time\n\
         def lit(n,v): return b'\\0'+bytes([len(n)])+n+bytes([len(v)])+v\n\
         def ask(stream,name):\n\
         \x20f=lit(b':method',b'GET')+lit(b':scheme',b'http')+lit(b':path',b'/'+name)+lit(b':authority',name+b'.example')\n\
         \x20return len(f).to_bytes(3,'big')+b'\\1\\5'+stream.to_bytes(4,'big')+f\n\
         begin=b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'+bytes([0,0,0,4,0,0,0,0,0])\n\
         def talk(*pieces):\n\
         \x20with socket.create_connection(('127.0.0.1',{port}),timeout=20) as s:\n\
         \x20 got=b''\n\
         \x20 try:\n\
         \x20  for piece,until in pieces:\n\
         \x20   s.sendall(piece)\n\
         \x20   while until not in got:\n\
         \x20    if not (more:=s.recv(999)): return b'ended'\n\
         \x20    got+=more\n\
         \x20   got=b''\n\
         \x20 except ConnectionResetError: return b'reset'\n\
         \x20 return b'whole'\n\
         print(talk((begin+ask(1,b'other'),b'two'),(ask(3,b'other'),b'two')))\n\
         print(talk((begin+ask(1,b'other'),b'two'),(ask(3,b'model'),b'two')))\n\
         print(talk((begin,b'\\4\\0\\0\\0\\0\\0'),(ask(1,b'model'),b'two')))\n\
         print(talk((begin,b'\\4\\0\\0\\0\\0\\0'),(ask(1,b'other'),b'two')))\n\
         print(talk((begin+ask(1,b'model'),b'two'),(ask(3,b'other'),b'two')))"
    );
    let launched = launch(&["python3", "-c", &script]).expect(0);
    let expected = ["whole", "reset", "reset", "whole", "whole"].map(|word| format!("b'{word}'\n"));
    assert_eq!(launched.stdout(), expected.concat(), "{}", launched.stderr());
    let all = launched.captured(6);
    let mut tunnels: Vec<_> = all
        .iter()
        .filter(|one| one.json["tunnel"].is_object())
        .map(|one| (one.text("/tunnel/reason"), one.json["error"].as_str()))
        .collect();
    tunnels.sort_unstable();
    let cut = ("undecided", Some("destination_refused"));
    assert_eq!(tunnels, [("not_listed", None), ("undecided", None), cut, cut]);
    // Of those that it was sent, two were captured: by one connection, whatever the second names.
    let targets: Vec<String> =
        upstream.finish().into_iter().map(|(head, _)| head.uri.path().to_owned()).collect();
    let of = |path: &str| targets.iter().filter(|target| *target == path).count();
    assert_eq!((of("/other"), of("/model")), (5, 1), "{targets:?}");
}
