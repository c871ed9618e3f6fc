//! The files of the project, as git knows them.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What may lie at the top, beside dotfiles.
const TOP: [&str; 14] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "common",
    "deny.toml",
    "ebpf",
    "gateway",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// A text file of the project.
pub(super) struct Text {
    /// Its path below the root, with `/`.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
}

/// Paths of all files that are tracked, or new and not ignored.
fn paths(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run git: {error}"))?;
    if !output.status.success() {
        return Err(format!("git: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect())
}

/// All text files; those that are not UTF-8, or deleted and not yet committed so, are left out.
pub(super) fn texts(root: &Path) -> Result<Vec<Text>, String> {
    let paths = paths(root)?;
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path)).ok()?;
        Some(Text { path, text })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}

/// A newcomer finds the same few names at the top as the design says.
pub(super) fn top_level(root: &Path) -> Vec<String> {
    let paths = match paths(root) {
        Ok(paths) => paths,
        Err(error) => return vec![error],
    };
    let mut strangers: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.split('/').next())
        .filter(|name| !name.starts_with('.') && !TOP.contains(name))
        .collect();
    strangers.dedup();
    strangers.iter().map(|name| format!("{name} does not belong at the top level")).collect()
}
