//! Ways: each way out, what it becomes in each mode, and how that is held against what was sealed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sealtap_tests::coverage::{self, state};
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::running::cgroups;
use sealtap_tests::verify::text;
use serde_json::Value;

use crate::place::{HOST, HOST_ELSEWHERE, Namespace, PYTHON, Place, compiled, probe, script};

use Outcome::{
    Counted, CountedAsPacket, CountedElsewhere, Denied, DeniedAsPacket, Led, Listed, NotStarted,
    Taken,
};

/// What is done with what cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Observe,
    Enforce,
}

impl Mode {
    /// As it is sealed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }

    /// What asks for it.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Observe => &["--kernel=require"],
            Self::Enforce => &["--kernel=require", "--enforce"],
        }
    }
}

/// What becomes of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Led to the gateway, recorded, sent on.
    Led,
    /// Goes on where the gateway is out of reach, in another namespace or by a device of its own, counted as a connection that went around, and its packets.
    CountedElsewhere,
    /// Goes on, counted as a connection that went around, and its packet.
    Counted,
    /// Goes on, counted as a packet that went around.
    CountedAsPacket,
    /// Stopped, and counted as a connection that would have gone around.
    Denied,
    /// Stopped, and counted as a packet that would have gone around.
    DeniedAsPacket,
    /// Cannot even be tried: what starts the command takes it away.
    Taken,
    /// The command is not started.
    NotStarted,
    /// Goes on; the sealed list says that this channel is not covered.
    Listed,
}

/// A way out.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// The channel whose sealed state it falls under.
    pub(crate) channel: &'static str,
    pub(crate) observe: Outcome,
    pub(crate) enforce: Outcome,
    try_it: fn(&Scene, &str) -> Line,
}

/// What a try has around it.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) home: Arc<Home>,
    elsewhere: Option<Namespace>,
}

/// How to try.
pub(crate) struct Line {
    /// What comes before sealtap, or before the try where there is no sealtap.
    before: Vec<String>,
    line: Vec<String>,
}

impl Line {
    fn of(line: Vec<String>) -> Self {
        Self { before: Vec::new(), line }
    }
}

macro_rules! python {
    ($way:literal) => {
        |scene, word| Line::of(scene.place.probe($way, word))
    };
}

fn uring(scene: &Scene, word: &str, more: &[&str]) -> Line {
    let port = scene.place.port().to_string();
    let line = [compiled("uring").as_str(), HOST, &port, word].map(str::to_owned);
    Line::of(line.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect())
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self { place: Place::new(), home: Arc::new(Home::new()), elsewhere: None }
    }

    fn helper(&self) -> PathBuf {
        self.home.path().join("helper")
    }

    /// A try that asks the helper for a socket first.
    fn by_helper(&self, way: &str, word: &str) -> Line {
        Line::of(self.and_target(probe(way, &self.helper().display().to_string(), 0, word)))
    }

    /// Where the target is, as last arguments.
    fn and_target(&self, mut line: Vec<String>) -> Vec<String> {
        line.extend([HOST.to_owned(), self.place.port().to_string()]);
        line
    }
}

