//! Witness: the real `sealtap witness` beside a gateway, and the policy that names it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::programs;

/// A running witness. Dropping it kills it; what it remembers is on disk by then or was not said.
pub struct Witness {
    child: Child,
    vkey: String,
    line: String,
    address: String,
}

/// Where a witness keeps its key and what it has seen.
pub struct Memory(TempDir);

impl Memory {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        Self(TempDir::with_prefix("sealtap-witness-").expect("a temporary directory can be made"))
    }

    /// The witness's data directory.
    pub fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Witness {
    /// Starts a witness for the logs whose keys are in `logs`, on `listen`.
    ///
    /// # Panics
    /// If it ends instead of listening.
    pub fn start(memory: &Memory, logs: &[&Path], listen: &str) -> Self {
        let mut command = Command::new(programs::sealtap());
        command.arg("witness").arg("--data").arg(memory.data()).arg("--listen").arg(listen);
        for log in logs {
            command.arg("--log").arg(log);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the witness can be spawned");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut line = || lines.next().and_then(Result::ok).expect("the witness says three lines");
        let (vkey, policy, listening) = (line(), line(), line());
        let address =
            policy.rsplit("http://").next().expect("the policy line has a URL").to_owned();
        assert!(listening.starts_with("listening on "), "{listening}");
        Self { child, vkey, line: policy, address }
    }

    /// Its public key.
    pub fn vkey(&self) -> &str {
        &self.vkey
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        self.vkey.split('+').next().expect("a vkey begins with a name")
    }

    /// Its line in a policy.
    pub fn policy_line(&self) -> &str {
        &self.line
    }

    /// A policy whose quorum is this witness.
    pub fn policy(&self) -> String {
        format!("{}\nquorum {}\n", self.line, self.name())
    }

    /// Where it listens: `IP:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops it with SIGTERM and wants exit 0.
    pub fn terminate(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it can be signalled");
        assert!(self.child.wait().expect("it can be waited for").success());
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
