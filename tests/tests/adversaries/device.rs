//! Device: a datagram to an address of this machine that leaves by another device than the loopback.

use std::sync::Arc;

use sealtap_tests::coverage;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::verify::text;

use crate::place::probe;
use crate::ways::{Mode, Scene, said};

/// The address alone makes no place on the machine: whoever is at the other end of the device has it as well.
pub(crate) fn a_listed_place_is_not_one_by_a_device(mode: Mode) {
    let scene = Scene::new();
    let port = scene.place.port();
    let line = |word: &str| probe("udp_by_device", "127.0.0.1", port, word);
    let output = scene.place.inside.command(line("control")).output().expect("it can be run");
    assert_eq!(said(&output.stdout), "sent", "{}", text(&output));
    let came = scene.place.came("control");
    assert_eq!(came.len(), 1, "the control does not reach the target: {came:?}");

    let listed = format!("--loopback-allow=127.0.0.1:{port}");
    let flags: Vec<&str> = mode.flags().iter().copied().chain([listed.as_str()]).collect();
    let launch = Launch::new(&scene.home, &flags).command(line("watched"));
    let output = scene.place.inside.around(&launch).output().expect("it can be run");
    let launched = Launched::new(Arc::clone(&scene.home), output).expect(0);
    let came = scene.place.came("watched").len();
    let covered = coverage::one(&scene.home);
    let number = |unit: &str, name: &str| covered[unit][name].as_u64();
    let told = format!("{came} {covered} {}", text(&launched.output));
    let passed = u64::from(mode == Mode::Observe);
    assert_eq!(came as u64, passed, "{told}");
    // Where it goes is known as it is sent, by what device only as it leaves.
    assert_eq!(number("connections", "loopback"), Some(1), "{told}");
    assert_eq!(number("packets", "loopback"), Some(0), "{told}");
    assert_eq!(number("packets", "bypass_passed"), Some(passed), "{told}");
    assert_eq!(number("packets", "bypass_denied"), Some(1 - passed), "{told}");
}
