//! Programs: where the binaries under test are.
//!
//! Cargo tells a test only about the binaries of its own package, so the harness asks cargo to
//! build the workspace's default members once, into the target directory and with the profile
//! this test itself was built with, and reads the paths from cargo's answer. Under nextest, where
//! each test is a process, the first process of a run builds and leaves its answer for the rest.
//! `SEALTAP_BIN_DIR` names a directory of ready-made binaries instead.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The product binary.
pub fn sealtap() -> &'static Path {
    program("sealtap")
}

/// The small verifier.
pub fn sealtap_verify() -> &'static Path {
    program("sealtap-verify")
}

fn program(name: &str) -> &'static Path {
    static PROGRAMS: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    let programs = PROGRAMS.get_or_init(locate).as_ref().unwrap_or_else(|error| panic!("{error}"));
    programs.get(name).unwrap_or_else(|| panic!("cargo built no binary named {name}"))
}

fn locate() -> Result<BTreeMap<String, PathBuf>, String> {
    if let Some(directory) = std::env::var_os("SEALTAP_BIN_DIR") {
        let directory = PathBuf::from(directory);
        let names = ["sealtap", "sealtap-verify"].into_iter();
        return Ok(names.map(|name| (name.to_owned(), directory.join(name))).collect());
    }
    let (target, profile) = layout();
    let Ok(run) = std::env::var("NEXTEST_RUN_ID") else {
        return build(&target, &profile).map(|messages| parse(&messages));
    };
    let lock = File::create(target.join("sealtap-tests.lock")).expect("a lock file can be made");
    lock.lock().expect("a lock can be taken");
    let answer = target.join("sealtap-tests.json");
    let known = fs::read_to_string(&answer).unwrap_or_default();
    match known.split_once('\n') {
        Some((of, messages)) if of == run => Ok(parse(messages)),
        _ => {
            let messages = build(&target, &profile)?;
            fs::write(&answer, format!("{run}\n{messages}")).expect("the answer can be kept");
            Ok(parse(&messages))
        }
    }
}

/// The target directory and profile this test binary was built with: `TARGET/PROFILE/deps/NAME`.
fn layout() -> (PathBuf, String) {
    let this = std::env::current_exe().expect("a process knows its binary");
    let profile = this.ancestors().nth(2).expect("a test binary lies in PROFILE/deps");
    let target = profile.parent().expect("a profile lies in a target directory");
    let name = profile.file_name().expect("a profile has a name").to_string_lossy();
    let name = if name == "debug" { "dev".to_owned() } else { name.into_owned() };
    (target.to_owned(), name)
}

fn build(target: &Path, profile: &str) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lie in the workspace");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()))
        .args(["build", "--quiet", "--bins", "--message-format=json-render-diagnostics"])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .output()
        .expect("cargo can be run");
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the binaries under test do not build:\n{errors}"));
    }
    Ok(String::from_utf8(output.stdout).expect("cargo answers in UTF-8"))
}

fn parse(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}
