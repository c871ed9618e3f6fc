//! The library that verifies has no file, socket, clock, thread or randomness: whoever audits it
//! need not look for them. `directory.rs`, behind a feature, and the binary are its rim.

use std::path::Path;

use super::files::texts;

const RIM: [&str; 2] = ["common/src/directory.rs", "common/src/bin/"];

const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::io::std",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "getrandom",
    "OsRng",
];

/// Names what reaches out of the pure part.
pub(super) fn check(root: &Path) -> Vec<String> {
    let texts = match texts(root) {
        Ok(texts) => texts,
        Err(error) => return vec![error],
    };
    let mut wrong = Vec::new();
    let pure = |path: &str| {
        let test = path.ends_with("tests.rs") || path.contains("/tests/");
        path.starts_with("common/src/") && !test && !RIM.iter().any(|rim| path.starts_with(rim))
    };
    for file in texts.iter().filter(|file| pure(&file.path)) {
        // Unit tests at a file's end may do as they like.
        let code = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            if let Some(impure) = IMPURE.iter().find(|impure| line.contains(**impure)) {
                wrong.push(format!("{}:{}: {impure} in the pure part", file.path, index + 1));
            }
        }
    }
    wrong
}
