//! What the first bytes of a connection that was led here say: TLS, HTTP of either version, a server that
//! speaks first, or anything else; and what becomes of each.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sealtap_tests::gate::PATIENCE;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::records::Exchange;
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;

use super::{REQUIRE, connections, home, run};

/// Connects, sends each of the pieces in a packet of its own, and reads what comes to its end.
const ASKS: &str = "import socket,sys,time\n\
    def asks(host,port,pieces,pause=0.004):\n\
    \x20family=socket.AF_INET6 if ':' in host else socket.AF_INET\n\
    \x20with socket.socket(family) as s:\n\
    \x20 s.settimeout(20); s.connect((host,port)); s.setsockopt(6,1,1); got=b''\n\
    \x20 try:\n\
    \x20  for piece in pieces: s.sendall(piece); time.sleep(pause)\n\
    \x20  while more:=s.recv(999): got+=more\n\
    \x20 except ConnectionResetError: got+=b' reset'\n\
    \x20 return got\n\
    def single(data): return [data[n:n+1] for n in range(len(data))]\n\
    def says(got): print(got.rsplit(b'\\r\\n',1)[-1].decode())\n";

/// What a server was sent, connection by connection.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server of `listener` that does this with each connection, and tells what it was sent.
fn serves(
    listener: TcpListener,
    serve: impl Fn(&mut TcpStream, &dyn Fn(Vec<u8>)) + Copy + Send + 'static,
) -> (SocketAddr, Heard) {
    let address = listener.local_addr().expect("an address");
    let heard = Heard::default();
    let all = Arc::clone(&heard);
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let all = Arc::clone(&all);
            thread::spawn(move || {
                stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
                let told = |got| all.lock().expect("nobody panics here").push(got);
                serve(&mut stream, &told);
            });
        }
    });
    (address, heard)
}

