//! What must hold before a change goes in.

use std::path::Path;

use crate::step::Step;
use crate::{clients, deny, ebpf, foreign, rules, suite, vm};

/// All of it, the quickest first.
pub(crate) fn all(root: &Path) -> Vec<Step> {
    let mut steps = format();
    steps.extend(rules::steps());
    steps.extend([lint(), docs()]);
    steps.extend(ebpf::steps(root, false));
    // Here the kernel's hooks may be tried, where there is root.
    steps.extend(tests().into_iter().map(suite::with_the_kernel));
    steps.extend(foreign::steps(root, None, None));
    steps.extend(clients::steps(root, &[]).into_iter().map(suite::with_the_kernel));
    steps.extend(vm::in_ci(root));
    steps.extend(deny::steps(root, true));
    steps
}

/// Format, checking only; the fuzz targets are a workspace of their own.
pub(crate) fn format() -> Vec<Step> {
    let fuzz = ["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--check"];
    vec![
        Step::cargo("format", &["fmt", "--all", "--check"]),
        Step::cargo("format of the fuzz targets", &fuzz),
    ]
}

/// Every lint over every target, warnings denied.
pub(crate) fn lint() -> Step {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    Step::cargo("lint", &arguments)
}

/// The documentation, private items included: broken links there mislead as well.
pub(crate) fn docs() -> Step {
    let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    Step::cargo("docs", &arguments).with("RUSTDOCFLAGS", "-D warnings")
}

/// The kernel's contract alone; the library that verifies, without its one door to files; then
/// everything.
pub(crate) fn tests() -> Vec<Step> {
    let alone = ["check", "--package", "sealtap-common", "--no-default-features", "--locked"];
    let pure: Vec<&str> = alone.iter().copied().chain(["--features", "records"]).collect();
    vec![
        Step::cargo("kernel contract builds", &alone),
        Step::cargo("pure verifier builds", &pure),
        Step::cargo("test", &["test", "--workspace", "--no-fail-fast", "--locked"]),
    ]
}
