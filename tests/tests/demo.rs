//! Demo: the story comes out as told, and what it leaves behind bears it out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sealtap_tests::verify::{Verdict, text, verify};
use sealtap_tests::{programs, records};
use tempfile::TempDir;

fn demo(directory: &Path) -> Output {
    let mut command = Command::new(programs::sealtap());
    // Nothing of it may end up in the home of whoever runs it.
    command.arg("demo").current_dir(directory).env("HOME", directory.join("home"));
    command.env_remove("STATE_DIRECTORY").env_remove("XDG_STATE_HOME");
    command.output().expect("the demonstration can be run")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory can be listed") {
        let entry = entry.expect("an entry can be read");
        match entry.file_type().expect("an entry has a type").is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

#[test]
fn the_story_comes_out_as_told() {
    let home = TempDir::with_prefix("sealtap-demo-").expect("a temporary directory can be made");
    programs::sealtap();
    let began = Instant::now();
    let output = demo(home.path());
    let took = began.elapsed();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    let story = String::from_utf8(output.stdout).expect("the story is text");
    assert!(!story.contains('\u{1b}'), "styles where no terminal is: {story}");
    let contradicted = story.lines().filter(|line| line.contains("contradicted: call 1")).count();
    assert_eq!(contradicted, 1, "{story}");

    // What it leaves: a log that both verifiers find valid, and one that both do not.
    let left = home.path().join("sealtap-demo");
    let keys = left.join("keys.txt");
    let (verdict, said) = verify(&left.join("data"), Some(&keys));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    let (verdict, said) = verify(&left.join("tampered-log"), Some(&keys));
    assert_eq!(verdict, Verdict::NotValid, "{said}");

    let (verdict, said) = verify(&left.join("demo.tar"), Some(&keys));
    assert_eq!(verdict, Verdict::Valid, "{said}");

    // They differ in one byte of an entry bundle.
    let log = left.join("data/log");
    let mut changed = Vec::new();
    for path in files(&log) {
        let name = path.strip_prefix(&log).expect("it lies within").to_owned();
        let original = fs::read(&path).expect("the log can be read");
        let copy = fs::read(left.join("tampered-log").join(&name)).expect("the copy has it");
        assert_eq!(original.len(), copy.len());
        let bytes = original.iter().zip(&copy).filter(|(a, b)| a != b).count();
        changed.extend(std::iter::repeat_n(name, bytes));
    }
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert!(changed[0].starts_with("tile/entries"), "{changed:?}");

    // Three calls of one run, all sealed; and each of the hints works as printed.
    let exchanges = records::rows(&left.join("data"));
    assert_eq!(exchanges.len(), 3, "{story}");
    for exchange in &exchanges {
        assert_eq!(exchange["run"], "demo");
        assert_eq!(exchange["outcome"], "complete");
        assert!(exchange["leaf"].is_u64());
    }
    let hints: Vec<_> = story.lines().filter_map(|line| line.strip_prefix("  sealtap ")).collect();
    assert_eq!(hints.len(), 4, "{story}");
    for hint in hints {
        let mut command = Command::new(programs::sealtap());
        let tried = command.args(hint.split(' ')).current_dir(home.path()).output();
        let tried = tried.expect("a hint can be followed");
        assert_eq!(tried.status.code(), Some(0), "{hint}: {}", text(&tried));
        assert!(!tried.stdout.is_empty(), "{hint}");
    }

    // The key is told, and is in no file; nor was a file left anywhere else.
    let start = story.find("sk-demo-").expect("the story tells the key");
    let key = story[start..].split_whitespace().next().expect("the key is a word");
    assert!(key.len() > 20, "{key}");
    let left = files(home.path());
    assert!(left.len() > 15, "{left:?}");
    for path in left {
        assert!(path.starts_with(home.path().join("sealtap-demo")), "{}", path.display());
        let bytes = fs::read(&path).expect("what is left can be read");
        assert!(!holds(&bytes, key), "{} holds the key", path.display());
    }
}

#[test]
fn it_replaces_only_what_a_demonstration_left() {
    let home = TempDir::with_prefix("sealtap-demo-").expect("a temporary directory can be made");
    let left = home.path().join("sealtap-demo");
    let theirs = left.join("letters.txt");
    fs::create_dir(&left).expect("a directory can be made");
    fs::write(&theirs, "mine").expect("a file can be written");
    let refuse = |why: &str| {
        let output = demo(home.path());
        assert_eq!(output.status.code(), Some(1), "{why}: {}", text(&output));
        assert!(output.stdout.is_empty(), "{why}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("where: ./sealtap-demo") && said.contains("fix:"), "{why}: {said}");
        assert_eq!(fs::read(&theirs).expect("it is still there"), b"mine", "{why}");
        assert_eq!(files(home.path()).len(), fs::read_dir(&left).unwrap().count(), "{why}");
    };
    refuse("somebody's directory");
    fs::write(left.join(".sealtap-demo"), "something else").expect("a file can be written");
    refuse("a marker that no demonstration wrote");

    fs::remove_dir_all(&left).expect("the directory can be removed");
    let first = demo(home.path());
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let old_key = fs::read(left.join("keys.txt")).expect("it leaves the keys");
    fs::write(&theirs, "mine").expect("a file can be written");
    let second = demo(home.path());
    assert_eq!(second.status.code(), Some(0), "{}", text(&second));
    assert!(!theirs.exists(), "a demonstration's directory is replaced as a whole");
    assert_ne!(fs::read(left.join("keys.txt")).expect("it leaves the keys"), old_key);
}

#[test]
fn a_link_is_never_followed() {
    let home = TempDir::with_prefix("sealtap-demo-").expect("a temporary directory can be made");
    let elsewhere = home.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory can be made");
    let first = demo(&elsewhere);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first));
    let made = elsewhere.join("sealtap-demo");
    let before = fs::read(made.join("keys.txt")).expect("it leaves the keys");
    std::os::unix::fs::symlink(&made, home.path().join("sealtap-demo")).expect("a link");
    let output = demo(home.path());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(fs::read(made.join("keys.txt")).expect("they are untouched"), before);
}
