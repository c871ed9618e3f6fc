//! The suites of the kernel's hooks on Debian 12's kernel, in a virtual machine that emulates every
//! instruction, so that no right of the host's is needed: `tests/vm/run.sh`.
//!
//! What the machine says on its console is this step's output, and the results in it are counted. A
//! machine that does not say in time that all went well is a failure.

use std::path::Path;
use std::process::Command;

use crate::step::Step;
use crate::suite;

/// Until when the machine must be done, in seconds: what one of its suites takes where a processor is shared.
const PATIENCE: u64 = 1800;

/// The suite that `ci` runs there: each way out in each mode. All of them take twice as long.
const IN_CI: [&str; 1] = ["adversaries"];

/// What `ci` runs.
pub(crate) fn in_ci(root: &Path) -> Vec<Step> {
    steps(root, &[], &IN_CI.map(str::to_owned))
}

/// Builds what goes in, then runs it; `names` are parts of the names of tests, `chosen` are suites, all of
/// them where there are none.
pub(crate) fn steps(root: &Path, names: &[String], chosen: &[String]) -> Vec<Step> {
    let all = suite::OF_THE_KERNEL.map(str::to_owned);
    let chosen = if chosen.is_empty() { &all } else { chosen };
    let built = Step::cargo("binaries for the machine", &["build", "--bins", "--locked"]);
    let script = root.join("tests/vm/run.sh");
    let folder = root.join("target/vm");
    let patience = PATIENCE.saturating_mul(u64::try_from(chosen.len()).unwrap_or(1));
    let mut arguments = vec![folder.into_os_string(), patience.to_string().into()];
    match suites(root, chosen) {
        Ok(suites) => arguments.extend(suites.into_iter().map(Into::into)),
        Err(wrong) => return vec![Step::rule("suites for the machine", |_| vec![wrong])],
    }
    let machine = Step::program("Debian 12's kernel in a machine", script, arguments);
    let machine = machine
        .with("SEALTAP_BIN_DIR", root.join("target/debug"))
        .with("SUITE_ARGUMENTS", names.join(" "));
    vec![built, machine]
}

/// The suites' binaries, built.
fn suites(root: &Path, chosen: &[String]) -> Result<Vec<String>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--package", "sealtap-tests", "--locked", "--no-run", "--quiet"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    for name in chosen {
        command.args(["--test", name]);
    }
    let output = command.current_dir(root).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    // One message a line; only what can be run has a path there.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let found: Vec<String> = text.lines().filter_map(path).collect();
    match found.len() == chosen.len() {
        true => Ok(found),
        false => Err(format!("cargo built {} suites for the machine", found.len())),
    }
}
