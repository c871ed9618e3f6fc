//! End-to-end suites by name: each file of `tests/tests` is one.

use std::fs;
use std::path::Path;

use crate::step::Step;

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
            Some(name.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    names.sort();
    names
}
