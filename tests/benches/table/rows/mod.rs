//! The rows: what is measured, round by round, system by system.

mod chats;
mod connect;
mod egress;
mod events;
mod handshakes;
mod latency;
mod leaf;
mod leaves;
mod receipt;
mod redirects;
mod transfer;

use std::fmt;
use std::fs::File;
use std::io::{Error, Result, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use sealtap_tests::suite;
use serde_json::{Map, Value, json};

use crate::Run;
use crate::process::Cpu;
use crate::report;
use crate::setting::{Setting, streams};
use crate::system::{Running, System};

/// How long sealing or storing what was recorded may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A row of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Row {
    /// CPU of chats with 1 KB each way
    #[value(name = "chats-1k")]
    Chats1K,
    /// CPU of chats with 1 KB each way through a tunnel, over TLS on both sides
    #[value(name = "chats-1k-tls")]
    Chats1KTls,
    /// Full TLS handshakes with clients, the minted leaf at hand
    Handshakes,
    /// The cost of a minted leaf, new and kept
    Leaf,
    /// The first request to a new host over TLS, in round trips to that host
    FirstRequest,
    /// CPU of chats with 64 KB each way
    #[value(name = "chats-64k")]
    Chats64K,
    /// CPU of chats with 64 KB up and 1 KB down
    #[value(name = "context-64k")]
    Context64K,
    /// Added time to the first byte, 200 requests a second
    Latency,
    /// CPU of event streams, and what is added to an event's way
    Events,
    /// Memory of 1,000 streams held open
    Held,
    /// Memory of 10,000 streams held open
    #[value(name = "held-10k")]
    Held10K,
    /// 64 MiB up, and down
    Transfer,
    /// Leaves sealed a second, with HTTP in front
    Flood,
    /// Leaves sealed a second by journal, seal and log alone, and verified a second
    Leaves,
    /// From an exchange's end to a cosigned checkpoint that covers it, idle and under load
    Receipt,
    /// `connect` without the kernel's programs, with them, and led to the gateway
    Connect,
    /// What the kernel's programs take for a packet that leaves
    Egress,
    /// Connections that are led to the gateway, a second
    Redirects,
}

impl Row {
    /// Its name on the command line and in the raw rows.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    fn systems(self) -> &'static [System] {
        match self {
            Self::Chats1K | Self::Chats64K | Self::Context64K | Self::Held => &System::PROXIES,
            Self::Latency | Self::Events | Self::Transfer => &System::ALL,
            Self::Held10K | Self::Flood => &System::OURS,
            Self::Chats1KTls => &[System::Strict, System::Relaxed, System::Mitmdump],
            Self::FirstRequest => &[System::Direct, System::Strict, System::Mitmdump],
            Self::Leaves | Self::Receipt | Self::Handshakes | Self::Leaf => &[System::Strict],
            Self::Connect | Self::Egress | Self::Redirects => &[System::Strict],
        }
    }

    /// Why it cannot be measured here.
    fn lacks(self) -> Option<String> {
        match self {
            Self::Connect | Self::Egress | Self::Redirects => suite::kernel_lacks(&["python3"]),
            _ => None,
        }
    }

    fn measure(self, setting: &Setting, system: System) -> Result<Figures> {
        match self {
            Self::Chats1K => chats::plain(setting, system, (1 << 10, 1 << 10), 20_000),
            Self::Chats1KTls => chats::over_tls(setting, system, (1 << 10, 1 << 10), 20_000),
            Self::Chats64K => chats::plain(setting, system, (1 << 16, 1 << 16), 5_000),
            Self::Context64K => chats::plain(setting, system, (1 << 16, 1 << 10), 5_000),
            Self::Handshakes => handshakes::measure(setting, system, 10_000),
            Self::Leaf => leaf::measure(setting, 2_000),
            Self::FirstRequest => handshakes::first_requests(setting, system, 200),
            Self::Latency => latency::measure(setting, system, 1 << 10, 2_000),
            Self::Events => events::measure(setting, system, 300),
            Self::Held => events::hold(setting, system, 1_000),
            Self::Held10K => events::hold(setting, system, streams(10_000)),
            Self::Transfer => transfer::measure(setting, system, 64 << 20),
            Self::Flood => leaves::flood(setting, system, 50_000),
            Self::Leaves => leaves::alone(setting, 120_000),
            Self::Receipt => receipt::measure(setting, system, (300, 20_000)),
            Self::Connect => connect::measure(setting, 10_000),
            Self::Egress => egress::measure(setting, 20_000),
            Self::Redirects => redirects::measure(setting, 40_000),
        }
    }
}

