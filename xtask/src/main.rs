//! Every chore of the project: `cargo xtask --help`.
//!
//! Each chore is a list of steps; a step is one program run, or one rule checked here. A chore goes
//! on after a failure, so that one run names all of them, and ends with `N passed, N failed`: each
//! test counts as one, and so does each step that is no test run.

mod bench;
mod ci;
mod clients;
mod deny;
mod ebpf;
mod foreign;
mod fuzz;
mod rules;
mod step;
mod suite;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every chore of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// All that must hold before a change goes in: format, rules, lint, docs, the kernel's object,
    /// tests, foreign verifiers, dependencies, real clients, Linux 6.1 in a machine
    Ci,
    /// rustfmt, checking only
    Format,
    /// Rules of this project that no other tool knows
    Rules,
    /// clippy over every target, warnings denied
    Lint,
    /// rustdoc, warnings denied
    Docs,
    /// Every unit and end-to-end test
    Test,
    /// Licences, bans, advisories and sources of every dependency (installs cargo-deny)
    Deny {
        /// Leave advisories out: their database is fetched over the network
        #[arg(long)]
        offline: bool,
    },
    /// A log checked by openssl and by other projects' verifiers (installs them with pip)
    Foreign {
        /// A log directory; the one published with the format without it
        #[arg(long, requires = "key")]
        log: Option<String>,
        /// Its key: a vkey, or a file with what `sealtap keys` prints
        #[arg(long)]
        key: Option<String>,
    },
    /// Real clients of model and tool APIs through every door (installs them with pip and npm)
    Clients {
        /// Only tests whose names hold one of these, such as pypi_openai or _reverse
        names: Vec<String>,
    },
    /// What recording costs beside nginx, plain hyper and mitmdump (installs them); prints a table
    Bench {
        /// Rounds; figures are medians over them
        #[arg(long)]
        rounds: Option<u32>,
        /// Only these rows
        #[arg(long, num_args = 1..)]
        rows: Vec<String>,
        /// A tenth of everything: to see that it works, not to quote
        #[arg(long)]
        quick: bool,
    },
    /// Some end-to-end suites by name; all names without any
    Suite {
        /// A file of tests/tests, without its ending, or a folder
        names: Vec<String>,
        /// Build with optimisation
        #[arg(long)]
        release: bool,
    },
    /// The kernel programs, built and compared with the committed object (installs bpf-linker)
    Ebpf {
        /// Write the committed object anew
        #[arg(long)]
        write: bool,
    },
    /// Redirection and counting by the kernel, and each known way around it, for real: programs at this
    /// machine's root cgroup (needs root)
    Kernel {
        /// Instead of that, a hundred thousand redirected connections at once: minutes, and gigabytes
        #[arg(long)]
        many: bool,
    },
    /// The same on Debian 12's kernel 6.1, in a machine that QEMU emulates (installs it)
    Vm {
        /// Only tests whose names hold one of these, such as udp
        names: Vec<String>,
        /// Only these suites
        #[arg(long)]
        suite: Vec<String>,
    },
    /// Full and slow disks, for real: small file systems that are filled under load (needs root)
    Disk,
    /// Altered requests through the gateway to nginx: both must read them alike
    BesideNginx {
        /// How many; a moderate number without it
        #[arg(long)]
        cases: Option<u32>,
    },
    /// Fuzz targets, all or those named, with libFuzzer
    Fuzz {
        /// Files of tests/fuzz/fuzz_targets, without their ending
        targets: Vec<String>,
        /// How long each one runs
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// How many run at a time
        #[arg(long, default_value_t = 1)]
        jobs: usize,
    },
}

fn main() -> ExitCode {
    let root = root();
    let steps = match Cli::parse().chore {
        Chore::Ci => ci::all(&root),
        Chore::Format => ci::format(),
        Chore::Rules => rules::steps(),
        Chore::Lint => vec![ci::lint()],
        Chore::Docs => vec![ci::docs()],
        Chore::Test => ci::tests(),
        Chore::Deny { offline } => deny::steps(&root, offline),
        Chore::Foreign { log, key } => foreign::steps(&root, log.as_deref(), key.as_deref()),
        Chore::Clients { names } => clients::steps(&root, &names),
        Chore::Bench { rounds, rows, quick } => bench::steps(&root, rounds, &rows, quick),
        Chore::Suite { names, release } => suite::steps(&root, &names, release),
        Chore::Ebpf { write } => ebpf::steps(&root, write),
        Chore::Kernel { many: false } => suite::kernel(&root),
        Chore::Kernel { many: true } => suite::hundred_thousand(&root),
        Chore::Vm { names, suite } => vm::steps(&root, &names, &suite),
        Chore::Disk => suite::one(&root, "disk"),
        Chore::BesideNginx { cases } => suite::beside_nginx(&root, cases),
        Chore::Fuzz { targets, seconds, jobs } => fuzz::steps(&root, &targets, seconds, jobs),
    };
    step::run(&root, steps)
}

/// The workspace's root: the parent of this package.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}
