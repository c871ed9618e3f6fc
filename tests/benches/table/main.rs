//! The bench: what recording costs, beside proxies that record nothing and one that records.
//!
//! `cargo xtask bench` installs the peers, builds this and runs it. One run goes round by round, and
//! in each round row by row through all systems, so that a machine that is busy for a while is busy
//! for all of them. Figures are medians over the rounds; every single measurement is kept in
//! `rows.jsonl` beside the table.
//!
//! One binary plays all parts, each in a process of its own so that only the proxy's cost is
//! counted: the load generator, the upstream, and plain hyper.

mod clock;
mod distance;
mod http;
mod hyper_proxy;
mod kernel;
mod load;
mod process;
mod report;
mod rows;
mod sealing;
mod setting;
mod system;
mod text;
mod tls;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;

/// Open files: 10,000 streams are two sockets each for whoever passes them on.
const FILES: u64 = 32_768;

#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    part: Part,
    /// Cargo says so to every bench
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// Measure and print the table
    Run(Run),
    /// The load generator
    Load {
        #[command(subcommand)]
        load: load::Load,
    },
    /// The upstream
    Upstream {
        /// Where its certificate and key are
        identity: PathBuf,
    },
    /// Journal, seal and log alone
    Sealing {
        /// A data directory to be made
        data: PathBuf,
        /// Exchanges
        count: u64,
    },
    /// What connects and sends for the rows about the kernel's programs
    Work,
    /// Plain hyper
    Hyper {
        /// Where it listens
        #[arg(long)]
        listen: SocketAddr,
        /// Where requests go
        #[arg(long)]
        upstream: SocketAddr,
    },
}

/// What to measure.
#[derive(clap::Args, Debug)]
pub(crate) struct Run {
    /// Rounds; figures are medians over them
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: u32,
    /// Only these rows
    #[arg(long, num_args = 1..)]
    pub(crate) rows: Vec<rows::Row>,
    /// A tenth of everything: to see that it works, not to quote
    #[arg(long)]
    pub(crate) quick: bool,
    /// The kernel programs to be measured
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../ebpf/sealtap.bpf.o"))]
    pub(crate) object: PathBuf,
    /// The mitmdump to compare with
    #[arg(long, default_value = "mitmdump")]
    pub(crate) mitmdump: PathBuf,
    /// Where raw rows, the table and, for a while, records go
    #[arg(long, default_value = "target/bench")]
    pub(crate) out: PathBuf,
}

fn main() -> ExitCode {
    raise_limits();
    let done = match Cli::parse().part {
        Part::Run(run) => rows::run(&run),
        Part::Load { load } => single().and_then(|runtime| runtime.block_on(load::run(load))),
        Part::Upstream { identity } => {
            single().and_then(|runtime| runtime.block_on(upstream::serve(&identity)))
        }
        Part::Sealing { data, count } => Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(sealing::run(&data, count)))
            .map(|said| println!("{said}")),
        Part::Work => kernel::work(),
        Part::Hyper { listen, upstream } => Builder::new_multi_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(hyper_proxy::serve(listen, upstream))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As many open files as 10,000 streams need, or as this machine allows; children inherit it.
fn raise_limits() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(FILES, |most| most.max(FILES));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(most) }).is_err() {
        // Only root may go beyond the maximum; the table says how many streams there were.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

/// One thread: what is not measured leaves the machine to what is.
fn single() -> std::io::Result<tokio::runtime::Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Resolves when the standard input ends: whoever started this part wants no more of it, or is gone.
async fn parent_gone() {
    let mut input = tokio::io::stdin();
    // Nothing is ever written there, and an error is an end too.
    let _ = tokio::io::copy(&mut input, &mut tokio::io::sink()).await;
}
