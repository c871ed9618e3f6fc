//! Flood: more goes around, or tries to, than a ring of one page has room for; what is lost is counted.
//!
//! Beside datagrams, a socket of the command sends that somebody outside connected: no hook for sends sees
//! these, so that packets are denied as well where nothing may go around.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;

use sealtap_tests::coverage;
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::statements::{Sums, add_up};
use serde_json::Value;

use crate::place::{Place, probe, tally};
use crate::ways::Mode;

/// What may be sent without the gateway where that is allowed: nobody listens there.
const ALONE: (&str, u16) = ("127.0.0.1", 9);

/// What a flood is sent within.
struct Scene {
    place: Place,
    home: Arc<Home>,
    mode: Mode,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        Self { place: Place::new(), home: Arc::new(Home::new()), mode }
    }

    fn helper(&self) -> PathBuf {
        self.home.path().join("helper")
    }

    /// The line that sends such rounds, with the helper.
    fn line(&self, rounds: [String; 3]) -> Vec<String> {
        let mut line = self.place.probe("flood", "flood");
        line.extend(rounds);
        line.push(self.helper().display().to_string());
        line
    }

    /// Runs it with these flags beside those of the mode, and gives what the log says of it.
    fn run(&self, flags: &[&str], line: &[String]) -> (Output, Value) {
        let _helper = self.place.helper(&self.helper());
        let launch = Launch::new(&self.home, &[self.mode.flags(), flags].concat()).command(line);
        let output = self.place.inside.around(&launch).output().expect("it runs");
        let launched = Launched::new(Arc::clone(&self.home), output).expect(0);
        self.home.assert_valid();
        let covered = coverage::one(&self.home);
        assert_eq!(
            (&covered["end"], &covered["mode"]),
            (&"ended".into(), &self.mode.word().into())
        );
        self.reached();
        (launched.output, covered)
    }

    /// Whether any of it came to the target is a matter of the mode.
    fn reached(&self) {
        match self.mode {
            Mode::Observe => {
                poll("the flood comes", || (!self.place.heard("flood").is_empty()).then_some(()));
            }
            Mode::Enforce => assert!(self.place.came("flood").is_empty()),
        }
    }

    /// What passed and what was denied of so many sends and of as many packets beside them, in this unit: what is
    /// denied as it is sent becomes no packet.
    fn expected(&self, unit: &str, sends: u64, packets: u64) -> (u64, u64) {
        match (self.mode, unit) {
            (Mode::Observe, "packets") => (sends + packets, 0),
            (Mode::Observe, _) => (sends, 0),
            (Mode::Enforce, "packets") => (0, packets),
            (Mode::Enforce, _) => (0, sends),
        }
    }
}

/// So many rounds of so many, with a pause of some seconds in between.
fn rounds(rounds: u64, each: u64, pause: f64) -> [String; 3] {
    [rounds.to_string(), each.to_string(), pause.to_string()]
}

/// What became of so many tries, as the tries found it: all of one kind.
fn all_passed_or_denied(mode: Mode, output: &Output, what: &str) -> u64 {
    let (passed, denied) = tally(output, what);
    let (all, none) = if mode == Mode::Observe { (passed, denied) } else { (denied, passed) };
    assert_eq!(none, 0, "{what}: {passed} passed, {denied} denied");
    all
}

/// A ring of a page, and a flood at several statements: each of them adds up, and says what was lost.
pub(crate) fn a_flood_of_a_small_ring_is_counted(mode: Mode) {
    const ROUNDS: u64 = 4;
    const EACH: u64 = 20_000;
    const SENT: u64 = ROUNDS * EACH;
    let scene = Scene::new(mode);
    let (output, covered) =
        scene.run(&["--kernel-ring=4096"], &scene.line(rounds(ROUNDS, EACH, 3.0)));
    assert!(covered["statements"].as_u64() >= Some(2), "more than one statement: {covered}");
    for what in ["sends", "packets"] {
        assert_eq!(all_passed_or_denied(mode, &output, what), SENT);
    }
    for unit in ["connections", "packets"] {
        let counted = |name: &str| covered[unit][name].as_u64().expect("a number");
        let (passed, denied) = scene.expected(unit, SENT, SENT);
        let around = (counted("bypass_passed"), counted("bypass_denied"));
        assert_eq!(around, (passed, denied), "{unit}: {covered}");
        assert_eq!(counted("seen"), passed + denied, "{unit}: {covered}");
        let (read, lost) = (counted("events_read"), counted("events_lost"));
        assert!(lost > 0 && read > 0 && read + lost == passed + denied, "{unit}: {covered}");
    }
}