/// All of them.
pub(crate) const WAYS: &[Way] = &[
    way("tcp", "tcp", (Led, Led), python!("tcp")),
    way("tcp_to_an_ipv4_mapped_address", "tcp", (Led, Led), python!("tcp_mapped")),
    way("tcp_fast_open", "tcp", (Led, Led), python!("fast_open")),
    way("multipath_tcp", "tcp", (Led, Led), python!("multipath")),
    way("tcp_bound_to_a_device", "tcp", (CountedElsewhere, Denied), python!("tcp_by_device")),
    way("tcp_bound_to_a_device_later", "tcp", (Led, Led), python!("tcp_then_by_device")),
    way("io_uring", "tcp", (Led, Taken), |scene, word| uring(scene, word, &[])),
    way("io_uring_whose_queue_the_kernel_polls", "tcp", (Led, Taken), |scene, word| {
        uring(scene, word, &["sqpoll"])
    }),
    way("a_socket_made_outside_and_used_inside", "tcp", (Led, Led), |scene, word| {
        scene.by_helper("made_outside", word)
    }),
    way(
        "a_child_in_a_new_network_namespace",
        "namespace",
        (CountedElsewhere, Taken),
        |scene, word| {
            let process = scene.elsewhere.as_ref().expect("there is a third").process();
            let mut line = vec!["nsenter".to_owned(), format!("--target={process}")];
            line.extend(["--net".to_owned(), "--".to_owned()]);
            line.extend(probe("tcp", HOST_ELSEWHERE, scene.place.port(), word));
            Line::of(line)
        },
    ),
    way("udp_unconnected", "udp", (Counted, Denied), python!("udp")),
    way("udp_connected", "udp", (Counted, Denied), python!("udp_connected")),
    way("udp_to_an_ipv4_mapped_address", "udp", (Counted, Denied), python!("udp_mapped")),
    way(
        "udp_by_a_socket_that_a_helper_connected",
        "udp",
        (CountedAsPacket, DeniedAsPacket),
        |scene, word| {
            Line::of(probe("connected_by_helper", &scene.helper().display().to_string(), 0, word))
        },
    ),
    way("quic", "udp", (Counted, Denied), python!("quic")),
    way("a_raw_socket", "raw", (CountedAsPacket, Taken), python!("raw")),
    way("frames_of_a_packet_socket", "packet", (CountedAsPacket, Taken), python!("frame")),
    way("a_connection_that_stands_at_the_start", "older", (Listed, NotStarted), |scene, word| {
        let script = script("with_connection.py").display().to_string();
        let before = scene.and_target([PYTHON, "-IS", &script].map(str::to_owned).to_vec());
        Line { before, line: scene.place.probe("older", word) }
    }),
    way("a_connection_that_a_helper_hands_over", "helper", (Listed, Listed), |scene, word| {
        scene.by_helper("handed_over", word)
    }),
    way("a_helper_over_af_unix", "helper", (Listed, Listed), |scene, word| {
        Line::of(probe("helper", &scene.helper().display().to_string(), 0, word))
    }),
    way("a_task_that_leaves_its_cgroup", "moved", (Listed, Led), |scene, word| {
        let line = probe("left", &cgroups().display().to_string(), 0, word);
        Line::of(scene.and_target(line))
    }),
    way("a_socket_between_machines", "vsock", (Listed, Taken), python!("between_machines")),
];

const fn way(
    name: &'static str,
    channel: &'static str,
    (observe, enforce): (Outcome, Outcome),
    try_it: fn(&Scene, &str) -> Line,
) -> Way {
    Way { name, channel, observe, enforce, try_it }
}

impl Way {
    /// Why it cannot be tried here, where it cannot.
    pub(crate) fn missing(&self) -> Option<String> {
        let without = self.channel == "vsock" && !Path::new("/sys/module/vsock_loopback").exists();
        without.then(|| "this kernel has no loopback of AF_VSOCK: nothing to be reached".to_owned())
    }
}

/// Tries a way without the kernel, which must succeed; then with it, and holds what was sealed
/// against what came.
pub(crate) fn hold(way: &Way, mode: Mode) {
    let mut scene = Scene::new();
    scene.elsewhere = (way.channel == "namespace").then(|| scene.place.elsewhere());
    let _helper = scene.place.helper(&scene.helper());

    let Line { before, line } = (way.try_it)(&scene, "control");
    let line: Vec<String> = before.into_iter().chain(line).collect();
    let output = scene.place.inside.command(&line).output().expect("it can be run");
    assert_eq!(said(&output.stdout), "sent", "{}", text(&output));
    let came = scene.place.came("control");
    assert_eq!(came.len(), 1, "the control does not reach the target: {came:?}");

    let Line { before, line } = (way.try_it)(&scene, "watched");
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let outcome = match mode {
        Mode::Observe => way.observe,
        Mode::Enforce => way.enforce,
    };
    let launch = Launch::new(&scene.home, mode.flags()).command(&line);
    let output = scene.place.inside.around_with(&before, &launch).output().expect("it can be run");
    let launched = Launched::new(Arc::clone(&scene.home), output);
    let came = scene.place.came("watched").len();
    if outcome == NotStarted {
        assert_eq!((launched.code(), came), (Some(125), 0), "{}", text(&launched.output));
        return;
    }
    // What is taken away may leave nothing that could be run.
    let launched = if outcome == Taken { launched } else { launched.expect(0) };
    Held { way, mode, came, covered: coverage::one(&scene.home), launched }
        .against(outcome, &scene.place);
}

