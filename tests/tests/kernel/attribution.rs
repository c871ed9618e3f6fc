//! Who made each connection, what it carried, and that the log says so.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::running::Running;
use sealtap_tests::standing::signal;
use sealtap_tests::tls::Authority;
use sealtap_tests::verify::text;
use sealtap_tests::{http2, leaves, seen, upstream_http2, verify};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{REQUIRE, connections, home, model, run};

/// What the verifier says of the log.
pub(super) fn report(launched: &Launched) -> Value {
    verify::valid(&launched.home)
}

/// What it says of the connections of the one coverage.
pub(super) fn joined(launched: &Launched) -> Value {
    let report = report(launched);
    assert_eq!(report["joined"].as_array().map(Vec::len), Some(1), "{report}");
    report["joined"][0].clone()
}

pub(super) fn digest(path: &Path) -> String {
    let bytes = fs::read(path).expect("the executable can be read");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn resolved(program: &str) -> PathBuf {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let path = String::from_utf8(found.expect("sh is there").stdout).expect("a path");
    fs::canonicalize(path.trim()).expect("the program is there")
}

/// Python's own file: what is in the path may only lead there.
pub(super) fn python() -> String {
    let script = "import os; print(os.readlink('/proc/self/exe'))";
    let output = Command::new("python3").args(["-c", script]).output().expect("python3 is there");
    String::from_utf8(output.stdout).expect("a path").trim().to_owned()
}

/// `curl` over HTTP/1.1 to a server that answers with what it was sent.
fn curl_1(times: usize) -> Launched {
    let (home, authority) = (home(), Authority::new());
    let asked = Arc::clone(&home);
    let upstream = model(&authority, move || seen::connections(&asked, 1));
    let port = upstream.address().port();
    curl((&home, &authority), ("model.example", port), "--http1.1", times, "hello")
}

/// `curl` over HTTP/2 to a server that answers `two`.
fn curl_2(times: usize) -> Launched {
    let authority = Authority::new();
    let tls = authority.server(&["h2"]);
    let upstream = upstream_http2::Upstream::start(Some(tls), |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, &[("content-length", "3")], false);
        let _ = http2::send(&mut stream, "two", true).await;
    });
    let port = upstream.address().port();
    curl((&home(), &authority), ("localhost", port), "--http2", times, "two")
}

