//! Statements add up, also where the ring has no room for what is told.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::running::Running;
use sealtap_tests::standing::signal;
use sealtap_tests::statements::{Sums, add_up};

use super::{REQUIRE, connections, covered, home, run};

/// Events that find no room are counted as lost, and every statement adds up all the same.
pub(super) fn events_that_find_no_room_are_counted() {
    const SENT: u64 = 8_000;
    let home = home();
    let mut running = Running::start(
        &home,
        &[REQUIRE],
        "python3 -c \"import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); \
         [s.sendto(b'x',('127.0.0.1',9)) for _ in range(8000)]\"; touch sent; read line",
    );
    let loader = running.loader();
    // Nobody reads while they are sent.
    signal(loader, Signal::STOP);
    running.tell();
    poll("all are sent", || home.path().join("sent").exists().then_some(()));
    signal(loader, Signal::CONT);
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
pub(super) fn a_flood_past_the_smallest_ring_adds_up() {
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

/// What one task of the load did: connections that were answered, sends of UDP, packets of a raw socket.
/// The pauses alone are longer than three statements, of which the second may be late.
pub(super) const LOAD: &str = "import os,socket,struct,sys,time\n\
    port,rounds=int(sys.argv[1]),int(sys.argv[2])\n\
    udp=struct.pack('!HHHH',4711,9,9,0)+b'x'\n\
    ip=struct.pack('!BBHHHBBH4s4s',0x45,0,29,0,0,64,17,0,b'\\x7f\\0\\0\\x01',b'\\x7f\\0\\0\\x02')\n\
    def connects():\n\
    \x20for n in range(rounds):\n\
    \x20 with socket.create_connection(('127.0.0.1',port)) as s: assert s.recv(1)==b'x'\n\
    \x20 time.sleep(0.07)\n\
    def sends():\n\
    \x20s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
    \x20for n in range(rounds):\n\
    \x20 for n in range(200): s.sendto(b'x',('127.0.0.1',9))\n\
    \x20 time.sleep(0.07)\n\
    def raws():\n\
    \x20s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_RAW)\n\
    \x20for n in range(rounds):\n\
    \x20 for n in range(100): s.sendto(ip+udp,('127.0.0.2',0))\n\
    \x20 time.sleep(0.07)\n\
    for does in (connects,connects,sends,sends,raws):\n\
    \x20if os.fork()==0: does(); os._exit(0)\n\
    ends=[os.wait()[1] for n in range(5)]\n\
    print(sum(ends))";

/// Connections and packets of all kinds at once, through several statements, with the smallest ring there
/// is: each of them adds up as it stands in the log, and the last is what the load did.
pub(super) fn each_statement_adds_up_under_load() {
    adds_up(240, |_, launch, port, rounds| run(launch, &["python3", "-c", LOAD, port, rounds]));
}

/// The same of a load of so many rounds, however it is started.
pub(super) fn adds_up(rounds: u64, start: impl FnOnce(&Arc<Home>, Launch, &str, &str) -> Launched) {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"x");
        }
    });
    let launch = Launch::new(&home, &[REQUIRE, "--kernel-ring=4096"]);
    let launched = start(&home, launch, &port, &rounds.to_string()).expect(0);
    assert_eq!(launched.stdout(), "0\n", "{}", launched.stderr());
    // The verifier's own arithmetic.
    launched.captured(usize::try_from(2 * rounds).expect("few"));
    assert_eq!(covered(&launched)["end"], "ended");
    // And this test's, over what is in the log.
    for unit in ["connections", "packets"] {
        let Sums { last, statements, lossy } = add_up(&home.log(), unit);
        assert!(statements >= 3, "{statements}");
        assert!(lossy >= 2, "{unit}: events were lost in {lossy} statements");
        let (sends, raws) = (2 * rounds * 200, rounds * 100);
        let expected = if unit == "packets" { sends + raws } else { sends };
        assert_eq!((last["bypass_passed"], last["bypass_denied"]), (expected, 0), "{unit}");
        match unit {
            // SYN, ACK, that of the byte, and FIN; no more of a client that is the first to close.
            "packets" => assert!(last["via_gateway"] >= 2 * rounds * 4, "{last:?}"),
            _ => assert_eq!(last["via_gateway"], 2 * rounds, "{last:?}"),
        }
    }
}
