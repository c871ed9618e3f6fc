//! A hundred thousand connections that stand at the same moment, each led to a gateway: none arrives elsewhere, and
//! none is said to be another process's.
//!
//! No process here may open as many files, so that there are as many gateways as it takes, each with a command of its own and all
//! of them attached to this machine at once. Over each connection its process says who it is and where it
//! meant to go; whoever is reached compares that with the address that was reached, and at the end what the logs say of each
//! connection is compared with what was said over it.
//!
//! Run by `cargo xtask kernel --many`: it takes minutes, and some gigabytes.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Instant;

use sealtap_tests::gateway::Home;
use sealtap_tests::launch::Launch;
use sealtap_tests::records;
use sealtap_tests::standing::Running;
use sealtap_tests::suite;

/// Gateways, processes of the command of each, and connections of each of these: what a process may open is for two
/// sockets of each connection of its gateway.
const GATEWAYS: usize = 13;
const PROCESSES: usize = 4;
const EACH: usize = 2_000;

/// Somebody who listens everywhere.
struct Place {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: String,
    said: PathBuf,
}

impl Place {
    fn start(folder: &Path, number: usize) -> Self {
        let said = folder.join(format!("place-{number}"));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/places.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(&said).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("Python 3 is needed");
        let mut lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut port = String::new();
        lines.read_line(&mut port).expect("it says where it listens");
        Self { child, lines, port: port.trim().to_owned(), said }
    }

    /// How many stand there, and how many were meant for elsewhere.
    fn standing(&mut self) -> (usize, usize) {
        self.child.stdin.as_mut().expect("piped").write_all(b"?\n").expect("asked");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it answers");
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().expect("a number"));
        (numbers.next().expect("one"), numbers.next().expect("another"))
    }

    /// What it was told: places, and who meant them.
    fn end(mut self) -> Vec<(String, u64)> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("it ends").success());
        let said = fs::read_to_string(&self.said).expect("it was written");
        let pair = |line: &str| {
            let (place, process) = line.split_once(' ').expect("two words");
            (place.to_owned(), process.parse().expect("a number"))
        };
        said.lines().map(pair).collect()
    }
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// Memory of the machine that is not available to others, in bytes.
fn taken() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").expect("the machine says");
    let number = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)).expect("it is listed");
        line.trim().split(' ').next().and_then(|kilobytes| kilobytes.parse().ok()).unwrap_or(0_u64)
    };
    (number("MemTotal:") - number("MemAvailable:")) * 1024
}

fn all_stand_at_once_and_none_is_taken_for_another() {
    let gateways = std::env::var("SEALTAP_GATEWAYS").ok().and_then(|set| set.parse().ok());
    let gateways: usize = gateways.unwrap_or(GATEWAYS);
    let (together, each) = (gateways * PROCESSES * EACH, PROCESSES * EACH);
    let folder = Home::new();
    let mut places: Vec<Place> =
        (0..gateways).map(|number| Place::start(folder.path(), number)).collect();
    let (began, before) = (Instant::now(), taken());
    let mut standing = Vec::new();
    for number in 0..gateways {
        let home = Arc::new(Home::new());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/held.py");
        // No two processes of a command go to the same place.
        let ports = (0..PROCESSES).map(|worker| &places[(number + worker) % gateways].port);
        let (base, count) = ((number * each).to_string(), EACH.to_string());
        let line: Vec<&str> = ["python3", script, &base, &count]
            .into_iter()
            .chain(ports.map(String::as_str))
            .collect();
        let command = Launch::new(&home, &["--kernel=require"]).command(&line);
        standing.push(Running::of(&home, command));
    }
    let stood = began.elapsed();
    let (mut count, mut elsewhere) = (0, 0);
    for place in &mut places {
        let (standing, wrong) = place.standing();
        (count, elsewhere) = (count + standing, elsewhere + wrong);
    }
    let resident: u64 = standing.iter().map(|running| resident(running.gateway())).sum();
    println!(
        "{count} connections stand after {stood:.1?}: gateways have {} MB, {} kB each; with both ends in the \
         kernel, clients and places {} MB",
        resident >> 20,
        (resident >> 10) / u64::try_from(count.max(1)).expect("not that many"),
        taken().saturating_sub(before) >> 20
    );
    assert_eq!(
        (count, elsewhere),
        (together, 0),
        "those that stand, and those that came elsewhere"
    );
    standing.iter_mut().for_each(Running::tell);
    let mut launched = Vec::new();
    for running in standing {
        launched.push(running.end().expect(0));
    }
    let mut meant = HashMap::new();
    for (place, process) in places.into_iter().flat_map(Place::end) {
        assert_eq!(meant.insert(place, process), None, "each was meant once");
    }
    assert_eq!(meant.len(), together);
    let (mut wrong, mut unknown) = (Vec::new(), 0);
    for launched in &launched {
        let coverage = &launched.account["coverage"];
        assert_eq!(coverage["level"], "kernel_observed", "{coverage}");
        assert_eq!(coverage["connections"]["via_gateway"], each, "{coverage}");
        assert_eq!(coverage["redirected"], each, "{coverage}");
        assert_eq!(coverage["refused"], 0, "{coverage}");
        launched.home.assert_valid();
        let exchanges = records::list(&launched.home);
        assert_eq!(exchanges.len(), each, "{coverage}");
        for exchange in exchanges {
            let maker = &exchange.json["maker"];
            let said = meant.remove(exchange.text("/url"));
            if said.is_none() || maker["process"].as_u64() != said {
                wrong.push(format!("{said:?}: {}", exchange.json));
            }
            unknown += usize::from(maker["executable"].is_null());
        }
    }
    println!(
        "{together} connections, {} wrong, {unknown} of an unknown process; all compared after {:.1?}",
        wrong.len(),
        began.elapsed()
    );
    assert!(wrong.is_empty(), "{} of them, first {:?}", wrong.len(), wrong.first());
    // Who it was may come too late where so many come at once; most of all it does not.
    assert!(unknown * 20 <= together, "{unknown} of {together} are of an unknown process");
    assert!(meant.is_empty(), "{} have no record", meant.len());
}

fn main() -> ExitCode {
    let name = "all_stand_at_once_and_none_is_taken_for_another";
    let tests = [(name, all_stand_at_once_and_none_is_taken_for_another as fn())];
    let asked = std::env::var_os("SEALTAP_GATEWAYS").is_some();
    let missing = (!asked)
        .then(|| "it takes minutes and gigabytes: run by `cargo xtask kernel --many`".to_owned())
        .or_else(|| suite::without_the_kernel(&["python3"]));
    suite::main(&tests, missing)
}
