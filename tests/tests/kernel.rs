//! The kernel observes: a command that knows of no proxy is captured all the same, and what goes
//! around is counted.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and
//! none passes.

#[path = "kernel/attribution.rs"]
mod attribution;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::gateway::Home;
use sealtap_tests::http1::head;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::suite;
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use serde_json::{Value, json};

/// Takes away what a command could learn of the gateway.
const CLEARED: [&str; 9] = [
    "env",
    "--unset=HTTP_PROXY",
    "--unset=http_proxy",
    "--unset=HTTPS_PROXY",
    "--unset=https_proxy",
    "--unset=ALL_PROXY",
    "--unset=all_proxy",
    "--unset=SEALTAP_URL",
    "--unset=SEALTAP_RUN",
];

const REQUIRE: &str = "--kernel=require";

fn home() -> Arc<Home> {
    Arc::new(Home::new())
}

/// A server of `model.example` that answers with what it was sent.
fn model(authority: &Authority) -> Upstream {
    Upstream::answering_tls(authority.server_for("model.example"), |session, request| {
        let body = request.bytes().to_vec();
        let length = body.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", length.as_str())]));
        session.send(body);
    })
}

/// Runs a client whose proxy variables are cleared.
fn run(launch: Launch, line: &[&str]) -> Launched {
    launch.run(CLEARED.iter().chain(line))
}

fn curl(home: &Arc<Home>, authority: &Authority, upstream: &Upstream, kernel: &str) -> Launched {
    let ca = home.path().join("upstream-ca.pem");
    authority.write(&ca);
    let config = home.path().join("sealtap.toml");
    fs::write(&config, "[proxy]\ncapture = [\"model.example\"]\n").expect("a config");
    let port = upstream.address().port();
    let launch = Launch::new(
        home,
        &[
            kernel,
            &format!("--upstream-ca={}", ca.display()),
            &format!("--config={}", config.display()),
        ],
    );
    let (url, resolve) = (
        format!("https://model.example:{port}/v1/chat"),
        format!("model.example:{port}:127.0.0.1"),
    );
    // Its trust comes from the variables that stay, or it takes the server's own authority.
    let mut line =
        vec!["curl", "-sS", "--http1.1", "--noproxy", "*", "--resolve", &resolve, "-d", "hello"];
    let own = ca.display().to_string();
    if kernel == "--kernel=off" {
        line.extend(["--cacert", &own]);
    }
    line.push(&url);
    run(launch, &line)
}

fn connections(launched: &Launched, name: &str) -> u64 {
    let value = &launched.account["coverage"]["connections"][name];
    value.as_u64().unwrap_or_else(|| panic!("no {name}: {}", launched.account))
}

/// The one coverage that the log tells of, as the verifier has it.
fn covered(launched: &Launched) -> Value {
    let report = attribution::report(launched);
    let all = report["coverage"].as_array().expect("a list");
    assert_eq!(all.len(), 1, "{report}");
    all[0].clone()
}

fn level(launched: &Launched) -> &str {
    launched.account["coverage"]["level"].as_str().unwrap_or_default()
}

