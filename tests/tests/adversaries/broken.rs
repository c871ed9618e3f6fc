//! What is done to the observer itself, under load: whatever it was, the log says that coverage ended
//! there, or that nothing is said of later.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::coverage::{self, state};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;
use sealtap_tests::running::{Running, cgroups, waiting};
use sealtap_tests::standing::{self, gone, kill};
use sealtap_tests::verify::text;
use sealtap_tests::{leaves, programs, records};
use serde_json::Value;

use crate::place::{HOST, Place, compiled, probe, tally};
use crate::ways::Mode;

/// `BPF_CGROUP_INET4_CONNECT`.
const CONNECT4: u32 = 10;

/// Why coverage is over where a program is gone.
const CHANGED: &str = "a program of the kernel was detached or replaced";

/// A `sealtap run` inside of the place, which waits before it does what `then` says.
fn waits(place: &Place, home: &Arc<Home>, mode: Mode, then: &str) -> Running {
    let launch = Launch::new(home, mode.flags()).command(waiting(then));
    Running::of(home, place.inside.around(&launch))
}

/// One that connects and sends all the time, until it is told that this is enough.
fn under_load(place: &Place, home: &Arc<Home>, mode: Mode) -> Running {
    let line = [place.probe("load", "load"), vec!["enough".to_owned()]].concat();
    let mut running = waits(place, home, mode, &line.join(" "));
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

fn links_changed(mode: Mode, what: &str) {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home, mode);
    match mode {
        Mode::Observe => changed_when_observed(&place, &home, running, what),
        Mode::Enforce => changed_when_enforced(&place, &home, running, what),
    }
}

fn changed_when_observed(place: &Place, home: &Home, running: Running, what: &str) {
    links(&running, what);
    more(place);
    enough(home);
    let launched = running.end().expect(0);
    home.assert_valid();
    let covered = coverage::one(home);
    assert_eq!(covered["end"], "links_changed", "{covered}");
    assert_eq!(launched.account["coverage"]["level"], "unknown", "{}", launched.account);
    let (made, _) = tally(&launched.output, "connections");
    let (sent, _) = tally(&launched.output, "sends");
    let counted = |name: &str| covered["connections"][name].as_u64().expect("a number");
    // Part of it went unseen, which is why coverage ends; none of it is claimed.
    assert!(made > counted("via_gateway"), "{made} made: {covered}");
    assert!(sent >= counted("bypass_passed") && counted("bypass_passed") > 0, "{covered}");
}

/// What no longer is led has a direct way, which the hook of packets keeps closed until the command is ended.
fn changed_when_enforced(place: &Place, home: &Arc<Home>, running: Running, what: &str) {
    let leaves = |kind: &str| {
        let all = leaves::all(&home.log()).into_iter();
        all.filter(|leaf| leaf["kind"] == kind).collect::<Vec<_>>()
    };
    let standing = running.standing();
    // Compiled before, so that nothing takes long between the two below.
    let _ = compiled("links");
    // Seconds lie between two statements: the next finds what was tried since.
    let before = leaves("coverage-heartbeat").len();
    poll("a statement that all holds", || {
        (leaves("coverage-heartbeat").len() > before).then_some(())
    });
    links(&running, what);
    // Told nothing: it ends all the same.
    gone(running.gateway());
    let launched = running.wait().expect(125);
    let said = launched.stderr();
    assert!(!home.path().join("enough").exists() && launched.stdout().is_empty(), "it went on");
    assert!(said.contains(&format!("coverage is over: {CHANGED}")), "{said}");
    let account = &launched.account["coverage"];
    assert_eq!((&account["level"], &account["why"]), (&"unknown".into(), &CHANGED.into()));
    assert_eq!((&account["broken"], &account["enforced"]), (&true.into(), &true.into()));
    home.assert_valid();
    let covered = coverage::one(home);
    assert_eq!((&covered["end"], &covered["mode"]), (&"links_changed".into(), &"enforce".into()));
    let closed = leaves("coverage-closed");
    let reasons: Vec<_> = closed.iter().map(|leaf| &leaf["reason"]).collect();
    assert_eq!(reasons, ["links_changed"]);
    // Whatever came was sent on by the gateway.
    let sent_on = records::list(home);
    let sent_on = sent_on.iter().filter(|one| one.number("/tunnel/from_client") == 4).count();
    let came = place.came("load");
    assert!(came.iter().all(|(by, _)| by == "tcp"), "{covered}");
    assert!(!came.is_empty() && came.len() <= sent_on, "{} of {sent_on}: {covered}", came.len());
    let counted = |unit: &str, name: &str| covered[unit][name].as_u64().expect("a number");
    for unit in ["connections", "packets"] {
        let [denied, passed] = ["bypass_denied", "bypass_passed"].map(|name| counted(unit, name));
        assert!(denied > 0 && passed == 0, "{unit}: {covered}");
    }
    standing::assert_gone(&standing);
}

