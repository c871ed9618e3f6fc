//! `sealtap run`: one command under a gateway of its own.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Exit, Failure, serve};
use crate::config::place;

/// Run one command with its model and tool traffic recorded; no key, no account, no change to it.
#[derive(Debug, Args)]
#[group(id = "run")]
#[command(
    about = "Run one command with its model and tool traffic recorded; no change to it, no privileges",
    long_about = None,
    override_usage = "sealtap run [OPTIONS] -- COMMAND [ARGUMENT]...",
    after_help = "\
Examples:
  sealtap run -- python agent.py
  sealtap run --name nightly-7 -- sh -c 'node fetch.mjs && python report.py'
  sealtap run --base-urls -- ./agent        also sets OPENAI_BASE_URL, ANTHROPIC_BASE_URL, ...

COMMAND keeps the terminal, its own output and its exit code, and gets the signals sent to
sealtap. A gateway runs beside it on a free port of the loopback; proxy variables point COMMAND
there. All that it records is one run, sealed when COMMAND ends, and written into a bundle. A
short account goes to standard error at the end; messages of the gateway go to messages.log in the
data directory.

As root, where the kernel allows it, COMMAND runs in a cgroup of its own: its TCP connections are
led to the gateway even if it ignores the variables, and what else it sends is counted, said in a
line on standard error (--quiet: not) and named at the end. Of the config file's [kernel],
loopback_allow, resolver and interval hold here; what else stands there is for serve.

With --enforce, what cannot be led there is denied, and COMMAND is fenced in:
  - it has no capabilities, and only IP, Unix and netlink sockets
  - it joins no multicast groups, so mDNS does not work, and has no tunnel devices
  - it makes no namespaces: bubblewrap and browsers cannot sandbox themselves
  - it inherits no descriptor but the standard ones; one that is a Unix socket becomes a pipe:
    sealtap reads input ahead of COMMAND, and output and error may change places
  - it sees neither the data directory nor the lock
  - what it started is ended with it; what cannot be ended stays cut off, and the exit code is 125
If sealtap is killed, what is left of COMMAND stays cut off until `sealtap kernel detach`. Root
owns files by which other programs can be made to act, so of a COMMAND that runs as root the log
can vouch for less: --user runs it as somebody else, who must own what it is to write.

Without the kernel coverage is observed only: a program can ignore proxy variables, and nothing
would notice.

NO_PROXY is left as it is; with --capture all it is taken away. Proxies that the caller's
environment names are not used: the gateway connects by itself.