/// `curl` to a captured host, so often over one connection; the process's number lands in `pid`.
fn curl(
    (home, authority): (&Arc<Home>, &Authority),
    (name, port): (&str, u16),
    protocol: &str,
    times: usize,
    answer: &str,
) -> Launched {
    let ca = home.path().join("upstream-ca.pem");
    authority.write(&ca);
    let config = home.path().join("sealtap.toml");
    fs::write(&config, format!("[proxy]\ncapture = [\"{name}\"]\n")).expect("a config");
    let url = format!("https://{name}:{port}/v1/chat ").repeat(times);
    let script = format!(
        "echo $$ > pid; exec curl -sS {protocol} --noproxy '*' --resolve {name}:{port}:127.0.0.1 \
         -d hello {url}"
    );
    let flags = [
        REQUIRE.to_owned(),
        format!("--upstream-ca={}", ca.display()),
        format!("--config={}", config.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let launch = Launch::new(home, &flags).telling();
    let launched = run(launch, &["sh", "-c", &script]).expect(0);
    assert_eq!(launched.stdout(), answer.repeat(times));
    launched
}

fn pid(launched: &Launched) -> u64 {
    let text = fs::read_to_string(launched.home.path().join("pid")).expect("it was written");
    text.trim().parse().expect("a number")
}

/// The process, its executable and its arguments are those that the test knows.
pub(super) fn who_made_a_call_is_sealed() {
    let launched = curl_1(1);
    let exchange = launched.captured(1).remove(0);
    let executable = resolved("curl");
    let maker = &exchange.json["maker"];
    assert_eq!(maker["process"], pid(&launched), "{}", exchange.json);
    assert_eq!(maker["executable"], executable.display().to_string());
    assert_eq!(maker["sha256"], digest(&executable));
    assert_eq!(maker["user"], 0);
    assert!(maker["started"].as_u64().is_some_and(|ticks| ticks > 0), "{maker}");
    assert!(maker["namespace"].as_u64().is_some_and(|inode| inode > 0), "{maker}");
    let cgroup = maker["cgroup"].as_str().expect("its cgroup");
    assert!(cgroup.contains("sealtap-"), "{cgroup}");
    let command = maker["command"].as_str().expect("its arguments");
    assert!(command.starts_with("curl -sS --http1.1") && command.contains("-d hello"), "{command}");
    let [listed] = launched.account["makers"].as_array().expect("a list").as_slice() else {
        panic!("one maker: {}", launched.account)
    };
    assert_eq!(listed["executable"], executable.display().to_string());
    assert_eq!((&listed["connections"], &listed["exchanges"]), (&json!(1), &json!(1)));
    let joined = joined(&launched);
    assert_eq!((&joined["carried"], &joined["exchanges"]), (&json!(1), &json!(1)), "{joined}");
    assert_eq!((&joined["open"], &joined["unknown"]), (&json!(0), &json!(0)), "{joined}");
    assert_eq!(joined["missed"], 0, "{joined}");
    // Whoever has the log alone learns nothing of it.
    let said = executable.display().to_string();
    for entry in walk(&launched.home.log()) {
        let bytes = fs::read(&entry).expect("it can be read");
        let found = bytes.windows(said.len()).any(|window| window == said.as_bytes());
        assert!(!found, "{} names the executable", entry.display());
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let deeper = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    entries.flat_map(|entry| deeper(entry.path())).collect()
}

/// Many exchanges on one connection, by HTTP/2 and by keep-alive.
pub(super) fn one_connection_carries_many_exchanges() {
    const TIMES: usize = 7;
    for launched in [curl_2(TIMES), curl_1(TIMES)] {
        for exchange in launched.captured(TIMES) {
            assert_eq!(exchange.json["maker"]["process"], pid(&launched), "{}", exchange.json);
        }
        assert_eq!(connections(&launched, "via_gateway"), 1, "{}", launched.account);
        let joined = joined(&launched);
        assert_eq!(joined["carried"], 1, "{joined}");
        assert_eq!(joined["exchanges"], TIMES, "{joined}");
        let report = report(&launched);
        assert_eq!(report["reach"][0]["inside"], TIMES, "{report}");
        assert_eq!(report["reach"][0]["outside"], 0, "{report}");
    }
}

/// A process that is gone before anybody looks is not known, and nobody guesses.
pub(super) fn a_process_that_is_gone_is_unknown() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"x").expect("the byte leaves");
        let _ = stream.read(&mut [0; 1]);
    });
    let script = format!(
        "python3 -c \"import socket,os; open('pid','w').write(str(os.getpid())); \
         s=socket.create_connection(('127.0.0.1',{port})); assert s.recv(1)==b'x'\"; touch over; read line"
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    let loader = running.loader();
    // It is asked, and answers only when the process is gone.
    signal(loader, Signal::STOP);
    running.tell();
    poll("the process is gone", || home.path().join("over").exists().then_some(()));
    signal(loader, Signal::CONT);
    let launched = running.go_on().expect(0);
    served.join().expect("it was served");
    let exchange = launched.captured(1).remove(0);
    let maker = &exchange.json["maker"];
    assert_eq!(maker["process"], pid(&launched), "{}", exchange.json);
    assert_eq!((&maker["executable"], &maker["sha256"]), (&Value::Null, &Value::Null), "{maker}");
    assert_eq!(launched.account["coverage"]["attributed"], 0, "{}", launched.account);
    let joined = joined(&launched);
    assert_eq!((&joined["carried"], &joined["unknown"]), (&json!(1), &json!(1)), "{joined}");
}