pub(crate) fn a_link_that_is_detached_under_load_ends_coverage(mode: Mode) {
    links_changed(mode, "detach");
}

pub(crate) fn a_program_that_is_replaced_under_load_ends_coverage(mode: Mode) {
    links_changed(mode, "replace");
}

/// The control of both: nothing is done to it, and all is counted.
pub(crate) fn the_same_load_is_counted_whole_where_nothing_is_done(mode: Mode) {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home, mode);
    enough(&home);
    let launched = running.end().expect(0);
    home.assert_valid();
    let covered = coverage::one(&home);
    assert_eq!((&covered["end"], &covered["mode"]), (&"ended".into(), &mode.word().into()));
    let (made, unmade) = tally(&launched.output, "connections");
    let (sent, denied) = tally(&launched.output, "sends");
    assert_eq!((unmade, [sent, denied][usize::from(mode == Mode::Observe)]), (0, 0), "{covered}");
    let counted = |name: &str| covered["connections"][name].as_u64().expect("a number");
    let all = ["via_gateway", "bypass_passed", "bypass_denied"].map(counted);
    assert_eq!(all, [made, sent, denied], "{covered}");
    assert_eq!(covered["known"], made, "{covered}");
    let came = place.came("load").len();
    assert_eq!(u64::try_from(came).ok(), Some(made + sent), "{covered}");
    launched.captured(usize::try_from(made).expect("few"));
}

pub(crate) fn a_loader_that_is_killed_under_load_ends_coverage(mode: Mode) {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home, mode);
    kill(running.loader());
    more(&place);
    enough(&home);
    let launched = running.end().expect(0);
    home.assert_valid();
    let covered = coverage::one(&home);
    assert_eq!(covered["end"], "loader_gone", "{covered}");
    // Of what came after the last heartbeat nothing is claimed; there may have been none.
    let (made, _) = tally(&launched.output, "connections");
    match covered["statements"].as_u64() {
        Some(1) => assert_eq!(covered["connections"], Value::Null, "{covered}"),
        _ => assert!(covered["connections"]["via_gateway"].as_u64() < Some(made), "{covered}"),
    }
    assert_eq!(launched.account["coverage"]["level"], "unknown", "{}", launched.account);
    let (sent, denied) = tally(&launched.output, "sends");
    assert!(made > 0 && (denied == 0) == (mode == Mode::Observe), "{made} {sent} {denied}");
    if mode == Mode::Enforce {
        // The pins hold the programs: all goes on as it was.
        assert_eq!((sent, place.came("load").len()), (0, usize::try_from(made).expect("few")));
        launched.captured(usize::try_from(made).expect("few"));
    }
}

pub(crate) fn a_gateway_that_is_killed_under_load_says_nothing_of_later() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = under_load(&place, &home, Mode::Observe);
    let (cgroup, loader) = (running.cgroup(), running.loader());
    kill(running.gateway());
    // Without its gateway it ends, and its programs with it.
    gone(loader);
    enough(&home);
    drop(running.end());
    poll("the command is over", || {
        let left = fs::read_to_string(cgroup.join("cgroup.procs"));
        left.map_or(true, |left| left.is_empty()).then_some(())
    });
    let _ = fs::remove_dir(&cgroup);
    // The next one finds what was left, and seals it.
    Launch::new(&home, &["--kernel=off"]).run(["true"]).expect(0);
    home.assert_valid();
    let covered = coverage::one(&home);
    assert_eq!(covered["end"], Value::Null, "{covered}");
}

/// Whoever finds the listener that no client is told of is not let through, from outside or inside.
pub(crate) fn the_gateways_own_port_leads_nowhere(mode: Mode) {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let line = "sh -c \"$(cat line)\"";
    let running = waits(&place, &home, mode, line);
    let port = running.redirected_port();
    let knock = probe("tcp", "127.0.0.1", port, "borrowed");
    // The control: the same at the target.
    for (line, answer) in [(&place.probe("tcp", "control"), "sent"), (&knock, "refused: ")] {
        let output = place.inside.command(line).output().expect("it runs");
        assert!(text(&output).contains(answer), "{}", text(&output));
    }
    let both = [knock, place.probe("tcp", "inside")].map(|line| line.join(" ")).join("; ");
    fs::write(home.path().join("line"), both).expect("written");
    let launched = running.go_on().expect(0);
    let said: Vec<&str> = launched.stdout().lines().collect();
    assert!(matches!(said[..], [no, "sent"] if no.starts_with("refused: ")), "{said:?}");
    let came = ["control", "inside", "borrowed"].map(|word| place.came(word).len());
    assert_eq!(came, [1, 1, 0]);
    launched.captured(1);
    let covered = coverage::one(&home);
    assert_eq!((&covered["refused"], &covered["known"]), (&2.into(), &1.into()), "{covered}");
    assert_eq!(covered["connections"]["via_gateway"], 2, "{covered}");
}