/// TLS to a captured name, by a client that was told of no proxy.
fn a_client_without_proxy_variables_is_captured() {
    let (home, authority) = (home(), Authority::new());
    let upstream = model(&authority);
    let launched = curl(&home, &authority, &upstream, REQUIRE).expect(0);
    assert_eq!(launched.stdout(), "hello");
    let exchange = launched.captured(1).remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    assert_eq!(exchange.text("/method"), "POST");
    assert_eq!(exchange.number("/request/bytes"), 5);
    assert_eq!(exchange.number("/response/bytes"), 5);
    assert_eq!(level(&launched), "kernel_observed", "{}", launched.account);
    assert_eq!(connections(&launched, "seen"), 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
    assert_eq!(launched.account["coverage"]["redirected"], 1);
    assert_eq!(launched.account["coverage"]["attributed"], 1);
    assert_eq!(upstream.finish().len(), 1);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(covered["mode"], "observe");
    assert_eq!(covered["connections"]["via_gateway"], 1);
    assert_eq!((&covered["known"], &covered["attributed"]), (&json!(1), &json!(1)));
    let state = |channel: &str| {
        let channels = covered["channels"].as_array().expect("a list");
        let found = channels.iter().find(|listed| listed["channel"] == channel);
        found.expect("every channel is listed")["state"].clone()
    };
    assert_eq!(state("tcp"), "closed_by_hook");
    assert_eq!(state("raw"), "observed_only");
    assert_eq!(state("helper"), "not_covered");
    // Everything of the one connection, and nothing else: it asked for no name.
    let packets = &covered["packets"];
    assert_eq!(packets["via_gateway"], packets["seen"], "{covered}");
    assert!(packets["seen"].as_u64() > Some(4), "{covered}");
}

/// The control: without the kernel the same client goes around, and nothing notices.
fn the_same_client_goes_around_without_the_kernel() {
    let (home, authority) = (home(), Authority::new());
    let upstream = model(&authority);
    let launched = curl(&home, &authority, &upstream, "--kernel=off").expect(0);
    assert_eq!(launched.stdout(), "hello");
    launched.captured(0);
    assert_eq!(level(&launched), "observed_only");
    assert_eq!(upstream.finish().len(), 1);
}

/// A protocol that the gateway does not know, whose server speaks first.
fn other_protocols_pass_and_are_recorded() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
        stream.write_all(b"220 ready\r\n").expect("the greeting leaves");
        let mut line = [0; 6];
        stream.read_exact(&mut line).expect("the answer comes");
        assert_eq!(&line, b"QUIT\r\n");
    });
    let script = format!(
        "import socket\ns=socket.create_connection(('127.0.0.1',{port}))\n\
         assert s.recv(99)==b'220 ready\\r\\n'\ns.sendall(b'QUIT\\r\\n')\nassert s.recv(9)==b''"
    );
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", &script]).expect(0);
    served.join().expect("the server saw what it wanted");
    let exchange = launched.captured(1).remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    assert_eq!(exchange.text("/url"), format!("127.0.0.1:{port}"));
    assert_eq!(exchange.text("/tunnel/reason"), "not_listed");
    assert_eq!(exchange.number("/tunnel/from_client"), 6);
    assert_eq!(exchange.number("/tunnel/to_client"), 11);
}

/// IPv6, and IPv4 wrapped in it.
fn both_families_arrive_where_they_were_meant_to() {
    let home = home();
    let v6 = TcpListener::bind("[::1]:0").expect("a port of IPv6");
    let v4 = TcpListener::bind("127.0.0.1:0").expect("a port of IPv4");
    let ports = [&v6, &v4].map(|listener| listener.local_addr().expect("an address").port());
    let servers = [(v6, b"six"), (v4, b"for")].map(|(listener, word)| {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(word).expect("the word leaves");
        })
    });
    let script = format!(
        "import socket\n\
         for to in (('::1',{}),('::ffff:127.0.0.1',{})):\n\
         \x20s=socket.socket(socket.AF_INET6); s.connect(to); print(s.recv(9).decode())",
        ports[0], ports[1]
    );
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", &script]).expect(0);
    assert_eq!(launched.stdout(), "six\nfor\n");
    for server in servers {
        server.join().expect("the server was reached");
    }
    let urls: Vec<String> =
        launched.captured(2).iter().map(|exchange| exchange.text("/url").to_owned()).collect();
    assert!(urls.contains(&format!("[::1]:{}", ports[0])), "{urls:?}");
    assert!(urls.contains(&format!("127.0.0.1:{}", ports[1])), "{urls:?}");
    assert_eq!(connections(&launched, "via_gateway"), 2);
}