/// The control: a ring with room for all of it loses nothing.
pub(crate) fn the_same_flood_is_told_whole_where_there_is_room(mode: Mode) {
    const EACH: u64 = 2_000;
    let scene = Scene::new(mode);
    let (_, covered) = scene.run(&["--kernel-ring=4194304"], &scene.line(rounds(1, EACH, 0.0)));
    for unit in ["connections", "packets"] {
        let counted = |name: &str| covered[unit][name].as_u64().expect("a number");
        let (passed, denied) = scene.expected(unit, EACH, EACH);
        let all = ["bypass_passed", "bypass_denied", "events_read", "events_lost"].map(counted);
        assert_eq!(all, [passed, denied, passed + denied, 0], "{unit}: {covered}");
    }
}

/// Several at once, through several statements, with the smallest ring there is: what is led to the gateway, what
/// is left alone and what goes around, or is denied, in both units. Each statement adds up as it stands in the log,
/// and the last is what each of them found.
pub(crate) fn each_statement_adds_up_past_a_small_ring(mode: Mode) {
    const ROUNDS: u64 = 24;
    const EACH: u64 = 2_000;
    let scene = Scene::new(mode);
    // Longer than three statements, of which the second may be late.
    let rounds = rounds(ROUNDS, EACH, 0.7);
    let alone = [probe("flood", ALONE.0, ALONE.1, "alone"), rounds.to_vec()].concat().join(" ");
    let flood = scene.line(rounds).join(" ");
    let load = scene.place.probe("load", "load").join(" ");
    let script = format!(
        "{load} enough & loads=$!\n{alone} > alone & alone=$!\n{flood} & first=$!\n{flood}\n\
         wait $first $alone; touch enough; wait $loads"
    );
    let left_alone = format!("--loopback-allow={}:{}", ALONE.0, ALONE.1);
    let flags = ["--kernel-ring=4096", &left_alone];
    let (output, covered) = scene.run(&flags, &["sh".to_owned(), "-c".to_owned(), script]);
    let (made, unmade) = tally(&output, "connections");
    assert!(made > 0 && unmade == 0, "{made} made, {unmade} not");
    assert_eq!(covered["known"], made, "{covered}");
    let [sends, packets] =
        ["sends", "packets"].map(|what| all_passed_or_denied(mode, &output, what));
    assert_eq!(packets, 2 * ROUNDS * EACH);
    assert!(sends > packets, "{sends}");
    for unit in ["connections", "packets"] {
        let Sums { last, statements, lossy } = add_up(&scene.home.log(), unit);
        assert!(statements >= 3 && lossy >= 2, "{unit}: {lossy} of {statements} with losses");
        let around = (last["bypass_passed"], last["bypass_denied"]);
        assert_eq!(around, scene.expected(unit, sends, packets), "{unit}: {last:?}");
        assert_eq!(last["loopback"], ROUNDS * EACH, "{unit}: {last:?}");
        assert_eq!((last["allowed"], last["unparsable"]), (0, 0), "{unit}: {last:?}");
        match unit {
            "packets" => assert!(last["via_gateway"] > made * 4, "{last:?}"),
            _ => assert_eq!(last["via_gateway"], made, "{last:?}"),
        }
    }
    // What the load sent by itself is of the connections alone.
    let by = |how: &str| scene.place.heard("load").iter().filter(|(by, _)| by == how).count();
    poll("all connections", || (u64::try_from(by("tcp")) == Ok(made)).then_some(()));
    assert!((by("udp") > 0) == (mode == Mode::Observe), "{}", by("udp"));
}
