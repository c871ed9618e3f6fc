//! Fuzz targets, built with libFuzzer and run, one after the other or some at a time.
//!
//! The compiler marks edges and comparisons by LLVM's own pass, for which the pinned toolchain is
//! enough; what libFuzzer needs besides is a C++ compiler. What a run finds worth keeping stays
//! under `target/fuzz`, beside the log of each target; the seeds in `tests/fuzz/corpus` are only read.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::step::{Logged, Step};

/// What makes a program of ours one that libFuzzer can steer.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// The most memory a target may take, in MiB.
const MEMORY: u32 = 2048;

/// Builds all targets, then runs those named, or all, for so many seconds each, so many at a time.
pub(crate) fn steps(root: &Path, names: &[String], seconds: u64, jobs: usize) -> Vec<Step> {
    let known = known(root);
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        let wrong = format!("no target is called {name}; there are {}", known.join(", "));
        return vec![Step::rule("fuzz", |_| vec![wrong])];
    }
    let Some(host) = host() else {
        return vec![Step::skipped("fuzz", "rustc does not say what it compiles for")];
    };
    if !runs("c++", "--version") {
        return vec![Step::skipped("fuzz", "libFuzzer is built with c++, which is not there")];
    }
    // With a target named, flags do not reach build scripts and macros, which nobody steers.
    let place = root.join("target/fuzz");
    let manifest = ["build", "--release", "--manifest-path", "tests/fuzz/Cargo.toml", "--locked"];
    let manifest: Vec<String> = manifest.into_iter().map(str::to_owned).collect();
    let directory = place.display().to_string();
    let more = ["--target", &host, "--target-dir", &directory].map(str::to_owned);
    let arguments: Vec<String> = manifest.into_iter().chain(more).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let build = Step::cargo("fuzz targets", &arguments).with("RUSTFLAGS", FLAGS);
    let mut programs = Vec::new();
    let chosen = if names.is_empty() { &known } else { names };
    for name in chosen {
        let (kept, seeds) = (place.join("corpus").join(name), format!("tests/fuzz/corpus/{name}"));
        // libFuzzer wants its directories to be there; where one cannot be made it says so itself.
        let _ = fs::create_dir_all(&kept);
        let mut command = Command::new(place.join(&host).join("release").join(name));
        command.args([
            format!("-max_total_time={seconds}"),
            format!("-rss_limit_mb={MEMORY}"),
            "-timeout=10".to_owned(),
            "-print_final_stats=1".to_owned(),
            format!("-artifact_prefix={}/{name}-", place.display()),
            kept.display().to_string(),
            seeds,
        ]);
        let log = place.join(format!("{name}.log"));
        programs.push(Logged { name: format!("fuzz {name}"), command, log, told });
    }
    vec![build, Step::beside("fuzz", jobs, programs)]
}

/// Of what libFuzzer wrote, what went wrong, and how often the target ran.
fn told(log: &str) -> String {
    let runs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.map_or("0", str::trim);
    let wrong = log.lines().find(|line| {
        ["ERROR: libFuzzer", "panicked at", "Test unit written to"]
            .iter()
            .any(|sign| line.contains(sign))
    });
    match wrong {
        None => format!("{runs} executions"),
        Some(line) => format!("{runs} executions, {}", line.trim()),
    }
}

fn known(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("tests/fuzz/fuzz_targets")).into_iter().flatten();
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            Some(entry.file_name().into_string().ok()?.strip_suffix(".rs")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

fn runs(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    let status = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// The triple that the compiler compiles for by itself.
fn host() -> Option<String> {
    let output = Command::new("rustc").arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}
