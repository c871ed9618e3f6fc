//! What cannot be redirected, and what need not be: counted, each as what it is.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched, apart};
use sealtap_tests::running::Running;
use sealtap_tests::seen;
use sealtap_tests::verify::{self, Verdict};
use serde_json::json;

use super::{CLEARED, REQUIRE, connections, covered, home, level, run};

/// What cannot be redirected goes on, and is counted and named.
pub(super) fn datagrams_go_around_and_are_counted() {
    let home = home();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    server.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    let to = server.local_addr().expect("an address");
    let script = format!(
        "import socket,sys\nprint('there',flush=True); sys.stdin.readline()\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         for n in range(3): s.sendto(b'x',('127.0.0.1',{0}))\n\
         c=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         c.connect(('127.0.0.1',{0})); c.send(b'y')\n\
         m=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)\n\
         m.sendto(b'z',('::ffff:127.0.0.1',{0})); sys.stdin.readline()",
        to.port()
    );
    let line = CLEARED.iter().copied().chain(["python3", "-c", &script]);
    let mut running = Running::of(&home, Launch::new(&home, &[REQUIRE]).command(line));
    running.tell();
    // It is there until it was looked at.
    seen::around(&home, 5);
    let launched = running.go_on().expect(0);
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
        let said = [&bypass["unit"], &bypass["way"], &bypass["denied"]];
        assert_eq!(said, [&json!("connect"), &json!("udp"), &json!(false)], "{bypass}");
        assert!(bypass["process"].is_u64() && bypass["socket_of"].is_null(), "{bypass}");
        let executable = bypass["executable"].as_str().expect("it was there");
        assert!(executable.contains("python"), "{executable}");
    }
}

/// A raw socket whose program writes the headers itself passes every hook but the one for packets.
pub(super) fn raw_packets_are_counted() {
    let home = home();
    let script = "import socket,struct\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_RAW)\n\
         udp=struct.pack('!HHHH',4711,9,9,0)+b'x'\n\
         ip=struct.pack('!BBHHHBBH4s4s',0x45,0,29,0,0,64,17,0,b'\\x7f\\0\\0\\x01',b'\\x7f\\0\\0\\x02')\n\
         for n in range(7): s.sendto(ip+udp,('127.0.0.2',0))";
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", script]).expect(0);
    launched.captured(0);
    assert_eq!(connections(&launched, "seen"), 0, "{}", launched.account);
    let covered = covered(&launched);
    assert_eq!(covered["packets"]["bypass_passed"], 7, "{covered}");
    assert_eq!(covered["packets"]["events_read"], 7);
    let around = launched.account["coverage"]["bypasses"].as_array().expect("a list").clone();
    assert_eq!(around.len(), 1, "one socket to one place is one line: {around:?}");
    assert_eq!(around[0]["destination"], "127.0.0.2:9");
    let said = [&around[0]["unit"], &around[0]["way"], &around[0]["times"]];
    assert_eq!(said, [&json!("packet"), &json!("raw"), &json!(7)], "{around:?}");
    assert!(around[0]["process"].is_null(), "by whose socket is all that is known: {around:?}");
}

/// A device to send by.
const DEVICE: &str = "ip link add v0 type veth peer name v1 && ip link set v0 up && \
    ip link set v1 up";