/// What cannot be redirected goes on, and is counted and named.
fn datagrams_go_around_and_are_counted() {
    let home = home();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    server.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    let to = server.local_addr().expect("an address");
    let script = format!(
        "import socket,time\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         for n in range(3): s.sendto(b'x',('127.0.0.1',{0}))\n\
         c=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         c.connect(('127.0.0.1',{0})); c.send(b'y')\n\
         m=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n\
         m.sendto(b'z',('::ffff:127.0.0.1',{0})); time.sleep(0.3)",
        to.port()
    );
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", &script]).expect(0);
    let mut byte = [0; 1];
    for expected in b"xxxyz" {
        server.recv(&mut byte).expect("it was let go");
        assert_eq!(byte[0], *expected);
    }
    launched.captured(0);
    assert_eq!(level(&launched), "kernel_observed", "{}", launched.account);
    assert_eq!(connections(&launched, "bypass_passed"), 5, "{}", launched.account);
    assert_eq!(connections(&launched, "events_read"), 5);
    let covered = covered(&launched);
    assert_eq!(covered["connections"]["bypass_passed"], 5);
    // Each was one packet as well.
    assert_eq!(covered["packets"]["bypass_passed"], 5, "{covered}");
    assert_eq!(covered["packets"]["events_read"], 5);
    assert_eq!(covered["packets"]["seen"], 5);
    let around = launched.account["coverage"]["bypasses"].as_array().expect("a list").clone();
    assert_eq!(around.len(), 5);
    for bypass in around {
        assert_eq!(bypass["destination"], to.to_string());
        let executable = bypass["executable"].as_str().expect("it was there");
        assert!(executable.contains("python"), "{executable}");
    }
}

/// A raw socket whose program writes the headers itself passes every hook but the one for packets.
fn raw_packets_are_counted() {
    let home = home();
    let script = "import socket,struct,time\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_RAW)\n\
         udp=struct.pack('!HHHH',4711,9,9,0)+b'x'\n\
         ip=struct.pack('!BBHHHBBH4s4s',0x45,0,29,0,0,64,17,0,b'\\x7f\\0\\0\\x01',b'\\x7f\\0\\0\\x02')\n\
         for n in range(7): s.sendto(ip+udp,('127.0.0.2',0))\n\
         time.sleep(0.3)";
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", script]).expect(0);
    launched.captured(0);
    assert_eq!(connections(&launched, "seen"), 0, "{}", launched.account);
    let covered = covered(&launched);
    assert_eq!(covered["packets"]["bypass_passed"], 7, "{covered}");
    assert_eq!(covered["packets"]["events_read"], 7);
    let around = launched.account["coverage"]["bypasses"].as_array().expect("a list").clone();
    assert_eq!(around.len(), 1, "one socket to one place is one line: {around:?}");
    assert_eq!(around[0]["destination"], "127.0.0.2:9");
}

/// A network of its own for `sealtap` and all that it starts, with a device to send by.
fn apart(launch: Launch, line: &[&str]) -> Output {
    let inner = launch.command(line);
    let mut command = Command::new("unshare");
    let device = "ip link set lo up && ip link add v0 type veth peer name v1 && ip link set v0 up \
        && ip link set v1 up && exec \"$@\"";
    command.args(["--net", "sh", "-c", device, "sh"]).arg(inner.get_program());
    command.args(inner.get_args()).stdin(Stdio::null());
    command.current_dir(inner.get_current_dir().expect("a home"));
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().expect("it can be run")
}

/// Frames from below IP: those that pass a device's queue are counted there, and the option that takes
/// others past it is counted when it is set.
fn frames_are_counted() {
    let home = home();
    let script = "import socket,time\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('v0',0x88b5))\n\
         r=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(0x88b5)); r.bind(('v1',0x88b5))\n\
         f=b'\\xff'*6+b'\\x02'+b'\\0'*5+b'\\x88\\xb5'+b'x'*46\n\
         for n in range(5): s.send(f); assert r.recv(99)==f\n\
         s.setsockopt(263,20,1)\n\
         s.send(f); assert r.recv(99)==f\n\
         time.sleep(0.3)";
    let line: Vec<&str> = CLEARED.iter().copied().chain(["python3", "-c", script]).collect();
    let output = apart(Launch::new(&home, &[REQUIRE]), &line);
    let launched = Launched::new(home, output).expect(0);
    launched.captured(0);
    let covered = covered(&launched);
    assert_eq!(covered["packets"]["bypass_passed"], 5, "{covered}");
    assert_eq!(covered["packets"]["seen"], 5, "{covered}");
    assert_eq!(covered["connections"]["bypass_passed"], 1, "the option: {covered}");
    let channels = covered["channels"].as_array().expect("a list");
    let packet = channels.iter().find(|listed| listed["channel"] == "packet");
    assert_eq!(packet.expect("it is listed")["state"], "observed_only", "{covered}");
}

