//! Standing: what gateways have attached to the kernel, and whether it is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::gate::{OF_A_GATEWAY, poll, poll_for};
use crate::programs;
pub use crate::running::Running;

/// The loader that a gateway started, by whichever of its threads.
///
/// # Panics
/// If there is none.
pub fn loader_of(gateway: u32) -> u32 {
    let threads = fs::read_dir(format!("/proc/{gateway}/task")).expect("its threads").flatten();
    let children: String = threads
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .collect();
    let is_loader = |child: &&str| {
        let line = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        line.contains("kernel\0loader")
    };
    let loader = children.split_ascii_whitespace().find(is_loader);
    loader.expect("a loader").parse().expect("a number")
}

/// Sends a signal to one process.
///
/// # Panics
/// If it is not there.
pub fn signal(process: u32, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(process).expect("a process")).expect("a process");
    kill_process(id, signal).expect("it is there");
}

/// Waits until a process holds nothing any more: a list of descriptors that is empty is not enough, since what they
/// stood for, links among it, is let go only after that.
///
/// # Panics
/// If it does not end.
pub fn gone(process: u32) {
    let path = PathBuf::from(format!("/proc/{process}/task"));
    poll_for(OF_A_GATEWAY, "the process is gone", || {
        let Ok(mut threads) = fs::read_dir(&path) else { return Some(()) };
        threads.all(|thread| thread.map_or(true, |thread| is_over(&thread.path()))).then_some(())
    });
}

/// Whether a thread has let go of all that it held, whether or not somebody has waited for it.
fn is_over(thread: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(thread.join("stat")) else { return true };
    // Behind its name, which may hold anything.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// Ends a process for good, and waits until it holds nothing any more.
///
/// # Panics
/// If it is not there, or does not end.
pub fn kill(process: u32) {
    signal(process, Signal::KILL);
    gone(process);
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
