//! `sealtap verify`: check a record offline.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use clap::Args;
use sealtap_common::bundle::{self, TrustedKeys};
use sealtap_common::directory::{cosigned, dated, verify_directory_under};
use sealtap_common::keyring::trusted;
use sealtap_common::policy::Policy;
use sealtap_common::verify::{Bodies, CHECKPOINT, FileError, Report, Timestamp, Trust, Verdict};

use super::{Exit, Failure, Outcome, Output};
use crate::data::DataDir;
use crate::store::audit;

/// Check a bundle, a log or a data directory offline: every byte, every leaf, the signatures.
#[derive(Debug, Args)]
#[command(after_help = "\
The key must come to you by another way than the record; one found inside PATH is never trusted.
  sealtap verify run.tar --key keys.txt
  sealtap verify sealtap-data --key keys.txt
  sealtap verify ./published-log --key example.com/sealtap+1a2b3c4d+AZ...
With the witnesses you trust (C2SP tlog-policy), it says who saw the log, and when:
  sealtap verify sealtap-data --key keys.txt --policy witnesses.policy

Exit codes:
  0  valid under a key that was given
  1  not valid; every finding is named
  2  could not be decided; with no key: \"intact, key not pinned\"; without the policy's quorum")]
pub struct Arguments {
    /// A bundle, a log directory or a data directory
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// A key to trust: a vkey, or a file with what `sealtap keys` prints; repeatable
    #[arg(long = "key", value_name = "VKEY|FILE")]
    keys: Vec<String>,
    /// A trust policy (C2SP tlog-policy): keys of logs, witnesses, and which of them make a quorum
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The cosigned checkpoint of a log directory; a data directory has its own
    #[arg(long, value_name = "FILE")]
    cosigned: Option<PathBuf>,
    /// The report as one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies what lies at the path; the exit code is the verdict.
pub(super) fn run(arguments: &Arguments, output: &mut Output<'_>) -> Outcome {
    let mut keys = TrustedKeys::default();
    arguments.keys.iter().try_for_each(|given| key(given, &mut keys))?;
    let policy = arguments.policy.as_deref().map(policy).transpose()?;
    let (verdict, json, lines) = if arguments.path.is_file() {
        if arguments.cosigned.is_some() {
            return Err(Failure::new("--cosigned is for a log, and this is a file")
                .at(arguments.path.display().to_string())
                .fix("leave it out: a bundle has its own cosigned checkpoint")
                .exit_with(Exit::Undecided));
        }
        let file = File::open(&arguments.path).map_err(|error| {
            Failure::new(format!("cannot read the bundle: {error}"))
                .at(arguments.path.display().to_string())
                .exit_with(Exit::Undecided)
        })?;
        let report = bundle::verify_under(BufReader::new(file), &keys, policy.as_ref());
        (report.verdict(), report.to_json(), report.lines())
    } else {
        let report = report(arguments, &keys, policy.as_ref())?;
        (report.verdict(), report.to_json(), report.lines())
    };
    let written = match arguments.json {
        true => writeln!(output.exact(), "{json}"),
        false => text(&mut output.styled(), verdict, &lines),
    };
    match written.and_then(|()| output.exact().flush()) {
        // The verdict must reach whoever asks for the exit code, read or not: a broken pipe is not
        // "valid", and a full disk is not "not valid".
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            return Err(Failure::writing(&error).exit_with(Exit::Undecided));
        }
        _ => {}
    }
    Ok(match verdict {
        Verdict::Valid => Exit::Done,
        Verdict::Invalid => Exit::Failed,
        Verdict::Undecided => Exit::Undecided,
    })
}

/// Verifies the log at `path`, or the one inside a data directory.
fn report(
    arguments: &Arguments,
    keys: &TrustedKeys,
    policy: Option<&Policy>,
) -> Result<Report, Failure> {
    let path = arguments.path.as_path();
    let inside = DataDir::new(path).log();
    // What may not be looked into is not the same as what is not there.
    let there = |path: PathBuf| path.try_exists().map_err(|error| unreadable(&path, &error));
    let (log, bodies) = if there(path.join(CHECKPOINT))? || there(path.join("tile"))? {
        (path.to_owned(), Bodies::Absent)
    } else if there(inside.clone())? {
        (inside, Bodies::NotChecked)
    } else {
        return Err(Failure::new(
            "nothing to verify: neither a log nor a data directory, nor a bundle",
        )
        .at(path.display().to_string())
        .fix("give a directory that holds `checkpoint`, one that holds `log`, or a bundle")
        .exit_with(Exit::Undecided));
    };
    // Before the log, which may grow meanwhile.
    let beside = match &arguments.cosigned {
        Some(path) => Some(std::fs::read(path).map_err(|error| unreadable(path, &error))?),
        None if bodies == Bodies::NotChecked => cosigned(path).map_err(|e| broken(path, &e))?,
        None => None,
    };
    let token = match bodies {
        Bodies::NotChecked => dated(path).map_err(|error| broken(path, &error))?,
        _ => None,
    };
    let dated = token.as_ref().map(|(checkpoint, reply)| Timestamp { checkpoint, reply });
    let trust = Trust { keys: &keys.log, policy, cosigned: beside.as_deref(), dated };
    let (mut report, ()) = verify_directory_under(&log, &trust, || ());
    report.bodies = bodies;
    // A log that does not hold says nothing of the store.
    if bodies == Bodies::NotChecked && report.verdict() != Verdict::Invalid {
        audit(&DataDir::new(path), &mut report);
    }
    Ok(report)
}

/// The report in lines, the verdict first and in its colour.
fn text(output: &mut dyn Write, verdict: Verdict, lines: &[String]) -> std::io::Result<()> {
    let style = match verdict {
        Verdict::Valid => AnsiColor::Green,
        Verdict::Invalid => AnsiColor::Red,
        Verdict::Undecided => AnsiColor::Yellow,
    };
    let style = style.on_default().bold();
    for (index, line) in lines.iter().enumerate() {
        match index {
            0 => writeln!(output, "{style}{line}{style:#}")?,
            _ => writeln!(output, "{line}")?,
        }
    }
    Ok(())
}

/// The policy in a file.
fn policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    Policy::parse(&bytes).map_err(|error| {
        Failure::new(format!("no policy: {error}"))
            .at(path.display().to_string())
            .fix("write it as C2SP tlog-policy says")
            .exit_with(Exit::Undecided)
    })
}

fn broken(path: &Path, error: &FileError) -> Failure {
    Failure::of(error).at(path.display().to_string()).exit_with(Exit::Undecided)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot be read: {error}"))
        .at(path.display().to_string())
        .exit_with(Exit::Undecided)
}

/// Adds a key given as itself or as a file. A key's name may hold slashes, so a vkey is tried first.
fn key(given: &str, keys: &mut TrustedKeys) -> Result<(), Failure> {
    let not_a_key = match trusted(given, keys) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let failed = |what: String| {
        Failure::new(what)
            .at(format!("--key {given}"))
            .fix("give the vkey, or the file that `sealtap keys` of the gateway filled")
            .exit_with(Exit::Undecided)
    };
    match std::fs::read_to_string(given) {
        Ok(text) => {
            trusted(&text, keys).map_err(|error| failed(format!("no key to trust: {error}")))
        }
        Err(error) => {
            Err(failed(format!("neither a vkey ({not_a_key}) nor a readable file ({error})")))
        }
    }
}
