//! What goes around, what may, and what the gateway says of it.

use std::net::UdpSocket;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;

use sealtap_tests::gate::poll;
use sealtap_tests::launch::Launch;
use sealtap_tests::metrics::metrics;
use sealtap_tests::programs;
use sealtap_tests::records::bypasses;
use sealtap_tests::running::Running;
use sealtap_tests::seen;
use serde_json::json;

use crate::cgroup::Cgroup;
use crate::{CURL, covered, home, model, serve};

/// A datagram is let go, told of while it happens, and sealed.
pub(crate) fn what_goes_around_is_told_of() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = server.local_addr().expect("an address");
    let gateway = serve(&cgroup, "");
    let send = "exec python3 -c 'import socket,sys; \
        socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b\"x\",(\"127.0.0.1\",int(sys.argv[1]))); \
        sys.stdin.readline()' \"$0\"";
    let mut command = cgroup.command(send, &to.port().to_string());
    let mut sends = command.stdin(Stdio::piped()).spawn().expect("a shell can be run");
    // It is there until it was looked at.
    let (send, packet) = poll("the live lines", || {
        let lines = gateway.live();
        let of = |unit| lines.iter().find(|l| l["event"] == "bypass" && l["unit"] == unit).cloned();
        Some((of("connect")?, of("packet")?))
    });
    drop(sends.stdin.take());
    assert!(sends.wait().expect("it ends").success());
    for line in [&send, &packet] {
        assert_eq!(line["destination"], to.to_string(), "{line}");
        assert_eq!((&line["way"], &line["denied"]), (&json!("udp"), &json!(false)), "{line}");
        assert!(line["executable"].as_str().is_some_and(|path| path.contains("python")), "{line}");
    }
    // Who sent is known, and of the packet whose socket it left by.
    let process = &send["process"];
    assert!(process.is_u64() && send["socket_of"].is_null(), "{send}");
    assert!(packet["process"].is_null() && packet["socket_of"] == *process, "{packet}");
    let around = |unit: &str| {
        format!("sealtap_bypass_total{{unit=\"{unit}\",way=\"udp\",verdict=\"passed\"}}")
    };
    let samples = poll("numbers", || {
        let samples = metrics(gateway.address());
        // A statement's numbers come first, then those of what went around.
        let all = [
            "sealtap_coverage_seen_total{unit=\"packet\"}".to_owned(),
            around("connect"),
            around("packet"),
        ];
        all.iter().all(|name| samples.get(name) == Some(&1.0)).then_some(samples)
    });
    let of = |name: &str| samples.get(name).copied();
    for unit in ["connect", "packet"] {
        assert_eq!(of(&around(unit)), Some(1.0), "{samples:?}");
        assert_eq!(of(&format!("sealtap_coverage_led_total{{unit=\"{unit}\"}}")), Some(0.0));
        assert_eq!(
            of(&format!("sealtap_coverage_events_lost_total{{unit=\"{unit}\"}}")),
            Some(0.0)
        );
    }
    for name in ["late_cgroups_total", "older_sockets_total"] {
        assert_eq!(of(&format!("sealtap_coverage_{name}")), Some(0.0), "{samples:?}");
    }
    assert_eq!(of("sealtap_redirected_not_come_connections"), Some(0.0), "{samples:?}");
    assert!(of("sealtap_coverage_foreign_programs").is_some(), "{samples:?}");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["connections"]["bypass_passed"], 1);
    // And afterwards.
    let listed = bypasses(&home);
    let units: Vec<_> = listed.iter().map(|one| one["unit"].as_str().expect("a word")).collect();
    assert_eq!(units.len(), 2, "{listed:?}");
    for (one, line) in
        listed.iter().map(|one| (one, if one["unit"] == "packet" { &packet } else { &send }))
    {
        for name in ["unit", "way", "destination", "process", "socket_of", "executable"] {
            assert_eq!(one[name], line[name], "{name}: {one}");
        }
        assert_eq!((&one["verdict"], &one["count"]), (&json!("passed"), &json!(1)), "{one}");
    }
}