/// Two gateways on one machine: each states the other's programs, also one that came later.
fn programs_of_others_are_stated() {
    let (first, second) = (Running::start(&home(), "true"), Running::start(&home(), "true"));
    let programs = |running: &Running| -> Vec<u64> {
        let folder = format!("/proc/{}/fdinfo", running.loader().as_raw_nonzero());
        let entries = fs::read_dir(folder).expect("its descriptors").flatten();
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let ids = texts.filter_map(|text| {
            let packets = text.contains("prog_type:\t8\n");
            let line = text.lines().find_map(|line| line.strip_prefix("prog_id:\t"));
            packets.then(|| line?.trim().parse().ok())?
        });
        ids.collect()
    };
    let own = [programs(&first), programs(&second)];
    for (running, other) in [(first, &own[1]), (second, &own[0])] {
        let launched = running.go_on().expect(0);
        launched.captured(0);
        let covered = covered(&launched);
        let foreign = covered["foreign"].as_array().expect("a list").clone();
        assert_eq!(other.len(), 1, "one program for packets");
        let listed = json!({"beside": "packets", "id": other[0]});
        assert!(foreign.contains(&listed), "{listed}: {covered}");
    }
}

/// A server in scope answers the gateway, which leads a client in scope there: nothing went around.
fn a_server_of_the_command_answers_its_clients() {
    let home = home();
    let script = "import socket,threading\n\
         l=socket.create_server(('127.0.0.1',0)); port=l.getsockname()[1]\n\
         def serve():\n\
         \x20for n in range(20):\n\
         \x20 c,_=l.accept(); d=c.recv(9); c.sendall(d*1000); c.close()\n\
         t=threading.Thread(target=serve); t.start()\n\
         for n in range(20):\n\
         \x20s=socket.create_connection(('127.0.0.1',port)); s.sendall(b'hello')\n\
         \x20got=b''\n\
         \x20while len(got)<5000: got+=s.recv(9999)\n\
         \x20s.close()\n\
         t.join()";
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", script]).expect(0);
    launched.captured(20);
    assert_eq!(connections(&launched, "via_gateway"), 20, "{}", launched.account);
    let packets = &covered(&launched)["packets"];
    assert_eq!(packets["seen"], packets["via_gateway"], "{packets}");
    assert!(packets["seen"].as_u64() > Some(200), "{packets}");
}

/// Whoever else connects to a server in scope takes answers around the gateway.
fn answers_to_others_are_counted() {
    let home = home();
    let running = Running::start(
        &home,
        "python3 -c \"import socket\nl=socket.create_server(('127.0.0.1',0))\n\
         open('port','w').write(str(l.getsockname()[1]))\nc,_=l.accept()\nc.sendall(b'secret')\nc.recv(1)\"",
    );
    let place = home.path().join("port");
    let mut running = running;
    running.tell();
    let port: u16 = poll("it listens", || fs::read_to_string(&place).ok()?.parse().ok());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let mut word = [0; 6];
    stream.read_exact(&mut word).expect("it answers");
    drop(stream);
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(connections(&launched, "seen"), 0, "{}", launched.account);
    let packets = &covered(&launched)["packets"];
    assert!(packets["bypass_passed"].as_u64() >= Some(2), "{packets}");
    assert_eq!(packets["seen"], packets["bypass_passed"], "{packets}");
}

