//! Standing: a `sealtap run` that waits to be told to go on, and what it has attached to the kernel.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::gate::{PATIENCE, poll};
use crate::gateway::Home;
use crate::launch::{Launch, Launched};
use crate::programs;

/// A running `sealtap run` whose command waits for a line.
pub struct Running {
    child: Child,
    home: Arc<Home>,
    ended: bool,
}

impl Running {
    /// One whose command says that it is there, waits for a line, and then does what `then` says.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(home: &Arc<Home>, flags: &[&str], then: &str) -> Self {
        let script = format!("echo there; read line; {then}");
        Self::of(home, Launch::new(home, flags).command(["sh", "-c", &script]))
    }

    /// One by its command line, whose command says the same and waits.
    ///
    /// # Panics
    /// If it does not start.
    pub fn of(home: &Arc<Home>, mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("spawned");
        let mut line = String::new();
        // One byte at a time, so that what comes later is not taken.
        let mut output = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
        output.read_line(&mut line).expect("read");
        if line != "there\n" {
            let output = child.wait_with_output().expect("it ends");
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Self { child, home: Arc::clone(home), ended: false }
    }

    /// The gateway's process.
    pub fn gateway(&self) -> u32 {
        self.child.id()
    }

    /// The loader's process.
    ///
    /// # Panics
    /// If there is none.
    pub fn loader(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(path).expect("its children");
        let is_loader = |child: &&str| {
            let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
            line.contains("kernel\0loader")
        };
        let loader = children.split_ascii_whitespace().find(is_loader);
        loader.expect("a loader").parse().expect("a number")
    }

    /// What it has attached, as `sealtap kernel status` says.
    ///
    /// # Panics
    /// If that says nothing of it.
    pub fn standing(&self) -> Value {
        let own = of_gateway(self.gateway());
        own.expect("it is listed")
    }

    /// Tells the command to go on.
    ///
    /// # Panics
    /// If it is gone.
    pub fn tell(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("told");
    }

    /// Kills the gateway, and waits until its loader is gone, too. What the command has of standard input
    /// stays open until this is dropped.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn kill_gateway(&mut self) {
        let loader = self.loader();
        self.child.kill().expect("killed");
        self.child.wait().expect("waited for");
        gone(loader);
    }

    /// Tells the command to go on and waits for the end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn go_on(mut self) -> Launched {
        self.tell();
        self.end()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn end(mut self) -> Launched {
        drop(self.child.stdin.take());
        self.output()
    }

    /// Waits for an end that the command does not come to by itself: its standard input stays open.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn wait(mut self) -> Launched {
        self.output()
    }

    fn output(&mut self) -> Launched {
        // Waiting would close it.
        let input = self.child.stdin.take();
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // What is said on standard error is short: no pipe fills.
        self.child.stdout.take().expect("piped").read_to_end(&mut stdout).expect("read");
        self.child.stderr.take().expect("piped").read_to_end(&mut stderr).expect("read");
        let status = self.child.wait().expect("it ends");
        drop(input);
        self.ended = true;
        Launched::new(Arc::clone(&self.home), Output { status, stdout, stderr })
    }
}

/// A case that failed leaves nothing on this machine.
impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        drop(self.child.stdin.take());
        let left = of_gateway(self.child.id()).unwrap_or_default();
        for watched in left["watched"].as_array().into_iter().flatten() {
            let path = watched["path"].as_str().unwrap_or_default();
            let _ = fs::write(Path::new(path).join("cgroup.kill"), "1");
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(name) = left["instance"].as_str() {
            let _ = kernel(&["detach", "--instance", name]);
        }
    }
}

/// Sends a signal to one process.
///
/// # Panics
/// If it is not there.
pub fn signal(process: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
    kill_process(id, signal).expect("it is there");
}

/// Waits until a process holds nothing any more.
///
/// # Panics
/// If it does not end.
pub fn gone(process: u32) {
    let path = PathBuf::from(format!("/proc/{process}/fdinfo"));
    poll("the process is gone", || {
        fs::read_dir(&path).map_or(true, |mut all| all.next().is_none()).then_some(())
    });
}

/// `sealtap kernel` with these arguments.
///
/// # Panics
/// If it cannot be run.
pub fn kernel(arguments: &[&str]) -> Output {
    let mut command = Command::new(programs::sealtap());
    command.arg("kernel").args(arguments).output().expect("sealtap can be run")
}

/// Everything that is attached.
///
/// # Panics
/// If it cannot be listed.
pub fn all() -> Vec<Value> {
    let output = kernel(&["status", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What a gateway has attached.
pub fn of_gateway(process: u32) -> Option<Value> {
    all().into_iter().find(|one| one["gateway"]["process"] == process)
}

/// Whether nothing of what was listed once is there any more: neither pin, nor link, nor cgroup.
///
/// # Panics
/// If something is.
pub fn assert_gone(standing: &Value) {
    if let Some(folder) = standing["pinned"].as_str() {
        assert!(!Path::new(folder).exists(), "{folder}");
    }
    let links = standing["programs"].as_array().expect("a list");
    assert!(!links.is_empty(), "{standing}");
    for watched in standing["watched"].as_array().expect("a list") {
        let path = watched["path"].as_str().expect("it was there");
        assert!(!Path::new(path).exists(), "{path}");
    }
    for program in links {
        let id = program["id"].as_u64().expect("a number");
        // The kernel takes its time to free one.
        poll("the program is gone", || (!is_loaded(id)).then_some(()));
    }
}

/// Asks the kernel for a program by its number: `BPF_PROG_GET_FD_BY_ID`; exits with the error's number.
const ASK: &str = "import ctypes,platform,sys\n\
    number={'x86_64':321,'aarch64':280}[platform.machine()]\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    call=(ctypes.c_uint32*4)(int(sys.argv[1]),0,0,0)\n\
    sys.exit(0 if libc.syscall(number,13,call,16)>=0 else ctypes.get_errno())";

/// Whether the kernel has a program of that number.
///
/// # Panics
/// If it does not say.
pub fn is_loaded(program: u64) -> bool {
    let status = Command::new("python3").args(["-c", ASK, &program.to_string()]).status();
    match status.expect("Python 3 is needed").code() {
        Some(0) => true,
        // ENOENT.
        Some(2) => false,
        other => panic!("asked for program {program}: {other:?}"),
    }
}
