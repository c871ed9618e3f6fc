//! Client: one script with one real, unmodified client library in it, run as a program of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::door::Door;

/// How long all cases of one client may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Variables that would send a client elsewhere than it is told here.
const FOREIGN: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// The Python environment of the suite.
    Python,
    /// Node with the packages of the suite.
    Node,
    /// `sh`, for curl.
    Shell,
}

/// The server that a client talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Server {
    /// Model APIs: npm @copilotkit/aimock.
    Models,
    /// Bedrock with signatures, WebSocket, uploads, audio: `server.py` on PyPI aiohttp.
    Plain,
    /// MCP: PyPI fastmcp.
    Tools,
    /// gRPC: PyPI grpcio.
    Procedures,
}

/// A client and what is known about it.
#[derive(Debug)]
pub(crate) struct Client {
    /// What its tests are called.
    pub(crate) name: &'static str,
    /// What runs it.
    pub(crate) language: Language,
    /// Its file below `tests/clients/LANGUAGE`.
    pub(crate) script: &'static str,
    /// Whom it talks to.
    pub(crate) server: Server,
    /// Variables that its script reads.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    /// Fields of requests whose values are new each time, in lower case.
    pub(crate) differs: &'static [&'static str],
    /// Doors that it cannot use, and why.
    pub(crate) unable: &'static [(Door, &'static str)],
}

/// What one case printed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The case's name.
    pub(crate) case: String,
    /// Its result.
    pub(crate) result: Value,
}

/// Where the installed clients are: the folder that `cargo xtask clients` fills.
#[derive(Debug)]
pub(crate) struct Installed(PathBuf);

impl Installed {
    /// The folder named by `SEALTAP_CLIENTS`, or why there is none.
    ///
    /// # Panics
    /// If the scripts cannot be put beside the packages of Node, which finds them nowhere else.
    pub(crate) fn find() -> Result<Self, String> {
        let Some(folder) = std::env::var_os("SEALTAP_CLIENTS").map(PathBuf::from) else {
            return Err("`cargo xtask clients` installs the clients and runs this suite".to_owned());
        };
        for entry in scripts().join("node").read_dir().expect("the scripts are there") {
            let path = entry.expect("a folder can be read").path();
            if path.extension().is_some_and(|extension| extension == "mjs") {
                let name = path.file_name().expect("a file has a name");
                std::fs::copy(&path, folder.join("node").join(name)).expect("a script is copied");
            }
        }
        Ok(Self(folder))
    }

    /// The program and its first arguments that run a script.
    pub(crate) fn line(&self, language: Language, script: &str) -> Vec<OsString> {
        match language {
            Language::Python => {
                let script = scripts().join("python").join(script);
                // What it compiles lies with what is installed, not beside the scripts.
                let compiled = format!("pycache_prefix={}", self.0.join("compiled").display());
                let python = self.0.join("python/bin/python").into();
                vec![python, "-X".into(), compiled.into(), script.into()]
            }
            Language::Node => vec!["node".into(), self.0.join("node").join(script).into()],
            Language::Shell => vec!["sh".into(), scripts().join(script).into()],
        }
    }
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/clients"))
}

/// Runs a client against `base`, under the program `before` if it has any words, and gives what its
/// cases printed.
///
/// # Panics
/// If it fails, prints anything else, or runs for too long.
pub(crate) fn run(
    client: &Client,
    installed: &Installed,
    base: &str,
    before: &[OsString],
    variables: &[(String, String)],
) -> Vec<Outcome> {
    let mut line = before.to_vec();
    line.extend(installed.line(client.language, client.script));
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).arg(base).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    for name in FOREIGN {
        command.env_remove(name);
    }
    command.env_remove("SSL_CERT_DIR");
    // What Python lists in the order of hashes comes in the same order each time.
    command.env("PYTHONHASHSEED", "0");
    command.envs(client.variables.iter().copied());
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = (stdout.expect("it is piped"), stderr.expect("it is piped"));
    let stdout = std::thread::spawn(move || text(stdout));
    let stderr = std::thread::spawn(move || text(stderr));
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    let stdout = stdout.join().expect("a pipe can be read");
    let stderr = stderr.join().expect("a pipe can be read");
    let context = || format!("{} at {base}\n{stdout}\n{stderr}", client.name);
    let status = status.unwrap_or_else(|| panic!("no end after {PATIENCE:?}: {}", context()));
    assert!(status.success(), "{status}: {}", context());
    let outcomes: Vec<Outcome> = stdout.lines().filter_map(outcome).collect();
    assert!(!outcomes.is_empty(), "it did nothing: {}", context());
    for outcome in &outcomes {
        assert!(outcome.result.get("failed").is_none(), "{}: {outcome:?}\n{stderr}", client.name);
    }
    outcomes
}

/// A line of a case; what `sealtap run` prints beside the client's lines is none.
fn outcome(line: &str) -> Option<Outcome> {
    let mut value: Value = serde_json::from_str(line).ok()?;
    let case = value.get("case")?.as_str()?.to_owned();
    let failed = value.get("failed").is_some();
    let result = if failed { value } else { value.get_mut("result")?.take() };
    Some(Outcome { case, result })
}

fn text(mut pipe: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    pipe.by_ref().read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
