//! Launch: `sealtap run` with the real binary, in a home of its own.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::gateway::Home;
use crate::programs;
use crate::records::{self, Exchange};
use crate::seen;
use crate::verify::{Verdict, text, verify};

/// Variables of the caller that would change what the command sees.
const OF_THE_CALLER: [&str; 12] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "OPENAI_BASE_URL",
    "ANTHROPIC_BASE_URL",
    "STATE_DIRECTORY",
    "XDG_STATE_HOME",
];

/// Takes away what a command could learn of the gateway: in front of its line, only the kernel leads there.
pub const CLEARED: [&str; 9] = [
    "env",
    "--unset=HTTP_PROXY",
    "--unset=http_proxy",
    "--unset=HTTPS_PROXY",
    "--unset=https_proxy",
    "--unset=ALL_PROXY",
    "--unset=all_proxy",
    "--unset=SEALTAP_URL",
    "--unset=SEALTAP_RUN",
];

/// One `sealtap run` to be.
pub struct Launch {
    home: Arc<Home>,
    command: Command,
}

/// How one ended.
pub struct Launched {
    /// Where its data are.
    pub home: Arc<Home>,
    /// The command's output and end.
    pub output: Output,
    /// The closing account, where one was given.
    pub account: Value,
}

impl Launch {
    /// One with these flags; the command follows with [`Self::command`].
    pub fn new(home: &Arc<Home>, flags: &[&str]) -> Self {
        let mut command = Command::new(programs::sealtap());
        command.arg("run").arg("--data").arg(home.data()).arg("--lock").arg(home.lock());
        command.arg(format!("--json={}", account(home).display()));
        // What needs root is asked for by the suites that have it.
        command.env("SEALTAP_KERNEL", "off");
        command.args(flags).current_dir(home.path()).env("HOME", home.path()).stdin(Stdio::null());
        for name in OF_THE_CALLER {
            command.env_remove(name);
        }
        let _ = std::fs::remove_file(account(home));
        Self { home: Arc::clone(home), command }
    }

    /// A variable of the caller's.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Has the gateway tell in detail what it finds out, so that a test can wait for it ([`seen`]).
    #[must_use]
    pub fn telling(self) -> Self {
        let (name, value) = seen::DETAILS;
        self.env(name, value)
    }

    /// The whole command line, not yet started.
    #[must_use]
    pub fn command<T: AsRef<OsStr>>(mut self, line: impl IntoIterator<Item = T>) -> Command {
        self.command.arg("--").args(line);
        self.command
    }

    /// Runs a program to its end.
    pub fn run<T: AsRef<OsStr>>(self, line: impl IntoIterator<Item = T>) -> Launched {
        let home = Arc::clone(&self.home);
        let output = self.command(line).output().expect("sealtap can be run");
        Launched::new(home, output)
    }

    /// Runs a script with the shell.
    pub fn shell(self, script: &str) -> Launched {
        self.run(["sh", "-c", script])
    }
}

/// What was made ready, in a network of its own with this done first by a shell.
///
/// # Panics
/// If nobody said where it is to run.
#[must_use]
pub fn apart(ready: &Command, first: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("ip link set lo up && {first} && exec \"$@\"");
    command.args(["--net", "sh", "-c", &script, "sh"]).arg(ready.get_program());
    command.args(ready.get_args()).stdin(Stdio::null());
    command.current_dir(ready.get_current_dir().expect("a home"));
    for (name, value) in ready.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Where the closing account goes.
fn account(home: &Home) -> PathBuf {
    home.path().join("account.json")
}

impl Launched {
    /// Reads the account that was left.
    pub fn new(home: Arc<Home>, output: Output) -> Self {
        let account = std::fs::read(account(&home)).unwrap_or_default();
        let account = serde_json::from_slice(&account).unwrap_or_default();
        Self { home, output, account }
    }

    /// The exit code; none where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// What the command wrote.
    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.output.stdout).expect("the command writes UTF-8")
    }

    /// What it and the closing account wrote.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Wants this exit code.
    ///
    /// # Panics
    /// If it is another.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}", text(&self.output));
        self
    }

    /// Wants `count` captured exchanges in one closed run with a valid bundle, and a valid log.
    ///
    /// # Panics
    /// If anything is otherwise.
    pub fn captured(&self, count: usize) -> Vec<Exchange> {
        self.home.assert_valid();
        let list = records::list(&self.home);
        let messages = self.home.data().join("messages.log");
        let messages = std::fs::read_to_string(messages).unwrap_or_default();
        assert_eq!(list.len(), count, "{} {} {messages}", self.account, self.stderr());
        let run = self.account["run"]["name"].as_str().expect("the account names the run");
        for exchange in &list {
            assert_eq!(exchange.text("/run"), run);
            assert!(exchange.sealed(), "{}", exchange.json);
        }
        if count > 0 {
            let bundle = self.account["bundle"].as_str().expect("the account names a bundle");
            let bundle = self.home.path().join(bundle);
            let (verdict, said) = verify(&bundle, Some(&self.home.keys()));
            assert_eq!(verdict, Verdict::Valid, "{said}");
            assert!(said.contains("delimited by launch"), "{said}");
        }
        list
    }
}
