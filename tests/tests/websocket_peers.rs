//! WebSocket between a client and a server of another project, with and without compression.
//!
//! They are Python programs (`tests/peers/websocket.py`), run by the environment that `cargo xtask
//! foreign` makes. Where it is missing every case says so and none passes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use sealtap_tests::gateway::Options;
use sealtap_tests::suite;

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/websocket.py");

/// The Python that has the library, if there is one.
fn python() -> Option<PathBuf> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/foreign/bin/python");
    let given = std::env::var_os("SEALTAP_PEER_PYTHON").map(PathBuf::from);
    let runs = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import websockets"]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    given.into_iter().chain([made]).find(runs)
}

/// A server that ends with the case.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server, and gives the port that it listens on.
fn serve(compression: &str) -> (Server, String) {
    let mut child = Command::new(python().expect("asked before"))
        .args([PEER, "serve", compression])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server can be run");
    let output = child.stdout.take().expect("it is piped");
    let server = Server(child);
    let mut port = String::new();
    BufReader::new(output).read_line(&mut port).expect("the server says where it listens");
    (server, port.trim().to_owned())
}

/// Every message comes through, is listed as it read before compression, and is verified.
fn session(compression: &str) {
    let (_server, port) = serve(compression);
    let gateway = Options::default().upstream("up", format!("http://127.0.0.1:{port}")).start();
    let url = format!("ws://{}/up/echo?{compression}", gateway.address());
    let client = Command::new(python().expect("asked before"))
        .args([PEER, "call", &url, compression])
        .stderr(Stdio::inherit())
        .output()
        .expect("the client can be run");
    assert!(client.status.success(), "the client ended with {}", client.status);
    let said = String::from_utf8(client.stdout).expect("it speaks UTF-8");
    let sent: Vec<(u64, &str)> = said
        .lines()
        .map(|line| line.split_once(' ').expect("a length and a hash"))
        .map(|(length, sha256)| (length.parse().expect("a number"), sha256))
        .collect();
    assert_eq!(sent.len(), 8, "{said}");
    let exchanges = gateway.finish();
    let shown = exchanges[0].show();
    let messages = shown["websocket"].as_array().expect("a list of messages");
    for direction in ["request", "response"] {
        let own = messages.iter().filter(|it| it["dir"] == direction);
        assert!(own.clone().any(|it| it["op"] == "ping"), "no ping from the {direction} side");
        assert_eq!(own.clone().next_back().expect("messages")["op"], "close");
        let data = own.filter(|it| it["op"] == "text" || it["op"] == "binary");
        let read: Vec<(u64, &str)> = data
            .map(|it| {
                assert!(it["complete"] == true && it["time"].is_string(), "{it}");
                assert_eq!(it["compressed"] == true, compression != "none", "{it}");
                let plain = if compression == "none" { it } else { &it["decoded"] };
                let length = plain["len"].as_u64().unwrap_or_else(|| panic!("not read: {it}"));
                (length, plain["sha256"].as_str().expect("a hash"))
            })
            .collect();
        assert_eq!(read, sent, "{direction}");
    }
}

fn main() -> ExitCode {
    let missing = python()
        .is_none()
        .then(|| "no Python with `websockets`; `cargo xtask foreign` makes one".to_owned());
    let tests: [(&str, fn()); 3] = [
        ("without_compression", || session("none")),
        ("compressed_over_one_window", || session("takeover")),
        ("each_message_compressed_alone", || session("alone")),
    ];
    suite::main(&tests, missing)
}
