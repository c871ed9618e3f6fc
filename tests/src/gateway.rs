//! Gateway: the real binary with a data directory of its own.
//!
//! A test that starts a gateway must finish it: [`Gateway::finish`] sends SIGTERM, wants exit 0,
//! runs both verifiers over the log and wants exit 0 from each. Dropping a gateway that was not
//! finished fails the test. Only the child that was spawned here is ever signalled.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::gate::{OF_A_GATEWAY, poll_for};
use crate::records::{self, Exchange};
use crate::tls::Authority;
use crate::verify::{self, Verdict};
use crate::{content, programs};

/// How to start a gateway.
#[derive(Default)]
pub struct Options {
    upstreams: Vec<(String, String)>,
    arguments: Vec<OsString>,
    config: Option<String>,
    wrapper: Vec<OsString>,
    listen: Option<String>,
}

impl Options {
    /// Adds `--upstream NAME=URL`.
    #[must_use]
    pub fn upstream(mut self, name: &str, url: impl Into<String>) -> Self {
        self.upstreams.push((name.to_owned(), url.into()));
        self
    }

    /// Adds one argument as it is.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Trusts upstreams of this authority, by a file in the home that it will start in.
    #[must_use]
    pub fn trusting(self, authority: &Authority, home: &Home) -> Self {
        let file = home.path().join("upstream-ca.pem");
        authority.write(&file);
        self.argument("--upstream-ca").argument(file)
    }

    /// Captures every host.
    #[must_use]
    pub fn capturing_all(self) -> Self {
        self.argument("--capture").argument("all")
    }

    /// Listens on this address instead of a free port of loopback.
    #[must_use]
    pub fn listening(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Gives the gateway this text as its configuration file.
    #[must_use]
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Runs the gateway under another program, such as `strace -D`, which must keep the gateway
    /// itself as the direct child.
    #[must_use]
    pub fn under<T: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = T>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Starts it with a fresh data directory and waits until it listens.
    pub fn start(self) -> Gateway {
        self.start_in(Arc::new(Home::new()))
    }

    /// Starts it in a home that may have been used before, and waits until it listens.
    ///
    /// # Panics
    /// If the gateway ends instead of listening.
    pub fn start_in(self, home: Arc<Home>) -> Gateway {
        match self.try_start_in(home) {
            Ok(gateway) => gateway,
            Err((status, stderr)) => panic!("the gateway ended with {status}: {stderr}"),
        }
    }

    /// Starts it and waits until it listens, or gives its exit status and standard error.
    pub fn try_start_in(self, home: Arc<Home>) -> Result<Gateway, (ExitStatus, String)> {
        let stderr = home.path().join(format!("stderr-{}", content::hex(&unique())));
        let mut child = self
            .command(&home)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr).expect("a file for stderr can be made"))
            .spawn()
            .expect("the gateway can be spawned");
        let lines = read_lines(child.stdout.take().expect("stdout is piped"));
        let mut gateway = Gateway {
            child,
            home,
            stderr,
            lines,
            address: None,
            live: Mutex::default(),
            finished: false,
        };
        match gateway.wait_until_listening() {
            Listening::Yes => Ok(gateway),
            Listening::Ended => {
                let status = gateway.wait();
                gateway.finished = true;
                Err((status, gateway.stderr()))
            }
            Listening::Silent => panic!("the gateway runs and says nothing on standard output"),
        }
    }

    fn command(&self, home: &Home) -> Command {
        let mut line: Vec<OsString> = self.wrapper.clone();
        line.push(programs::sealtap().into());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).arg("serve");
        command.arg("--data").arg(home.data());
        if !self.arguments.iter().any(|argument| argument == "--lock") {
            command.arg("--lock").arg(home.lock());
        }
        if let Some(config) = &self.config {
            let path = home.path().join("sealtap.toml");
            std::fs::write(&path, config).expect("the configuration can be written");
            command.arg("--config").arg(path);
        }
        command.args(["--listen", self.listen.as_deref().unwrap_or("127.0.0.1:0")]);
        for (name, url) in &self.upstreams {
            command.arg("--upstream").arg(format!("{name}={url}"));
        }
        command.args(&self.arguments);
        command.env("HOME", home.path()).env_remove("STATE_DIRECTORY");
        command.env_remove("XDG_STATE_HOME").current_dir(home.path());
        command
    }
}

