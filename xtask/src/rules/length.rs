//! A file that can be read in one go: at most 400 lines of Rust, and its purpose stated first.

use std::path::Path;

use super::files::texts;

const LINES: usize = 400;

/// Names files that are too long, or begin without module docs.
pub(super) fn check(root: &Path) -> Vec<String> {
    let texts = match texts(root) {
        Ok(texts) => texts,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    for file in texts.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        let tests = file.path.ends_with("tests.rs") || file.path.contains("/tests/");
        if lines > LINES && !tests {
            wrong.push(format!("{}: {lines} lines, at most {LINES}", file.path));
        }
        if !file.text.starts_with("//!") && !tests {
            wrong.push(format!("{}: begins without saying what it is for", file.path));
        }
    }
    wrong
}
