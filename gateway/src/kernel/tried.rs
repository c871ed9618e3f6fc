//! Each program by itself: loaded, attached, detached, to see what this machine takes.
//!
//! In: this process's rights. Out: for each program of the object whether the kernel took it, and why not.
//! What is attached watches nobody, and is gone when the next one is tried.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use aya::EbpfLoader;
use aya::programs::tc::{self, TcAttachType};
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError};
use serde::{Deserialize, Serialize};

use super::OBJECT;
use super::cgroup::open_root;
use super::execs::TRACEPOINT;
use super::loader::drop_capabilities;
use super::message::{read, write};
use crate::command::{Exit, Failure, Outcome};

/// The device that programs are tried at: every machine has it.
const LOOPBACK: &str = "lo";

/// What came of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its name.
    pub name: String,
    /// The kind of its hook.
    pub hook: String,
    /// Why the kernel did not take it.
    pub refused: Option<String>,
}

type Tried = Result<Vec<Attempt>, String>;

/// Tries each in a process of its own, with the loader's rights and no more.
///
/// # Errors
///
/// Why none could be tried.
pub fn attempts() -> Result<Vec<Attempt>, String> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["kernel", "try"]).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let tried = child.stdout.as_mut().map(read::<Tried>);
    // It has said what it had to say.
    let _ = child.wait();
    match tried {
        Some(Ok(tried)) => tried,
        _ => Err("the process that tries them broke off".to_owned()),
    }
}

/// Tries each, and says on standard output what came of it.
///
/// # Errors
///
/// It cannot be said.
pub fn run() -> Outcome {
    let mut output = io::stdout().lock();
    let written = write(&mut output, &try_each()).and_then(|()| output.flush());
    written.map_err(|error| Failure::writing(&error))?;
    Ok(Exit::Done)
}

fn try_each() -> Tried {
    drop_capabilities()
        .map_err(|error| format!("the capabilities for it are not there ({error})"))?;
    let (root, _) = open_root().map_err(|error| error.to_string())?;
    let mut ebpf = EbpfLoader::new().load(OBJECT).map_err(|error| error.to_string())?;
    let mut tried = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        let (hook, came) = match program {
            Program::CgroupSockAddr(program) => ("cgroup address", {
                program.load().and_then(|()| {
                    let link = program.attach(&root, CgroupAttachMode::Single)?;
                    program.detach(link)
                })
            }),
            Program::SockOps(program) => ("cgroup sock_ops", {
                program.load().and_then(|()| {
                    let link = program.attach(&root, CgroupAttachMode::Single)?;
                    program.detach(link)
                })
            }),
            Program::CgroupSockopt(program) => ("cgroup sockopt", {
                program.load().and_then(|()| {
                    let link = program.attach(&root, CgroupAttachMode::Single)?;
                    program.detach(link)
                })
            }),
            Program::CgroupSkb(program) => ("cgroup packet", {
                program.load().and_then(|()| {
                    let (egress, mode) = (CgroupSkbAttachType::Egress, CgroupAttachMode::Single);
                    let link = program.attach(&root, egress, mode)?;
                    program.detach(link)
                })
            }),
            Program::SchedClassifier(program) => ("device egress", {
                program.load().and_then(|()| {
                    let first = program.attach(LOOPBACK, TcAttachType::Egress);
                    let link = first.or_else(|_| {
                        // Before Linux 6.6 a queue must hold it, and stays behind, empty.
                        let _ = tc::qdisc_add_clsact(LOOPBACK);
                        program.attach(LOOPBACK, TcAttachType::Egress)
                    })?;
                    program.detach(link)
                })
            }),
            // By its name alone: there is no cgroup or device that it is at.
            Program::RawTracePoint(program) => ("raw tracepoint", {
                program.load().and_then(|()| {
                    let link = program.attach(TRACEPOINT)?;
                    program.detach(link)
                })
            }),
            _ => {
                let refused = Some("nobody has said how it is tried".to_owned());
                let (name, hook) = (name.to_owned(), "another hook".to_owned());
                tried.push(Attempt { name, hook, refused });
                continue;
            }
        };
        let refused = came.err().map(|error| said(&error));
        tried.push(Attempt { name: name.to_owned(), hook: hook.to_owned(), refused });
    }
    tried.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tried)
}

/// An error with all that caused it; the verifier's own words are long, and their last line says why.
fn said(error: &ProgramError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let first = text.lines().next().unwrap_or_default();
    first.chars().take(300).collect()
}
