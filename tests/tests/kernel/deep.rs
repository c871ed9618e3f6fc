//! Deep: how far below the machine's root a command's cgroup may lie, seen from a namespace of cgroups of its own.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use sealtap_tests::coverage;
use sealtap_tests::launch::{CLEARED, Launch};
use sealtap_tests::running::cgroups;
use sealtap_tests::verify::text;

use super::{REQUIRE, home};

/// How many levels the kernel's programs look at, the machine's root among them.
const LEVELS: usize = 16;

/// Connects to the port in its argument.
const CONNECT: &str = "import socket,sys
socket.create_connection((\"127.0.0.1\",int(sys.argv[1]))).close()";

/// A cgroup so many levels below the machine's root.
struct Deep(Vec<PathBuf>);

impl Deep {
    fn new(levels: usize) -> Self {
        let name = format!("deep-of-tests-{}-{levels}", std::process::id());
        let mut made = Self(Vec::new());
        let mut path = cgroups().join(name);
        for _ in 0..levels {
            fs::create_dir(&path).expect("root makes cgroups");
            made.0.push(path.clone());
            path.push("below");
        }
        made
    }

    /// What was made ready, in it, where nothing above it is seen.
    fn run(&self, ready: &Command) -> Output {
        let script = format!(
            "echo 0 > {}/cgroup.procs; exec unshare --cgroup --mount sh -ec \
             'umount --lazy \"$0\"; mount -t cgroup2 none \"$0\"; exec \"$@\"' {} \"$@\"",
            self.0.last().expect("one").display(),
            cgroups().display(),
        );
        let mut command = Command::new("sh");
        command.args(["-ec", &script, "sh"]).arg(ready.get_program()).args(ready.get_args());
        command.current_dir(ready.get_current_dir().expect("a home"));
        for (name, value) in ready.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.output().expect("a shell can be run")
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _ = fs::remove_dir(path);
        }
    }
}

/// One level more, and nothing of the command would be seen: it is not started, and told why. The control is one
/// level less.
pub(super) fn what_lies_too_deep_for_the_programs_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let line = || CLEARED.iter().copied().chain(["python3", "-c", CONNECT, port.as_str()]);
    // Its own lies one below.
    for (levels, seen) in [(LEVELS - 2, true), (LEVELS - 1, false)] {
        let (deep, home) = (Deep::new(levels), home());
        let output = deep.run(&Launch::new(&home, &[REQUIRE]).command(line()));
        assert_eq!(output.status.success(), seen, "{}", text(&output));
        if seen {
            let covered = coverage::one(&home);
            assert_eq!(covered["connections"]["via_gateway"], 1, "{covered}");
        } else {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("lies 16 levels below the machine's root"), "{said}");
            assert!(said.contains("the first 16 alone"), "{said}");
        }
    }
}
