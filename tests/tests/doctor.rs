//! `sealtap doctor` with whatever rights these tests have: what it finds, what it says, what it leaves.
//!
//! It records nothing, so that there is no log to verify.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use sealtap_tests::gate::poll;
use sealtap_tests::programs;
use serde_json::Value;

fn doctor(arguments: &[&str]) -> Output {
    Command::new(programs::sealtap()).arg("doctor").args(arguments).output().expect("it can be run")
}

/// A configuration that listens there.
fn config(folder: &Path, port: u16) -> String {
    let path = folder.join("c.toml");
    let text = format!("listen = \"127.0.0.1:{port}\"\n");
    std::fs::write(&path, text).expect("a file can be written");
    path.display().to_string()
}

fn found(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn check<'a>(found: &'a Value, name: &str) -> &'a Value {
    let mut checks = found["checks"].as_array().expect("a list").iter();
    checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {found}"))
}

#[test]
fn everything_is_looked_at_and_the_exit_code_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("not/yet");
    let output = doctor(&["--json", "--data", &data.display().to_string()]);
    let found = found(&output);
    for name in ["kernel", "cgroup", "lockdown", "bpffs", "capabilities", "attribution", "clock"] {
        check(&found, name);
    }
    for name in ["disk", "fdatasync", "o_direct"] {
        assert_ne!(check(&found, name)["state"], "unknown", "{found}");
    }
    let checks = found["checks"].as_array().expect("a list");
    let short = checks.iter().filter(|check| check["state"] == "short").count();
    assert_eq!(found["ok"], short == 0, "{found}");
    assert_eq!(output.status.code(), Some(i32::from(short > 0)), "{found}");
    for check in checks.iter().filter(|check| check["state"] != "well") {
        assert!(check["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{check}");
    }
    assert!(!folder.path().join("not").exists(), "it makes nothing");
    assert_eq!(std::fs::read_dir(folder.path()).expect("it is ours").count(), 0, "nothing stays");
}

#[test]
fn hooks_are_tried_where_they_may_be_and_unknown_elsewhere() {
    let found = found(&doctor(&["--json"]));
    let checks = found["checks"].as_array().expect("a list");
    let of = |name: &str| checks.iter().filter(|check| check["name"] == name).count();
    match check(&found, "capabilities")["state"].as_str() {
        Some("well") => assert!(of("hook") >= 6 || of("hooks") == 1, "{found}"),
        _ => {
            assert_eq!(check(&found, "hooks")["state"], "unknown", "{found}");
            assert!(check(&found, "hooks")["fix"].to_string().contains("as root"), "{found}");
        }
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(folder.path(), port);
    let output = doctor(&["--config", &config]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let said = format!("short    port          127.0.0.1:{port} cannot be listened on");
    assert!(text.contains(&said) && text.contains("--listen ADDRESS"), "{text}");
    drop(taken);
    // Another case may have taken it meanwhile, for a moment.
    poll("the control: a port that is free", || {
        let free = found(&doctor(&["--json", "--config", &config]));
        (check(&free, "port")["state"] == "well").then_some(())
    });
}

#[test]
fn a_wrong_configuration_is_a_wrong_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[kernel]\nmode = \"watch\"\nscopes = [\"/\"]\n").expect("written");
    let output = doctor(&["--config", &path.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains(":2:8:") && text.contains("\"observe\""), "{text}");
    assert!(text.contains(":3:11:") && text.contains("the gateway in it"), "{text}");
}
