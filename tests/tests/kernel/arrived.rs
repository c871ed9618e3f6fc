//! The listener for redirected connections: each goes where it was meant to, and nobody else is let in.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::launch::Launch;
use sealtap_tests::running::Running;
use sealtap_tests::seen;

use super::{REQUIRE, connections, covered, home, run};

/// Many connections at once, by several processes, each to an address of its own: none arrives
/// elsewhere. `SEALTAP_CONNECTIONS` says how many, in thousands.
pub(super) fn many_connections_at_once_arrive_where_they_were_meant_to() {
    const PLACES: usize = 8;
    const PROCESSES: usize = 4;
    let thousands = std::env::var("SEALTAP_CONNECTIONS").ok().and_then(|set| set.parse().ok());
    let thousands = thousands.unwrap_or(8_usize);
    let each = 1000.min(thousands * 1000 / PROCESSES);
    let waves = (thousands * 1000).div_ceil(PROCESSES * each);
    let count = waves * PROCESSES * each;
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
                    // Before it is answered: whoever is may end at once.
                    reached.fetch_add(1, Ordering::AcqRel);
                    stream.write_all(&answer).expect("the place leaves");
                }
            });
            port.to_string()
        })
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/many.py");
    let at_a_time = PROCESSES * each;
    let [processes, each, waves] = [PROCESSES, each, waves].map(|number| number.to_string());
    let line = ["python3", script, &ports.join(","), &processes, &each, &waves, "seen"];
    let asked = Arc::clone(&home);
    let looked = std::thread::spawn(move || {
        seen::many_connections(&asked, count);
        fs::write(asked.path().join("seen"), "").expect("written");
    });
    let began = Instant::now();
    let launched = run(Launch::new(&home, &[REQUIRE]).telling(), &line).expect(0);
    looked.join().expect("all were looked at");
    println!("{count} connections, {at_a_time} at a time: {:?}", began.elapsed());
    assert_eq!(launched.stdout(), format!("{count} 0\n"));
    assert_eq!(reached.load(Ordering::Acquire), count);
    let all = u64::try_from(count).expect("not that many");
    assert_eq!(connections(&launched, "via_gateway"), all, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["redirected"], all, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["attributed"], all, "{}", launched.account);
    assert_eq!(covered(&launched)["known"], all);
    launched.captured(count);
}

/// Whoever says all it has to say and leaves at once was led to the gateway all the same: what it said arrives, however
/// long the gateway takes to look. The gateway stands still until all of them are gone.
pub(super) fn whoever_leaves_at_once_is_heard() {
    const COUNT: usize = 50;
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address").port();
    let heard = std::thread::spawn(move || {
        let hear = |stream: io::Result<TcpStream>| {
            let (mut stream, mut said) = (stream.expect("accepted"), String::new());
            stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
            stream.read_to_string(&mut said).expect("its end comes");
            said
        };
        let mut heard: Vec<String> = listener.incoming().take(COUNT).map(hear).collect();
        heard.sort();
        heard
    });
    let script = format!(
        "python3 -c \"import os,socket\n\
         for n in range({COUNT}):\n\
         \x20s=socket.create_connection(('127.0.0.1',{to})); s.sendall(b'word %03d'%n); s.close()\n\
         open('new','w').close(); os.rename('new','gone')\""
    );
    let mut running = Running::start(&home, &[REQUIRE], &script);
    let gateway = i32::try_from(running.gateway()).ok().and_then(Pid::from_raw).expect("a number");
    kill_process(gateway, Signal::STOP).expect("it stands still");
    running.tell();
    let gone = home.path().join("gone");
    poll("the connections", || gone.exists().then_some(()));
    kill_process(gateway, Signal::CONT).expect("it goes on");
    let launched = running.end().expect(0);
    let expected: Vec<String> = (0..COUNT).map(|n| format!("word {n:03}")).collect();
    assert_eq!(launched.account["coverage"]["redirected"], COUNT, "{}", launched.account);
    assert_eq!(launched.account["coverage"]["refused"], 0, "{}", launched.account);
    assert_eq!(covered(&launched)["known"], COUNT);
    launched.captured(COUNT);
    assert_eq!(heard.join().expect("no panic"), expected);
}

/// Whoever finds the listener is not let through.
pub(super) fn nobody_borrows_the_gateway() {
    let home = home();
    let running = Running::start(&home, &[REQUIRE], "true");
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
pub(super) fn the_command_does_not_reach_the_listener_by_itself() {
    let home = home();
    let running = Running::start(
        &home,
        &[REQUIRE],
        "python3 -c \"import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1]))); \
         s.settimeout(10); print(s.recv(9))\" $(cat port) 2>/dev/null; true",
    );
    fs::write(home.path().join("port"), running.redirected_port().to_string()).expect("written");
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(launched.account["coverage"]["refused"], 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
}
