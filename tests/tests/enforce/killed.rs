//! Killed: gateway, loader and pins, one at a time; nothing gets out by it.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;
use sealtap_tests::maps;
use sealtap_tests::standing::{self, Running};
use serde_json::{Value, json};

use crate::{ENFORCE, covered, home, level, modes};

/// Tries both ways out when told to, and writes down how it went.
fn tries(server: &TcpListener, datagrams: &UdpSocket) -> String {
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("bound").port();
    format!(
        "exec python3 -c \"\n\
         import os,socket,time\n\
         def tries(kind,to):\n\
         \x20s=socket.socket(2,kind); s.settimeout(9)\n\
         \x20try: s.connect(to); s.send(b'x'); return 'out'\n\
         \x20except OSError as error: return str(error.errno)\n\
         for round in ('first','second'):\n\
         \x20while not os.path.exists(round): time.sleep(0.01)\n\
         \x20told=tries(1,('127.0.0.1',{}))+' '+tries(2,('127.0.0.1',{}))\n\
         \x20open(round+'.part','w').write(told); os.rename(round+'.part',round+'.told')\n\"",
        port(server.local_addr()),
        port(datagrams.local_addr())
    )
}

/// Has the command try, and gives how it went.
fn round(home: &Home, name: &str) -> String {
    fs::write(home.path().join(name), "").expect("written");
    let told = home.path().join(format!("{name}.told"));
    poll("it was tried", || fs::read_to_string(&told).ok())
}

/// Nobody is left to see to it, and nothing gets out, until somebody opens it.
pub(crate) fn a_killed_gateway_leaves_the_fence_closed() {
    let (server, datagrams) = (
        TcpListener::bind("127.0.0.1:0").expect("a port"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
    );
    let home = home();
    let mut running = Running::start(&home, &ENFORCE, &tries(&server, &datagrams));
    running.tell();
    let standing = running.standing();
    let name = standing["instance"].as_str().expect("a name").to_owned();
    assert_eq!(standing["gateway"]["lives"], true, "{standing}");
    assert_eq!(standing["watched"][0]["mode"], "enforce", "{standing}");
    // Not while its gateway lives.
    let refused = standing::kernel(&["detach", "--instance", &name]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lives"));
    running.kill_gateway();
    let left = standing::of_gateway(running.gateway()).expect("it is still listed");
    assert_eq!((&left["gateway"]["lives"], &left["loader"]), (&json!(false), &Value::Null));
    // ECONNREFUSED and EPERM.
    assert_eq!(round(&home, "first"), "111 1");
    let opened = standing::kernel(&["detach", "--json", "--instance", &name]);
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    let opened: Value = serde_json::from_slice(&opened.stdout).expect("JSON");
    let removed = opened["removed"].as_array().expect("a list");
    assert_eq!(removed.len(), standing["programs"].as_array().expect("a list").len(), "{opened}");
    assert_eq!(round(&home, "second"), "out out", "what was taken away kept it closed");
    assert!(standing::of_gateway(running.gateway()).is_none());
    // The command was its cgroup's last; a later detach would have taken the folder away.
    let cgroup = standing["watched"][0]["path"].as_str().expect("a path");
    let cgroup = Path::new(cgroup);
    drop(running);
    poll("its cgroup is empty", || fs::remove_dir(cgroup).is_ok().then_some(()));
    standing::assert_gone(&standing);
    // The next start seals what was pending.
    Launch::new(&home, &[]).run(["true"]).expect(0).home.assert_valid();
    assert_eq!(covered(&home)["end"], Value::Null, "nobody closed it");
}

/// The gateway goes on to capture; datagrams stay denied; coverage is over, and that is said.
pub(crate) fn a_killed_loader_leaves_the_fence_closed() {
    for (flags, enforced) in modes() {
        let (server, datagrams) = (
            TcpListener::bind("127.0.0.1:0").expect("a port"),
            UdpSocket::bind("127.0.0.1:0").expect("a port"),
        );
        let home = home();
        let mut running = Running::start(&home, flags, &tries(&server, &datagrams));
        let standing = running.standing();
        running.tell();
        let loader = running.loader();
        standing::signal(loader, Signal::KILL);
        standing::gone(loader);
        let first = round(&home, "first");
        assert_eq!(first, if enforced { "out 1" } else { "out out" });
        assert_eq!(round(&home, "second"), first);
        let launched = running.end().expect(0);
        // The connections came to the gateway only where the programs stayed.
        launched.captured(if enforced { 2 } else { 0 });
        assert_eq!(level(&launched), "unknown", "{}", launched.account);
        assert_eq!(launched.account["coverage"]["enforced"], enforced, "{}", launched.account);
        assert_eq!(covered(&home)["end"], "loader_gone");
        standing::assert_gone(&standing);
    }
}

/// A loader that is there and says nothing is found out while the command runs, and all ends well.
pub(crate) fn a_stopped_loader_is_noticed() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "true");
    let standing = running.standing();
    let loader = running.loader();
    let messages = || fs::read_to_string(home.data().join("messages.log")).unwrap_or_default();
    assert!(!messages().contains("has not answered"));
    standing::signal(loader, Signal::STOP);
    // Five seconds until it is asked, fifteen until that is too long; three times that here.
    let deadline = Instant::now() + Duration::from_secs(60);
    while !messages().contains("has not answered") {
        assert!(Instant::now() < deadline, "nobody noticed: {}", messages());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(level(&launched), "unknown", "{}", launched.account);
    assert_eq!(covered(&home)["end"], "loader_gone");
    standing::gone(loader);
    standing::assert_gone(&standing);
}

/// With a pin gone the loader's end would open the fence: the command is ended rather than let out.
pub(crate) fn a_pin_that_is_taken_away_ends_the_command() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "touch went-on");
    let standing = running.standing();
    let folder = standing["pinned"].as_str().expect("it is pinned");
    fs::remove_file(Path::new(folder).join("sealtap_sendmsg4")).expect("taken away");
    // Told nothing: it ends all the same.
    let home = Arc::clone(&home);
    let launched = running.wait().expect(125);
    assert!(!home.path().join("went-on").exists());
    launched.captured(0);
    assert_eq!(launched.account["coverage"]["broken"], true, "{}", launched.account);
    assert_eq!(covered(&home)["end"], "links_changed");
    standing::assert_gone(&standing);
}

/// What the programs go by, written over by somebody else: the fence may be open, and the command is ended.
pub(crate) fn maps_that_are_written_to_end_the_command() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "touch went-on");
    let standing = running.standing();
    maps::forget_settings(running.loader());
    // Told nothing: it ends all the same.
    let launched = running.wait().expect(125);
    assert!(!home.path().join("went-on").exists());
    launched.captured(0);
    let account = &launched.account["coverage"];
    assert_eq!(account["broken"], true, "{account}");
    assert!(
        account["why"].as_str().is_some_and(|why| why.contains("wrote to their maps")),
        "{account}"
    );
    assert_eq!(covered(&home)["end"], "links_changed");
    standing::assert_gone(&standing);
}