/// In enforce mode nobody else gets an answer: packets of a connection that was not led to the gateway are
/// dropped and counted as denied.
fn answers_to_others_are_denied() {
    let home = home();
    let script = "echo $SEALTAP_URL; read line; python3 -c \"import socket\n\
         l=socket.create_server(('127.0.0.1',0))\n\
         open('port','w').write(str(l.getsockname()[1]))\n\
         l.settimeout(1)\ntry: l.accept()\nexcept OSError: pass\"";
    let mut command = Launch::new(&home, &[REQUIRE, "--enforce"]).command(["sh", "-c", script]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawned");
    let place = home.path().join("port");
    child.stdin.as_mut().expect("piped").write_all(b"\n").expect("told");
    let port: u16 = poll("it listens", || fs::read_to_string(&place).ok()?.parse().ok());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let refused = TcpStream::connect_timeout(&address, Duration::from_millis(500));
    assert!(refused.is_err(), "it answered");
    let output = child.wait_with_output().expect("it ends");
    let launched = Launched::new(home, output).expect(0);
    launched.captured(0);
    let covered = covered(&launched);
    let packets = &covered["packets"];
    assert!(packets["bypass_denied"].as_u64() >= Some(1), "{packets}");
    assert_eq!(packets["seen"], packets["bypass_denied"], "{packets}");
    assert_eq!(covered["mode"], "enforce");
}

/// What a list allows on this machine is left alone, and nothing else is.
fn listed_places_on_the_machine_are_left_alone() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ports = [&listener, &other].map(|one| one.local_addr().expect("an address").port());
    let servers = [listener, other].map(|listener| {
        std::thread::spawn(move || {
            let (mut stream, peer) = listener.accept().expect("a connection");
            stream.write_all(peer.port().to_string().as_bytes()).expect("its port leaves");
        })
    });
    let script = format!(
        "import socket\nfor port in ({},{}):\n\
         \x20s=socket.create_connection(('127.0.0.1',port)); own=str(s.getsockname()[1])\n\
         \x20print(s.recv(9).decode()==own)",
        ports[0], ports[1]
    );
    let listed = format!("--loopback-allow=127.0.0.1:{}", ports[0]);
    let launch = Launch::new(&home, &[REQUIRE, &listed]);
    let launched = run(launch, &["python3", "-c", &script]).expect(0);
    // The one that is listed saw the client itself, the other the gateway.
    assert_eq!(launched.stdout(), "True\nFalse\n");
    for server in servers {
        server.join().expect("both were reached");
    }
    launched.captured(1);
    assert_eq!(connections(&launched, "loopback"), 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
    let packets = &covered(&launched)["packets"];
    assert!(packets["loopback"].as_u64() >= Some(3), "{packets}");
    assert_eq!(packets["bypass_passed"], 0, "{packets}");
}

/// Many connections at once, by several processes, each to an address of its own: none arrives
/// elsewhere. `SEALTAP_CONNECTIONS` says how many, in thousands.
fn many_connections_at_once_arrive_where_they_were_meant_to() {
    const PLACES: usize = 8;
    const PROCESSES: usize = 4;
    const EACH: usize = 1000;
    let thousands = std::env::var("SEALTAP_CONNECTIONS").ok().and_then(|set| set.parse().ok());
    let waves = thousands.unwrap_or(8_usize).div_ceil(PROCESSES * EACH / 1000);
    let count = waves * PROCESSES * EACH;
    let home = home();
    let reached = Arc::new(AtomicUsize::new(0));
    let ports: Vec<String> = (0..PLACES)
        .map(|_| {
            let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let reached = Arc::clone(&reached);
            std::thread::spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    let Ok(SocketAddr::V4(own)) = stream.local_addr() else { continue };
                    let mut answer = own.ip().octets().to_vec();
                    answer.extend(own.port().to_be_bytes());
                    stream.write_all(&answer).expect("the place leaves");
                    reached.fetch_add(1, Ordering::AcqRel);
                }
            });
            port.to_string()
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/many.py");
    let [processes, each, waves] = [PROCESSES, EACH, waves].map(|number| number.to_string());
    let line = ["python3", script, &ports.join(","), &processes, &each, &waves];
    let began = Instant::now();
    let launched = run(Launch::new(&home, &[REQUIRE]), &line).expect(0);
    println!("{count} connections, {} at a time: {:?}", PROCESSES * EACH, began.elapsed());
    assert_eq!(launched.stdout(), format!("{count} 0\n"));
    assert_eq!(reached.load(Ordering::Acquire), count);
    let all = u64::try_from(count).expect("not that many");
    assert_eq!(connections(&launched, "via_gateway"), all, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["redirected"], all, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["attributed"], all, "{}", launched.account);
    assert_eq!(covered(&launched)["known"], all);
    launched.captured(count);
}

/// A running `sealtap run` whose command waits for a line.
struct Running {
    child: std::process::Child,
    home: Arc<Home>,
    front: u16,
}

