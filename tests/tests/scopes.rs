//! `serve` watches scopes of its configuration, as an ordinary user.
//!
//! Needs root and the kernel's hooks; run by `cargo xtask kernel`. Elsewhere every case says so and
//! none passes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::{programs, suite};
use serde_json::{Value, json};

/// An ordinary user that every machine has, and its number.
const USER: (&str, u32) = ("nobody", 65_534);

/// A cgroup of this test's own.
struct Cgroup {
    path: PathBuf,
    name: String,
}

impl Cgroup {
    fn unmade() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // By no name of the product's own, whose empty cgroups `kernel detach` takes away.
        let name = format!("scopes-of-tests-{}-{number}", std::process::id());
        Self { path: root().join(&name), name }
    }

    fn new() -> Self {
        let made = Self::unmade();
        made.make();
        made
    }

    fn make(&self) {
        fs::create_dir(&self.path).expect("root makes cgroups");
    }

    fn remove(&self) {
        poll("an empty cgroup", || match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            _ => Some(()),
        });
    }

    /// A shell script in it; `$0` is `first`.
    fn run(&self, script: &str, first: &str) -> String {
        let output = self.command(script, first).output().expect("a shell can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    fn command(&self, script: &str, first: &str) -> Command {
        let mut command = Command::new("sh");
        let join = format!("echo 0 > {}/cgroup.procs; {script}", self.path.display());
        command.args(["-ec", &join, first]).stderr(Stdio::piped());
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"] {
            command.env_remove(name);
        }
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for process in
            fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines()
        {
            let _ = fs::write(root().join("cgroup.procs"), process);
        }
        let _ = fs::remove_dir(&self.path);
    }
}

/// Where cgroups of the second version are.
fn root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    });
    found.unwrap_or_default()
}

/// A home that another user may enter.
fn home() -> Arc<Home> {
    let home = Home::new();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    Arc::new(home)
}

/// Without a canary, whose connections would be counted among the others.
fn config(cgroup: &Cgroup, more: &str) -> String {
    with_canary(cgroup, "none", more)
}

fn with_canary(cgroup: &Cgroup, canary: &str, more: &str) -> String {
    format!(
        "[kernel]\nmode = \"observe\"\nscopes = [\"/{}\"]\ninterval = \"500ms\"\n\
         canary = \"{canary}\"\n{more}",
        cgroup.name
    )
}

fn serve(cgroup: &Cgroup, more: &str) -> Gateway {
    Options::default()
        .config(config(cgroup, more))
        .argument(format!("--user={}", USER.0))
        .start_in(home())
}

/// A server that says which path it was asked for.
fn model() -> Upstream {
    Upstream::answering(|session, request| {
        let body = request.head.target().to_vec();
        let length = body.len().to_string();
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", length.as_str())]));
        session.send(body);
    })
}

const CURL: &str = "curl -sS --noproxy '*' --max-time 20 \"$0\"";

/// A line of the log's messages.
fn wait_for(gateway: &Gateway, said: &str) {
    poll(said, || gateway.stderr().contains(said).then_some(()));
}