/// What became of a try.
struct Held<'w> {
    way: &'w Way,
    mode: Mode,
    /// How often the word came to the target.
    came: usize,
    covered: Value,
    launched: Launched,
}

impl Held<'_> {
    fn number(&self, unit: &str, name: &str) -> u64 {
        let number = &self.covered[unit][name];
        number.as_u64().unwrap_or_else(|| panic!("no {name} of {unit}: {}", self.covered))
    }

    fn connections(&self, name: &str) -> u64 {
        self.number("connections", name)
    }

    fn packets(&self, name: &str) -> u64 {
        self.number("packets", name)
    }

    fn against(&self, outcome: Outcome, place: &Place) {
        let Self { way, mode, came, covered, launched } = self;
        let said = said(&launched.output.stdout);
        let messages = launched.home.data().join("messages.log");
        let messages = std::fs::read_to_string(messages).unwrap_or_default();
        let told = format!("{outcome:?}: {came} {covered} {} {messages}", text(&launched.output));
        assert_eq!(covered["end"], "ended", "{told}");
        assert_eq!(covered["mode"], mode.word(), "{told}");
        let state = state(covered, way.channel);
        let reached =
            matches!(outcome, Led | Counted | CountedAsPacket | CountedElsewhere | Listed);
        assert_eq!((*came, said == "sent"), (usize::from(reached), reached), "{told}");
        // The word, and whatever else a connection takes, has not gone by another way as well.
        let around = ["bypass_passed", "bypass_denied"].map(|name| self.packets(name));
        let expected = match outcome {
            Counted | CountedAsPacket => [1, 0],
            CountedElsewhere => [around[0].max(1), 0],
            DeniedAsPacket => [0, 1],
            _ => [0, 0],
        };
        assert_eq!(around, expected, "{told}");
        match outcome {
            Led => {
                assert_eq!(self.connections("seen"), 1, "{told}");
                assert_eq!((self.connections("via_gateway"), &covered["known"]), (1, &1.into()));
                assert!(self.packets("via_gateway") > 0, "{told}");
                // Behind the fence a task finds no cgroup but its own; of a command of root that says little.
                let closed = match (way.channel, mode) {
                    ("moved", _) => "not_covered",
                    (_, Mode::Observe) => "observed_only",
                    _ => "closed_by_hook",
                };
                assert_eq!(state, closed, "{told}");
                let exchange = launched.captured(1).remove(0);
                assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
                assert_eq!(exchange.text("/url"), format!("{HOST}:{}", place.port()));
                assert_eq!(exchange.number("/tunnel/from_client"), 7);
                return;
            }
            CountedElsewhere => {
                assert_eq!(self.connections("seen"), 1, "{told}");
                assert_eq!(self.connections("bypass_passed"), 1, "{told}");
            }
            Counted => {
                assert_eq!(self.connections("seen"), 1, "{told}");
                assert_eq!(self.connections("bypass_passed"), 1, "{told}");
                assert_eq!(state, "observed_only", "{told}");
            }
            CountedAsPacket => {
                assert_eq!(self.connections("seen"), 0, "{told}");
                assert_eq!(state, "observed_only", "{told}");
            }
            Denied => {
                assert_eq!(self.connections("seen"), 1, "{told}");
                assert_eq!(self.connections("bypass_denied"), 1, "{told}");
                assert_eq!(state, "closed_by_hook", "{told}");
            }
            DeniedAsPacket => {
                assert_eq!(self.connections("seen"), 0, "{told}");
                assert_eq!(state, "closed_by_hook", "{told}");
            }
            Taken => {
                assert_eq!(self.connections("seen") + self.packets("seen"), 0, "{told}");
                // Root could have somebody outside do it: only what hooks close is said to be closed.
                let expected = match way.channel {
                    "packet" => "observed_only",
                    "vsock" | "namespace" => "not_covered",
                    _ => "closed_by_hook",
                };
                assert_eq!(state, expected, "{told}");
            }
            // What is seen should be listed as that.
            Listed => {
                assert_eq!(self.connections("seen") + self.packets("seen"), 0, "{told}");
                assert_eq!(state, "not_covered", "{told}");
            }
            NotStarted => unreachable!("it was held before"),
        }
        launched.captured(0);
    }
}

/// The last line of a try.
pub(crate) fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().last().unwrap_or_default().to_owned()
}