impl Running {
    fn start(home: &Arc<Home>, then: &str) -> Self {
        let script = format!("echo $SEALTAP_URL; read line; {then}");
        let mut command = Launch::new(home, &[REQUIRE]).command(["sh", "-c", &script]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawned");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("read");
        let front = line.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        Self { child, home: Arc::clone(home), front: front.expect("a URL with a port") }
    }

    /// The port of the listener that no client is told of.
    fn redirected_port(&self) -> u16 {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.child.id()));
        let inodes: Vec<String> = fs::read_dir(folder)
            .expect("its descriptors")
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok())
            .filter_map(|target| {
                let target = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                Some(target.to_owned())
            })
            .collect();
        let table = fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
        let listening = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let own = fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]);
            let port = fields[1].rsplit(':').next()?;
            own.then(|| u16::from_str_radix(port, 16).ok())?
        });
        let others: Vec<u16> = listening.filter(|port| *port != self.front).collect();
        assert_eq!(others.len(), 1, "{others:?}");
        others[0]
    }

    /// The loader.
    fn loader(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(path).expect("its children");
        let loader = children.split_ascii_whitespace().find(|child| {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.contains("kernel\0loader")
        });
        let loader = loader.expect("a loader").parse().expect("a number");
        Pid::from_raw(loader).expect("a process")
    }

    fn tell(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("told");
    }

    fn go_on(mut self) -> Launched {
        self.tell();
        drop(self.child.stdin.take());
        let output = self.child.wait_with_output().expect("it ends");
        Launched::new(self.home, output)
    }
}

/// Whoever finds the listener is not let through.
fn nobody_borrows_the_gateway() {
    let home = home();
    let running = Running::start(&home, "true");
    let address = SocketAddr::from(([127, 0, 0, 1], running.redirected_port()));
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(launched.account["coverage"]["refused"], 1, "{}", launched.account);
    assert_eq!(connections(&launched, "seen"), 0);
}

/// The command itself finds it: it is led there by the kernel, and refused all the same.
fn the_command_does_not_reach_the_listener_by_itself() {
    let home = home();
    let running = Running::start(
        &home,
        "python3 -c \"import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1]))); \
         s.settimeout(10); print(s.recv(9))\" $(cat port) 2>/dev/null; true",
    );
    fs::write(home.path().join("port"), running.redirected_port().to_string()).expect("written");
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(launched.account["coverage"]["refused"], 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
}

/// Events that find no room are counted as lost, and every statement adds up all the same.
fn events_that_find_no_room_are_counted() {
    const SENT: u64 = 8_000;
    let home = home();
    let running = Running::start(
        &home,
        "python3 -c \"import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); \
         [s.sendto(b'x',('127.0.0.1',9)) for _ in range(8000)]\"; touch sent; read line",
    );
    let loader = running.loader();
    // Nobody reads while they are sent.
    kill_process(loader, Signal::STOP).expect("stopped");
    let mut running = running;
    running.tell();
    poll("all are sent", || home.path().join("sent").exists().then_some(()));
    kill_process(loader, Signal::CONT).expect("goes on");
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(connections(&launched, "bypass_passed"), SENT, "{}", launched.account);
    let (read, lost) =
        (connections(&launched, "events_read"), connections(&launched, "events_lost"));
    assert!(lost > 0 && read > 0 && read + lost == SENT, "{}", launched.account);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(covered["connections"]["events_lost"], lost);
}

/// Under a flood in both units, from several tasks, with the smallest ring there is, every statement
/// adds up; the gateway makes one at the end, and the verifier holds all of them against each other.
fn a_flood_past_the_smallest_ring_adds_up() {
    const TASKS: u64 = 3;
    const EACH: u64 = 40_000;
    let home = home();
    let script = format!(
        "import os,socket,time\n\
         def go():\n\
         \x20s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         \x20for n in range({EACH}): s.sendto(b'x',('127.0.0.1',9))\n\
         \x20time.sleep(6)\n\
         \x20for n in range({EACH}): s.sendto(b'x',('127.0.0.1',9))\n\
         \x20os._exit(0)\n\
         for n in range({TASKS}):\n\
         \x20if os.fork()==0: go()\n\
         for n in range({TASKS}): os.wait()"
    );
    let launch = Launch::new(&home, &[REQUIRE, "--kernel-ring=4096"]);
    let launched = run(launch, &["python3", "-c", &script]).expect(0);
    launched.captured(0);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert!(covered["statements"].as_u64() >= Some(2), "{covered}");
    for unit in ["connections", "packets"] {
        let number = |name: &str| covered[unit][name].as_u64().expect("a number");
        assert_eq!(number("bypass_passed"), 2 * TASKS * EACH, "{unit}: {covered}");
        assert_eq!(number("seen"), 2 * TASKS * EACH, "{unit}: {covered}");
        assert!(number("events_lost") > 0 && number("events_read") > 0, "{unit}: {covered}");
        assert_eq!(number("events_lost") + number("events_read"), 2 * TASKS * EACH, "{unit}");
    }
}

/// A loader that is killed ends coverage, and that is said.
fn a_killed_loader_is_told_of() {
    let home = home();
    let running = Running::start(&home, "true");
    let loader = running.loader();
    kill_process(loader, Signal::KILL).expect("killed");
    let path = PathBuf::from(format!("/proc/{}/fdinfo", loader.as_raw_nonzero()));
    poll("the loader is gone", || {
        fs::read_dir(&path).map_or(true, |mut all| all.next().is_none()).then_some(())
    });
    std::thread::sleep(Duration::from_millis(50));
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(level(&launched), "unknown", "{}", launched.account);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "loader_gone", "{covered}");
    assert_eq!(covered["connections"], Value::Null);
}