/// All coverages that the log tells of.
fn covered(home: &Home) -> Vec<Value> {
    let output = Command::new(programs::sealtap())
        .args(["verify", "--json", "--key"])
        .arg(home.keys())
        .arg(home.log())
        .output()
        .expect("sealtap can be run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["verdict"], "valid", "{report}");
    report["coverage"].as_array().expect("a list").clone()
}

/// Every thread of a process, as proc_pid_status(5) has them.
fn threads(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Vec<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_ascii_whitespace().collect()
}

/// What a scope sends comes to a gateway that holds no privilege in any thread.
fn a_scope_is_captured_by_a_gateway_without_privileges() {
    let cgroup = Cgroup::new();
    let upstream = model();
    let gateway = serve(&cgroup, "");
    let url = format!("http://{}/hello", upstream.address());
    assert_eq!(cgroup.run(CURL, &url), "/hello");
    let all = threads(gateway.pid());
    assert!(all.len() > 3, "{}", all.len());
    for status in &all {
        let own = USER.1.to_string();
        assert_eq!(field(status, "Uid"), [&own; 4], "{status}");
        assert!(!field(status, "Gid").contains(&"0"), "{status}");
        assert!(!field(status, "Groups").contains(&"0"), "{status}");
        for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(field(status, set), ["0000000000000000"], "{set}: {status}");
        }
        assert_eq!(field(status, "NoNewPrivs"), ["1"], "{status}");
    }
    assert_eq!(fs::metadata(gateway.home().data()).expect("made").uid(), USER.1);
    let home = Arc::clone(gateway.home());
    let exchange = gateway.finish().remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    let covered = covered(&home);
    assert_eq!(covered.len(), 1, "{covered:?}");
    assert_eq!(covered[0]["end"], "ended", "{covered:?}");
    assert_eq!(covered[0]["connections"]["via_gateway"], 1);
    assert_eq!((&covered[0]["known"], &covered[0]["attributed"]), (&json!(1), &json!(1)));
    assert_eq!(upstream.finish().len(), 1);
}

/// The control: what is in no scope goes its own way.
fn what_is_in_no_scope_is_left_alone() {
    let (inside, outside) = (Cgroup::new(), Cgroup::new());
    let upstream = model();
    let gateway = serve(&inside, "");
    let url = format!("http://{}/outside", upstream.address());
    assert_eq!(outside.run(CURL, &url), "/outside");
    let home = Arc::clone(gateway.home());
    assert_eq!(gateway.finish().len(), 0);
    assert_eq!(covered(&home)[0]["connections"]["seen"], 0);
    assert_eq!(upstream.finish().len(), 1);
}

/// A service that is started later, and again, has another cgroup each time.
fn scopes_that_come_and_go_are_followed() {
    let cgroup = Cgroup::unmade();
    let upstream = model();
    let gateway = serve(&cgroup, "");
    wait_for(&gateway, "not there yet");
    let mut ids = Vec::new();
    for round in 0..2 {
        cgroup.make();
        ids.push(fs::metadata(&cgroup.path).expect("made").ino());
        let watched = format!("id={}", ids[round]);
        poll("the cgroup is watched", || {
            let said = gateway.stderr();
            let mut lines = said.lines();
            lines.any(|l| l.contains("watched by") && plain(l).contains(&watched)).then_some(())
        });
        let url = format!("http://{}/{round}", upstream.address());
        assert_eq!(cgroup.run(CURL, &url), format!("/{round}"));
        cgroup.remove();
        let gone = format!("id={}", ids[round]);
        poll("it is gone", || {
            let said = gateway.stderr();
            let mut lines = said.lines();
            lines.any(|l| l.contains("gone:") && plain(l).contains(&gone)).then_some(())
        });
    }
    assert_ne!(ids[0], ids[1]);
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|exchange| exchange.text("/ingress") == "transparent"));
    assert_eq!(covered(&home)[0]["connections"]["via_gateway"], 2);
    assert_eq!(upstream.finish().len(), 2);
}

/// A line without colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut parts = line.split('\u{1b}');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// A gateway that watched itself would call itself without end.
fn scopes_that_hold_the_gateway_are_refused() {
    let (above, home) = (Cgroup::new(), home());
    let below = above.path.join("gateway");
    fs::create_dir(&below).expect("root makes cgroups");
    let own = format!("echo 0 > {}/cgroup.procs; exec \"$0\" \"$@\"", below.display());
    let refused = Options::default()
        .config(config(&above, ""))
        .under(["sh", "-c", &own])
        .try_start_in(Arc::clone(&home));
    let Err((status, said)) = refused else { panic!("it watches itself") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("led back to it") && said.contains(&above.name), "{said}");
    assert!(said.contains("systemd-run --scope"), "{said}");
    assert!(!home.data().join("log").exists(), "nothing was begun");
    poll("the gateway's cgroup is empty", || fs::remove_dir(&below).ok());
    // Beside it, all is well.
    let beside = Cgroup::new();
    let gateway = Options::default().config(config(&beside, "")).start_in(home);
    assert!(gateway.stderr().contains("hostile bytes as root"), "{}", gateway.stderr());
    gateway.finish();
}

