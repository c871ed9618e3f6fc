//! Ends: how a run begins and ends, and what it leaves.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;
use sealtap_tests::programs;
use sealtap_tests::standing::{self, Running};
use sealtap_tests::terminal::at_terminal;
use serde_json::json;

use crate::{ENFORCE, OBSERVE, covered, home, modes};

/// Elsewhere it would not be watched.
pub(crate) fn what_the_command_leaves_running_is_ended() {
    for (flags, enforced) in modes() {
        let home = home();
        let flags: Vec<&str> = flags.iter().copied().chain(["--linger=0"]).collect();
        let script = "sleep 600 >/dev/null 2>&1 & echo $!";
        let launched = Launch::new(&home, &flags).shell(script).expect(0);
        launched.captured(0);
        let process: u32 = launched.stdout().trim().parse().expect("a number");
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        assert_eq!(line.starts_with(b"sleep\x00600"), !enforced);
        let (one, other) = ("ended", "still_running");
        let (named, not) = if enforced { (one, other) } else { (other, one) };
        assert_eq!(launched.account[named][0]["id"], process, "{}", launched.account);
        assert_eq!(launched.account[not], json!([]));
        if !enforced {
            standing::signal(process, Signal::KILL);
        }
    }
}

/// At the end there is neither pin nor program nor cgroup; while it runs there are.
pub(crate) fn nothing_stays_behind() {
    let home = home();
    let running = Running::start(&home, &ENFORCE, "true");
    let (standing, loader) = (running.standing(), running.loader());
    let folder = standing["pinned"].as_str().expect("it is pinned").to_owned();
    assert!(Path::new(&folder).is_dir());
    for program in standing["programs"].as_array().expect("a list") {
        assert!(standing::is_loaded(program["id"].as_u64().expect("a number")));
        let name = program["name"].as_str().expect("a name");
        let elsewhere = name.starts_with("sealtap_uplink") || name == "sealtap_exec";
        assert_eq!(program["cgroup"], u64::from(!elsewhere), "{program}");
    }
    assert!(Path::new(standing["watched"][0]["path"].as_str().expect("a path")).is_dir());
    assert_eq!(standing["loader"], loader);
    let gateway = running.gateway();
    let launched = running.go_on().expect(0);
    launched.captured(0);
    standing::assert_gone(&standing);
    assert!(standing::of_gateway(gateway).is_none());
    assert!(!Path::new(&format!("/proc/{loader}")).exists());
}

/// The command is interactive as without it, and signals come once.
pub(crate) fn the_terminal_and_signals_are_the_commands() {
    let (line, interrupt, stop) = (
        "test -t 0 && test -t 1 && echo ready; read line; echo \"got <$line>\"; exit 4",
        "n=0; trap 'n=$((n+1)); echo interrupted $n' INT; echo ready; \
         while [ $n -lt 2 ]; do sleep 0.2; done; echo count $n; exit 5",
        "echo ready; read line; echo \"got <$line>\"",
    );
    for (flags, enforced) in modes() {
        let plays = [
            ("line", line, "exit 4"),
            ("interrupt", interrupt, "exit 5"),
            ("stop", stop, "exit 0"),
        ];
        for (play, script, end) in plays {
            let (home, said) = at_terminal(play, flags, script);
            assert!(said.starts_with(end), "{play}: {said}");
            let mode = covered(&home)["mode"].clone();
            assert_eq!(mode, if enforced { "enforce" } else { "observe" });
        }
    }
    let home = home();
    let mut running = Running::start(
        &home,
        &ENFORCE,
        "trap 'exit 7' TERM; touch waits; while :; do sleep 0.1; done",
    );
    running.tell();
    poll("it waits", || home.path().join("waits").exists().then_some(()));
    standing::signal(running.gateway(), Signal::TERM);
    running.wait().expect(7).captured(0);
}

/// Never a silent downgrade.
pub(crate) fn what_cannot_be_enforced_is_not_started() {
    let refused = |mut command: Command, says: &str, home: &Home| {
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(says) && said.contains("not started"), "{said}");
        assert!(!home.path().join("ran").exists(), "{said}");
    };
    let off = home();
    refused(
        Launch::new(&off, &["--kernel=off", "--enforce"]).command(["touch", "ran"]),
        "--kernel off",
        &off,
    );
    // Root by name, without its rights; and with all but the one for mounts.
    for (dropped, missing) in [
        ("-all", "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
        ("-bpf", "missing: CAP_BPF\n"),
        ("-sys_admin", "missing: CAP_SYS_ADMIN\n"),
    ] {
        let home = home();
        let line = Launch::new(&home, &ENFORCE).command(["touch", "ran"]);
        let mut command = Command::new("setpriv");
        command.args([&format!("--bounding-set={dropped}"), "--inh-caps=-all"]);
        command.arg(line.get_program()).args(line.get_args()).current_dir(home.path());
        refused(command, missing, &home);
    }
    // A connection that was made before would go around.
    let home = home();
    let mut command = Launch::new(&home, &ENFORCE).command(["touch", "ran"]);
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let older =
        std::net::TcpStream::connect(server.local_addr().expect("bound")).expect("connected");
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(older)));
    refused(command, "network socket", &home);
    // The control: the same with nothing in the way.
    Launch::new(&home, &ENFORCE).run(["touch", "ran"]).expect(0).captured(0);
    assert!(home.path().join("ran").exists());
}

/// Root of a container has few capabilities: also where nothing was demanded it is told which are missing.
pub(crate) fn what_is_missing_is_named() {
    let without = |dropped: &str, line: &Command, home: &Home| {
        let mut command = Command::new("setpriv");
        command.args([&format!("--bounding-set={dropped}"), "--inh-caps=-all"]);
        command.arg(line.get_program()).args(line.get_args()).current_dir(home.path());
        command.stdin(Stdio::null()).output().expect("it runs")
    };
    let auto = home();
    for (dropped, missing) in [("-bpf", true), ("-mknod", false)] {
        let line = Launch::new(&auto, &["--kernel=auto"]).command(["true"]);
        let output = without(dropped, &line, &auto);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let account = fs::read_to_string(auto.path().join("account.json")).expect("an account");
        assert_eq!(account.contains("lacks CAP_BPF"), missing, "{account}");
    }
    let home = home();
    for (dropped, name, missing) in [
        ("-bpf", "capabilities", Some("lacks CAP_BPF")),
        ("-setpcap", "enforce", Some("lacks CAP_SETPCAP")),
        ("-mknod", "enforce", None),
    ] {
        let mut line = Command::new(programs::sealtap());
        line.args(["doctor", "--json", "--data"]).arg(home.data());
        let output = without(dropped, &line, &home);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let mut checks = found["checks"].as_array().expect("a list").iter();
        let check = checks.find(|check| check["name"] == name).expect("it is looked at");
        let state = if missing.is_some() { "unknown" } else { "well" };
        assert_eq!(check["state"], state, "{check}");
        assert!(check["what"].to_string().contains(missing.unwrap_or("")), "{check}");
    }
}

/// Nothing is pinned in observe mode: it is found by its loader, whatever that was told.
pub(crate) fn a_loader_with_a_ring_of_its_own_is_listed() {
    for flags in [&[OBSERVE, "--kernel-ring=65536"][..], &[OBSERVE]] {
        let home = home();
        let running = Running::start(&home, flags, "true");
        assert_eq!(running.standing()["loader"], running.loader());
        running.go_on().expect(0).captured(0);
    }
}
