//! Trace: what `strace` saw a gateway do, in order.
//!
//! The order of lines is the order of events: a thread stands still until its line is written. So
//! if a sync ends on an earlier line than the one on which a write to a socket starts, the write
//! came after the sync.
//!
//! Suites that need `strace` have a `main` of their own ([`main`]): where it is missing, or may
//! not trace, their tests are listed as ignored with the reason, and never count as passed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::gate::poll;
use crate::suite;

/// One system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// The thread.
    pub thread: u32,
    /// The line on which it started.
    pub started: usize,
    /// The line on which it ended.
    pub ended: usize,
    /// What its first argument refers to: a path, or the two ends of a connection.
    pub target: String,
    /// The first argument's number.
    pub descriptor: String,
    /// The bytes it wrote.
    pub data: Vec<u8>,
    /// What it returned.
    pub result: i64,
}

/// The command that traces these calls of a program into `file`, the program itself staying the
/// direct child.
pub fn strace(calls: &str, inject: &[String], file: &Path) -> Vec<String> {
    let mut command: Vec<String> =
        ["strace", "-D", "-f", "-yy", "-xx", "-q", "-s", "1000000", "-o"].map(Into::into).into();
    command.push(file.display().to_string());
    command.extend(["-e".to_owned(), format!("trace={calls}")]);
    command.extend(["-e".to_owned(), "signal=none".to_owned()]);
    for inject in inject {
        command.extend(["-e".to_owned(), format!("inject={inject}")]);
    }
    command
}

/// Reads a trace, once the tracer has written the end of process `pid`.
pub fn read(file: &Path, pid: u32) -> Vec<Call> {
    let text = poll("the end of the trace", || {
        let text = std::fs::read_to_string(file).ok()?;
        let ended = |line: &str| line.starts_with(&pid.to_string()) && line.contains("+++");
        text.lines().rev().take(200).any(ended).then_some(text)
    });
    parse(&text)
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut unfinished: BTreeMap<u32, (usize, String)> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (number, start.to_owned()));
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((started, start)) = unfinished.remove(&thread) else { continue };
            let end = resumed.split_once("resumed>").map_or("", |(_, end)| end);
            calls.extend(call(&format!("{start}{end}"), thread, started, number));
        } else {
            calls.extend(call(rest, thread, number, number));
        }
    }
    calls.sort_by_key(|call| call.started);
    calls
}

fn call(text: &str, thread: u32, started: usize, ended: usize) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    // Every string is hex, so the last sign of equality is the one before the result.
    let (arguments, result) = rest.rsplit_once("= ")?;
    let result = result.split([' ', '<']).next()?.parse().unwrap_or(0);
    let (descriptor, target) = match arguments.split_once('<') {
        Some((descriptor, rest)) => (descriptor, rest.split('>').next()?),
        None => (arguments.split(',').next()?, ""),
    };
    // `TCP:[a->b]` has the closing bracket of the target inside.
    let target = match arguments.find("TCP:[") {
        Some(at) if at < 12 => arguments[at..].split(']').next()?,
        _ => target,
    };
    Some(Call {
        name: name.to_owned(),
        thread,
        started,
        ended,
        target: unescape_path(target),
        descriptor: descriptor.to_owned(),
        data: strings(arguments),
        result,
    })
}

/// Paths are printed as text unless `-xx` made them hex.
fn unescape_path(text: &str) -> String {
    if text.contains("\\x") {
        String::from_utf8_lossy(&unhex(text)).into_owned()
    } else {
        text.to_owned()
    }
}

/// Every string among the arguments, one after the other: one buffer, or the parts of a vector.
fn strings(arguments: &str) -> Vec<u8> {
    arguments.split('"').skip(1).step_by(2).flat_map(unhex).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x")
        .skip(1)
        .filter_map(|byte| u8::from_str_radix(byte.get(..2)?, 16).ok())
        .collect()
}

/// Why tracing is not possible here, if it is not.
pub fn unavailable() -> Option<String> {
    match Command::new("strace").args(["-q", "-e", "trace=none", "true"]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "strace may not trace here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("strace cannot be run: {error}")),
    }
}

/// A file for a trace in this directory.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("strace.out")
}

/// The `main` of a suite that needs `strace`.
pub fn main(tests: &[(&str, fn())]) -> ExitCode {
    suite::main(tests, unavailable())
}