/// Files are begun, leaves sealed and configurations read after everything was given up.
fn all_goes_on_after_privileges_are_gone() {
    let cgroup = Cgroup::new();
    let upstream = model();
    let more = "[journal]\nfile_size = \"1MiB\"\n";
    let gateway = serve(&cgroup, more);
    let url = format!("http://{}/upload", upstream.address());
    let upload = "head -c 3000000 /dev/zero | curl -sS --noproxy '*' --data-binary @- \"$0\"";
    for _ in 0..3 {
        assert_eq!(cgroup.run(upload, &url), "/upload");
    }
    gateway.wait_sealed(3);
    let path = gateway.home().path().join("sealtap.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    fs::write(&path, format!("{text}[forwarded]\nvia = true\n")).expect("it is ours");
    gateway.signal(Signal::HUP);
    wait_for(&gateway, "configuration reloaded");
    // Scopes are settled at the start: said, not passed over.
    fs::write(&path, text.replace(&cgroup.name, "another")).expect("it is ours");
    gateway.signal(Signal::HUP);
    wait_for(&gateway, "[kernel] cannot change while the gateway runs");
    assert_eq!(cgroup.run(upload, &url), "/upload");
    assert_eq!(gateway.finish().len(), 4);
    assert_eq!(upstream.finish().len(), 4);
}

/// A port that only root may listen on.
fn ports_below_1024_are_listened_on() {
    let Some(port) = (900..1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
    else {
        panic!("no port is free");
    };
    let gateway = Options::default()
        .listening(&format!("127.0.0.1:{port}"))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    assert_eq!(gateway.address().port(), port);
    assert_eq!(healthz(gateway.address()), "ok\n");
    gateway.finish();
}

fn healthz(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("the request leaves");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer comes");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// A datagram is let go, told of while it happens, and sealed.
fn what_goes_around_is_told_of() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = server.local_addr().expect("an address");
    let gateway = serve(&cgroup, "");
    let send = "python3 -c 'import socket,sys,time; \
        socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b\"x\",(\"127.0.0.1\",int(sys.argv[1]))); \
        time.sleep(0.3)' \"$0\"";
    cgroup.run(send, &to.port().to_string());
    let line =
        poll("the live line", || gateway.live().into_iter().find(|line| line["event"] == "bypass"));
    assert_eq!(line["destination"], to.to_string(), "{line}");
    assert!(line["executable"].as_str().is_some_and(|path| path.contains("python")), "{line}");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["connections"]["bypass_passed"], 1);
}

/// A place on the machine that scopes may reach by themselves, as the configuration says; no other.
fn places_that_are_allowed_are_reached_directly() {
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

/// A process that the gateway started for itself.
fn helper(gateway: &Gateway, part: &str) -> Pid {
    let found = fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs").flatten();
    let children = found.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let all: String = children.collect();
    let loader = all.split_ascii_whitespace().find(|child| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.contains(&format!("kernel\0{part}"))
    });
    Pid::from_raw(loader.expect("a loader").parse().expect("a number")).expect("a process")
}

/// Coverage that ended unasked shows where the gateway is asked how it is; traffic goes on.
fn a_killed_loader_is_seen_in_healthz() {
    let cgroup = Cgroup::new();
    let gateway = serve(&cgroup, "");
    assert_eq!(healthz(gateway.address()), "ok\n");
    kill_process(helper(&gateway, "loader"), Signal::KILL).expect("root may");
    let said = poll("healthz says so", || {
        let said = healthz(gateway.address());
        (said != "ok\n").then_some(said)
    });
    let said: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(said["status"], "degraded", "{said}");
    assert!(said["coverage"].as_str().is_some_and(|why| why.contains("ended")), "{said}");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["end"], "loader_gone");
}