/// Nothing stays behind: no cgroup, no loader.
fn nothing_stays_behind() {
    let home = home();
    let running = Running::start(&home, "cat /proc/self/cgroup");
    let loader = running.loader();
    let launched = running.go_on().expect(0);
    let own = launched.stdout().lines().find_map(|line| line.strip_prefix("0::"));
    let name = own.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
    // The first line was read before; what is left of the output may begin anywhere.
    if let Some(name) = name {
        assert!(name.starts_with("sealtap-"), "{name}");
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            assert!(!PathBuf::from(root).join(&name).exists(), "{root}/{name}");
        }
    }
    assert!(!PathBuf::from(format!("/proc/{}", loader.as_raw_nonzero())).exists());
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn())),*] };
    }
    let mut tests = tests![
        a_client_without_proxy_variables_is_captured,
        the_same_client_goes_around_without_the_kernel,
        other_protocols_pass_and_are_recorded,
        both_families_arrive_where_they_were_meant_to,
        datagrams_go_around_and_are_counted,
        raw_packets_are_counted,
        frames_are_counted,
        programs_of_others_are_stated,
        a_server_of_the_command_answers_its_clients,
        answers_to_others_are_counted,
        answers_to_others_are_denied,
        listed_places_on_the_machine_are_left_alone,
        many_connections_at_once_arrive_where_they_were_meant_to,
        nobody_borrows_the_gateway,
        the_command_does_not_reach_the_listener_by_itself,
        events_that_find_no_room_are_counted,
        a_flood_past_the_smallest_ring_adds_up,
        a_killed_loader_is_told_of,
        nothing_stays_behind,
    ]
    .to_vec();
    {
        use attribution::{
            a_process_that_is_gone_is_unknown, calls_to_the_front_are_carried_too,
            connections_of_a_killed_gateway_are_sealed_by_the_next, many_processes_are_told_apart,
            one_connection_carries_many_exchanges, what_was_refused_and_what_went_around_is_sealed,
            what_was_stopped_says_so, who_made_a_call_is_sealed,
        };
        tests.extend(tests![
            who_made_a_call_is_sealed,
            one_connection_carries_many_exchanges,
            a_process_that_is_gone_is_unknown,
            many_processes_are_told_apart,
            what_was_refused_and_what_went_around_is_sealed,
            what_was_stopped_says_so,
            connections_of_a_killed_gateway_are_sealed_by_the_next,
            calls_to_the_front_are_carried_too,
        ]);
    }
    suite::main(&tests, suite::without_the_kernel(&["curl", "python3"]))
}