/// A directory for one gateway: its data, its lock, its configuration and its errors.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self(TempDir::with_prefix("sealtap-test-").expect("a temporary directory can be made"))
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The gateway's data directory.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The published log.
    pub fn log(&self) -> PathBuf {
        self.data().join("log")
    }

    /// The directory of the lock.
    pub fn lock(&self) -> PathBuf {
        self.path().join("lock")
    }

    /// The public keys as `sealtap keys` prints them, in a file.
    pub fn keys(&self) -> PathBuf {
        let path = self.path().join("keys");
        if path.exists() { path } else { verify::write_keys(&self.data(), &path) }
    }

    /// Runs both verifiers over the data directory and wants exit 0 from each.
    pub fn assert_valid(&self) {
        let (verdict, said) = verify::verify(&self.data(), Some(&self.keys()));
        assert_eq!(verdict, Verdict::Valid, "{said}");
    }
}

/// A running gateway.
pub struct Gateway {
    child: Child,
    home: Arc<Home>,
    stderr: PathBuf,
    lines: Mutex<Receiver<String>>,
    address: Option<SocketAddr>,
    live: Mutex<Vec<Value>>,
    finished: bool,
}

impl Gateway {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address.expect("a started gateway listens")
    }

    /// The home it runs in.
    pub fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Every exchange that `ls` lists now, oldest first.
    pub fn list(&self) -> Vec<Exchange> {
        records::list(&self.home)
    }

    /// Waits until `ls` lists exactly `count` exchanges, all of them sealed.
    pub fn wait_sealed(&self, count: usize) -> Vec<Exchange> {
        poll_for(OF_A_GATEWAY, &format!("{count} sealed exchanges"), || {
            let list = self.list();
            (list.len() == count && list.iter().all(Exchange::sealed)).then_some(list)
        })
    }

    /// The JSON lines printed so far, the readiness line first.
    pub fn live(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("no reader of lines panics");
        let mut live = self.live.lock().expect("no reader of lines panics");
        live.extend(lines.try_iter().map(|line| parse(&line)));
        live.clone()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Stops it with SIGTERM, wants exit 0, verifies the log, and lists the exchanges.
    ///
    /// # Panics
    /// If any of that fails, or an exchange was left unsealed.
    pub fn finish(self) -> Vec<Exchange> {
        let home = self.terminate();
        let list = records::list(&home);
        for exchange in &list {
            assert!(exchange.sealed(), "left unsealed at exit: {}", exchange.json);
        }
        list
    }

    /// Stops it with SIGTERM, wants exit 0 and a valid log, and gives back its home.
    pub fn terminate(mut self) -> Arc<Home> {
        self.signal(Signal::TERM);
        let status = self.wait();
        self.finished = true;
        assert!(status.success(), "the gateway ended with {status}: {}", self.stderr());
        self.home.assert_valid();
        self.home.clone()
    }

    /// Kills it with SIGKILL, as a crash would, and gives back its home. The test goes on to
    /// start another gateway there, which it must finish.
    pub fn crash(mut self) -> Arc<Home> {
        if !self.has_ended() {
            self.signal(Signal::KILL);
        }
        self.wait();
        self.finished = true;
        self.home.clone()
    }

    /// Waits for a gateway that ends by itself, and gives back its home.
    pub fn ended(mut self) -> (ExitStatus, Arc<Home>) {
        let status = self.wait();
        self.finished = true;
        (status, self.home.clone())
    }

    /// Whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    /// Sends a signal to the gateway.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let ended = || child.try_wait().expect("a child can be waited for");
        poll_for(OF_A_GATEWAY, "the end of the gateway", ended)
    }

    fn wait_until_listening(&mut self) -> Listening {
        let lines = self.lines.get_mut().expect("no reader of lines panics");
        let live = self.live.get_mut().expect("no reader of lines panics");
        loop {
            let line = match lines.recv_timeout(OF_A_GATEWAY) {
                Ok(line) => parse(&line),
                Err(RecvTimeoutError::Disconnected) => return Listening::Ended,
                Err(RecvTimeoutError::Timeout) => return Listening::Silent,
            };
            let address = line["address"].as_str().map(str::to_owned);
            let listening = line["event"] == "listening";
            live.push(line);
            if listening {
                let address = address.expect("the readiness line has an address");
                self.address = Some(address.parse().expect("the address is IP:PORT"));
                return Listening::Yes;
            }
        }
    }
}

/// What became of waiting for the readiness line.
enum Listening {
    Yes,
    /// Standard output ended before it.
    Ended,
    /// Nothing came in time.
    Silent,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- standard error of the gateway\n{}", self.stderr());
        } else {
            panic!("a gateway was dropped without finish(): its log was not verified");
        }
    }
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("serve printed a line that is not JSON: {line:?}: {error}"))
}

fn read_lines(stdout: std::process::ChildStdout) -> Mutex<Receiver<String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Mutex::new(receiver)
}

/// Bytes no other call in this process gives.
fn unique() -> [u8; 4] {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes()
}
