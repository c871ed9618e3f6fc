//! Verify: both verifiers over a log, and what they say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::gateway::Home;
use crate::programs;

/// What a verifier concluded, by its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Exit 0.
    Valid,
    /// Exit 1.
    NotValid,
    /// Exit 2.
    Undecided,
}

/// The file `sealtap keys` fills, which `verify --key` takes.
pub fn write_keys(data: &Path, to: &Path) -> PathBuf {
    let output = run(Command::new(programs::sealtap()).arg("keys").arg("--data").arg(data));
    assert!(output.status.success(), "sealtap keys failed: {}", text(&output));
    std::fs::write(to, &output.stdout).expect("the keys can be written");
    to.to_owned()
}

/// Runs `sealtap verify` and `sealtap-verify` over `path`; both must agree.
///
/// # Panics
/// If they disagree, or one ends in any other way than with a verdict.
pub fn verify(path: &Path, keys: Option<&Path>) -> (Verdict, String) {
    let mut product = Command::new(programs::sealtap());
    let mut small = Command::new(programs::sealtap_verify());
    product.arg("verify").arg(path);
    small.arg(path);
    if let Some(keys) = keys {
        product.arg("--key").arg(keys);
        small.arg("--key").arg(keys);
    }
    let (product, small) = (run(&mut product), run(&mut small));
    assert_eq!(
        product.status,
        small.status,
        "the verifiers disagree\nsealtap verify: {}\nsealtap-verify: {}",
        text(&product),
        text(&small)
    );
    (verdict(&product), text(&product))
}

/// Only the small verifier: a tenth of the work, for suites that verify thousands of times.
pub fn verify_small(path: &Path, keys: &Path) -> (Verdict, String) {
    let output = run(Command::new(programs::sealtap_verify()).arg(path).arg("--key").arg(keys));
    (verdict(&output), text(&output))
}

/// Only `sealtap verify`, which alone opens a data directory's store and journal.
pub fn verify_product(path: &Path, keys: &Path) -> (Verdict, String) {
    let mut product = Command::new(programs::sealtap());
    let output = run(product.arg("verify").arg(path).arg("--key").arg(keys));
    (verdict(&output), text(&output))
}

/// What `sealtap verify --json` says of a log, a data directory or a bundle under these keys.
///
/// # Panics
/// If that is no JSON.
pub fn report(path: &Path, keys: &Path) -> Value {
    let mut product = Command::new(programs::sealtap());
    let output = run(product.args(["verify", "--json", "--key"]).arg(keys).arg(path));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("verify --json: {error}: {}", text(&output)))
}

/// The same of all that a gateway keeps, its log and store, under its keys, which must be valid.
///
/// # Panics
/// If it is not.
pub fn valid(home: &Home) -> Value {
    let report = report(&home.data(), &home.keys());
    assert_eq!(report["verdict"], "valid", "{report}");
    report
}

fn verdict(output: &Output) -> Verdict {
    match output.status.code() {
        Some(0) => Verdict::Valid,
        Some(1) => Verdict::NotValid,
        Some(2) => Verdict::Undecided,
        _ => panic!("a verifier ended without a verdict: {} {}", output.status, text(output)),
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

/// Both outputs of a program as text.
pub fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{} stdout: {stdout} stderr: {stderr}", output.status)
}
