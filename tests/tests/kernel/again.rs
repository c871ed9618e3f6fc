//! A name that is used again: what was noted of the gateway's own connection is not taken for another's.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;

use aya::maps::{Array, Map, MapData, MapInfo};
use sealtap_tests::gate::poll;
use sealtap_tests::running::Running;

use super::{REQUIRE, connections, covered, home};

/// A server in scope is reached by the gateway and cuts that short. Then somebody else connects from the same
/// address and port: what it is answered went around.
pub(super) fn whoever_has_the_gateways_port_next_is_not_the_gateway() {
    let home = home();
    let script = "python3 -c \"import socket,struct,threading\n\
         l=socket.create_server(('127.0.0.1',0)); port=l.getsockname()[1]\n\
         def call():\n\
         \x20s=socket.create_connection(('127.0.0.1',port)); s.sendall(bytes(1))\n\
         \x20try: s.recv(1)\n\
         \x20except ConnectionResetError: pass\n\
         t=threading.Thread(target=call); t.start()\n\
         c,peer=l.accept(); c.recv(1)\n\
         c.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack('ii',1,0)); c.close(); t.join()\n\
         open('new','w').write(str(port)+' '+str(peer[1]))\n\
         import os; os.rename('new','ports')\n\
         c,_=l.accept(); c.sendall(b'secret'); c.recv(1)\"";
    let mut running = Running::start(&home, &[REQUIRE], script);
    running.tell();
    let ports = home.path().join("ports");
    let ports = poll("the gateway was there", || fs::read_to_string(&ports).ok());
    let (port, from) = ports.split_once(' ').expect("two ports");
    let other = format!(
        "import socket; s=socket.create_connection(('127.0.0.1',{port}),10,('127.0.0.1',{from})); \
         print(s.recv(6).decode())"
    );
    let output = Command::new("python3").args(["-c", &other]).output().expect("Python 3 is needed");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "secret\n", "{output:?}");
    let launched = running.go_on().expect(0);
    launched.captured(1);
    assert_eq!(connections(&launched, "via_gateway"), 1, "{}", launched.account);
    let packets = &covered(&launched)["packets"];
    assert!(packets["via_gateway"].as_u64() >= Some(4), "{packets}");
    assert!(packets["bypass_passed"].as_u64() >= Some(2), "{packets}");
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
    let ports: Vec<u32> = ports.split(' ').map(|port| port.parse().expect("a port")).collect();
    let counted = noted(&running);
    let at = |port: &u32| counted.get(port, 0).expect("a number");
    assert!(ports.iter().all(|port| at(port) >= 1), "{ports:?}");
    // The gateway's own are noted as well.
    let all = || counted.iter().map(|number| number.expect("a number")).sum::<u32>();
    assert_eq!(all(), 2 * u32::try_from(CONNECTIONS).expect("few"));
    for stream in &mut held {
        stream.write_all(b"x").expect("it is there");
    }
    drop(held);
    poll("none is left", || (all() == 0).then_some(()));
    let launched = running.go_on().expect(0);
    assert_eq!(connections(&launched, "via_gateway"), CONNECTIONS as u64, "{}", launched.account);
}

/// How many connections are noted for each port, as the loader's programs have it.
fn noted(running: &Running) -> Array<MapData, u32> {
    let held = running.held();
    let maps = held.iter().filter_map(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("map_id:"))?;
        line.trim().parse::<u32>().ok()
    });
    let named =
        |id: &u32| MapInfo::from_id(*id).is_ok_and(|info| info.name_as_str() == Some("NOTED"));
    let id = maps.into_iter().find(named).expect("a map of that name");
    let map = Map::from_map_data(MapData::from_id(id).expect("it is there")).expect("it is known");
    Array::try_from(map).expect("an array")
}
