//! A port that several connections have at once, to different places: each keeps what is noted of it.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, apart};
use sealtap_tests::leaves;
use sealtap_tests::maps::Notes;
use sealtap_tests::running::{Running, waiting};
use sealtap_tests::standing::signal;

use super::{REQUIRE, connections, covered, home};

/// The ports that the system chooses from.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// A run in a network of its own, with these ports to choose from.
fn start(home: &Arc<Home>, ports: &str, then: &str) -> Running {
    let ready = Launch::new(home, &[REQUIRE]).command(waiting(then));
    Running::of(home, apart(&ready, &format!("echo {ports} > {RANGE}")))
}

/// What a file says, once it is there.
fn said(home: &Home, name: &str) -> String {
    poll(name, || fs::read_to_string(home.path().join(name)).ok())
}

/// A client in scope was led and is not accepted yet. Somebody else connects from its address and port, to the gateway's
/// port at another address: the client is accepted all the same, as what it is.
pub(super) fn a_client_whose_port_another_uses_is_accepted() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "python3 -c \"import os,socket\n\
         s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('127.0.0.1',0)); s.settimeout(20); s.connect(('127.0.0.1',{port}))\n\
         open('new','w').write(str(s.getsockname()[1])); os.rename('new','from')\n\
         s.sendall(bytes(1)); print(s.recv(6).decode()); s.close(); input()\""
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    let (door, gateway) = (running.redirected_port(), running.gateway());
    let notes = Notes::of(running.loader());
    // Nobody accepts for now.
    signal(gateway, Signal::STOP);
    running.tell();
    let from: u16 = said(&home, "from").parse().expect("a port");
    let other = format!(
        "import socket\n\
         s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('127.0.0.1',{from})); print(s.connect_ex(('127.0.0.2',{door})))"
    );
    let output = Command::new("python3").args(["-c", &other]).output().expect("it can be run");
    let noted = notes.at(from);
    signal(gateway, Signal::CONT);
    // ECONNREFUSED: it came as far as that.
    assert_eq!(String::from_utf8_lossy(&output.stdout), "111\n", "{output:?}");
    assert_eq!(noted, 1, "the client's");
    let (mut stream, _) = listener.accept().expect("it is led on");
    stream.write_all(b"secret").expect("it is there");
    drop(stream);
    // Whoever made it is there until it is known who that is.
    let is_sealed = || leaves::all(&home.log()).iter().any(|leaf| leaf["kind"] == "connection");
    poll("the connection is sealed", || is_sealed().then_some(()));
    let launched = running.go_on().expect(0);
    assert_eq!(launched.stdout(), "secret\n");
    launched.captured(1);
    assert_eq!(connections(&launched, "via_gateway"), 1, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["attributed"], 1, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["refused"], 0, "{}", launched.account);
}

/// The gateway has reached a server in scope, which has said nothing yet. Somebody else connects from the gateway's
/// address and port, to the server's port at another address: what the server then says goes to the gateway all the same.
pub(super) fn a_gateway_whose_port_another_uses_is_answered() {
    let home = home();
    let script = "python3 -c \"import os,socket,threading,time\n\
         l=socket.create_server(('127.0.0.1',0)); port=l.getsockname()[1]\n\
         def call(): s=socket.create_connection(('127.0.0.1',port)); print(s.recv(6).decode())\n\
         t=threading.Thread(target=call); t.start()\n\
         c,peer=l.accept()\n\
         open('new','w').write(str(port)+' '+str(peer[1])); os.rename('new','ports')\n\
         while not os.path.exists('go'): time.sleep(0.01)\n\
         c.sendall(b'secret'); t.join(); c.close()\"";
    let mut running = start(&home, "32768 60999", script);
    running.tell();
    let ports = said(&home, "ports");
    let (port, from) = ports.split_once(' ').expect("two ports");
    let notes = Notes::of(running.loader());
    let noted = || notes.at(from.parse().expect("a port"));
    let before = noted();
    // Only the system gives a port to two that did not agree to share it: where it has no other.
    let other = format!(
        "import socket\n\
         l=socket.create_server(('127.0.0.2',{port})); open('{RANGE}','w').write('{from} {from}')\n\
         s=socket.create_connection(('127.0.0.2',{port}),10); print(*s.getsockname())"
    );
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={}", running.gateway())).args(["--net", "python3", "-c", &other]);
    let output = command.output().expect("it can be run");
    let there = String::from_utf8_lossy(&output.stdout);
    assert_eq!(there.trim_end(), format!("127.0.0.1 {from}"), "{output:?}");
    assert_eq!((before, noted()), (1, 1), "the gateway's");
    fs::write(home.path().join("go"), "").expect("written");
    let launched = running.end().expect(0);
    assert_eq!(launched.stdout(), "secret\n");
    launched.captured(1);
    let packets = &covered(&launched)["packets"];
    assert_eq!(packets["bypass_passed"], 0, "{packets}");
    assert_eq!(packets["seen"], packets["via_gateway"], "{packets}");
}

/// The gateway has more connections to two servers at one port than there are ports to come from, so some share one. What
/// is counted for ports is what is noted, while they are there and when they are over.
pub(super) fn upstreams_at_one_port_leave_no_counts() {
    const EACH: u32 = 40;
    let home = home();
    let script = format!(
        "python3 -c \"import os,socket,time\n\
         l=socket.create_server(('0.0.0.0',30000),backlog=99)\n\
         clients,servers,peers=[],[],[]\n\
         for n in range({EACH}):\n\
         \x20for to in (1,2):\n\
         \x20 s=socket.socket(); s.setsockopt(socket.IPPROTO_IP,24,1); s.bind(('127.0.0.%d'%(to+2),0))\n\
         \x20 s.connect(('127.0.0.%d'%to,30000)); s.sendall(bytes(1)); clients.append(s)\n\
         \x20 c,peer=l.accept(); c.recv(1); servers.append(c); peers.append(peer)\n\
         open('new','w').write(str(len(set(peers)))); os.rename('new','names')\n\
         while not os.path.exists('go'): time.sleep(0.01)\n\
         [c.close() for c in servers]; [s.recv(1) for s in clients]; [s.close() for s in clients]\n\
         open('done','w'); input()\""
    );
    let mut running = start(&home, "40000 40063", &script);
    running.tell();
    let names: u32 = said(&home, "names").parse().expect("a number");
    assert!(names < 2 * EACH, "some share a port: {names}");
    let notes = Notes::of(running.loader());
    // Those that share one have one note.
    let expected = 2 * EACH + names;
    assert_eq!((notes.all(), notes.counted()), (expected, expected));
    fs::write(home.path().join("go"), "").expect("written");
    said(&home, "done");
    // One is taken away, and then its port has one less.
    poll("none is noted", || (notes.all() == 0 && notes.counted() == 0).then_some(()));
    let launched = running.go_on().expect(0);
    assert_eq!(connections(&launched, "via_gateway"), u64::from(2 * EACH), "{}", launched.account);
}
