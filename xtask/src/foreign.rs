//! A log, and the run record of a bundle, checked by tools that share no code with this project; and
//! a WebSocket session between a client and a server of another: in a virtual environment of Python
//! and a folder of npm, both under `target/foreign`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::Step;

/// The log that is published with the format.
const LOG: &str = "common/vectors/log";
/// The file that holds its key.
const KEY: &str = "common/vectors/note.json";

/// The bundles that are published with the format.
const BUNDLES: [&str; 2] = ["common/vectors/bundle.tar", "common/vectors/witnessed.tar"];
/// The file that holds the key of their records.
const RECORD_KEY: &str = "common/vectors/record.json";
/// Sigstore's own verifier; pinned, so that a failure is ours.
const SIGSTORE: [&str; 2] = ["@sigstore/bundle@4.0.0", "@sigstore/verify@3.1.1"];

/// What pip and npm are told: a registry may fail more than once in a row.
pub(crate) const PATIENT_PIP: [&str; 4] = ["--retries", "8", "--timeout", "60"];
pub(crate) const PATIENT_NPM: &str = "--fetch-retries=8";

/// Makes the environment where it is missing, then checks `log` under `key`.
pub(crate) fn steps(root: &Path, log: Option<&str>, key: Option<&str>) -> Vec<Step> {
    let environment = root.join("target/foreign");
    let modules = environment.join("sigstore");
    let python = environment.join("bin/python");
    let mut steps = Vec::new();
    if !python.exists() {
        let arguments = ["-m".into(), "venv".into(), environment.into_os_string()];
        steps.push(Step::program("python environment", newest(), arguments));
    }
    let needs = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let needs = needs.into_iter().chain(PATIENT_PIP);
    let needs = needs.chain(["--requirement", "xtask/foreign/requirements.txt"]);
    steps.push(Step::program("foreign tools", &python, needs));
    let arguments = ["xtask/foreign/check.py", log.unwrap_or(LOG), key.unwrap_or(KEY)];
    steps.push(Step::program("foreign", &python, arguments));
    let mut npm: Vec<OsString> = vec!["install".into(), "--prefix".into(), modules.clone().into()];
    npm.extend(["--silent", "--no-audit", "--no-fund", PATIENT_NPM].map(Into::into));
    npm.extend(SIGSTORE.map(Into::into));
    steps.push(Step::program("foreign npm tools", "npm", npm));
    for bundle in BUNDLES {
        let record = ["xtask/foreign/record.py", bundle, RECORD_KEY].map(OsString::from);
        let record = record.into_iter().chain([modules.clone().into()]);
        steps.push(Step::program("foreign record", &python, record));
    }
    let peers = ["test", "--package", "sealtap-tests", "--locked", "--test", "websocket_peers"];
    steps.push(Step::cargo("websocket peers", &peers));
    steps
}

/// `SEALTAP_PYTHON`, else the first Python that runs and is new enough for every tool, else whatever
/// `python3` is.
pub(crate) fn newest() -> OsString {
    if let Some(python) = std::env::var_os("SEALTAP_PYTHON") {
        return python;
    }
    let runs = |python: &&str| {
        Command::new(python)
            .args(["-c", "import sys, venv; sys.exit(sys.version_info < (3, 12))"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let found = ["python3", "python3.14", "python3.13", "python3.12"].into_iter().find(runs);
    found.unwrap_or("python3").into()
}
