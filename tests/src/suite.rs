//! Suites with a `main` of their own: those that need a program or a right that may not be there.
//!
//! Where it is missing, their tests are listed as ignored with the reason, and never count as passed.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::thread::{CapabilitySet, capabilities};

/// Runs the tests, speaking as libtest does; where something is missing, none.
pub fn main<T: Fn() + Sync>(tests: &[(&str, T)], missing: Option<String>) -> ExitCode {
    let each = tests.iter().map(|(name, test)| (*name, missing.clone(), test));
    each_with_its_own(&each.collect::<Vec<_>>())
}

/// Runs the tests, each unless something is missing that it needs: one after the other, or as many at a
/// time as `--test-threads` says.
pub fn each_with_its_own<T: Fn() + Sync>(tests: &[(&str, Option<String>, T)]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let exact = has("--exact");
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    let wanted: Vec<&String> =
        if filters.peek().is_some() { filters.collect() } else { Vec::new() };
    let chosen = |name: &str| {
        let hit = |filter: &&String| if exact { *filter == name } else { name.contains(*filter) };
        wanted.is_empty() || wanted.iter().any(hit)
    };
    let chosen: Vec<_> = tests.iter().filter(|(name, _, _)| chosen(name)).collect();
    if has("--list") {
        // With `--ignored`, only those that are.
        let listed = chosen.iter().filter(|(_, missing, _)| missing.is_some() || !has("--ignored"));
        listed.for_each(|(name, _, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let begun = Instant::now();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ignored = chosen.iter().filter(|(_, missing, _)| missing.is_some()).count();
    let work = || {
        while let Some((name, missing, test)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(reason) = missing {
                println!("test {name} ... ignored, SKIPPED: {reason}");
                continue;
            }
            let began = Instant::now();
            let passed = std::panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
            let (word, took) =
                (if passed { "ok" } else { "FAILED" }, began.elapsed().as_secs_f64());
            println!("test {name} ... {word} <{took:.1}s>");
            if !passed {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            }
        }
    };
    let at_a_time =
        arguments.iter().find_map(|one| one.strip_prefix("--test-threads=")?.parse().ok());
    thread::scope(|scope| {
        for _ in 1..at_a_time.unwrap_or(1) {
            scope.spawn(work);
        }
        work();
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "\ntest result: {}. {} passed; {} failed; {ignored} ignored; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len() - ignored,
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// What the suites of the kernel's hooks lack on this machine, beside these programs. It asks the machine
/// and not the product: one that is broken has to fail.
pub fn without_the_kernel(programs: &[&str]) -> Option<String> {
    if std::env::var_os("SEALTAP_KERNEL_SUITE").is_none() {
        return Some("it attaches to the whole machine: run by `cargo xtask kernel`".to_owned());
    }
    kernel_lacks(programs)
}

/// What whoever attaches kernel programs lacks on this machine, beside these programs.
pub fn kernel_lacks(programs: &[&str]) -> Option<String> {
    let needed = CapabilitySet::BPF | CapabilitySet::NET_ADMIN | CapabilitySet::PERFMON;
    if !capabilities(None).is_ok_and(|sets| sets.effective.contains(needed)) {
        return Some("kernel programs take root".to_owned());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        return Some("no cgroup v2 is mounted".to_owned());
    }
    let has = |program: &str| {
        let tried = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let missing = programs.iter().find(|program| !has(program))?;
    Some(format!("{missing} is not there"))
}
