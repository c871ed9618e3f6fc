//! Real clients through every door: installs them, pinned, under `target/clients`, then runs the suite
//! that holds what they do through sealtap against what they do without it. A client that cannot be
//! installed is a failure, like one that behaves otherwise.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::foreign;
use crate::step::Step;

/// Where the scripts and the lists of what to install are.
const SCRIPTS: &str = "tests/clients";

/// Installs what is missing, then runs the tests whose names hold one of `names`, or all.
pub(crate) fn steps(root: &Path, names: &[String]) -> Vec<Step> {
    let installed = root.join("target/clients");
    let environment = installed.join("python");
    let python = environment.join("bin/python");
    let mut steps = Vec::new();
    if !python.exists() {
        let arguments = ["-m".into(), "venv".into(), environment.into_os_string()];
        steps.push(Step::program("python of the clients", foreign::newest(), arguments));
    }
    let list = |name: &str| format!("{SCRIPTS}/python/{name}");
    let mut pip: Vec<OsString> = Vec::new();
    pip.extend(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"].map(Into::into));
    pip.extend(foreign::PATIENT_PIP.map(Into::into));
    // Each is imported a few times: compiling all that is installed takes longer.
    pip.push("--no-compile".into());
    pip.extend(["--requirement".into(), list("requirements.txt").into()]);
    pip.extend(["--constraint".into(), list("constraints.txt").into()]);
    steps.push(Step::program("clients from PyPI", python, pip));
    let modules = installed.join("node");
    let place = modules.clone();
    steps.push(Step::rule("list of the clients from npm", move |root| copied(root, &place)));
    let mut npm: Vec<OsString> = vec!["ci".into(), "--prefix".into(), modules.into()];
    npm.extend(["--silent", "--no-audit", "--no-fund", "--ignore-scripts"].map(Into::into));
    npm.push(foreign::PATIENT_NPM.into());
    steps.push(Step::program("clients from npm", "npm", npm));
    let mut suite = vec!["test", "--package", "sealtap-tests", "--locked", "--test", "clients"];
    suite.extend((!names.is_empty()).then_some("--"));
    suite.extend(names.iter().map(String::as_str));
    steps.push(Step::cargo("clients", &suite).with("SEALTAP_CLIENTS", installed));
    steps
}

/// Copies what npm reads to where it installs.
fn copied(root: &Path, place: &Path) -> Vec<String> {
    let copy = |name: &str| {
        fs::create_dir_all(place)?;
        fs::copy(root.join(SCRIPTS).join("node").join(name), place.join(name))
    };
    let failed = |name: &str| Some(format!("{name}: {}", copy(name).err()?));
    ["package.json", "package-lock.json"].into_iter().filter_map(failed).collect()
}