/// A place on the machine that scopes may reach by themselves, as the configuration says; no other.
pub(crate) fn places_that_are_allowed_are_reached_directly() {
    let cgroup = Cgroup::new();
    let (allowed, other) = (model(), model());
    let more = format!("loopback_allow = [\"{}\"]\n", allowed.address());
    let gateway = serve(&cgroup, &more);
    for upstream in [&allowed, &other] {
        assert_eq!(cgroup.run(CURL, &format!("http://{}/x", upstream.address())), "/x");
    }
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), 1, "only the other");
    assert_eq!(list[0].text("/url"), other.address().to_string());
    let counted = &covered(&home)[0]["connections"];
    assert_eq!(
        (&counted["loopback"], &counted["via_gateway"]),
        (&json!(1), &json!(1)),
        "{counted}"
    );
    assert_eq!((allowed.finish().len(), other.finish().len()), (1, 1));
}

/// Each socket sends to a place that is left alone and then to one that is not, by `connect` and without.
const IN_TURN: &str = "python3 -c 'import socket,sys
places=[(\"127.0.0.1\",int(port)) for port in sys.argv[1].split(\",\")]
connects,sends=[socket.socket(socket.AF_INET,socket.SOCK_DGRAM) for _ in range(2)]
for place in places:
 connects.connect(place); connects.send(b\"x\")
 sends.sendto(b\"x\",place)
print(\"sent\")' \"$0\"";

/// That a socket sent to a place that is left alone says nothing of what it sends elsewhere.
pub(crate) fn a_socket_is_not_left_alone_for_where_it_sent_before() {
    let cgroup = Cgroup::new();
    let servers = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a port"));
    let [listed, other] =
        servers.each_ref().map(|server| server.local_addr().expect("an address").port());
    let gateway = serve(&cgroup, &format!("loopback_allow = [\"127.0.0.1:{listed}\"]\n"));
    let ports = format!("{listed},{other},{listed}");
    assert_eq!(cgroup.run(IN_TURN, &ports), "sent\n");
    let home = Arc::clone(gateway.home());
    assert_eq!(gateway.finish().len(), 0);
    let covered = covered(&home).remove(0);
    for unit in ["connections", "packets"] {
        let counted = &covered[unit];
        let numbers = (&counted["loopback"], &counted["bypass_passed"], &counted["seen"]);
        assert_eq!(numbers, (&json!(4), &json!(2), &json!(6)), "{unit}: {covered}");
    }
}

/// `sealtap run` says it too, in lines of their own on standard error, while the command runs.
pub(crate) fn a_run_says_what_goes_around_as_it_happens() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = server.local_addr().expect("an address");
    // The same again and again, by a process that is there until it was looked at; no newline of its own at its end.
    let script = format!(
        "import socket,sys\nsys.stderr.write('own\\n'); sys.stderr.flush()\n\
         print('there',flush=True); sys.stdin.readline()\n\
         s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
         for _ in range(3): s.sendto(b'x',('127.0.0.1',{})); sys.stdin.readline()",
        to.port()
    );
    let said = |flags: &[&str]| {
        let home = home();
        let line = Launch::new(&home, flags).command(["python3", "-c", &script]);
        let mut running = Running::of(&home, line);
        for count in 1..=3 {
            running.tell();
            seen::around(&home, count);
        }
        let launched = running.go_on().expect(0);
        let said = launched.stderr();
        let around = |line: &&str| line.contains("went around the gateway");
        let lines: Vec<String> = said.lines().filter(around).map(str::to_owned).collect();
        assert!(said.lines().any(|line| line == "own"), "{said}");
        launched.captured(0);
        lines
    };
    let lines = said(&["--kernel=require"]);
    let [line] = lines.as_slice() else { panic!("once: {lines:?}") };
    assert!(line.starts_with("sealtap: ") && line.contains("udp"), "{line}");
    assert!(line.contains(&to.to_string()) && line.contains("python3"), "{line}");
    let quiet = said(&["--kernel=require", "--quiet"]);
    assert!(quiet.is_empty(), "{quiet:?}");
    let home = home();
    let mut run = Command::new(programs::sealtap());
    run.args(["run", "--kernel=require", "--data"]).arg(home.data()).arg("--lock").arg(home.lock());
    let output = run.args(["--", "python3", "-c", &script]).output().expect("it can be run");
    let account = String::from_utf8(output.stderr).expect("text");
    assert!(account.contains(&format!("around: connect by udp to {to} by process ")), "{account}");
    // What ignores the proxy variables is led here as well.
    assert!(account.contains("bundle         none: "), "{account}");
    assert!(!account.contains("ignores the proxy variables"), "{account}");
}