Exit codes: COMMAND's own; if it was ended by a signal, sealtap ends by the same (a shell shows
128+N).
  125  the gateway could not start, or could not seal what a COMMAND that exited 0 did; or
       --enforce could not hold COMMAND, or could not end it
  126  COMMAND cannot be run
  127  there is no such COMMAND
   64  wrong usage"
)]
pub struct Arguments {
    /// Name of the run [default: COMMAND's name and part of the run's id]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Also set the variables by which SDKs take a base URL, so that they need no proxy
    #[arg(long)]
    base_urls: bool,
    /// Write the bundle here [default: bundles/NAME.tar in the data directory]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// What the bundle discloses: all, none, or pointers, as of `sealtap bundle`
    #[arg(long, value_name = "POINTER", default_value = "none")]
    disclose: Vec<String>,
    /// Seconds to wait for processes that COMMAND leaves behind
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    linger: u64,
    /// Say the closing account as one JSON object, on standard error or into FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    json: Option<Option<PathBuf>>,
    /// Whether the kernel leads COMMAND's connections to the gateway, whatever COMMAND makes of the
    /// proxy variables, and counts what goes around
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto", env = "SEALTAP_KERNEL")]
    kernel: KernelChoice,
    /// An address of the loopback that COMMAND reaches without the gateway: 127.0.0.1:5432, or
    /// 127.0.0.1 for every port of it [default: loopback_allow of the config file]
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    loopback_allow: Vec<SocketAddr>,
    /// Bytes for events of the kernel that wait to be read: a power of two, a page at least
    #[arg(long, value_name = "BYTES", hide = true)]
    kernel_ring: Option<u32>,
    /// Deny traffic that goes around the gateway, or do not start COMMAND; needs root
    #[arg(long)]
    enforce: bool,
    /// With --enforce: COMMAND runs as this user and group, by number [default: who runs sealtap]
    #[arg(long, value_name = "UID[:GID]", value_parser = user, requires = "enforce")]
    user: Option<(u32, u32)>,
    /// Say nothing on standard error before the closing account
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    serve: serve::Arguments,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Whether the kernel is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelChoice {
    /// Where this process may: as root, as a rule
    Auto,
    /// Without it COMMAND is not started
    Require,
    /// Not at all: what ignores the proxy variables goes around and is not noticed
    Off,
}

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The run's name, if one was given.
    pub name: Option<String>,
    /// Whether base URLs of SDKs are set.
    pub base_urls: bool,
    /// Whether the kernel is asked.
    pub kernel: KernelChoice,
    /// What on this machine is reached without the gateway.
    pub loopback: Vec<SocketAddr>,
    /// Bytes for events of the kernel, if that was said.
    pub ring: Option<u32>,
    /// Whether what goes around is denied.
    pub enforce: bool,
    /// User and group that the command runs as, if others than the caller's.
    pub user: Option<(u32, u32)>,
    /// Where the bundle goes, if that was said.
    pub bundle: Option<PathBuf>,
    /// What the bundle discloses.
    pub disclose: Vec<String>,
    /// How long to wait for what the command leaves behind.
    pub linger: Duration,
    /// How the closing account is given.
    pub account: Account,
    /// Whether what goes around is said only at the end.
    pub quiet: bool,
    /// The gateway. Its address is free of any that the configuration names for `serve`.
    pub gateway: serve::Start,
}

/// How the closing account is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// As text on standard error.
    Text,
    /// As JSON on standard error.
    Json,
    /// As JSON in a file.
    JsonFile(PathBuf),
}

impl Arguments {
    /// Reads the configuration; nothing is opened but the config file.
    pub(super) fn start(self) -> Result<Start, Failure> {
        if self.enforce && self.kernel == KernelChoice::Off {
            return Err(Failure::new(
                "--enforce takes the kernel, and --kernel off (or SEALTAP_KERNEL) leaves it out",
            )
            .fix("leave one of them out; COMMAND was not started")
            .exit_with(Exit::Command(GATEWAY_FAILED)));
        }
        let mut command = self.command.into_iter();
        let program = command.next().unwrap_or_default();
        let gateway = self.serve.private()?;
        let mut loopback = self.loopback_allow;
        if loopback.is_empty() {
            loopback.clone_from(&gateway.config.kernel.loopback_allow);
        }
        Ok(Start {
            program,
            arguments: command.collect(),
            name: self.name,
            base_urls: self.base_urls,
            kernel: if self.enforce { KernelChoice::Require } else { self.kernel },
            enforce: self.enforce,
            user: self.user,
            loopback,
            ring: self.kernel_ring,
            bundle: self.bundle,
            disclose: self.disclose,
            linger: Duration::from_secs(self.linger),
            account: match self.json {
                None => Account::Text,
                Some(None) => Account::Json,
                Some(Some(file)) => Account::JsonFile(file),
            },
            quiet: self.quiet,
            gateway,
        })
    }
}

/// A user and a group by their numbers; without a group the one of the same number.
fn user(text: &str) -> Result<(u32, u32), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok((number(user)?, number(group)?))
}

/// The exit code where it is the gateway that failed.
pub const GATEWAY_FAILED: u8 = 125;

/// The exit code where the command is there and cannot be run.
pub const CANNOT_RUN: u8 = 126;

/// The exit code where there is no such command.
pub const NOT_FOUND: u8 = 127;
