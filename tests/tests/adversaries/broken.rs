//! What is done to the observer itself, under load: whatever it was, the log says that coverage ended
//! there, or that nothing is said of later.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;
use sealtap_tests::verify::text;
use serde_json::Value;

use crate::place::{HOST, Place, cgroups, compiled, probe};
use crate::running::{Running, kill};
use crate::ways::{all_covered, covered};

const REQUIRE: &[&str] = &["--kernel=require"];

/// `BPF_CGROUP_INET4_CONNECT`.
const CONNECT4: u32 = 10;

/// One that connects and sends all the time, until it is told that this is enough.
fn under_load(place: &Place, home: &Arc<Home>) -> Running {
    let line = [place.probe("load", "load"), vec!["enough".to_owned()]].concat();
    let mut running = Running::start(place, home, REQUIRE, &line.join(" "));
    running.tell();
    more(place);
    running
}

/// Waits until more of the load has come.
fn more(place: &Place) {
    let before = place.came("load").len();
    poll("the load goes on", || (place.came("load").len() > before + 4).then_some(()));
}

fn enough(home: &Home) {
    fs::write(home.path().join("enough"), "").expect("written");
}

fn links(running: &Running, what: &str) {
    let link = running.link(CONNECT4).to_string();
    let mut command = Command::new(compiled("links"));
    let output = command.args([what, &link, &CONNECT4.to_string()]).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
}

/// The load's own account: connections that were answered, and datagrams that were sent.
fn load(output: &[u8]) -> (u64, u64) {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().find_map(|line| line.split_once(' '));
    let (made, sent) = line.unwrap_or_else(|| panic!("no account: {text}"));
    (made.parse().expect("a number"), sent.parse().expect("a number"))
}

fn links_changed(what: &str) {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home);
    links(&running, what);
    more(&place);
    enough(&home);
    let launched = running.over().expect(0);
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(covered["end"], "links_changed", "{covered}");
    assert_eq!(launched.account["coverage"]["level"], "unknown", "{}", launched.account);
    let (made, sent) = load(&launched.output.stdout);
    let counted = |name: &str| covered["connections"][name].as_u64().expect("a number");
    // Part of it went unseen, which is why coverage ends; none of it is claimed.
    assert!(made > counted("via_gateway"), "{made} made: {covered}");
    assert!(sent >= counted("bypass_passed") && counted("bypass_passed") > 0, "{covered}");
}

pub(crate) fn a_link_that_is_detached_under_load_ends_coverage() {
    links_changed("detach");
}

pub(crate) fn a_program_that_is_replaced_under_load_ends_coverage() {
    links_changed("replace");
}

/// The control of both: nothing is done to it, and all is counted.
pub(crate) fn the_same_load_is_counted_whole_where_nothing_is_done() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home);
    enough(&home);
    let launched = running.over().expect(0);
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(covered["end"], "ended", "{covered}");
    let (made, sent) = load(&launched.output.stdout);
    let counted = |name: &str| covered["connections"][name].as_u64().expect("a number");
    assert_eq!((counted("via_gateway"), counted("bypass_passed")), (made, sent), "{covered}");
    assert_eq!(covered["known"], made, "{covered}");
    let came = place.came("load").len();
    assert_eq!(u64::try_from(came).ok(), Some(made + sent), "{covered}");
    launched.captured(usize::try_from(made).expect("few"));
}

pub(crate) fn a_loader_that_is_killed_under_load_ends_coverage() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home);
    kill(running.loader());
    more(&place);
    enough(&home);
    let launched = running.over().expect(0);
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(covered["end"], "loader_gone", "{covered}");
    assert_eq!(covered["connections"], Value::Null, "{covered}");
    assert_eq!(launched.account["coverage"]["level"], "unknown", "{}", launched.account);
}

pub(crate) fn a_gateway_that_is_killed_under_load_says_nothing_of_later() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home);
    let (cgroup, loader) = (running.cgroup().to_owned(), running.loader());
    kill(running.gateway());
    // Without its gateway it ends, and its programs with it.
    let path = format!("/proc/{}/fdinfo", loader.as_raw_nonzero());
    poll("the loader is gone", || {
        fs::read_dir(&path).map_or(true, |mut all| all.next().is_none()).then_some(())
    });
    enough(&home);
    drop(running.over());
    poll("the command is over", || {
        let left = fs::read_to_string(cgroup.join("cgroup.procs"));
        left.map_or(true, |left| left.is_empty()).then_some(())
    });
    let _ = fs::remove_dir(&cgroup);
    // The next one finds what was left, and seals it.
    Launch::new(&home, &["--kernel=off"]).run(["true"]).expect(0);
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(covered["end"], Value::Null, "{covered}");
}