/// Two thousand connections of eight processes, all open at once: each is known by who made it.
pub(super) fn many_processes_are_told_apart() {
    const PROCESSES: usize = 8;
    const EACH: usize = 250;
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::clone(&home);
    let served = std::thread::spawn(move || {
        let accepted: Vec<_> =
            (0..PROCESSES * EACH).map(|_| listener.accept().expect("a connection").0).collect();
        // Nobody goes before it was looked at.
        seen::connections(&asked, PROCESSES * EACH);
        for mut stream in accepted {
            stream.write_all(b"x").expect("the byte leaves");
        }
    });
    let script = format!(
        "import os,socket\nmine=[]\n\
         for n in range({PROCESSES}):\n\
         \x20if os.fork()==0:\n\
         \x20 all=[socket.create_connection(('127.0.0.1',{port})) for _ in range({EACH})]\n\
         \x20 lines=''.join('%d %d\\n'%(os.getpid(),s.getsockname()[1]) for s in all)\n\
         \x20 open('made.%d'%n,'w').write(lines)\n\
         \x20 assert all and set(s.recv(1) for s in all)=={{b'x'}}\n\
         \x20 os._exit(0)\n\
         ends=[os.wait()[1] for _ in range({PROCESSES})]\nprint(sum(ends))"
    );
    // Neither side says anything until all were looked at, which takes a busy machine its time.
    let config = home.path().join("patient.toml");
    fs::write(&config, "[timeouts]\nclient_idle = \"10min\"\n").expect("it can be written");
    let config = format!("--config={}", config.display());
    let launch = Launch::new(&home, &[REQUIRE, &config]).telling();
    let launched = run(launch, &["python3", "-c", &script]).expect(0);
    assert_eq!(launched.stdout(), "0\n", "{}", text(&launched.output));
    served.join().expect("all were served");
    let mut made = HashMap::new();
    for n in 0..PROCESSES {
        let lines = fs::read_to_string(home.path().join(format!("made.{n}"))).expect("written");
        for line in lines.lines() {
            let (pid, port) = line.split_once(' ').expect("two numbers");
            let pid: u64 = pid.parse().expect("a number");
            assert!(made.insert(format!("127.0.0.1:{port}"), pid).is_none(), "a port twice");
        }
    }
    let executable = python();
    let exchanges = launched.captured(PROCESSES * EACH);
    let wrong: Vec<_> = exchanges
        .iter()
        .filter(|exchange| {
            let maker = &exchange.json["maker"];
            let known = maker["process"].as_u64();
            known.is_none()
                || known != made.get(exchange.text("/client")).copied()
                || maker["executable"] != executable
        })
        .collect();
    assert!(wrong.is_empty(), "{} wrong, such as {}", wrong.len(), wrong[0].json);
    assert_eq!(connections(&launched, "via_gateway"), 2000, "{}", launched.account);
    let joined = joined(&launched);
    assert_eq!(
        (&joined["carried"], &joined["exchanges"]),
        (&json!(2000), &json!(2000)),
        "{joined}"
    );
    assert_eq!((&joined["unknown"], &joined["missed"]), (&json!(0), &json!(0)), "{joined}");
    assert_eq!(launched.account["makers"].as_array().map(Vec::len), Some(PROCESSES));
}

/// Packets that went around and were told of.
fn packets(launched: &Launched) -> u64 {
    launched.account["coverage"]["packets"]["events_read"].as_u64().expect("a number")
}