/// Figures by name.
pub(crate) type Figures = Map<String, Value>;

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) system: System,
    pub(crate) figures: Figures,
}

/// Measures everything that was asked for, and prints the table.
pub(crate) fn run(run: &Run) -> Result<()> {
    std::fs::create_dir_all(&run.out)?;
    let setting = Setting::new(run)?;
    let rows: Vec<Row> =
        if run.rows.is_empty() { Row::value_variants().to_vec() } else { run.rows.clone() };
    let lack = |row: &Row| row.lacks().map(|why| (*row, why));
    let skipped: Vec<(Row, String)> = rows.iter().filter_map(lack).collect();
    for (row, why) in &skipped {
        eprintln!("SKIPPED: {}: {why}", row.name());
    }
    let mut raw = File::create(run.out.join("rows.jsonl"))?;
    let mut all = Vec::new();
    for round in 1..=run.rounds {
        for &row in rows.iter().filter(|row| skipped.iter().all(|(skipped, _)| skipped != *row)) {
            for &system in row.systems() {
                let began = Instant::now();
                let figures = row
                    .measure(&setting, system)
                    .map_err(|error| Error::other(format!("{}, {system}: {error}", row.name())))?;
                let seconds = began.elapsed().as_secs_f32();
                eprintln!(
                    "{round} {:<12} {system:<16} {seconds:>6.1} s  {}",
                    row.name(),
                    Shown(&figures)
                );
                let line = json!({
                    "round": round, "row": row.name(), "system": system.name(), "figures": figures,
                });
                writeln!(raw, "{line}")?;
                all.push(Measured { row, system, figures });
            }
        }
    }
    let table = report::table(run, &all, &skipped);
    std::fs::write(run.out.join("table.md"), &table)?;
    print!("{table}");
    Ok(())
}

/// Figures as one reads them while they come.
struct Shown<'a>(&'a Figures);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.0.iter().filter(|(_, value)| value.is_number()) {
            write!(formatter, " {name}={:.4}", value.as_f64().unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Waits until the log has `leaves`.
pub(crate) fn sealed(running: &Running, leaves: u64) -> Result<()> {
    let began = Instant::now();
    while running.leaves() < leaves {
        if began.elapsed() > PATIENCE {
            let there = running.leaves();
            return Err(Error::other(format!("{there} of {leaves} leaves are sealed")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Waits until the store has taken everything in: its thread has used no CPU for a while.
pub(crate) fn stored(running: &Running) -> Result<Cpu> {
    let began = Instant::now();
    let mut cpu = Cpu::of(running.pid()?)?;
    loop {
        std::thread::sleep(Duration::from_millis(1500));
        let now = Cpu::of(running.pid()?)?;
        if (now.thread("store") - cpu.thread("store")).abs() < 1e-4 {
            return Ok(now);
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::other("the store is not done"));
        }
        cpu = now;
    }
}

/// Stops `running`; of sealtap, verifies that its log holds exactly `exchanges`.
pub(crate) fn stop(setting: &Setting, running: Running, exchanges: u64) -> Result<()> {
    stop_under(setting, running, exchanges, None)
}

/// As [`stop`], and asks for the quorum of a policy.
fn stop_under(
    setting: &Setting,
    running: Running,
    exchanges: u64,
    policy: Option<&Path>,
) -> Result<()> {
    let seals = running.system.seals();
    let stopped = running.stop()?;
    if !seals {
        return Ok(());
    }
    let data = stopped.data();
    let keys = Command::new(&setting.sealtap).arg("keys").arg("--data").arg(&data).output()?;
    let path = data.with_file_name("keys.txt");
    std::fs::write(&path, &keys.stdout)?;
    let mut verify = Command::new(&setting.verifier);
    verify.arg(&data).arg("--key").arg(path);
    if let Some(policy) = policy {
        verify.arg("--policy").arg(policy);
    }
    let verify = verify.output()?;
    let said = String::from_utf8_lossy(&verify.stdout).into_owned();
    if !verify.status.success() || !said.contains(&format!("holds: {exchanges} exchange")) {
        return Err(Error::other(format!("not {exchanges} exchanges in a valid log: {said}")));
    }
    Ok(())
}