/// Whoever finds the listener that no client is told of is not let through, from outside or inside.
pub(crate) fn the_gateways_own_port_leads_nowhere() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let line = "sh -c \"$(cat line)\"";
    let running = Running::start(&place, &home, REQUIRE, line);
    let port = running.redirected_port();
    let knock = probe("tcp", "127.0.0.1", port, "borrowed");
    let output = place.inside.command(&knock).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("refused: "), "{said}");
    fs::write(home.path().join("line"), knock.join(" ")).expect("written");
    let launched = running.go_on().expect(0);
    assert!(launched.stdout().contains("refused: "), "{}", launched.stdout());
    launched.captured(0);
    let covered = covered(&home);
    assert_eq!(covered["refused"], 2, "{covered}");
    assert_eq!(covered["connections"]["via_gateway"], 1, "{covered}");
    assert_eq!(covered["known"], 1, "{covered}");
}

/// A task from elsewhere that is moved in is seen from then on.
pub(crate) fn a_task_that_is_moved_in_is_seen() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = Running::start(&place, &home, REQUIRE, "true");
    let cgroup = running.cgroup().display().to_string();
    let mut line = probe("moved", &cgroup, 0, "movedin");
    line.extend([HOST.to_owned(), place.port().to_string()]);
    let output = place.inside.command(&line).output().expect("it runs");
    assert!(text(&output).contains("sent"), "{}", text(&output));
    let launched = running.go_on().expect(0);
    assert_eq!(place.came("movedin").len(), 1);
    let covered = covered(&home);
    assert_eq!(covered["connections"]["via_gateway"], 1, "{covered}");
    launched.captured(1);
}

/// One of the command that moves itself out, which takes root, with a socket that it made before: its
/// packets are seen, since a socket belongs to where it was made.
pub(crate) fn a_socket_of_a_task_that_is_moved_out_is_seen() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let mut line = probe("moved", &cgroups().display().to_string(), 0, "movedout");
    line.extend([HOST.to_owned(), place.port().to_string()]);
    let launch = Launch::new(&home, REQUIRE).command(&line);
    let output = place.inside.around(&launch).output().expect("it runs");
    assert!(text(&output).contains("sent"), "{}", text(&output));
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(place.came("movedout").len(), 1, "{covered}");
    assert_eq!(covered["connections"]["seen"], 0, "{covered}");
    assert_ne!(covered["packets"]["bypass_passed"], 0, "{covered}");
}

/// A ring of a page, and a flood at several statements: each of them adds up, and says what was lost.
pub(crate) fn a_flood_of_a_small_ring_is_counted() {
    const ROUNDS: u64 = 4;
    const EACH: u64 = 20_000;
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let mut line = place.probe("flood", "flood");
    line.extend([ROUNDS, EACH, 3].map(|number| number.to_string()));
    let flags = ["--kernel=require", "--kernel-ring=4096"];
    let launch = Launch::new(&home, &flags).command(&line);
    let output = place.inside.around(&launch).output().expect("it runs");
    assert!(text(&output).contains("sent"), "{}", text(&output));
    home.assert_valid();
    let covered = covered(&home);
    assert_eq!(covered["end"], "ended", "{covered}");
    let heartbeats = covered["to"]["leaf"].as_u64().expect("a number");
    assert!(heartbeats >= 3, "more than one statement: {covered}");
    for unit in ["connections", "packets"] {
        let counted = |name: &str| covered[unit][name].as_u64().expect("a number");
        assert_eq!(counted("bypass_passed"), ROUNDS * EACH, "{unit}: {covered}");
        let (read, lost) = (counted("events_read"), counted("events_lost"));
        assert!(lost > 0 && read > 0 && read + lost == ROUNDS * EACH, "{unit}: {covered}");
    }
}

/// Two commands at once, each with its own: neither counts the other's.
pub(crate) fn what_one_command_does_is_not_counted_for_another() {
    let place = Place::new();
    let homes = [Arc::new(Home::new()), Arc::new(Home::new())];
    let line = place.probe("udp", "one").join(" ");
    let [first, second] = [0, 1].map(|number| {
        let then = if number == 0 { line.as_str() } else { "true" };
        Running::start(&place, &homes[number], REQUIRE, then)
    });
    first.go_on().expect(0);
    second.go_on().expect(0);
    let passed = |home: &Home| all_covered(home)[0]["connections"]["bypass_passed"].clone();
    assert_eq!([passed(&homes[0]), passed(&homes[1])], [1, 0].map(Value::from));
}
