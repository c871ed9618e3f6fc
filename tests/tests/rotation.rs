//! Rotation: the log's key and the run-record key change between two runs of the real gateway, and
//! whoever has any key of the chain can still verify.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::programs;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, text, verify, write_keys};
use sealtap_tests::wire::Wire;
use sealtap_tests::witness::{Memory, Witness};

fn rotate(home: &Home, role: &str) -> Output {
    let mut command = Command::new(programs::sealtap());
    command.arg("keys").arg("--data").arg(home.data()).arg(format!("--rotate={role}"));
    command.env("HOME", home.path()).env_remove("STATE_DIRECTORY");
    command.output().unwrap()
}

fn exchange(gateway: &Gateway) {
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
}

/// The second implementation, where there is a Python to run it.
fn check_with_python(home: &Home, keys: &Path, more: &[&str]) {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/vectors/check.py");
    let keys = std::fs::read_to_string(keys).unwrap();
    let vkey = keys.lines().next().unwrap();
    let output =
        Command::new("python3").arg(check).arg(home.log()).arg(vkey).args(more).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_key_changes_between_two_runs_and_every_key_of_the_chain_verifies() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let options = || Options::default().upstream("up", upstream.url());
    let gateway = options().start();
    exchange(&gateway);
    gateway.wait_sealed(1);
    // While it runs, nothing changes.
    let refused = rotate(gateway.home(), "log");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(said.contains("is writing to") && said.contains("stop the gateway first"), "{said}");
    let home = gateway.terminate();
    let old = home.keys();

    let rotated = rotate(&home, "log");
    assert!(rotated.status.success(), "{}", text(&rotated));
    let new: PathBuf = home.path().join("new-keys");
    std::fs::write(&new, &rotated.stdout).unwrap();
    let line = |path: &Path, at: usize| {
        std::fs::read_to_string(path).unwrap().lines().nth(at).unwrap().to_owned()
    };
    assert_ne!(line(&old, 0), line(&new, 0));
    assert_eq!(line(&old, 4), line(&new, 4), "the run-record key stays");

    // A witness that knows both keys follows the log over the change.
    let memory = Memory::new();
    let witness = Witness::start(&memory, &[&old, &new], "127.0.0.1:0");
    let policy = home.path().join("witnesses.policy");
    std::fs::write(&policy, witness.policy()).unwrap();
    // The witness has as long as it takes on a machine that is busy.
    let config = "[witness]\npolicy = \"witnesses.policy\"\ntimeout = \"60s\"\n";
    let gateway = options().config(config).start_in(Arc::clone(&home));
    exchange(&gateway);
    gateway.finish();
    assert!(rotate(&home, "run-record").status.success());
    let gateway = options().config(config).start_in(Arc::clone(&home));
    exchange(&gateway);
    gateway.finish();

    for keys in [&old, &new] {
        let (verdict, said) = verify(&home.data(), Some(keys));
        assert_eq!(verdict, Verdict::Valid, "{said}");
        assert_eq!(said.matches("key changed: at leaf ").count(), 2, "{said}");
        assert!(said.contains(&format!("from {} to {}", line(&old, 0), line(&new, 0))), "{said}");
        let mut command = Command::new(programs::sealtap());
        command.arg("verify").arg(home.data()).arg("--key").arg(keys).arg("--policy").arg(&policy);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    }
    let last = home.path().join("last-keys");
    write_keys(&home.data(), &last);
    assert_eq!(line(&last, 0), line(&new, 0));
    assert_ne!(line(&last, 4), line(&new, 4));
    let cosigned = home.data().join("witness/checkpoint");
    check_with_python(&home, &new, &[cosigned.to_str().unwrap(), witness.vkey()]);
    witness.terminate();
    upstream.finish();
}

#[test]
fn an_old_copy_from_before_a_rotation_does_not_start() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let options = || Options::default().upstream("up", upstream.url());
    let gateway = options().start();
    exchange(&gateway);
    let home = gateway.terminate();
    let keys = home.data().join("keys/log.key");
    let checkpoint = home.log().join("checkpoint");
    let before = (std::fs::read(&keys).unwrap(), std::fs::read(&checkpoint).unwrap());
    let rotated = rotate(&home, "log");
    assert!(rotated.status.success(), "{}", text(&rotated));
    let after = (std::fs::read(&keys).unwrap(), std::fs::read(&checkpoint).unwrap());
    std::fs::write(&keys, &before.0).unwrap();
    std::fs::write(&checkpoint, &before.1).unwrap();
    let Err((status, said)) = options().try_start_in(Arc::clone(&home)) else {
        panic!("a gateway started with a key that was replaced")
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("was signed by another key"), "{said}");
    std::fs::write(&keys, &after.0).unwrap();
    std::fs::write(&checkpoint, &after.1).unwrap();
    home.assert_valid();
    upstream.finish();
}
