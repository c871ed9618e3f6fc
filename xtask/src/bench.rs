//! The bench: peers installed, everything built for release, one run.
//!
//! Peers come from where one gets them: nginx from the system's packages, mitmproxy from PyPI into a
//! virtual environment under `target/bench`. One that cannot be installed fails the chore.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::foreign;
use crate::step::Step;

/// The mitmproxy that figures are compared with.
const MITMPROXY: &str = "mitmproxy==12.2.3";

/// Where the environment is.
const ENVIRONMENT: &str = "target/bench/mitmproxy";

/// Installs what is missing, builds, and runs the bench.
pub(crate) fn steps(root: &Path, rounds: Option<u32>, rows: &[String], quick: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if !there("nginx", "-v") {
        let script = "if [ \"$(id -u)\" -ne 0 ]; then set -- sudo; fi; \
            export DEBIAN_FRONTEND=noninteractive; \
            \"$@\" apt-get update --quiet && \
            \"$@\" apt-get install --quiet --yes --no-install-recommends nginx-light";
        steps.push(Step::program("nginx", "sh", ["-c", script]));
    }
    let mitmdump = format!("{ENVIRONMENT}/bin/mitmdump");
    if !root.join(&mitmdump).exists() {
        let venv = ["-m".into(), "venv".into(), root.join(ENVIRONMENT).into_os_string()];
        steps.push(Step::program("python environment", foreign::newest(), venv));
        let python = root.join(ENVIRONMENT).join("bin/python");
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MITMPROXY];
        steps.push(Step::program("mitmproxy", python, install));
    }
    let build = ["build", "--release", "--locked", "--bins"];
    let packages = ["--package", "sealtap", "--package", "sealtap-common"];
    steps.push(Step::cargo("release build", &[&build[..], &packages[..]].concat()));
    let out = root.join("target/bench").display().to_string();
    let mitmdump = root.join(mitmdump).display().to_string();
    let run = ["bench", "--locked", "--package", "sealtap-tests", "--bench", "table", "--", "run"];
    let mut run: Vec<&str> = run.to_vec();
    run.extend(["--mitmdump", &mitmdump, "--out", &out]);
    let rounds = rounds.map(|rounds| rounds.to_string());
    run.extend(rounds.iter().flat_map(|rounds| ["--rounds", rounds]));
    run.extend(quick.then_some("--quick"));
    run.extend((!rows.is_empty()).then_some("--rows"));
    run.extend(rows.iter().map(String::as_str));
    steps.push(Step::cargo("bench", &run));
    steps
}

/// Whether a program runs.
fn there(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