/// A server of `listener` that gives `answer` to what comes until `end`, and hangs up.
fn answers(
    listener: TcpListener,
    end: &'static [u8],
    answer: &'static [u8],
) -> (SocketAddr, Heard) {
    serves(listener, move |stream, told| {
        let (mut got, mut part) = (Vec::new(), [0; 999]);
        while !got.ends_with(end) {
            match stream.read(&mut part) {
                Ok(length) if length > 0 => got.extend(&part[..length]),
                _ => break,
            }
        }
        told(got);
        let _ = stream.write_all(answer);
    })
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn web(address: &str) -> (SocketAddr, Heard) {
    answers(TcpListener::bind(address).expect("a port"), b"\r\n\r\n", OK)
}

/// A command whose connections are captured where they name `model.example`.
fn launch(config: &str, script: &str) -> Launched {
    let home = home();
    let path = home.path().join("sealtap.toml");
    fs::write(&path, config).expect("a config");
    let config = format!("--config={}", path.display());
    let script = format!("{ASKS}{script}");
    run(Launch::new(&home, &[REQUIRE, &config]), &["python3", "-c", &script]).expect(0)
}

const NAMED: &str = "[proxy]\ncapture = [\"model.example\"]\n";

fn of_tunnels(all: &[Exchange]) -> Vec<(String, u64)> {
    let tunnels = all.iter().filter(|one| one.json["tunnel"].is_object());
    let facts =
        |one: &Exchange| (one.text("/tunnel/reason").to_owned(), one.number("/tunnel/from_client"));
    let mut facts: Vec<_> = tunnels.map(facts).collect();
    facts.sort();
    facts
}

/// HTTP without TLS is captured by the name in its first request, over each family, and however its bytes
/// come. The same to another name is not.
pub(super) fn a_request_is_captured_however_its_bytes_come() {
    let (v4, heard) = web("127.0.0.1:0");
    let (v6, _) = web("[::1]:0");
    let script = format!(
        "def head(line,name='model.example'): return (line+' HTTP/1.1\\r\\nConnection: close\\r\\nHost: '+name+'\\r\\n\\r\\n').encode()\n\
         four,six={},{}\n\
         says(asks('127.0.0.1',four,[head('GET /whole')]))\n\
         says(asks('::1',six,[head('GET /six')]))\n\
         says(asks('::ffff:127.0.0.1',four,[head('GET /mapped')]))\n\
         says(asks('127.0.0.1',four,single(head('GET /dribbled'))))\n\
         says(asks('::1',six,single(head('GET /dribbled/six'))))\n\
         says(asks('127.0.0.1',four,single(head('PURGE /extension'))))\n\
         says(asks('127.0.0.1',four,[b'GE',b'T /pieces HTTP/1.1\\r\\nConnection: close\\r\\nHo',b'st: model.example\\r\\n\\r\\n'],0.5))\n\
         says(asks('127.0.0.1',four,single(head('GET /other','other.example'))))",
        v4.port(),
        v6.port()
    );
    // Patient with a client that a busy machine makes slow, or one that stands still for seconds.
    let launched = launch(&format!("{NAMED}detect = \"1min\"\n"), &script);
    assert_eq!(launched.stdout(), "ok\n".repeat(8), "{}", launched.stderr());
    let all = launched.captured(8);
    let mut targets: Vec<String> = Vec::new();
    for one in all.iter().filter(|one| !one.json["tunnel"].is_object()) {
        assert_eq!(one.text("/ingress"), "transparent", "{}", one.json);
        assert_eq!(
            (one.number("/status"), one.number("/response/bytes")),
            (200, 2),
            "{}",
            one.json
        );
        let url = one.text("/url");
        let path = url.splitn(4, '/').nth(3).unwrap_or_default();
        targets.push(format!("{} {path}", one.text("/method")));
    }
    targets.sort();
    let expected = [
        "GET dribbled",
        "GET dribbled/six",
        "GET mapped",
        "GET pieces",
        "GET six",
        "GET whole",
        "PURGE extension",
    ];
    assert_eq!(targets, expected);
    let other = "GET /other HTTP/1.1\r\nConnection: close\r\nHost: other.example\r\n\r\n";
    let length = u64::try_from(other.len()).expect("short");
    assert_eq!(of_tunnels(&all), [("not_listed".to_owned(), length)]);
    let heard = heard.lock().expect("nobody panics here");
    assert!(heard.iter().any(|got| got == other.as_bytes()), "as it was sent");
    assert_eq!(connections(&launched, "via_gateway"), 8, "{}", launched.account);
}

/// What could still have become a request to a captured host when its client fell silent passes and says so; what
/// is one for sure, but for its name, does not pass.
pub(super) fn what_stays_undecided_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, heard) = answers(listener, b"PING", b"\r\nPONG");
    let script = format!(
        "to=('127.0.0.1',{})\n\
         says(asks(*to,[b'PING']))\n\
         says(asks(*to,[b'GET / HTTP/1.1\\r\\nAccept: */*\\r\\n']))\n\
         says(asks(*to,[b'SSH-2.0-x\\r\\nPING']))",
        address.port()
    );
    let config = format!("{NAMED}[timeouts]\nclient_head = \"1s\"\n");
    let launched = launch(&config, &script);
    assert_eq!(launched.stdout(), "PONG\n reset\nPONG\n", "{}", launched.stderr());
    let expected = [("not_listed", 15), ("undecided", 0), ("undecided", 4)];
    let expected = expected.map(|(reason, bytes)| (reason.to_owned(), bytes));
    assert_eq!(of_tunnels(&launched.captured(3)), expected);
    let heard = heard.lock().expect("nobody panics here").clone();
    assert!(heard.contains(&b"PING".to_vec()), "{heard:?}");
    assert!(!heard.iter().any(|got| got.starts_with(b"GET")), "nothing of it went on");
}

/// A client that speaks first in no protocol known here passes at once, whatever may be waited for; so
/// does HTTP/2 without TLS, whose names are not read, and TLS to a name that is not captured.
pub(super) fn what_is_not_captured_passes_as_what_it_is() {
    let (other, _) = answers(TcpListener::bind("127.0.0.1:0").expect("a port"), b"\n", b"\r\nfine");
    let (http2, _) =
        answers(TcpListener::bind("127.0.0.1:0").expect("a port"), b"SM\r\n\r\n", b"\r\nold");
    let authority = Authority::new();
    let tls = Upstream::answering_tls(authority.server_for("other.example"), |session, _| {
        session.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntls\n");
    });
    let script = format!(
        "import ssl\n\
         says(asks('127.0.0.1',{},[b'\\x00\\x01binary\\n']))\n\
         says(asks('::ffff:127.0.0.1',{},[b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n']))\n\
         c=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT); c.check_hostname=False; c.verify_mode=ssl.CERT_NONE\n\
         with c.wrap_socket(socket.create_connection(('127.0.0.1',{})),server_hostname='other.example') as s:\n\
         \x20s.sendall(b'GET / HTTP/1.1\\r\\nHost: other.example\\r\\n\\r\\n'); print(s.recv(999)[-4:-1].decode())",
        other.port(),
        http2.port(),
        tls.address().port()
    );
    // Were any of it waited for, it would not end in time.
    let config = format!("{NAMED}[timeouts]\nclient_head = \"10min\"\n");
    let launched = launch(&config, &script);
    assert_eq!(launched.stdout(), "fine\nold\ntls\n", "{}", launched.stderr());
    let all = launched.captured(3);
    let reasons: Vec<String> = of_tunnels(&all).into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, ["not_listed", "not_listed", "undecided"]);
    tls.finish();
}

