//! Ways: each way out, what it becomes in each mode, and how that is held against what was sealed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::programs;
use sealtap_tests::verify::text;
use serde_json::Value;

use crate::place::{HOST, HOST_ELSEWHERE, Namespace, PYTHON, Place, compiled, probe, script};

/// What is done with what cannot be redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Observe,
    Enforce,
}

/// What becomes of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Led to the gateway, recorded, sent on.
    Led,
    /// Led to a loopback where nobody listens: stopped, and counted.
    LedNowhere,
    /// Goes on, counted as a connection that went around, and its packet.
    Counted,
    /// Goes on, counted as a packet that went around.
    CountedAsPacket,
    /// Goes on; the sealed list says that this channel is not covered.
    Listed,
}

/// A way out.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// The channel whose sealed state it falls under.
    pub(crate) channel: &'static str,
    pub(crate) observe: Outcome,
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

fn by_python(scene: &Scene, way: &str, word: &str) -> Line {
    Line::of(scene.place.probe(way, word))
}

macro_rules! python {
    ($way:literal) => {
        |scene, word| by_python(scene, $way, word)
    };
}

fn uring(scene: &Scene, word: &str, more: &[&str]) -> Line {
    let port = scene.place.port().to_string();
    let line = [compiled("uring").as_str(), HOST, &port, word].map(str::to_owned);
    Line::of(line.into_iter().chain(more.iter().map(|&word| word.to_owned())).collect())
}

impl Scene {
    fn new() -> Self {
        Self { place: Place::new(), home: Arc::new(Home::new()), elsewhere: None }
    }

    fn helper(&self) -> PathBuf {
        self.home.path().join("helper")
    }

    /// Where the target is, as last arguments.
    fn and_target(&self, mut line: Vec<String>) -> Vec<String> {
        line.extend([HOST.to_owned(), self.place.port().to_string()]);
        line
    }
}

/// All of them.
pub(crate) const WAYS: &[Way] = &[
    Way { name: "tcp", channel: "tcp", observe: Outcome::Led, try_it: python!("tcp") },
    Way {
        name: "tcp_to_an_ipv4_mapped_address",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: python!("tcp_mapped"),
    },
    Way {
        name: "tcp_fast_open",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: python!("fast_open"),
    },
    Way {
        name: "multipath_tcp",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: python!("multipath"),
    },
    Way {
        name: "io_uring",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: |scene, word| uring(scene, word, &[]),
    },
    Way {
        name: "io_uring_whose_queue_the_kernel_polls",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: |scene, word| uring(scene, word, &["sqpoll"]),
    },
    Way {
        name: "a_socket_made_outside_and_used_inside",
        channel: "tcp",
        observe: Outcome::Led,
        try_it: |scene, word| {
            let path = scene.helper().display().to_string();
            Line::of(scene.and_target(probe("made_outside", &path, 0, word)))
        },
    },
    Way {
        name: "a_child_in_a_new_network_namespace",
        channel: "namespace",
        observe: Outcome::LedNowhere,
        try_it: |scene, word| {
            let process = scene.elsewhere.as_ref().expect("there is a third").process();
            let mut line = vec!["nsenter".to_owned(), format!("--target={process}")];
            line.extend(["--net".to_owned(), "--".to_owned()]);
            line.extend(probe("tcp", HOST_ELSEWHERE, scene.place.port(), word));
            Line::of(line)
        },
    },
    Way {
        name: "udp_unconnected",
        channel: "udp",
        observe: Outcome::Counted,
        try_it: python!("udp"),
    },
    Way {
        name: "udp_connected",
        channel: "udp",
        observe: Outcome::Counted,
        try_it: python!("udp_connected"),
    },
    Way {
        name: "udp_to_an_ipv4_mapped_address",
        channel: "udp",
        observe: Outcome::Counted,
        try_it: python!("udp_mapped"),
    },
    Way { name: "quic", channel: "udp", observe: Outcome::Counted, try_it: python!("quic") },
    Way {
        name: "a_raw_socket",
        channel: "raw",
        observe: Outcome::CountedAsPacket,
        try_it: python!("raw"),
    },
    Way {
        name: "frames_of_a_packet_socket",
        channel: "packet",
        observe: Outcome::CountedAsPacket,
        try_it: python!("frame"),
    },
    Way {
        name: "a_connection_made_outside_and_handed_over",
        channel: "helper",
        observe: Outcome::Listed,
        try_it: |scene, word| {
            let script = script("with_connection.py").display().to_string();
            let before = [PYTHON, "-IS", &script].map(str::to_owned);
            let before = scene.and_target(before.to_vec());
            Line { before, line: scene.place.probe("older", word) }
        },
    },
    Way {
        name: "a_helper_over_af_unix",
        channel: "helper",
        observe: Outcome::Listed,
        try_it: |scene, word| {
            Line::of(probe("helper", &scene.helper().display().to_string(), 0, word))
        },
    },
];