/// Each way out is tried again and again, and what became of it is in the log.
fn a_canary_tries_each_way_out_and_is_sealed() {
    let cgroup = Cgroup::new();
    let gateway = Options::default()
        .config(with_canary(&cgroup, "1s", ""))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    // Sent by a process that kept what the gateway gave up.
    let probing = helper(&gateway, "canary");
    let place = root().join(format!("sealtap-canary-{}", probing.as_raw_nonzero()));
    assert!(place.exists(), "{}", place.display());
    poll("two canaries are back", || {
        (gateway.stderr().matches("the canary is back").count() >= 2).then_some(())
    });
    let lines = gateway.live();
    assert!(lines.iter().all(|line| line["event"] != "bypass"), "not the workload's: {lines:?}");
    let home = gateway.terminate();
    assert!(!place.exists(), "{} stays behind", place.display());
    let covered = covered(&home).remove(0);
    let canary = &covered["canary"];
    assert!(canary["times"].as_u64().is_some_and(|times| times >= 2), "{covered}");
    let way = |name: &str| {
        let ways = canary["ways"].as_array().expect("a list");
        let way = ways.iter().find(|way| way["way"] == name).expect("every way is listed");
        (way["control"].as_bool().expect("said"), way["outcome"].as_str().expect("said").to_owned())
    };
    for name in ["tcp4", "tcp6", "tcp_mapped"] {
        assert_eq!(way(name), (true, "led".to_owned()), "{name}: {covered}");
    }
    // Observed, not denied.
    for name in ["udp4", "udp4_connected", "udp6", "udp_mapped"] {
        assert_eq!(way(name), (true, "passed".to_owned()), "{name}: {covered}");
    }
    assert!(canary["led"].as_u64().is_some_and(|led| led >= 3), "{covered}");
    let counted = &covered["connections"];
    assert!(counted["via_gateway"].as_u64() >= canary["led"].as_u64(), "{covered}");
    assert!(counted["bypass_passed"].as_u64().is_some_and(|passed| passed >= 8), "{covered}");
}