/// Where policy refuses what is not captured, the name decides: it goes on, and nothing else does, in
/// whatever protocol.
pub(super) fn what_policy_refuses_goes_nowhere() {
    let (web, _) = web("127.0.0.1:0");
    let (other, heard) =
        answers(TcpListener::bind("127.0.0.1:0").expect("a port"), b"\n", b"\r\nfine");
    let script = format!(
        "says(asks('127.0.0.1',{0},[b'GET / HTTP/1.1\\r\\nConnection: close\\r\\nHost: model.example\\r\\n\\r\\n']))\n\
         says(asks('127.0.0.1',{0},[b'GET / HTTP/1.1\\r\\nConnection: close\\r\\nHost: other.example\\r\\n\\r\\n']))\n\
         says(asks('127.0.0.1',{1},[b'\\x00binary\\n']))",
        web.port(),
        other.port()
    );
    let tunnelled = launch(NAMED, &script);
    assert_eq!(tunnelled.stdout(), "ok\nok\nfine\n", "the control: {}", tunnelled.stderr());
    tunnelled.captured(3);
    let before = heard.lock().expect("nobody panics here").len();
    let launched = launch(&format!("{NAMED}other = \"refuse\"\n"), &script);
    assert_eq!(launched.stdout(), "ok\n reset\n reset\n", "{}", launched.stderr());
    let all = launched.captured(3);
    assert_eq!(of_tunnels(&all), [("not_listed".to_owned(), 0), ("not_listed".to_owned(), 0)]);
    let refused = all
        .iter()
        .filter(|one| one.json["tunnel"].is_object() && one.text("/error") == "destination_refused")
        .count();
    assert_eq!(refused, 2, "{:?}", all.iter().map(|one| &one.json).collect::<Vec<_>>());
    assert_eq!(heard.lock().expect("nobody panics here").len(), before, "nothing reached it");
}

/// A server that answers each head, keeps the connection, and gives what it was sent.
fn keeps() -> (SocketAddr, Heard) {
    serves(TcpListener::bind("127.0.0.1:0").expect("a port"), |stream, told| {
        let (mut got, mut part) = (Vec::new(), [0; 999]);
        while let Ok(length @ 1..) = stream.read(&mut part) {
            got.extend(&part[..length]);
            if got.ends_with(b"\r\n\r\n") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        }
        told(got);
    })
}

/// A client that ends its side behind a name, without the line feed that would end the line, is told by that name
/// like any other: what it sent reaches its server where the name is not captured, and nothing does where it is.
pub(super) fn a_name_counts_whose_line_a_client_never_ends() {
    let (address, heard) = keeps();
    let script = format!(
        "import socket\n\
         def leaves(data):\n\
         \x20with socket.create_connection(('127.0.0.1',{}),timeout=20) as s:\n\
         \x20 s.sendall(data); s.shutdown(socket.SHUT_WR); got=b''\n\
         \x20 while more:=s.recv(999): got+=more\n\
         \x20 print(got)\n\
         leaves(b'GET /named HTTP/1.1\\r\\nHost: model.example')\n\
         leaves(b'GET /other HTTP/1.1\\r\\nHost: other.example')\n",
        address.port()
    );
    let config = format!("{NAMED}[timeouts]\nclient_head = \"10min\"\n");
    let launched = launch(&config, &script);
    assert_eq!(launched.stdout(), "b''\nb''\n", "{}", launched.stderr());
    let heard = heard.lock().expect("nobody panics here").clone();
    let other = b"GET /other HTTP/1.1\r\nHost: other.example".to_vec();
    assert_eq!(heard.into_iter().filter(|got| !got.is_empty()).collect::<Vec<_>>(), [other]);
}