/// Tries a way without the kernel, which must succeed; then with it, and holds what was sealed
/// against what came.
pub(crate) fn hold(way: &Way, mode: Mode) {
    let Mode::Observe = mode else { panic!("{mode:?} is not there") };
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
    let launch = Launch::new(&scene.home, &["--kernel=require"]).command(&line);
    let output = scene.place.inside.around_with(&before, &launch).output().expect("it can be run");
    let launched = Launched::new(Arc::clone(&scene.home), output).expect(0);
    let covered = covered(&scene.home);
    let came = scene.place.came("watched");
    let messages = scene.home.data().join("messages.log");
    let messages = std::fs::read_to_string(messages).unwrap_or_default();
    let told = format!("{came:?} {covered} {} {messages}", text(&launched.output));
    assert_eq!(covered["end"], "ended", "{told}");
    assert_eq!(covered["mode"], "observe", "{told}");
    let number = |unit: &str, name: &str| {
        let number = &covered[unit][name];
        number.as_u64().unwrap_or_else(|| panic!("no {name} of {unit}: {told}"))
    };
    let counted = |name: &str| number("connections", name);
    let packets = |name: &str| number("packets", name);
    let state = state(&covered, way.channel);
    match way.observe {
        Outcome::Led => {
            assert_eq!(said(&launched.output.stdout), "sent", "{told}");
            assert_eq!(came.len(), 1, "{told}");
            assert_eq!((counted("seen"), counted("via_gateway")), (1, 1), "{told}");
            assert_eq!(covered["known"], 1, "{told}");
            assert!(packets("via_gateway") > 0, "{told}");
            assert_eq!(packets("seen"), packets("via_gateway"), "{told}");
            let exchange = launched.captured(1).remove(0);
            assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
            assert_eq!(exchange.text("/url"), format!("{HOST}:{}", scene.place.port()));
            assert_eq!(exchange.number("/tunnel/from_client"), 7);
            assert_ne!(state, "not_covered", "{told}");
        }
        Outcome::LedNowhere => {
            assert!(said(&launched.output.stdout).starts_with("refused: "), "{told}");
            assert_eq!(came.len(), 0, "{told}");
            assert_eq!((counted("seen"), counted("via_gateway")), (1, 1), "{told}");
            assert_eq!(covered["known"], 0, "{told}");
            assert_eq!(packets("bypass_passed"), 0, "{told}");
            launched.captured(0);
        }
        Outcome::Counted => {
            assert_eq!(came.len(), 1, "{told}");
            assert_eq!((counted("seen"), counted("bypass_passed")), (1, 1), "{told}");
            assert_eq!((packets("seen"), packets("bypass_passed")), (1, 1), "{told}");
            assert_eq!(state, "observed_only", "{told}");
            launched.captured(0);
        }
        Outcome::CountedAsPacket => {
            assert_eq!(came.len(), 1, "{told}");
            assert_eq!((counted("seen"), packets("seen")), (0, 1), "{told}");
            assert_eq!(packets("bypass_passed"), 1, "{told}");
            assert_eq!(state, "observed_only", "{told}");
            launched.captured(0);
        }
        Outcome::Listed => {
            assert_eq!(came.len(), 1, "{told}");
            assert_eq!(state, "not_covered", "{told}");
            let seen = counted("seen") + packets("seen");
            assert_eq!(seen, 0, "it is seen, and should be listed as that: {told}");
            launched.captured(0);
        }
    }
}

/// The last line of a try.
fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().last().unwrap_or_default().to_owned()
}

/// The one coverage that a log tells of, as the verifier has it.
pub(crate) fn covered(home: &Home) -> Value {
    let all = all_covered(home);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// Every coverage of a log that verifies.
pub(crate) fn all_covered(home: &Home) -> Vec<Value> {
    let mut command = Command::new(programs::sealtap());
    command.args(["verify", "--json", "--key"]).arg(home.keys()).arg(home.log());
    let output = command.output().expect("sealtap can be run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["verdict"], "valid", "{report}");
    report["coverage"].as_array().expect("a list").clone()
}

/// The sealed state of a channel.
pub(crate) fn state(covered: &Value, channel: &str) -> String {
    let channels = covered["channels"].as_array().expect("a list");
    let found = channels.iter().find(|listed| listed["channel"] == channel);
    let state = found.expect("every channel is listed")["state"].as_str();
    state.expect("a state is a word").to_owned()
}
