//! End-to-end suites by name: each file of `tests/tests` is one, and each folder with a `main.rs`.

use std::fs;
use std::path::Path;

use crate::step::Step;

/// A suite that needs a right or a program of the machine, which it says itself where it is missing.
pub(crate) fn one(root: &Path, name: &str) -> Vec<Step> {
    steps(root, &[name.to_owned()], false)
}

/// The suites of the kernel's hooks, which are the whole machine's: only where that was asked for.
pub(crate) const OF_THE_KERNEL: [&str; 5] = ["kernel", "enforce", "scopes", "names", "adversaries"];

/// These.
pub(crate) fn kernel(root: &Path) -> Vec<Step> {
    let names = OF_THE_KERNEL.map(str::to_owned);
    steps(root, &names, false).into_iter().map(with_the_kernel).collect()
}

/// As many connections at once as no process may have open files for: as many gateways as that takes.
pub(crate) fn hundred_thousand(root: &Path) -> Vec<Step> {
    let steps = steps(root, &["hundred_thousand".to_owned()], true);
    steps.into_iter().map(|step| with_the_kernel(step).with("SEALTAP_GATEWAYS", "13")).collect()
}

/// A step in which that suite may run.
pub(crate) fn with_the_kernel(step: Step) -> Step {
    step.with("SEALTAP_KERNEL_SUITE", "1")
}

/// nginx beside the gateway; root may install it.
pub(crate) fn beside_nginx(root: &Path, cases: Option<u32>) -> Vec<Step> {
    let script = "command -v nginx >/dev/null || [ \"$(id -u)\" -ne 0 ] || \
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
        nginx-light";
    let installed = Step::program("nginx, where root may install it", "sh", ["-c", script]);
    let suite = one(root, "beside_nginx").into_iter().map(|step| match cases {
        Some(cases) => step.with("SEALTAP_CASES", cases.to_string()),
        None => step,
    });
    std::iter::once(installed).chain(suite).collect()
}

/// One step per suite; without names, a step that lists them.
pub(crate) fn steps(root: &Path, names: &[String], release: bool) -> Vec<Step> {
    let known = known(root);
    if names.is_empty() {
        let listed = known.join("\n");
        return vec![Step::program("suites there are", "echo", [listed])];
    }
    let suite = |name: &String| {
        if !known.contains(name) {
            let wrong = format!("no suite is called {name}; there are {}", known.join(", "));
            return Step::rule(name.clone(), |_| vec![wrong]);
        }
        let mut arguments = vec!["test", "--package", "sealtap-tests", "--locked"];
        arguments.extend(release.then_some("--release"));
        arguments.extend(["--test", name]);
        Step::cargo(name.clone(), &arguments)
    };
    names.iter().map(suite).collect()
}

fn known(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("tests/tests")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            if entry.path().join("main.rs").is_file() {
                return Some(name);
            }
            Some(name.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    names.sort();
    names
}
