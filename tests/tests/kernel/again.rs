//! A name that is used again: what was noted of a connection that is over is not taken for another's, whether or not
//! its end was seen.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use sealtap_tests::gate::poll;
use sealtap_tests::maps::Notes;
use sealtap_tests::running::{Running, cgroups};

use super::{REQUIRE, connections, covered, home};

/// Turns off whatever tells anybody that connections to a port end.
struct Deaf(Child);

impl Deaf {
    fn to(port: u16) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/deaf.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(cgroups()).arg(port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python 3 is needed");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("read");
        assert_eq!(line, "there\n", "it is attached");
        Self(child)
    }
}

impl Drop for Deaf {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What somebody reads who connects from that port on the loopback to that other one, from outside of all scopes.
fn answered(from: u16, port: u16) -> String {
    let script = format!(
        "import errno,socket,time\n\
         def connected(tries):\n\
         \x20try: return socket.create_connection(('127.0.0.1',{port}),10,('127.0.0.1',{from}))\n\
         \x20except OSError as e:\n\
         \x20\x20if e.errno!=errno.EADDRINUSE or not tries: raise\n\
         \x20time.sleep(0.1); return connected(tries-1)\n\
         try:\n\
         \x20s=connected(100); s.sendall(b'x'); print(s.recv(6).decode())\n\
         except ConnectionResetError: print()"
    );
    let output = Command::new("python3").args(["-c", &script]).output().expect("it can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
}

/// A server in scope is reached by the gateway and cuts that short. Then somebody else connects from the same
/// address and port: what it is answered went around.
pub(super) fn whoever_has_the_gateways_port_next_is_not_the_gateway() {
    the_gateways_port_is_used_again(false);
}

/// The same, where nobody told that the first one is over.
pub(super) fn nor_is_it_where_the_end_was_not_seen() {
    the_gateways_port_is_used_again(true);
}

fn the_gateways_port_is_used_again(unseen: bool) {
    let home = home();
    let script = "python3 -c \"import os,socket,struct,threading,time\n\
         l=socket.create_server(('127.0.0.1',0)); port=l.getsockname()[1]\n\
         def say(name,what): open('new','w').write(what); os.rename('new',name)\n\
         say('port',str(port))\n\
         while not os.path.exists('go'): time.sleep(0.01)\n\
         def call():\n\
         \x20s=socket.create_connection(('127.0.0.1',port)); s.sendall(bytes(1))\n\
         \x20try: s.recv(1)\n\
         \x20except ConnectionResetError: pass\n\
         t=threading.Thread(target=call); t.start()\n\
         c,peer=l.accept(); c.recv(1)\n\
         c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); c.close(); t.join()\n\
         say('from',str(peer[1]))\n\
         c,_=l.accept(); c.sendall(b'secret'); c.recv(1)\"";
    let mut running = Running::start(&home, &[REQUIRE], script);
    running.tell();
    let number = |name: &str| -> u16 {
        let path = home.path().join(name);
        let text = poll(name, || fs::read_to_string(&path).ok());
        text.parse().expect("a port")
    };
    let port = number("port");
    let deaf = unseen.then(|| Deaf::to(port));
    fs::write(home.path().join("go"), "").expect("written");
    let from = number("from");
    let notes = Notes::of(running.loader());
    let stays = u32::from(unseen);
    poll("what is noted of it", || (notes.at(from) == stays).then_some(()));
    assert_eq!(answered(from, port), "secret");
    assert_eq!(notes.at(from), 0);
    drop(deaf);
    let launched = running.go_on().expect(0);
    launched.captured(1);
    assert_eq!(connections(&launched, "via_gateway"), 1, "{}", launched.account);
    let packets = &covered(&launched)["packets"];
    assert!(packets["via_gateway"].as_u64() >= Some(4), "{packets}");
    assert!(packets["bypass_passed"].as_u64() >= Some(2), "{packets}");
}

/// A client in scope is led, and goes without anybody being told. Somebody else who then connects to the gateway from
/// its address and port is not taken for it.
pub(super) fn whoever_has_a_clients_port_next_is_not_the_client() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // From a port that the system gives to nobody else meanwhile.
    let script = format!(
        "python3 -c \"import errno,os,random,socket,struct,sys\n\
         def bound(s):\n\
         \x20try: s.bind(('127.0.0.1',random.randrange(20000,30000))); return True\n\
         \x20except OSError as e:\n\
         \x20\x20if e.errno!=errno.EADDRINUSE: raise\n\
         s=socket.socket()\n\
         while not bound(s): pass\n\
         s.connect(('127.0.0.1',{port})); s.sendall(bytes(1)); s.recv(1)\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0))\n\
         own=s.getsockname()[1]; s.close()\n\
         open('new','w').write(str(own)); os.rename('new','from'); sys.stdin.readline()\""
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    let door = running.redirected_port();
    let deaf = Deaf::to(door);
    running.tell();
    let (mut stream, _) = listener.accept().expect("it is reached");
    stream.write_all(b"x").expect("it is there");
    let from = home.path().join("from");
    let from = poll("it was led", || fs::read_to_string(&from).ok());
    let from: u16 = from.parse().expect("a port");
    drop(stream);
    let notes = Notes::of(running.loader());
    // The gateway's own is over, and that was seen.
    poll("the client's stays", || (notes.all() == 1).then_some(()));
    assert_eq!(notes.at(from), 1);
    assert_eq!(answered(from, door), "", "it is refused");
    assert_eq!((notes.all(), notes.counted()), (0, 0));
    drop(deaf);
    let launched = running.go_on().expect(0);
    launched.captured(1);
    assert_eq!(launched.account["coverage"]["refused"], 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1, "{}", launched.account);
}

/// Each connection that is led is noted for the port that it comes from, until it is over: a note that stays
/// counted would cost whoever comes from there next, and one that is not would be taken for theirs.
pub(super) fn notes_are_counted_until_their_connections_are_over() {
    const CONNECTIONS: usize = 5;
    let home = home();
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!(
        "python3 -c \"import socket,sys\n\
         all=[socket.create_connection(('127.1.0.'+str(n+1),{port})) for n in range({CONNECTIONS})]\n\
         open('new','w').write(' '.join(str(s.getsockname()[1]) for s in all))\n\
         import os; os.rename('new','ports'); [(s.recv(1),s.close()) for s in all]; sys.stdin.readline()\""
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    running.tell();
    let mut held: Vec<_> =
        (0..CONNECTIONS).map(|_| listener.accept().expect("it is reached").0).collect();
    let ports = home.path().join("ports");
    let ports = poll("all are there", || fs::read_to_string(&ports).ok());
    let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().expect("a port")).collect();
    let notes = Notes::of(running.loader());
    assert!(ports.iter().all(|port| notes.at(*port) >= 1), "{ports:?}");
    // The gateway's own are noted as well.
    assert_eq!(notes.counted(), 2 * u32::try_from(CONNECTIONS).expect("few"));
    for stream in &mut held {
        stream.write_all(b"x").expect("it is there");
    }
    drop(held);
    poll("none is left", || (notes.counted() == 0).then_some(()));
    let launched = running.go_on().expect(0);
    assert_eq!(connections(&launched, "via_gateway"), CONNECTIONS as u64, "{}", launched.account);
}
