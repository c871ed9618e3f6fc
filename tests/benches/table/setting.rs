//! Where the bench runs: the programs it drives, the upstream, a place for files.

use std::io::{BufRead as _, BufReader, Error, Read as _, Result, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit};
use serde_json::Value;

use crate::Run;
use crate::system::Running;
use crate::tls;

/// Everything that stays the same over a run.
pub(crate) struct Setting {
    /// The product's binary.
    pub(crate) sealtap: PathBuf,
    /// The small verifier.
    pub(crate) verifier: PathBuf,
    /// mitmdump.
    pub(crate) mitmdump: PathBuf,
    /// The kernel programs.
    pub(crate) object: PathBuf,
    /// Where systems keep their files.
    pub(crate) scratch: PathBuf,
    /// The upstream's host and port.
    pub(crate) upstream: String,
    /// Host and port of the upstream's TLS.
    pub(crate) secure: String,
    /// The port of the upstream's TLS far away.
    pub(crate) distant: u16,
    /// What TLS needs.
    pub(crate) tls: tls::Files,
    /// Divides every count, for a quick look.
    pub(crate) divisor: u64,
    server: Child,
}

impl Setting {
    /// Looks for the programs and starts the upstream.
    pub(crate) fn new(run: &Run) -> Result<Self> {
        let (mitmdump, scratch) = (&run.mitmdump, &run.out);
        let myself = std::env::current_exe()?;
        // Cargo puts a bench into `deps`, below the binaries.
        let binaries = myself.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned();
        let (sealtap, verifier) = (binaries.join("sealtap"), binaries.join("sealtap-verify"));
        for (program, argument) in [
            (&sealtap, "--version"),
            (&verifier, "--version"),
            (&mitmdump.into(), "--version"),
            (&"nginx".into(), "-v"),
        ] {
            runs(program, argument)?;
        }
        std::fs::create_dir_all(scratch)?;
        let scratch = std::path::absolute(scratch)?;
        let tls = tls::Files::make(&scratch)?;
        let mut server = Command::new(myself);
        let server = server.arg("upstream").arg(tls.directory());
        let server = server.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = server.spawn()?;
        let mut listening = String::new();
        let said = server.stdout.take().ok_or_else(|| Error::other("no standard output"))?;
        BufReader::new(said).read_line(&mut listening)?;
        let mut listening = listening.split_ascii_whitespace();
        let mut next = || listening.next().ok_or_else(|| Error::other("the upstream is gone"));
        let (upstream, secure) = (next()?.to_owned(), next()?.to_owned());
        let distant = next()?.parse().map_err(Error::other)?;
        let (mitmdump, object) = (mitmdump.clone(), run.object.clone());
        let divisor = if run.quick { 10 } else { 1 };
        Ok(Self {
            sealtap,
            verifier,
            mitmdump,
            object,
            scratch,
            upstream,
            secure,
            distant,
            tls,
            divisor,
            server,
        })
    }

    /// `count`, or less for a quick look.
    pub(crate) fn count(&self, count: u64) -> u64 {
        (count / self.divisor).max(100)
    }
}

/// Open files of a proxy that are no streams' (sealtap keeps some 250 back for itself).
const OWN_FILES: u64 = 600;

/// `count` streams, or as many as a proxy may have open files for, two for each.
pub(crate) fn streams(count: u64) -> u64 {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    count.min(files.saturating_sub(OWN_FILES) / 2)
}

impl Drop for Setting {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn runs(program: &PathBuf, argument: &str) -> Result<()> {
    let mut command = Command::new(program);
    let command = command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
    let missing = |why: String| {
        let name = program.display();
        Error::other(format!("{name} is missing ({why}); `cargo xtask bench` installs what it can"))
    };
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(missing(status.to_string())),
        Err(error) => Err(missing(error.to_string())),
    }
}

/// A load generator at work.
pub(crate) struct Loading {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Loading {
    /// Starts `kind` of load against `running`; `options` are names and values.
    pub(crate) fn start(running: &Running, kind: &str, options: &[(&str, u64)]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["load", kind, "--address", &running.address, "--prefix", running.prefix()]);
        if let Some(tls) = &running.tls {
            command.arg("--authority").arg(&tls.authority);
            command.args(tls.tunnel.iter().flat_map(|host| ["--tunnel", host]));
        }
        for (name, value) in options {
            command.arg(format!("--{name}")).arg(value.to_string());
        }
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = child.stdout.take().ok_or_else(|| Error::other("no standard output"))?;
        Ok(Self { child, lines: BufReader::new(said) })
    }

    /// The line it prints; its failure is ours.
    pub(crate) fn said(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|_| {
            let mut why = String::new();
            if let Some(mut errors) = self.child.stderr.take() {
                let _ = errors.read_to_string(&mut why);
            }
            Error::other(format!("the load generator failed: {}", why.trim()))
        })
    }

    /// Tells it to go on.
    pub(crate) fn go_on(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().ok_or_else(|| Error::other("no standard input"))?;
        input.write_all(b"\n")
    }

    /// Ends its standard input and waits.
    pub(crate) fn finish(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("load: {status}"))) }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        // Ended already, unless something else failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `kind` of load to its end.
pub(crate) fn load(running: &Running, kind: &str, options: &[(&str, u64)]) -> Result<Value> {
    let mut loading = Loading::start(running, kind, options)?;
    let said = loading.said()?;
    loading.finish()?;
    Ok(said)
}