/// Sends a datagram to the port in its argument, or says why not.
const DATAGRAM: &str = "python3 -c 'import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
try: s.sendto(b\"x\",(\"127.0.0.1\",int(sys.argv[1]))); print(\"sent\")
except PermissionError: print(\"denied\")' \"$0\"";

/// What the gateway of that process has pinned.
fn pinned(process: u32) -> Option<String> {
    let folders = fs::read_dir("/sys/fs/bpf/sealtap").ok()?.flatten();
    let mut names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    names.find(|name| name.split('-').nth(1) == Some(&process.to_string()))
}

/// What cannot be led is denied, seen by the canary too; an orderly end opens what was closed.
fn what_cannot_be_led_is_denied_in_enforce_mode() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let upstream = model();
    let text = with_canary(&cgroup, "1h", "").replace("observe", "enforce");
    let gateway =
        Options::default().config(text).argument(format!("--user={}", USER.0)).start_in(home());
    wait_for(&gateway, "the canary is back");
    assert_eq!(cgroup.run(DATAGRAM, &port), "denied\n");
    let line =
        poll("the live line", || gateway.live().into_iter().find(|line| line["event"] == "bypass"));
    assert_eq!(line["denied"], true, "{line}");
    let url = format!("http://{}/led", upstream.address());
    assert_eq!(cgroup.run(CURL, &url), "/led");
    let process = gateway.pid();
    assert!(pinned(process).is_some());
    let home = gateway.terminate();
    assert_eq!(pinned(process), None);
    assert_eq!(cgroup.run(DATAGRAM, &port), "sent\n", "the control: it is open again");
    let covered = covered(&home).remove(0);
    assert_eq!((&covered["mode"], &covered["end"]), (&json!("enforce"), &json!("ended")));
    let ways = covered["canary"]["ways"].as_array().expect("a list");
    let udp = ways.iter().find(|way| way["way"] == "udp4").expect("it is listed");
    assert_eq!(udp["outcome"], "denied", "{covered}");
    assert_eq!(upstream.finish().len(), 1);
}

/// A gateway that is killed leaves its scopes closed, until somebody opens them.
fn a_killed_gateway_leaves_its_scopes_closed() {
    let cgroup = Cgroup::new();
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let text = config(&cgroup, "").replace("observe", "enforce");
    let user = format!("--user={}", USER.0);
    let gateway = Options::default().config(text).argument(&user).start_in(home());
    let process = gateway.pid();
    let home = gateway.crash();
    assert_eq!(cgroup.run(DATAGRAM, &port), "denied\n");
    let name = pinned(process).expect("pins outlive the gateway");
    let status = Command::new(programs::sealtap())
        .args(["kernel", "detach", "--instance", name.split('-').next().expect("a name")])
        .status();
    assert!(status.expect("it can be run").success());
    assert_eq!(cgroup.run(DATAGRAM, &port), "sent\n");
    Options::default().argument(user).start_in(home).finish();
}

/// Where nothing can be reached, nothing is said to be closed.
fn a_dead_network_is_no_closed_one() {
    let ask = |command: &mut Command| {
        let output =
            command.args(["doctor", "--canary", "--json"]).output().expect("it can be run");
        serde_json::from_slice::<Value>(&output.stdout).expect("one JSON object")
    };
    let state = |found: &Value| {
        let checks = found["checks"].as_array().expect("a list");
        checks.iter().find(|check| check["name"] == "canary").expect("it is listed")["state"]
            .clone()
    };
    let dead = ask(Command::new("unshare").arg("--net").arg(programs::sealtap()));
    assert_eq!(state(&dead), "short", "{dead}");
    for way in dead["canary"].as_array().expect("it was sent") {
        assert_ne!(way["outcome"], "denied", "{way}");
        assert_ne!(way["outcome"], "led", "{way}");
    }
    let alive = ask(&mut Command::new(programs::sealtap()));
    assert_eq!(state(&alive), "well", "the control: {alive}");
}

/// A service manager ends all processes of a service at once: the last numbers are stated all the same.
fn a_signal_to_all_processes_ends_coverage_in_order() {
    let cgroup = Cgroup::new();
    let gateway = Options::default()
        .config(with_canary(&cgroup, "10min", ""))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    for part in ["loader", "canary"] {
        kill_process(helper(&gateway, part), Signal::TERM).expect("root may");
    }
    assert_eq!(healthz(gateway.address()), "ok\n");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["end"], "ended");
}

/// Nothing of it stays behind.
fn nothing_stays_behind() {
    let cgroup = Cgroup::new();
    let gateway = serve(&cgroup, "");
    let loader = helper(&gateway, "loader");
    gateway.finish();
    let place = format!("/proc/{}", loader.as_raw_nonzero());
    assert!(!Path::new(&place).exists(), "{place}");
}

fn main() -> ExitCode {
    macro_rules! tests {
        ($($name:ident),* $(,)?) => { [$((stringify!($name), $name as fn())),*] };
    }
    let tests = tests![
        a_scope_is_captured_by_a_gateway_without_privileges,
        what_is_in_no_scope_is_left_alone,
        scopes_that_come_and_go_are_followed,
        scopes_that_hold_the_gateway_are_refused,
        all_goes_on_after_privileges_are_gone,
        ports_below_1024_are_listened_on,
        what_goes_around_is_told_of,
        places_that_are_allowed_are_reached_directly,
        a_killed_loader_is_seen_in_healthz,
        a_canary_tries_each_way_out_and_is_sealed,
        what_cannot_be_led_is_denied_in_enforce_mode,
        a_killed_gateway_leaves_its_scopes_closed,
        a_dead_network_is_no_closed_one,
        a_signal_to_all_processes_ends_coverage_in_order,
        nothing_stays_behind,
    ];
    suite::main(&tests, suite::without_the_kernel(&["curl", "python3"]))
}
