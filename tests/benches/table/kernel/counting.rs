//! The least that counts, beside the gateway's programs: `peers/counting.py`.

use std::io::{BufRead as _, BufReader, Error, Result, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::Spent;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/counting.py");

/// It, attached until this goes.
pub(crate) struct Counting {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Counting {
    /// Attaches it to a cgroup.
    pub(crate) fn attach(cgroup: &Path) -> Result<Self> {
        let mut command = Command::new("python3");
        let command = command.arg(SCRIPT).arg(cgroup).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or_else(|| Error::other("no standard output"))?;
        let mut counting = Self { child, lines: BufReader::new(said) };
        match counting.line()?.trim() {
            "there" => Ok(counting),
            _ => Err(Error::other("the kernel takes no program that counts")),
        }
    }

    /// What it took so far.
    pub(crate) fn spent(&mut self) -> Result<Spent> {
        let input = self.child.stdin.as_mut().ok_or_else(|| Error::other("no standard input"))?;
        input.write_all(b"?\n")?;
        let line = self.line()?;
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(ns), Some(runs)) => Ok(Spent { ns, runs }),
            _ => Err(Error::other("the program that counts is gone")),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
