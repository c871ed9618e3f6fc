//! cargo-deny over `deny.toml`, installed under `target/tools` when it is not there yet.
//!
//! Installing takes two minutes of one core with the settings here; checking
//! takes two seconds.

use std::path::Path;

use crate::step::Step;

/// The version that `deny.toml` was written for.
const VERSION: &str = "0.20.2";

/// Installs it where missing, then checks; advisories need the network unless left out.
pub(crate) fn steps(root: &Path, offline: bool) -> Vec<Step> {
    let tools = root.join("target/tools");
    let program = tools.join("bin/cargo-deny");
    let mut steps = Vec::new();
    if !program.exists() {
        let tools = tools.display().to_string();
        let arguments =
            ["install", "cargo-deny", "--version", VERSION, "--locked", "--root", &tools];
        let install = Step::cargo("install cargo-deny", &arguments)
            .with("CARGO_PROFILE_RELEASE_LTO", "off")
            .with("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            // What is installed does not go by the settings of this folder.
            .with("CARGO_NET_RETRY", "8");
        steps.push(install);
    }
    let mut arguments = vec!["--all-features", "check", "--hide-inclusion-graph"];
    arguments.extend(["bans", "licenses", "sources"]);
    arguments.extend((!offline).then_some("advisories"));
    steps.push(Step::program("deny", program, arguments));
    steps
}
