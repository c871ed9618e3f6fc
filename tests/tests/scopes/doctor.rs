//! What the doctor finds where everything can be tried.

use std::process::Command;

use sealtap_tests::programs;
use serde_json::Value;

/// Each program of the committed object is tried, and taken, by a kernel that takes all of them.
pub(crate) fn each_program_is_tried_and_well() {
    let mut doctor = Command::new(programs::sealtap());
    let output = doctor.args(["doctor", "--json"]).output().expect("it can be run");
    let found: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let checks = found["checks"].as_array().expect("a list");
    let hooks: Vec<&Value> = checks.iter().filter(|check| check["name"] == "hook").collect();
    for name in ["exec", "connect4", "sendmsg6", "packets", "option", "uplink"] {
        let of = |check: &&&Value| {
            check["what"].as_str().is_some_and(|what| what.starts_with(&format!("sealtap_{name}:")))
        };
        assert!(hooks.iter().any(|check| of(&check)), "{name} is well: {found}");
    }
    assert!(hooks.iter().all(|check| check["state"] == "well"), "{found}");
}