/// On a connection that passes since its first request names another host, a later one to a captured host does
/// not go on; nor does one in a head that is too long to be waited for, or that spells the name in two lines.
pub(super) fn a_captured_name_does_not_pass_behind_another() {
    let (address, heard) = keeps();
    let script = format!(
        "to=('127.0.0.1',{})\n\
         def in_turn(first,then):\n\
         \x20with socket.create_connection(to,20) as s:\n\
         \x20 s.sendall(first); got=b''\n\
         \x20 while not got.endswith(b'ok'): got+=s.recv(999)\n\
         \x20 try:\n\
         \x20  s.sendall(then)\n\
         \x20  while more:=s.recv(999): got+=more\n\
         \x20 except ConnectionResetError: got+=b' reset'\n\
         \x20 return got\n\
         other=b'GET /other HTTP/1.1\\r\\nHost: other.example\\r\\n\\r\\n'\n\
         named=b'GET /named HTTP/1.1\\r\\nConnection: close\\r\\nHost: model.example\\r\\n\\r\\n'\n\
         says(in_turn(other,named))\n\
         print(asks(*to,[other+named]).count(b'200 OK'))\n\
         says(asks(*to,[b'GET / HTTP/1.1\\r\\nX: '+b'x'*300000,b'\\r\\n'+named],0.5))\n\
         print(asks(*to,[named.replace(b': model',b':\\r\\n model')])[9:12].decode())",
        address.port()
    );
    let config = format!("{NAMED}[timeouts]\nclient_head = \"10min\"\n");
    let launched = launch(&config, &script);
    assert_eq!(launched.stdout(), "ok reset\n2\n reset\n400\n", "{}", launched.stderr());
    let all = launched.captured(5);
    let other = "GET /other HTTP/1.1\r\nHost: other.example\r\n\r\n";
    let length = u64::try_from(other.len()).expect("short");
    let expected = [0, length].map(|bytes| ("undecided".to_owned(), bytes));
    assert_eq!(of_tunnels(&all), expected);
    let cut =
        all.iter().find(|one| one.json["tunnel"]["from_client"] == length).expect("it passed");
    assert_eq!(cut.text("/error"), "destination_refused", "{}", cut.json);
    let refused = all.iter().filter(|one| one.text("/outcome") == "refused").count();
    assert_eq!(refused, 1);
    let heard = heard.lock().expect("nobody panics here");
    assert!(heard.contains(&other.as_bytes().to_vec()), "what came before went on");
    // Both of those that came at once were captured: what is read is not passed on unread.
    let url = |one: &Exchange| one.json["url"].as_str().unwrap_or_default().to_owned();
    let named = |one: &&Exchange| url(one).ends_with("/named");
    assert_eq!(all.iter().filter(named).count(), 1);
    let named = |got: &&Vec<u8>| got.windows(6).any(|word| word == b"/named");
    assert_eq!(heard.iter().filter(named).count(), 1, "nothing else of it went on");
}

/// What is none of HTTP though it begins like it, and what could begin TLS and does not go on, is not waited for
/// in vain.
pub(super) fn what_only_begins_like_it_passes() {
    let servers = [b"key\r\n".as_slice(), b"\x85\x01"].map(|end| {
        answers(TcpListener::bind("127.0.0.1:0").expect("a port"), end, b"\r\nfine").0.port()
    });
    let script = format!(
        "says(asks('127.0.0.1',{},[b'GET key\\r\\n']))\n\
         says(asks('127.0.0.1',{},[b'\\x85\\x01']))",
        servers[0], servers[1]
    );
    // Were they waited for as a head or a hello is, it would not end in time.
    let config = format!("{NAMED}[timeouts]\nclient_head = \"10min\"\n");
    let launched = launch(&config, &script);
    assert_eq!(launched.stdout(), "fine\nfine\n", "{}", launched.stderr());
    let expected = [("not_listed", 9), ("undecided", 2)];
    let expected = expected.map(|(reason, bytes)| (reason.to_owned(), bytes));
    assert_eq!(of_tunnels(&launched.captured(2)), expected);
}
