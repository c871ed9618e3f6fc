//! Suites with a `main` of their own: those that need a program or a right that may not be there.
//!
//! Where it is missing, their tests are listed as ignored with the reason, and never count as passed.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

/// Runs the tests, speaking as libtest does; where something is missing, none.
pub fn main<T: Fn()>(tests: &[(&str, T)], missing: Option<String>) -> ExitCode {
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
    let chosen: Vec<&(&str, T)> = tests.iter().filter(|(name, _)| chosen(name)).collect();
    if has("--list") {
        // With `--ignored`, only those that are: all or none.
        if missing.is_some() || !has("--ignored") {
            chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    let mut failed = Vec::new();
    let begun = Instant::now();
    for (name, test) in &chosen {
        if let Some(reason) = &missing {
            println!("test {name} ... ignored, SKIPPED: {reason}");
            continue;
        }
        let passed = std::panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        if !passed {
            failed.push(name);
        }
    }
    let ignored = if missing.is_some() { chosen.len() } else { 0 };
    println!(
        "\ntest result: {}. {} passed; {} failed; {ignored} ignored; finished in {:.2}s\n",
        if failed.is_empty() { "ok" } else { "FAILED" },
        chosen.len() - failed.len() - ignored,
        failed.len(),
        begun.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}
