//! Witness: the real gateway and the real `sealtap witness` over sockets. A log that grows is
//! cosigned; one that was rolled back or forked, data directory *and* lock, is refused and says so.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use sealtap_common::encoding::base64_decode;
use sealtap_tests::gate::{OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::metrics::metrics;
use sealtap_tests::programs;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::text as said_by;
use sealtap_tests::wire::Wire;
use sealtap_tests::witness::{Memory, Witness};

/// A witness has as long as it takes on a machine that is busy; what nobody answers is refused at once.
const CONFIG: &str = "[witness]\npolicy = \"witnesses.policy\"\ntimeout = \"60s\"\n";

/// An upstream, a home whose keys are made, and a witness that knows them.
struct Scene {
    upstream: Upstream,
    home: Arc<Home>,
    memory: Memory,
    witness: Witness,
    /// Nobody else is given the witness's port while it is gone.
    _port: OwnedFd,
}

/// A port for one that listens, ends, and listens there again.
fn port() -> (OwnedFd, String) {
    let (kind, closed) = (SocketType::STREAM, SocketFlags::CLOEXEC);
    let held = socket_with(AddressFamily::INET, kind, closed, None).unwrap();
    // Whoever listens sets the same, and so both may be bound to it.
    set_socket_reuseaddr(&held, true).unwrap();
    bind(&held, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddr::try_from(getsockname(&held).unwrap()).unwrap();
    (held, address.to_string())
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::answering(|session, _| {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
        });
        let gateway = Options::default().upstream("up", upstream.url()).start();
        let home = gateway.terminate();
        let memory = Memory::new();
        let (held, address) = port();
        let witness = Witness::start(&memory, &[&home.keys()], &address);
        std::fs::write(home.path().join("witnesses.policy"), witness.policy()).unwrap();
        Self { upstream, home, memory, witness, _port: held }
    }

    fn options(&self) -> Options {
        Options::default().upstream("up", self.upstream.url()).config(CONFIG)
    }

    fn start(&self) -> Gateway {
        self.options().start_in(Arc::clone(&self.home))
    }

    fn policy(&self) -> std::path::PathBuf {
        self.home.path().join("witnesses.policy")
    }
}

fn exchange(gateway: &Gateway, count: usize) {
    let mut client = Wire::connect(gateway.address());
    for index in 0..count {
        client.send(head(format!("GET /up/{index} HTTP/1.1"), &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 200);
    }
}

/// Both verifiers, which must agree; exit code and what the product says.
fn verify(home: &Home, arguments: &[&Path]) -> (i32, String) {
    let run = |mut command: Command| -> Output {
        command.arg(home.data()).arg("--key").arg(home.keys());
        for pair in arguments.chunks(2) {
            command.arg(pair[0]).arg(pair[1]);
        }
        command.output().unwrap()
    };
    let mut product = Command::new(programs::sealtap());
    product.arg("verify");
    let (product, small) = (run(product), run(Command::new(programs::sealtap_verify())));
    assert_eq!(product.status, small.status, "{} {}", said_by(&product), said_by(&small));
    (product.status.code().unwrap(), said_by(&product))
}

/// The cosignature as `openssl` sees it: an Ed25519 signature over the specification's message.
fn openssl_accepts(home: &Home, witness: &Witness) {
    let note = std::fs::read_to_string(home.data().join("witness/checkpoint")).unwrap();
    let (text, lines) = note.rsplit_once("\n\n").unwrap();
    let line = lines.lines().find(|line| line.contains(witness.name())).unwrap();
    let value = base64_decode(line.rsplit(' ').next().unwrap()).unwrap();
    let time = u64::from_be_bytes(value[4..12].try_into().unwrap());
    let vkey = base64_decode(witness.vkey().splitn(3, '+').nth(2).unwrap()).unwrap();
    // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410).
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key.der"), [&prefix, &vkey[1..]].concat()).unwrap();
    std::fs::write(path("signature"), &value[12..]).unwrap();
    for (time, holds) in [(time, true), (time + 1, false)] {
        let message = format!("cosignature/v1\ntime {time}\n{text}\n");
        std::fs::write(path("message"), message).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args("pkeyutl -verify -pubin -keyform DER -inkey key.der -rawin".split(' '));
        openssl.args(["-in", "message", "-sigfile", "signature"]).current_dir(folder.path());
        let output = openssl.output().unwrap();
        assert_eq!(output.status.success(), holds, "{}", said_by(&output));
    }
}

/// The size in a cosigned checkpoint, if there is one.
fn cosigned_size(home: &Home) -> u64 {
    let note = std::fs::read_to_string(home.data().join("witness/checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}

/// Puts an old copy of data directory and lock in the place of the present ones.
fn restore(home: &Home, from: &Path) {
    for (name, to) in [("data", home.data()), ("lock", home.lock())] {
        std::fs::remove_dir_all(&to).unwrap();
        copy(&from.join(name), &to);
    }
}

fn keep(home: &Home, to: &Path) {
    copy(&home.data(), &to.join("data"));
    copy(&home.lock(), &to.join("lock"));
}

#[test]
fn a_log_that_grows_is_cosigned_and_both_verifiers_say_by_whom() {
    let scene = Scene::new();
    let (code, said) = verify(&scene.home, &["--policy".as_ref(), &scene.policy()]);
    assert_eq!(code, 2, "no quorum yet: {said}");
    assert!(said.contains("no quorum: 0 of 1 witnesses"), "{said}");
    let gateway = scene.start();
    exchange(&gateway, 3);
    gateway.wait_sealed(3);
    poll("a cosigned checkpoint of all leaves", || (cosigned_size(&scene.home) >= 6).then_some(()));
    let of = |name: &str| format!("{name}{{witness=\"{}\"}}", scene.witness.name());
    let numbers = poll("the count of it", || {
        let numbers = metrics(gateway.address());
        (numbers[&of("sealtap_witness_size")] >= 6.0).then_some(numbers)
    });
    assert!(numbers[&of("sealtap_witness_cosignatures_total")] >= 1.0, "{numbers:?}");
    assert_eq!(numbers[&of("sealtap_witness_failures_total")], 0.0, "{numbers:?}");
    assert!(numbers[&of("sealtap_witness_age_seconds")] < 600.0, "{numbers:?}");
    gateway.finish();

    let (code, said) = verify(&scene.home, &["--policy".as_ref(), &scene.policy()]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("by {} at 20", scene.witness.name())), "{said}");
    assert!(said.contains("quorum of the policy: reached"), "{said}");
    assert!(!said.contains("unwitnessed"), "{said}");
    // Without a policy nobody is trusted to have witnessed anything.
    let (code, said) = verify(&scene.home, &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("unwitnessed: ") && said.contains("1 cosignature not checked"), "{said}");

    openssl_accepts(&scene.home, &scene.witness);
    // The published checkpoint still has its one signature, and a cosignature changed by a bit is found.
    let published = std::fs::read_to_string(scene.home.log().join("checkpoint")).unwrap();
    assert_eq!(published.matches('\u{2014}').count(), 1);
    let path = scene.home.data().join("witness/checkpoint");
    let good = std::fs::read_to_string(&path).unwrap();
    assert_eq!(good.matches('\u{2014}').count(), 2);
    let (rest, last) = good.trim_end().rsplit_once(' ').unwrap();
    let at = last.len() - 10;
    let other = if &last[at..=at] == "A" { "B" } else { "A" };
    let bad = format!("{rest} {}{other}{}\n", &last[..at], &last[at + 1..]);
    std::fs::write(&path, bad).unwrap();
    let (code, said) = verify(&scene.home, &["--policy".as_ref(), &scene.policy()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the cosignature by") && said.contains("does not hold"), "{said}");
    std::fs::write(&path, good).unwrap();
    scene.witness.terminate();
    scene.upstream.finish();
}

#[test]
fn a_rollback_of_data_and_lock_is_refused_at_the_start() {
    let scene = Scene::new();
    let old = tempfile::tempdir().unwrap();
    let gateway = scene.start();
    exchange(&gateway, 2);
    gateway.finish();
    keep(&scene.home, old.path());
    let gateway = scene.start();
    exchange(&gateway, 5);
    gateway.finish();
    let later = old.path().join("later.checkpoint");
    std::fs::copy(scene.home.data().join("witness/checkpoint"), &later).unwrap();

    restore(&scene.home, old.path());
    // Nothing on this machine can tell: data directory and lock agree, and the log is valid.
    let (code, said) = verify(&scene.home, &["--policy".as_ref(), &scene.policy()]);
    assert_eq!(code, 0, "{said}");
    let Err((status, said)) = scene.options().try_start_in(Arc::clone(&scene.home)) else {
        panic!("a gateway started on an old copy")
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the log was rolled back"), "{said}");
    assert!(said.contains("restore the latest copy"), "{said}");
    // Whoever holds the later cosigned checkpoint finds it too.
    let policy = scene.policy();
    let with = ["--policy".as_ref(), policy.as_path(), "--cosigned".as_ref(), later.as_path()];
    let (code, said) = verify(&scene.home, &with);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("it was rolled back"), "{said}");
    scene.home.assert_valid();
    scene.upstream.finish();
}

#[test]
fn a_fork_is_refused_at_the_start_and_nothing_was_signed_for_it() {
    let scene = Scene::new();
    let old = tempfile::tempdir().unwrap();
    let gateway = scene.start();
    exchange(&gateway, 1);
    gateway.finish();
    keep(&scene.home, old.path());
    let gateway = scene.start();
    exchange(&gateway, 1);
    gateway.finish();
    restore(&scene.home, old.path());
    // Another history grows past the one that was witnessed, while nobody is asked.
    let alone = Options::default().upstream("up", scene.upstream.url());
    let gateway = alone.start_in(Arc::clone(&scene.home));
    exchange(&gateway, 9);
    gateway.finish();
    let before = std::fs::read(scene.home.log().join("checkpoint")).unwrap();
    let Err((status, said)) = scene.options().try_start_in(Arc::clone(&scene.home)) else {
        panic!("a gateway started on a forked log")
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the log was forked or rewritten"), "{said}");
    assert_eq!(std::fs::read(scene.home.log().join("checkpoint")).unwrap(), before);
    scene.home.assert_valid();
    scene.upstream.finish();
}

#[test]
fn a_witness_that_comes_back_stops_a_gateway_on_an_old_copy() {
    let scene = Scene::new();
    let old = tempfile::tempdir().unwrap();
    keep(&scene.home, old.path());
    let gateway = scene.start();
    exchange(&gateway, 4);
    gateway.finish();
    restore(&scene.home, old.path());
    let (address, keys) = (scene.witness.address().to_owned(), scene.home.keys());
    // Killed: what it cosigned was on disk before it said so.
    drop(scene.witness);
    let options = Options::default().upstream("up", scene.upstream.url()).config(CONFIG);
    let gateway = options.start_in(Arc::clone(&scene.home));
    exchange(&gateway, 1);
    gateway.wait_sealed(1);
    let witness = Witness::start(&scene.memory, &[&keys], &address);
    let (status, home) = gateway.ended();
    assert_eq!(status.code(), Some(1));
    let size = |path: &Path| std::fs::read_to_string(path).unwrap();
    let published = size(&home.log().join("checkpoint"));
    assert!(!published.is_empty());
    home.assert_valid();
    witness.terminate();
    scene.upstream.finish();
}

#[test]
fn without_its_witness_a_gateway_serves_and_catches_up() {
    let scene = Scene::new();
    let (address, keys) = (scene.witness.address().to_owned(), scene.home.keys());
    drop(scene.witness);
    let options = Options::default().upstream("up", scene.upstream.url()).config(CONFIG);
    let gateway = options.start_in(Arc::clone(&scene.home));
    exchange(&gateway, 2);
    gateway.wait_sealed(2);
    assert_eq!(cosigned_size(&scene.home), 0);
    let witness = Witness::start(&scene.memory, &[&keys], &address);
    // The longer it was gone, the longer until it is asked again.
    let seen = || (cosigned_size(&scene.home) >= 5).then_some(());
    poll_for(OF_A_GATEWAY, "the cosigned checkpoint", seen);
    gateway.finish();
    witness.terminate();
    scene.upstream.finish();
}

/// One raw request to a witness: status, head and body as text.
fn post(address: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[test]
fn a_witness_answers_as_the_protocol_says() {
    let scene = Scene::new();
    let gateway = scene.start();
    exchange(&gateway, 2);
    gateway.finish();
    let address = scene.witness.address();
    let checkpoint = std::fs::read_to_string(scene.home.log().join("checkpoint")).unwrap();
    let size = checkpoint.lines().nth(1).unwrap();
    let (status, answer) = post(address, "/add-checkpoint", &format!("old 0\n\n{checkpoint}"));
    assert_eq!(status, 409, "{answer}");
    assert!(answer.to_lowercase().contains("content-type: text/x.tlog.size\r\n"), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{size}\n")), "{answer}");
    let again = format!("old {size}\n\n{checkpoint}");
    let (status, answer) = post(address, "/add-checkpoint", &again);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(&format!("\u{2014} {} ", scene.witness.name())), "{answer}");
    let proof = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    for (body, want) in [
        (format!("old {size}\n{proof}\n{checkpoint}"), 422),
        (format!("old 999999\n\n{checkpoint}"), 400),
        (format!("old {size}\n\n{}", checkpoint.replacen("sealtap", "other", 1)), 404),
        (again.replacen(&format!("\n{size}\n"), "\n77\n", 1), 403),
        ("nonsense".to_owned(), 400),
        ("x".repeat(70_000), 413),
    ] {
        let (status, answer) = post(address, "/add-checkpoint", &body);
        assert_eq!(status, want, "{body:.80} {answer}");
    }
    assert_eq!(post(address, "/add-check", &again).0, 404);
    scene.witness.terminate();
    scene.upstream.finish();
}

/// A server that answers everything with this, for as long as the test runs.
fn liar(status: &'static str, kind: &'static str, body: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 65_536]);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    address
}

#[test]
fn two_of_five_make_the_quorum_while_the_others_lie_or_are_gone() {
    let scene = Scene::new();
    let memories = [Memory::new(), Memory::new(), Memory::new(), Memory::new()];
    let start = |memory| Witness::start(memory, &[&scene.home.keys()], "127.0.0.1:0");
    let second = start(&memories[0]);
    // Real keys, whose witnesses are replaced by what lies at their address.
    let strangers = [
        liar("200", "text/plain", "\u{2014} somebody.else AAAAAAAA\nnonsense\n"),
        liar("409", "text/x.tlog.size", "0\n"),
        "127.0.0.1:1".to_owned(),
    ];
    let mut policy = format!("{}\n{}\n", scene.witness.policy_line(), second.policy_line());
    let mut members = format!("{} {}", scene.witness.name(), second.name());
    for (memory, address) in memories[1..].iter().zip(&strangers) {
        let real = start(memory);
        policy += &format!("{}\n", real.policy_line().replace(real.address(), address));
        members += &format!(" {}", real.name());
        real.terminate();
    }
    policy += &format!("group some 2 {members}\nquorum some\n");
    std::fs::write(scene.policy(), policy).unwrap();

    let gateway = scene.start();
    exchange(&gateway, 3);
    gateway.wait_sealed(3);
    poll("a cosigned checkpoint of all leaves", || (cosigned_size(&scene.home) >= 6).then_some(()));
    // Two make the quorum before the others have failed.
    poll("three that fail", || {
        let numbers = metrics(gateway.address());
        let failing = numbers.iter().filter(|(name, count)| {
            name.starts_with("sealtap_witness_failures_total{") && **count >= 1.0
        });
        let failing = failing.count();
        let said = gateway.stderr().matches("not cosigned; trying again").count();
        (failing == 3 && said >= 3).then_some(())
    });
    let said = gateway.stderr();
    assert_eq!(said.matches("not cosigned; trying again").count(), 3, "said once each: {said}");
    gateway.finish();
    let (code, said) = verify(&scene.home, &["--policy".as_ref(), &scene.policy()]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches("  witnessed: ").count(), 2, "{said}");
    let note = std::fs::read_to_string(scene.home.data().join("witness/checkpoint")).unwrap();
    assert_eq!(note.matches('\u{2014}').count(), 3, "{note}");
    second.terminate();
    scene.witness.terminate();
    scene.upstream.finish();
}
