//! Place: a network of one's own, with an outside that says what reached it.
//!
//! Two network namespaces, joined by a pair of virtual devices. In the inner one run sealtap, its
//! command and whoever tries the same without; in the outer one the target. They are gone with the
//! processes that hold them, and those end with this.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sealtap_tests::gate::poll;
use sealtap_tests::verify::text;
use serde_json::Value;

/// What runs the scripts, which need nothing but its own library (`-IS`).
pub(crate) const PYTHON: &str = "python3";

/// Where the target is, as seen from inside.
pub(crate) const HOST: &str = "10.77.0.2";
/// Where it is by the second way, which only a third namespace has.
pub(crate) const HOST_ELSEWHERE: &str = "10.78.0.2";

/// A process that ends when it is let go.
struct Held(Child);

impl Held {
    /// Starts one and gives its first line.
    fn start(mut command: Command) -> (Self, BufReader<std::process::ChildStdout>, String) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("it speaks");
        assert!(!line.is_empty(), "{command:?} ended");
        (Self(child), lines, line)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It is ours and not waited for yet, so its number is its own.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace.
pub(crate) struct Namespace(Held);

impl Namespace {
    /// A new one, with its loopback.
    fn new() -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]);
        Self(Held::start(command).0)
    }

    pub(crate) fn process(&self) -> u32 {
        self.0.0.id()
    }

    /// A program that runs in it.
    pub(crate) fn command<T: AsRef<std::ffi::OsStr>>(
        &self,
        line: impl IntoIterator<Item = T>,
    ) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.process())).args(["--net", "--"]).args(line);
        command
    }

    /// The same, of a program that somebody else made ready.
    pub(crate) fn around(&self, ready: &Command) -> Command {
        self.around_with(&[], ready)
    }

    /// The same, by way of another program that becomes it.
    pub(crate) fn around_with(&self, before: &[&str], ready: &Command) -> Command {
        let mut command = self.command(before);
        command.arg(ready.get_program()).args(ready.get_args());
        for (name, value) in ready.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = ready.get_current_dir() {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null());
        command
    }

    fn done(&self, line: &str) {
        let output = self.command(line.split(' ')).output().expect("it can be run");
        assert!(output.status.success(), "{line}: {}", text(&output));
    }

    /// A pair of devices to another namespace; this side has `.1`, the other `.2`.
    fn join(&self, other: &Self, net: &str) {
        let name = net.replace('.', "n");
        let (here, there) = (format!("v{name}"), format!("w{name}"));
        let peer = other.process();
        self.done(&format!("ip link add {here} type veth peer name {there} netns {peer}"));
        for (of, device, last) in [(self, &here, 1), (other, &there, 2)] {
            of.done(&format!("ip addr add {net}.{last}/24 dev {device}"));
            of.done(&format!("ip link set {device} up"));
        }
    }
}

/// What came, by its word: how, and from where.
type Came = Arc<Mutex<BTreeMap<String, Vec<(String, String)>>>>;

