//! Who connects and then becomes another program is never named as that.

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launched;
use sealtap_tests::running::Running;
use sealtap_tests::seen;
use sealtap_tests::standing::signal;

use super::attribution::{digest, python, report, resolved};
use super::{REQUIRE, home};

/// Processes of each kind.
const EACH: usize = 12;

/// Children that each connect, and then: become another program; have a thread of theirs do that; or stay.
/// Says which is which, waits until each is what it is to be, says that all of it is over, and ends them once it
/// is told to.
const SCRIPT: &str = "import os,shutil,signal,socket,sys,threading,time\n\
    port,each=int(sys.argv[1]),int(sys.argv[2])\n\
    sleep=os.path.realpath(shutil.which('sleep'))\n\
    become=lambda: os.execv(sleep,['sleep','1000'])\n\
    made=[]\n\
    for kind in ['leader','thread','stays']*each:\n\
    \x20pid=os.fork()\n\
    \x20if pid==0:\n\
    \x20 s=socket.create_connection(('127.0.0.1',port)); s.set_inheritable(True)\n\
    \x20 if kind=='leader': become()\n\
    \x20 if kind=='thread': threading.Thread(target=become).start()\n\
    \x20 open('%d.stays'%os.getpid(),'w')\n\
    \x20 while True: signal.pause()\n\
    \x20made.append((pid,kind))\n\
    def done(pid,kind):\n\
    \x20if kind=='stays': return os.path.exists('%d.stays'%pid)\n\
    \x20try: return os.readlink('/proc/%d/exe'%pid)==sleep\n\
    \x20except FileNotFoundError: return False\n\
    while not all(done(*one) for one in made): time.sleep(0.01)\n\
    open('made.new','w').write(''.join('%d %s\\n'%one for one in made))\n\
    os.rename('made.new','made')\n\
    while not os.path.exists('go'): time.sleep(0.01)\n\
    for pid,_ in made: os.kill(pid,9)\n";

/// Runs it, with the loader stopped until all is done or not; gives what is sealed of whom, by kind.
fn makers(home: &Arc<Home>, stopped: bool) -> (Launched, Vec<(String, serde_json::Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = std::thread::spawn(move || {
        let accept = |_| listener.accept().expect("a connection").0;
        (0..3 * EACH).map(accept).collect::<Vec<_>>()
    });
    fs::write(home.path().join("many.py"), SCRIPT).expect("written");
    let line = format!("python3 many.py {port} {EACH}");
    let mut running = Running::start(home, &[REQUIRE], &line);
    let loader = running.loader();
    if stopped {
        signal(loader, Signal::STOP);
    }
    running.tell();
    let made = poll("all is done", || fs::read_to_string(home.path().join("made")).ok());
    if stopped {
        signal(loader, Signal::CONT);
    }
    // They are looked at while they are there.
    seen::connections(home, 3 * EACH);
    fs::write(home.path().join("go"), "").expect("written");
    let launched = running.go_on().expect(0);
    drop(served.join().expect("all were served"));
    let kinds: HashMap<u64, &str> = made
        .lines()
        .map(|line| line.split_once(' ').expect("a number and a word"))
        .map(|(pid, kind)| (pid.parse().expect("a number"), kind))
        .collect();
    let maker = |mut exchange: sealtap_tests::records::Exchange| {
        let maker = exchange.json["maker"].take();
        let process = maker["process"].as_u64().expect("a process");
        (kinds[&process].to_owned(), maker)
    };
    let makers: Vec<_> = launched.captured(3 * EACH).into_iter().map(maker).collect();
    for kind in ["leader", "thread", "stays"] {
        assert_eq!(makers.iter().filter(|(of, _)| of == kind).count(), EACH, "{kind}");
    }
    (launched, makers)
}

/// The look comes after all of it: whoever became another program is unknown, and who did not is known.
pub(super) fn what_a_process_became_is_not_what_connected() {
    let home = home();
    let (launched, makers) = makers(&home, true);
    let python = python();
    for (kind, maker) in makers {
        assert!(maker["started"].is_u64() && maker["cgroup"].is_string(), "{kind}: {maker}");
        if kind == "stays" {
            assert_eq!(maker["executable"], python, "{maker}");
            assert!(
                maker["command"].as_str().is_some_and(|line| line.contains("many.py")),
                "{maker}"
            );
            assert!(maker["sha256"].is_string(), "{maker}");
            continue;
        }
        for part in ["executable", "command", "sha256"] {
            assert!(maker[part].is_null(), "{kind}: {maker}");
        }
    }
    let said = launched.account["coverage"]["not_covered"].to_string();
    assert!(said.contains("become another program after it connected"), "{said}");
    report(&launched);
}

/// The look comes at any time: nobody is ever named as what it became.
pub(super) fn whoever_becomes_another_at_once_is_named_rightly_or_not_at_all() {
    let (python, other) = (python(), digest(&resolved("sleep")));
    for _ in 0..4 {
        let home = home();
        let (launched, makers) = makers(&home, false);
        for (kind, maker) in makers {
            let known = maker["executable"] == python;
            assert!(known || kind != "stays" && maker["executable"].is_null(), "{kind}: {maker}");
            let line = maker["command"].as_str().unwrap_or_default();
            assert!(!line.starts_with("sleep") && maker["sha256"] != other, "{kind}: {maker}");
        }
        report(&launched);
    }
}