/// What was turned away has a leaf, and what went around has as many as were read.
pub(super) fn what_was_refused_and_what_went_around_is_sealed() {
    let home = home();
    let running = Running::start(
        &home,
        &[REQUIRE],
        "python3 -c \"import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); \
         [s.sendto(b'x',('127.0.0.1',9)) for _ in range(300)]\"",
    );
    let address = ("127.0.0.1", running.redirected_port());
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    let _ = stream.read(&mut [0; 1]);
    let launched = running.go_on().expect(0);
    launched.captured(0);
    let joined = joined(&launched);
    assert_eq!((&joined["refused"], &joined["carried"]), (&json!(1), &json!(0)), "{joined}");
    // Each send is counted, and then each packet of it.
    let (sends, packets) = (connections(&launched, "events_read"), packets(&launched));
    assert_eq!((sends, packets), (300, 300), "{}", launched.account);
    assert_eq!(joined["around"], sends + packets, "{joined}");
    // A slow machine may come to a statement in the middle of it, behind which as many may be told of again.
    let mut told: BTreeMap<u64, usize> = BTreeMap::new();
    for leaf in leaves::all(&launched.home.log()).iter().filter(|leaf| leaf["kind"] == "bypass") {
        *told.entry(leaf["statement"].as_u64().expect("a number")).or_default() += 1;
    }
    assert!(!told.is_empty(), "it is told of");
    assert!(told.values().all(|count| *count <= 66), "counted, not told one by one: {told:?}");
}

/// What is stopped is told of as that.
pub(super) fn what_was_stopped_says_so() {
    let home = home();
    let script = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
                  for n in range(3):\n\
                  \x20try: s.sendto(b'x',('127.0.0.1',9)); print('went')\n\
                  \x20except PermissionError: print('stopped')";
    let launched =
        run(Launch::new(&home, &[REQUIRE, "--enforce"]), &["python3", "-c", script]).expect(0);
    assert_eq!(launched.stdout(), "stopped\n".repeat(3));
    launched.captured(0);
    let joined = joined(&launched);
    assert_eq!((&joined["around"], &joined["denied"]), (&json!(3), &json!(3)), "{joined}");
}

/// A gateway that is killed leaves its open connections to the next one, which says so.
pub(super) fn connections_of_a_killed_gateway_are_sealed_by_the_next() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "exec python3 -c \"import socket,os; s=socket.create_connection(('127.0.0.1',{port})); \
         s.sendall(b'one'); s.recv(1)\""
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    let cgroup = running.cgroup();
    running.tell();
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut bytes = [0; 3];
    stream.read_exact(&mut bytes).expect("they come");
    let executable = python();
    // Who it was is in the journal before there is nobody to write it.
    poll("it is noted who connected", || {
        let files = fs::read_dir(home.data().join("journal")).expect("a journal").flatten();
        let noted = |path: PathBuf| {
            let bytes = fs::read(path).unwrap_or_default();
            memchr::memmem::find(&bytes, executable.as_bytes()).is_some()
        };
        files.map(|file| file.path()).any(noted).then_some(())
    });
    running.kill_gateway();
    drop(stream);
    poll("the command is over", || fs::remove_dir(&cgroup).is_ok().then_some(()));
    let next = run(Launch::new(&home, &["--kernel=off"]), &["curl", "-s", "http://127.0.0.1:1/"]);
    let report = report(&next);
    let joined = &report["joined"][0];
    assert_eq!((&joined["carried"], &joined["interrupted"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!((&joined["exchanges"], &joined["open"]), (&json!(1), &json!(0)), "{report}");
    let rows = sealtap_tests::records::rows(&home.data());
    let cut = rows.iter().find(|row| row["outcome"] == "interrupted").expect("it was cut off");
    assert_eq!(cut["maker"]["executable"], executable, "{cut}");
}

/// Proxy variables are no secret to who is here: a call that uses them is inside all the same.
pub(super) fn calls_to_the_front_are_carried_too() {
    let home = home();
    let last = seen::last(&home, 1);
    let script = format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' $SEALTAP_URL/nowhere/v1/x \"file://{}\"",
        last.display()
    );
    let launched = Launch::new(&home, &[REQUIRE]).telling().run(["sh", "-c", &script]);
    assert_eq!(launched.code(), Some(0), "{}", launched.stderr());
    let exchange = launched.captured(1).remove(0);
    assert_ne!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    let executable = resolved("curl").display().to_string();
    assert_eq!(exchange.json["maker"]["executable"], executable, "{}", exchange.json);
    let joined = joined(&launched);
    assert_eq!((&joined["carried"], &joined["exchanges"]), (&json!(1), &json!(1)), "{joined}");
}
