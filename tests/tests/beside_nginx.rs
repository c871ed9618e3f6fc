//! nginx beside the gateway: nothing that the gateway lets through is read in another way by nginx.
//!
//! Requests of every alteration, from a fixed seed, go through the gateway to nginx and on to an
//! upstream that logs what it gets. Whatever nginx makes of it, the upstream must see no request
//! that the gateway did not record, and each one with the target and the bytes that it recorded. The
//! same bytes go to nginx directly, which shows how much the two let through.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use sealtap_tests::content::Content;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{End, Message, head};
use sealtap_tests::records::Exchange;
use sealtap_tests::suite;
use sealtap_tests::upstream_http1::Upstream;

/// Cases without `SEALTAP_CASES`.
const CASES: u64 = 600;

/// What is put into requests, or what they are cut at.
const WORDS: [&[u8]; 40] = [
    b"GET",
    b" ",
    b"/",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b"\t",
    b"\0",
    b":",
    b",",
    b";",
    b"Host: b\r\n",
    b"X: y\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 03\r\n",
    b"Content-Length: +3\r\n",
    b"Content-Length: 3, 3\r\n",
    b"Content-Length : 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"transfer_encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Content-Length\r\n",
    b"Expect: 100-continue\r\n",
    b"Trailer: X\r\n",
    b" folded\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0",
    b"a",
    b"\x80",
    b"-",
    b"\x7f",
    b"GET /up/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b"%00",
];

/// A generator of numbers, the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("below a usize")
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }
}

/// One connection's bytes: a request or two in pieces, some of them altered.
fn case(number: u64) -> Vec<u8> {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ (number + 1).wrapping_mul(0x1234_5677));
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for _ in 0..=numbers.below(2) {
        let method = numbers.pick(&[b"GET", b"POST", b"PUT", b"DELETE"]);
        let target = format!("/up/case/{number}?{}", numbers.below(1_000));
        pieces.extend([method.to_vec(), b" ".to_vec(), target.into_bytes(), b" ".to_vec()]);
        pieces.extend([b"HTTP/1.1".to_vec(), b"\r\n".to_vec(), b"Host: a.example\r\n".to_vec()]);
        let length = numbers.below(30);
        let body: Vec<u8> =
            (0..length).map(|at| b'a' + u8::try_from(at % 26).expect("small")).collect();
        match numbers.below(3) {
            0 => pieces.push(b"\r\n".to_vec()),
            1 => {
                pieces.push(format!("Content-Length: {length}\r\n").into_bytes());
                pieces.extend([b"\r\n".to_vec(), body]);
            }
            _ => {
                pieces.push(b"Transfer-Encoding: chunked\r\n".to_vec());
                pieces.push(b"\r\n".to_vec());
                for part in body.chunks(11) {
                    pieces.push(format!("{:x}", part.len()).into_bytes());
                    pieces.extend([b"\r\n".to_vec(), part.to_vec(), b"\r\n".to_vec()]);
                }
                pieces.extend([b"0".to_vec(), b"\r\n".to_vec(), b"\r\n".to_vec()]);
            }
        }
    }
    for _ in 0..numbers.below(4) {
        let at = numbers.below(pieces.len());
        match numbers.below(4) {
            0 if pieces.len() > 1 => drop(pieces.remove(at)),
            1 => {
                let byte = u8::try_from(numbers.below(256)).expect("a byte");
                let piece = &mut pieces[at];
                if !piece.is_empty() {
                    let at = numbers.below(piece.len());
                    piece[at] = byte;
                }
            }
            _ => pieces.insert(at, numbers.pick(&WORDS).to_vec()),
        }
    }
    pieces.concat()
}

/// Sends these bytes and nothing more, and waits until the other side is done.
fn send(to: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(to).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    // Who refuses may close before all is sent; that is an answer as well.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut sink = Vec::new();
    let _ = stream.read_to_end(&mut sink);
}

/// nginx with two servers, each in front of an upstream.
struct Nginx {
    child: Child,
    place: PathBuf,
    ports: [u16; 2],
}

impl Nginx {
    fn start(place: &Path, upstreams: [SocketAddr; 2]) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let listeners = [free(), free()];
        let ports = listeners.map(|it| it.local_addr().expect("it has an address").port());
        let mut config = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             merge_slashes off; underscores_in_headers on; keepalive_timeout 20s;\n\
             proxy_http_version 1.1; proxy_ignore_client_abort on; log_format seen '$status $request_method $request_uri';\n",
            place.display()
        );
        for (number, (port, upstream)) in ports.iter().zip(upstreams).enumerate() {
            config.push_str(&format!(
                "server {{ listen 127.0.0.1:{port}; access_log {}/seen-{number} seen;\n\
                 location / {{ proxy_pass http://{upstream}; }} }}\n",
                place.display()
            ));
        }
        config.push_str("}\n");
        let file = place.join("nginx.conf");
        fs::write(&file, config).expect("a configuration can be written");
        let child = Command::new(program().expect("asked before"))
            .arg("-p")
            .arg(place)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx can be run");
        let nginx = Self { child, place: place.to_owned(), ports };
        for number in 0..2 {
            poll("nginx", || TcpStream::connect(nginx.address(number)).ok());
        }
        nginx
    }

    fn address(&self, number: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[number]))
    }

    /// Status, method and target of each request that a server read.
    fn seen(mut self) -> [Vec<String>; 2] {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
        [0, 1].map(|number| {
            let text = fs::read(self.place.join(format!("seen-{number}"))).unwrap_or_default();
            String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
        })
    }
}