/// A task from elsewhere that is moved in is seen from then on.
pub(crate) fn a_task_that_is_moved_in_is_seen() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let running = waits(&place, &home, Mode::Observe, "true");
    let cgroup = running.cgroup().display().to_string();
    let mut line = probe("moved", &cgroup, 0, "movedin");
    line.extend([HOST.to_owned(), place.port().to_string()]);
    // The control: the same without the move is not the command's.
    let stays = place.probe("tcp", "stays");
    for line in [&stays, &line] {
        let output = place.inside.command(line).output().expect("it runs");
        assert!(text(&output).contains("sent"), "{}", text(&output));
    }
    let launched = running.go_on().expect(0);
    assert_eq!((place.came("stays").len(), place.came("movedin").len()), (1, 1));
    let covered = coverage::one(&home);
    assert_eq!(covered["connections"]["via_gateway"], 1, "{covered}");
    launched.captured(1);
}

/// One of the command that moves itself out, which takes root, with a socket that it made before: its
/// packets are seen, since a socket belongs to where it was made.
pub(crate) fn a_socket_of_a_task_that_is_moved_out_is_seen() {
    let (place, home) = (Place::new(), Arc::new(Home::new()));
    let mut line = probe("moved", &cgroups().display().to_string(), 0, "movedout");
    line.extend([HOST.to_owned(), place.port().to_string()]);
    // The control: without sealtap it comes as well.
    let output = place.inside.command(&line).output().expect("it runs");
    assert!(text(&output).contains("sent"), "{}", text(&output));
    assert_eq!(place.came("movedout").len(), 1);
    let launch = Launch::new(&home, Mode::Observe.flags()).command(&line);
    let output = place.inside.around(&launch).output().expect("it runs");
    assert!(text(&output).contains("sent"), "{}", text(&output));
    home.assert_valid();
    let covered = coverage::one(&home);
    assert_eq!(place.came("movedout").len(), 2, "{covered}");
    assert_eq!(covered["connections"]["seen"], 0, "{covered}");
    assert!(covered["packets"]["bypass_passed"].as_u64() > Some(0), "{covered}");
}

/// Two commands at once, each with its own: neither counts the other's.
pub(crate) fn what_one_command_does_is_not_counted_for_another() {
    let place = Place::new();
    let homes = [Arc::new(Home::new()), Arc::new(Home::new())];
    let line = place.probe("udp", "one").join(" ");
    let [first, second] = [0, 1].map(|number| {
        let then = if number == 0 { line.as_str() } else { "true" };
        waits(&place, &homes[number], Mode::Observe, then)
    });
    first.go_on().expect(0);
    second.go_on().expect(0);
    let passed = |home: &Home| coverage::all(home)[0]["connections"]["bypass_passed"].clone();
    assert_eq!([passed(&homes[0]), passed(&homes[1])], [1, 0].map(Value::from));
}

/// Why no filter stands at a device here: since Linux 6.6 the kernel has links for that, which go with who
/// holds them.
pub(crate) fn without_filters_at_devices() -> Option<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    (version >= (6, 6)).then(|| "this kernel has links for devices: no filter is left".to_owned())
}

/// Devices of the inside at whose queue a filter of sealtap's is.
fn filters(place: &Place) -> usize {
    let script = "for device in /sys/class/net/*; do \
        tc filter show dev \"${device##*/}\" egress 2>/dev/null; done; true";
    // That folder shows the network of who mounted it.
    let line = ["unshare", "--mount", "sh", "-c"].map(str::to_owned);
    let mount = format!("mount -t sysfs sysfs /sys && {script}");
    let output = place.inside.command(line.iter().chain([&mount])).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    // One line each, which names filter and program.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().filter(|line| line.contains("sealtap_uplink")).count()
}

/// A filter at a device's queue is no link: it outlives a loader that is killed, which is why this channel
/// is never more than observed; whoever opens what was left takes it away, and a good end leaves none.
pub(crate) fn a_filter_at_a_device_that_is_left_goes_with_detach() {
    let place = Place::new();
    let detach = || {
        let line = [
            programs::sealtap().as_os_str(),
            "kernel".as_ref(),
            "detach".as_ref(),
            "--all".as_ref(),
        ];
        let output = place.inside.command(line).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    for (killed, left) in [(false, 0), (true, 1)] {
        let home = Arc::new(Home::new());
        let running = waits(&place, &home, Mode::Observe, "true");
        assert_eq!(filters(&place), 1);
        // Not while somebody is there.
        detach();
        assert_eq!(filters(&place), 1);
        if killed {
            kill(running.loader());
        }
        running.go_on().expect(0);
        home.assert_valid();
        assert_eq!(state(&coverage::one(&home), "packet"), "observed_only");
        assert_eq!(filters(&place), left, "{killed}");
    }
    let said = detach();
    assert!(said.contains("took away a filter"), "{said}");
    assert_eq!(filters(&place), 0);
}