/// The whole of it.
pub(crate) struct Place {
    pub(crate) inside: Namespace,
    outside: Namespace,
    port: u16,
    came: Came,
    fences: AtomicU64,
    /// Ends before the namespaces do.
    _target: Held,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (inside, outside) = (Namespace::new(), Namespace::new());
        inside.join(&outside, "10.77.0");
        // What is sent there by a device, though its address is of the loopback, is heard.
        let heard = "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet";
        let output = outside.command(["sh", "-c", heard]).output().expect("it can be run");
        assert!(output.status.success(), "{}", text(&output));
        let command = outside.command([Path::new(PYTHON), Path::new("-IS"), &script("target.py")]);
        let (target, lines, first) = Held::start(command);
        let first: Value = serde_json::from_str(&first).expect("the target speaks JSON");
        let port = first["port"].as_u64().and_then(|port| port.try_into().ok());
        let came = Came::default();
        let heard = Arc::clone(&came);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
                let data = word("data");
                let key = data.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
                let mut heard = heard.lock().expect("nobody panics here");
                heard.entry(key).or_default().push((word("by"), word("peer")));
            }
        });
        let port = port.expect("the target has a port");
        let place =
            Self { inside, outside, port, came, fences: AtomicU64::new(0), _target: target };
        // What follows finds its neighbour known.
        place.fence();
        place
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A third namespace, from which the target is reached by a way of its own.
    pub(crate) fn elsewhere(&self) -> Namespace {
        let third = Namespace::new();
        third.join(&self.outside, "10.78.0");
        third
    }

    /// The line that tries a way with a word.
    pub(crate) fn probe(&self, way: &str, word: &str) -> Vec<String> {
        probe(way, HOST, self.port, word)
    }

    /// How often a word came, once all that was sent before has come.
    pub(crate) fn came(&self, word: &str) -> Vec<(String, String)> {
        self.fence();
        self.heard(word)
    }

    /// How often it has come by now; a flood leaves no room for what is sent behind it.
    pub(crate) fn heard(&self, word: &str) -> Vec<(String, String)> {
        let came = self.came.lock().expect("nobody panics here");
        // QUIC's datagram has more around the word than the word.
        let found = came.iter().filter(|(key, _)| key.contains(word));
        found.flat_map(|(_, how)| how.clone()).collect()
    }

    /// A word by each way of the target's, and all have come.
    fn fence(&self) {
        let word = format!("fence{}", self.fences.fetch_add(1, Ordering::Relaxed));
        let output = self.inside.command(self.probe("fence", &word)).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output));
        for way in ["udp", "quic", "tcp"] {
            let word = format!("{word}{way}");
            poll("the fence comes", || {
                let came = self.came.lock().expect("nobody panics here");
                came.keys().any(|key| key.contains(&word)).then_some(())
            });
        }
    }

    /// Somebody who is not watched, at a socket of AF_UNIX.
    pub(crate) fn helper(&self, path: &Path) -> impl Sized + use<> {
        let path = path.as_os_str().to_owned();
        let line =
            [PYTHON.into(), "-IS".into(), script("helper.py").into_os_string(), path, HOST.into()];
        let line = line.into_iter().chain([self.port.to_string().into()]);
        Held::start(self.inside.command(line)).0
    }
}

/// The line that tries a way to any place.
pub(crate) fn probe(way: &str, host: &str, port: u16, word: &str) -> Vec<String> {
    let script = script("probe.py").display().to_string();
    let line = [PYTHON, "-IS", &script, way, host, &port.to_string(), word];
    line.map(str::to_owned).to_vec()
}

/// A try's own account: how often the system let it do that, and how often it denied it; of several tries,
/// their sum.
pub(crate) fn tally(output: &Output, what: &str) -> (u64, u64) {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = said.lines().filter_map(|line| {
        let (passed, denied) = line.strip_prefix(what)?.trim_start().split_once(' ')?;
        Some((passed.parse::<u64>().ok()?, denied.parse::<u64>().ok()?))
    });
    let sum = numbers.reduce(|(passed, denied), (more, also)| (passed + more, denied + also));
    sum.unwrap_or_else(|| panic!("no account of {what}: {}", text(output)))
}

/// Where what these tests start is ready-made, its programs compiled.
pub(crate) fn ready() -> Option<PathBuf> {
    std::env::var_os("SEALTAP_PROBES").map(PathBuf::from)
}

/// A script of these tests.
pub(crate) fn script(name: &str) -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("adversaries");
    ready().unwrap_or_else(here).join(name)
}

/// A program of these tests in C, built once where it is not there ready-made.
pub(crate) fn compiled(name: &str) -> String {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    if let Some(folder) = ready() {
        return folder.join(name).display().to_string();
    }
    let mut built = BUILT.lock().expect("nobody panics here");
    let program = built.entry(name.to_owned()).or_insert_with(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let mut command = Command::new("cc");
        command.args(["-O1", "-Wall", "-Werror", "-o"]).arg(&program);
        let output = command.arg(script(&format!("{name}.c"))).output().expect("cc is there");
        assert!(output.status.success(), "{}", text(&output));
        program
    });
    program.display().to_string()
}
