//! Cgroups of a test's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sealtap_tests::gate::poll;

/// A cgroup of this test's own.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

impl Cgroup {
    pub(crate) fn unmade() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // By no name of the product's own, whose empty cgroups `kernel detach` takes away.
        let name = format!("scopes-of-tests-{}-{number}", std::process::id());
        Self { path: root().join(&name), name }
    }

    pub(crate) fn new() -> Self {
        let made = Self::unmade();
        made.make();
        made
    }

    pub(crate) fn make(&self) {
        fs::create_dir(&self.path).expect("root makes cgroups");
    }

    pub(crate) fn remove(&self) {
        poll("an empty cgroup", || match fs::remove_dir(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            _ => Some(()),
        });
    }

    /// A shell script in it; `$0` is `first`.
    pub(crate) fn run(&self, script: &str, first: &str) -> String {
        let output = self.command(script, first).output().expect("a shell can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn command(&self, script: &str, first: &str) -> Command {
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
pub(crate) fn root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    });
    found.unwrap_or_default()
}
