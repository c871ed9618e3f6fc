//! Bundle: `sealtap runs` and `sealtap bundle`, and both verifiers over what they give.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::gate::{OF_A_GATEWAY, poll_for};
use crate::gateway::Home;
use crate::programs;
use crate::verify::{self, text};

/// What `runs --json` prints, oldest first.
pub fn runs(home: &Home) -> Vec<Value> {
    let output = Command::new(programs::sealtap())
        .args(["runs", "--json", "--data"])
        .arg(home.data())
        .output()
        .expect("sealtap can be run");
    assert!(output.status.success(), "runs: {}", text(&output));
    let text = String::from_utf8(output.stdout).expect("runs --json prints UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Waits until a run with this name is closed, and gives its id.
pub fn wait_closed(home: &Home, name: &str) -> String {
    poll_for(OF_A_GATEWAY, "the run to be closed", || {
        let run = runs(home).into_iter().find(|run| run["name"] == name)?;
        (run["state"] == "closed").then(|| run["id"].as_str().expect("an id").to_owned())
    })
}

/// Runs `sealtap bundle`; gives the file, or what was said and the exit code.
pub fn try_bundle(
    home: &Home,
    run: &str,
    disclose: &[&str],
) -> Result<PathBuf, (Option<i32>, String)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = home.path().join(format!("bundle-{number}.tar"));
    let output = Command::new(programs::sealtap())
        .args(["bundle", run, "-o"])
        .arg(&path)
        .arg("--data")
        .arg(home.data())
        .arg("--disclose")
        .args(disclose)
        .output()
        .expect("sealtap can be run");
    if output.status.success() { Ok(path) } else { Err((output.status.code(), text(&output))) }
}

/// Runs `sealtap bundle`, which must succeed.
///
/// # Panics
/// If it does not.
pub fn bundle(home: &Home, run: &str, disclose: &[&str]) -> PathBuf {
    try_bundle(home, run, disclose).unwrap_or_else(|(_, said)| panic!("bundle {run}: {said}"))
}

/// What `sealtap verify --json` says of a bundle under the gateway's keys.
pub fn report(home: &Home, bundle: &Path) -> Value {
    verify::report(bundle, &home.keys())
}

/// Unpacks a bundle, and pastes every indented block of its VERIFY text behind `tar xf` into a shell.
/// Beside the keys lie the files of `more`, under these names. What the shell said.
pub fn by_hand(bundle: &Path, keys: &Path, more: &[(&str, &Path)]) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let run =
        |command: &mut Command| command.current_dir(folder.path()).output().expect("it can be run");
    let unpacked = run(Command::new("tar").arg("xf").arg(bundle));
    assert!(unpacked.status.success(), "{}", text(&unpacked));
    for (name, file) in [("keys.txt", keys)].iter().chain(more) {
        fs::copy(file, folder.path().join(name)).expect("copied");
    }
    let verify = fs::read_to_string(folder.path().join("VERIFY")).expect("VERIFY is text");
    let (_, blocks) = verify.split_once("    tar xf BUNDLE\n").expect("the first thing to do");
    let lines: Vec<_> = blocks.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let output = run(Command::new("sh").arg("-c").arg(lines.join("\n")));
    text(&output)
}
