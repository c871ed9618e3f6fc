//! A run that travels with all that others vouch for: cosigned by a real witness, under keys that have
//! changed since. Whoever holds the old keys and the witness's checks it offline.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealtap_tests::bundle::{bundle, by_hand, wait_closed};
use sealtap_tests::gate::{OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::programs;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, text, verify, write_keys};
use sealtap_tests::wire::Wire;
use sealtap_tests::witness::{Memory, Witness};

/// The witness has as long as it takes on a machine that is busy.
const CONFIG: &str =
    "[runs]\nidle = \"200ms\"\n[witness]\npolicy = \"witnesses.policy\"\ntimeout = \"60s\"\n";

fn exchange(gateway: &Gateway, run: &str) {
    let mut client = Wire::connect(gateway.address());
    client.send(head(format!("GET /run/{run}/up/x HTTP/1.1"), &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
}

fn rotate(home: &Home, role: &str) {
    let mut command = Command::new(programs::sealtap());
    command.arg("keys").arg("--data").arg(home.data()).arg(format!("--rotate={role}"));
    let output = command.env("HOME", home.path()).env_remove("STATE_DIRECTORY").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Both verifiers under a policy, which must agree; exit code and what the product says.
fn under(policy: &Path, bundle: &Path, keys: &Path) -> (i32, String) {
    let run = |program: &Path, verify: &[&str]| {
        let mut command = Command::new(program);
        command.args(verify).arg(bundle).arg("--key").arg(keys).arg("--policy").arg(policy);
        command.output().unwrap()
    };
    let product = run(programs::sealtap(), &["verify"]);
    let small = run(programs::sealtap_verify(), &[]);
    assert_eq!(product.status, small.status, "{} {}", text(&product), text(&small));
    (product.status.code().unwrap(), text(&product))
}

/// The second implementation, with its own reading of every proof and signature.
fn check_with_python(bundle: &Path, keys: &Path, witness: &str) {
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/vectors/check.py");
    let text_of = std::fs::read_to_string(keys).unwrap();
    let mut vkeys = text_of.lines().filter(|line| line.contains('+') && !line.contains(' '));
    let log = vkeys.next().unwrap();
    let record = vkeys.find(|line| line.starts_with(log.split('+').next().unwrap())).unwrap();
    let output =
        Command::new("python3").arg(check).arg(bundle).args([log, record, witness]).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_bundle_is_witnessed_and_leads_from_the_old_keys_to_the_new() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let home = Options::default().upstream("up", upstream.url()).start().terminate();
    let old = home.keys();
    let (memory, policy) = (Memory::new(), home.path().join("witnesses.policy"));
    let witness = Witness::start(&memory, &[&old], "127.0.0.1:0");
    std::fs::write(&policy, witness.policy()).unwrap();
    let options = || Options::default().upstream("up", upstream.url()).config(CONFIG);

    let gateway = options().start_in(Arc::clone(&home));
    exchange(&gateway, "before");
    wait_closed(&home, "before");
    // Beside the running gateway: it waits until the witness has seen all of the run, for two seconds; on a busy
    // machine another bundle is made.
    let cosigned = home.data().join("witness/checkpoint");
    poll("a witness that has seen something", || cosigned.exists().then_some(()));
    let (fresh, said) = poll_for(OF_A_GATEWAY, "a bundle that is witnessed", || {
        let begin = Instant::now();
        let path = bundle(&home, "before", &["all"]);
        let waited = begin.elapsed();
        let (code, said) = under(&policy, &path, &old);
        assert!(code == 0 || waited >= Duration::from_secs(2), "it did not wait: {said}");
        (code == 0).then_some((path, said))
    });
    assert!(said.contains("quorum of the policy: reached"), "{said}");
    check_with_python(&fresh, &old, witness.vkey());
    gateway.terminate();

    // Without a policy nobody is trusted to have witnessed it.
    let (verdict, said) = verify(&fresh, Some(&old));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains("unwitnessed: ") && said.contains("1 cosignature not checked"), "{said}");
    // A changed cosignature is found by whoever trusts the witness.
    let mut bytes = std::fs::read(&fresh).unwrap();
    let name = format!("\u{2014} {} ", witness.name());
    let at = memchr::memmem::find(&bytes, name.as_bytes()).unwrap() + name.len() + 40;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let changed = home.path().join("changed.tar");
    std::fs::write(&changed, bytes).unwrap();
    let (code, said) = under(&policy, &changed, &old);
    assert_eq!(code, 1, "{said}");

    // Both keys change, and another run follows, in a log that the witness knows by both.
    rotate(&home, "log");
    rotate(&home, "run-record");
    let new = write_keys(&home.data(), &home.path().join("new-keys"));
    witness.terminate();
    let witness = Witness::start(&memory, &[&old, &new], "127.0.0.1:0");
    std::fs::write(&policy, witness.policy()).unwrap();
    let gateway = options().start_in(Arc::clone(&home));
    exchange(&gateway, "after");
    wait_closed(&home, "after");
    poll_for(OF_A_GATEWAY, "a bundle that is witnessed", || {
        let path = bundle(&home, "after", &["none"]);
        (under(&policy, &path, &new).0 == 0).then_some(())
    });
    gateway.terminate();
    let vkey = home.path().join("witness-vkey");
    std::fs::write(&vkey, format!("{}\n", witness.vkey())).unwrap();
    for run in ["before", "after"] {
        let path = bundle(&home, run, &["all"]);
        for keys in [&old, &new] {
            let (code, said) = under(&policy, &path, keys);
            assert_eq!(code, 0, "{run}: {said}");
            assert_eq!(said.matches("key changed: at leaf ").count(), 2, "{run}: {said}");
            assert!(said.contains("run record's signature under a given key"), "{run}: {said}");
            check_with_python(&path, keys, witness.vkey());
        }
        // With openssl alone: the witness's signature, and every step from the old key to the new.
        let said = by_hand(&path, &old, &[("witness.txt", &vkey)]);
        let good = said.matches("Signature Verified Successfully").count();
        // The witness's, both of the change, the checkpoint's at last; and the record's, where the
        // run-record key is the one in the file.
        assert_eq!(good, if run == "before" { 5 } else { 4 }, "{run}: {said}");
        assert!(said.contains("grown from checkpoint.cosigned"), "{run}: {said}");
        assert!(!said.contains("NOT"), "{run}: {said}");
    }
    // A stranger's key leads nowhere, and the witness's word does not help it.
    let other = Options::default().start().terminate();
    let (code, said) = under(&policy, &bundle(&home, "after", &["none"]), &other.keys());
    assert_eq!(code, 1, "{said}");
    let (verdict, said) = verify(&home.data(), Some(&new));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    witness.terminate();
    upstream.finish();
}
