//! `sealtap-verify`: checks a sealtap log offline, with nothing but its files and a public key.
//!
//! In: a path, keys. Out: a report on standard output and an exit code: 0 valid under a key that was
//! given, 1 not valid, 2 undecided. Never opens a socket, never writes a file, never trusts a key
//! that it found inside the path.

use std::ffi::OsString;
use std::fs;
use std::io::{BufReader, Write as _, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sealtap_common::bundle::{self, TrustedKeys};
use sealtap_common::directory::{cosigned, dated, verify_directory_under};
use sealtap_common::keyring::trusted;
use sealtap_common::policy::Policy;
use sealtap_common::verify::{Bodies, CHECKPOINT, Report, Timestamp, Trust};

const HELP: &str = "\
Verify a sealtap bundle or log offline.

Usage: sealtap-verify PATH [--key VKEY|FILE]... [--policy FILE] [--cosigned FILE] [--json]

  PATH              a file that `sealtap bundle` wrote, a log directory (it holds `checkpoint` and `tile`), or a data
                    directory (its `log` is verified)
  --key VKEY|FILE   trust this log key: a vkey (NAME+HASH+BASE64), or a file with
                    what `sealtap keys` prints; may be given more than once
  --policy FILE     trust the logs and witnesses of this C2SP tlog-policy, and ask for
                    its quorum of cosignatures
  --cosigned FILE   the cosigned checkpoint of a log directory; a data directory has
                    its own
  --json            print the report as one JSON object
  --help            print this
  --version         print the version

Exit code: 0 valid under a key that was given; 1 not valid; 2 undecided, as when
no key was given (\"intact, key not pinned\") or a file could not be read.
A key found inside PATH is never trusted: get it from whoever runs the gateway.
";

/// The answer when nothing could be decided.
const UNDECIDED: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (text, code) = match answer(&arguments) {
        Ok(answer) => answer,
        Err(problem) => {
            // Nothing is left to be done when even standard error is gone.
            let _ = writeln!(stderr(), "sealtap-verify: {problem}");
            return ExitCode::from(UNDECIDED);
        }
    };
    match stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::from(UNDECIDED),
    }
}

/// What to print, and the exit code; or what is wrong with the question.
fn answer(arguments: &[OsString]) -> Result<(String, u8), String> {
    let mut path = None;
    let mut keys = TrustedKeys::default();
    let mut json = false;
    let (mut policy, mut beside) = (None, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.to_string_lossy().as_ref() {
            "--help" | "-h" => return Ok((HELP.to_owned(), 0)),
            "--version" | "-V" => {
                return Ok((format!("sealtap-verify {}\n", env!("CARGO_PKG_VERSION")), 0));
            }
            "--json" => json = true,
            "--key" => {
                let given = words.next().ok_or("--key needs a vkey or a file after it")?;
                key(&given.to_string_lossy(), &mut keys)?;
            }
            "--policy" => policy = Some(words.next().ok_or("--policy needs a file after it")?),
            "--cosigned" => {
                beside = Some(words.next().ok_or("--cosigned needs a file after it")?);
            }
            option if option.starts_with("--key=") => {
                key(option.trim_start_matches("--key="), &mut keys)?;
            }
            option if option.starts_with('-') => {
                return Err(format!("unknown option {option}; --help lists what there is"));
            }
            _ if path.is_none() => path = Some(PathBuf::from(word)),
            plain => return Err(format!("{plain} is a second path; one at a time is verified")),
        }
    }
    let path = path.ok_or("say which bundle or directory to verify; --help tells more")?;
    let policy = policy.map(|file| read_policy(Path::new(file))).transpose()?;
    if path.is_file() {
        if beside.is_some() {
            return Err("--cosigned is for a log; a bundle has its own".into());
        }
        let file = fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let report = bundle::verify_under(BufReader::new(file), &keys, policy.as_ref());
        let text = if json { report.to_json() } else { report.lines().join("\n") };
        return Ok((format!("{text}\n"), report.verdict().exit_code()));
    }
    let report = report(&path, &keys, policy.as_ref(), beside.map(Path::new))?;
    let text = if json { report.to_json() } else { report.lines().join("\n") };
    Ok((format!("{text}\n"), report.verdict().exit_code()))
}

/// Verifies the log at `path`, or the one inside a data directory.
fn report(
    path: &Path,
    keys: &TrustedKeys,
    policy: Option<&Policy>,
    beside: Option<&Path>,
) -> Result<Report, String> {
    let inside = path.join("log");
    // What may not be looked into is not the same as what is not there.
    let there = |path: PathBuf| {
        path.try_exists().map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    let (log, bodies) = if there(path.join(CHECKPOINT))? || there(path.join("tile"))? {
        (path.to_owned(), Bodies::Absent)
    } else if there(inside.clone())? {
        (inside, Bodies::NotChecked)
    } else {
        let path = path.display();
        return Err(format!(
            "{path} is neither a log (it would hold `checkpoint`) nor a data directory (it would hold `log`), nor a bundle"
        ));
    };
    // Before the log, which may grow meanwhile.
    let beside = match beside {
        Some(file) => Some(read(file)?),
        None if bodies == Bodies::NotChecked => {
            cosigned(path).map_err(|error| error.to_string())?
        }
        None => None,
    };
    let token = match bodies {
        Bodies::NotChecked => dated(path).map_err(|error| error.to_string())?,
        _ => None,
    };
    let dated = token.as_ref().map(|(checkpoint, reply)| Timestamp { checkpoint, reply });
    let trust = Trust { keys: &keys.log, policy, cosigned: beside.as_deref(), dated };
    let (mut report, ()) = verify_directory_under(&log, &trust, || ());
    report.bodies = bodies;
    Ok(report)
}

fn read_policy(file: &Path) -> Result<Policy, String> {
    Policy::parse(&read(file)?).map_err(|error| format!("--policy {}: {error}", file.display()))
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

/// Adds a key given as itself or as a file. Names may hold slashes, so a vkey is tried first.
fn key(given: &str, keys: &mut TrustedKeys) -> Result<(), String> {
    let problem = match trusted(given, keys) {
        Ok(()) => return Ok(()),
        Err(problem) => problem,
    };
    match fs::read_to_string(given) {
        Ok(text) => trusted(&text, keys).map_err(|error| format!("--key {given}: {error}")),
        Err(error) => {
            Err(format!("--key {given}: no vkey ({problem}), and no readable file ({error})"))
        }
    }
}