/// Frames from below IP: those that pass a device's queue are counted there, and the option that takes
/// others past it is counted when it is set.
pub(super) fn frames_are_counted() {
    let home = home();
    let script = "import socket\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('v0',0x88b5))\n\
         r=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(0x88b5)); r.bind(('v1',0x88b5))\n\
         f=b'\\xff'*6+b'\\x02'+b'\\0'*5+b'\\x88\\xb5'+b'x'*46\n\
         for n in range(5): s.send(f); assert r.recv(99)==f\n\
         s.setsockopt(263,20,1)\n\
         s.send(f); assert r.recv(99)==f";
    let line: Vec<&str> = CLEARED.iter().copied().chain(["python3", "-c", script]).collect();
    let ready = Launch::new(&home, &[REQUIRE]).command(&line);
    let output = apart(&ready, DEVICE).output().expect("it can be run");
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
pub(super) fn programs_of_others_are_stated() {
    let (first, second) =
        (Running::start(&home(), &[REQUIRE], "true"), Running::start(&home(), &[REQUIRE], "true"));
    let programs = |running: &Running| -> Vec<u64> {
        let held = running.held();
        let ids = held.iter().filter_map(|text| {
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
pub(super) fn a_server_of_the_command_answers_its_clients() {
    let home = home();
    let script = "import socket,threading\n\
         l=socket.create_server(('127.0.0.1',0)); port=l.getsockname()[1]\n\
         def serve():\n\
         \x20for n in range(30):\n\
         \x20 c,_=l.accept(); d=c.recv(9); c.sendall(d*1000); c.close()\n\
         t=threading.Thread(target=serve); t.start()\n\
         for n in range(30):\n\
         \x20s=socket.create_connection(('127.0.0.1',port)); s.sendall(b'hello')\n\
         \x20got=b''\n\
         \x20while len(got)<5000: got+=s.recv(9999)\n\
         \x20s.close()\n\
         t.join()";
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", script]).expect(0);
    launched.captured(30);
    assert_eq!(connections(&launched, "via_gateway"), 30, "{}", launched.account);
    let packets = &covered(&launched)["packets"];
    assert_eq!(packets["seen"], packets["via_gateway"], "{packets}");
    // Of each at least SYN, ACK, greeting and FIN of the client, and SYN, answer and FIN of the server; how many
    // more say what has come depends on how fast either is.
    assert!(packets["seen"].as_u64() > Some(200), "{packets}");
}

/// Whoever else connects to a server in scope takes answers around the gateway.
pub(super) fn answers_to_others_are_counted() {
    let home = home();
    let mut running = Running::start(
        &home,
        &[REQUIRE],
        "python3 -c \"import socket\nl=socket.create_server(('127.0.0.1',0))\n\
         open('port','w').write(str(l.getsockname()[1]))\nc,_=l.accept()\nc.sendall(b'secret')\nc.recv(1)\"",
    );
    let place = home.path().join("port");
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
pub(super) fn answers_to_others_are_denied() {
    let home = home();
    let mut running = Running::start(
        &home,
        &[REQUIRE, "--enforce"],
        "python3 -c \"import os,socket,sys\n\
         l=socket.create_server(('127.0.0.1',0))\n\
         open('new','w').write(str(l.getsockname()[1])); os.rename('new','port')\n\
         sys.stdin.readline(); l.setblocking(False)\ntry: l.accept(); print('came')\nexcept BlockingIOError: pass\"",
    );
    let place = home.path().join("port");
    running.tell();
    let port: u16 = poll("it listens", || fs::read_to_string(&place).ok()?.parse().ok());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let refused = TcpStream::connect_timeout(&address, Duration::from_millis(500));
    assert!(refused.is_err(), "it answered");
    let launched = running.go_on().expect(0);
    assert_eq!(launched.stdout(), "");
    launched.captured(0);
    let covered = covered(&launched);
    let packets = &covered["packets"];
    assert!(packets["bypass_denied"].as_u64() >= Some(1), "{packets}");
    assert_eq!(packets["seen"], packets["bypass_denied"], "{packets}");
    assert_eq!(covered["mode"], "enforce");
}

/// What a list allows on this machine is left alone, and nothing else is.
pub(super) fn listed_places_on_the_machine_are_left_alone() {
    places_are_left_alone(|_, [listed, _]| vec![format!("--loopback-allow=127.0.0.1:{listed}")]);
}

/// The same, where the list is in the configuration; what the command line names stands in its place.
pub(super) fn so_are_places_of_the_configuration() {
    let configured = |home: &Home, port: u16| {
        let file = home.path().join("listed.toml");
        let text = format!("[kernel]\nloopback_allow = [\"127.0.0.1:{port}\"]\n");
        fs::write(&file, text).expect("written");
        format!("--config={}", file.display())
    };
    places_are_left_alone(|home, [listed, _]| vec![configured(home, listed)]);
    places_are_left_alone(|home, [listed, other]| {
        vec![configured(home, other), format!("--loopback-allow=127.0.0.1:{listed}")]
    });
}

/// Two places of which the first is listed by these flags.
fn places_are_left_alone(flags: impl FnOnce(&Home, [u16; 2]) -> Vec<String>) {
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
    let flags = flags(&home, ports);
    let flags: Vec<&str> = [REQUIRE].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let launch = Launch::new(&home, &flags);
    let launched = run(launch, &["python3", "-c", &script]).expect(0);
    // The one that is listed saw the client itself, the other the gateway.
    assert_eq!(launched.stdout(), "True\nFalse\n");
    for server in servers {
        server.join().expect("both were reached");
    }
    launched.captured(1);
    assert_eq!(connections(&launched, "loopback"), 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
    let (verdict, said) = verify::verify_product(&launched.home.data(), &launched.home.keys());
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains("1 to listed places on the machine"), "{said}");
    let packets = &covered(&launched)["packets"];
    assert!(packets["loopback"].as_u64() >= Some(3), "{packets}");
    assert_eq!(packets["bypass_passed"], 0, "{packets}");
}