/// Where nginx is, if it is there.
fn program() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let places =
        std::env::split_paths(&paths).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.map(|place| place.join("nginx")).find(|path| path.is_file())
}

/// The cases in which both let requests through, and not the same ones.
fn read_otherwise(got: &[Message], alone: &[Message]) -> Vec<u64> {
    let by_case = |messages: &[Message], before: &str| {
        let mut cases: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
        for message in messages {
            let target = String::from_utf8_lossy(message.head.target()).into_owned();
            let rest = target.strip_prefix(before).unwrap_or_default();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let Ok(number) = digits.parse() else { continue };
            let read = (rest.to_owned(), message.body.content.sha256());
            cases.entry(number).or_default().push(read);
        }
        cases
    };
    let (got, alone) = (by_case(got, "/case/"), by_case(alone, "/up/case/"));
    // What comes after something that one of them refused is not compared.
    let otherwise = |(number, read): (&u64, &Vec<(String, String)>)| {
        let other = alone.get(number)?;
        let both = read.iter().zip(other);
        both.into_iter().any(|(one, other)| one != other).then_some(*number)
    };
    got.iter().filter_map(otherwise).collect()
}

fn answering() -> Upstream {
    Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 No Content", &[])))
}

/// The target as the gateway forwarded it.
fn target(exchange: &Exchange) -> String {
    let shown = exchange.show();
    let parts = shown["request"]["target"].as_array().expect("a target in parts");
    parts.iter().map(|part| part.as_str().expect("no secret in it")).collect()
}

/// Whether a request of the log has this target, octet for octet.
fn has_target(message: &Message, target: &str) -> bool {
    let octets: Vec<u8> = target.chars().map(|it| u8::try_from(it).expect("an octet")).collect();
    message.head.target() == octets
}

fn nothing_is_read_in_another_way() {
    let cases = std::env::var("SEALTAP_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(CASES);
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let (behind_both, behind_nginx) = (answering(), answering());
    let nginx = Nginx::start(place.path(), [behind_both.address(), behind_nginx.address()]);
    let gateway = Options::default()
        .config("[timeouts]\nclient_idle = \"2s\"\nclient_head = \"2s\"\n")
        .upstream("up", format!("http://{}", nginx.address(0)))
        .start();
    for number in 0..cases {
        let bytes = case(number);
        send(gateway.address(), &bytes);
        send(nginx.address(1), &bytes);
    }
    let exchanges = gateway.finish();
    let [read, direct] = nginx.seen();
    let got = behind_both.finish();
    let alone = behind_nginx.finish();
    let refused = |it: &&Exchange| it.json["outcome"] == "refused";
    let forwarded: Vec<&Exchange> = exchanges.iter().filter(|it| !refused(it)).collect();
    // Each request that came through nginx is the next one that the gateway recorded as answered.
    let passed = |it: &&&Exchange| it.json["response"]["status"] == 204 || it.json["status"] == 204;
    let passed: Vec<&&Exchange> = forwarded.iter().filter(passed).collect();
    assert_eq!(got.len(), passed.len(), "nginx passed on another number of requests");
    for (message, exchange) in got.iter().zip(&passed) {
        assert_eq!(message.body.end, End::Complete, "{}", exchange.json);
        let (length, sha256) = (message.body.content.length(), message.body.content.sha256());
        assert_eq!(length, exchange.number("/request/bytes"), "{}", exchange.json);
        assert_eq!(sha256, exchange.text("/request/sha256"), "{}", exchange.json);
        // Only octets that are no text must be asked for one by one.
        let url = exchange.text("/url");
        if !message.head.target().is_ascii() || !url.as_bytes().ends_with(message.head.target()) {
            let target = target(exchange);
            assert!(has_target(message, &target), "another target than {target}");
        }
        assert_eq!(message.head.method(), exchange.text("/method"));
    }
    // nginx never read more requests than the gateway had forwarded, refused ones included.
    assert!(read.len() <= forwarded.len(), "nginx read {} of {}", read.len(), forwarded.len());
    let smuggled = read.iter().filter(|line| line.contains("/smuggled")).count();
    let meant = forwarded.iter().filter(|it| it.text("/url").contains("/smuggled")).count();
    assert!(smuggled <= meant, "{smuggled} requests were smuggled past, {meant} were forwarded");
    let differing = read_otherwise(&got, &alone);
    let bytes: u64 = got.iter().map(|message| message.body.content.length()).sum();
    let direct_bytes: u64 = alone.iter().map(|message| message.body.content.length()).sum();
    let empty = Content::default();
    println!(
        "{cases} connections: the gateway recorded {} requests and forwarded {}; behind it nginx read \
         {} and passed on {} with {bytes} bytes ({} without a body); alone nginx read {} and passed on \
         {} with {direct_bytes} bytes",
        exchanges.len(),
        forwarded.len(),
        read.len(),
        got.len(),
        got.iter().filter(|message| message.body.content == empty).count(),
        direct.len(),
        alone.len(),
    );
    for number in &differing {
        eprintln!("case {number} is read otherwise: {}", case(*number).escape_ascii());
    }
    assert!(got.len() as u64 > cases / 4, "too few requests were sound to say anything");
}

fn main() -> ExitCode {
    let missing = program().is_none().then(|| "nginx is not installed".to_owned());
    suite::main(&[("nothing_is_read_in_another_way", nothing_is_read_in_another_way)], missing)
}
