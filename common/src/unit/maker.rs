//! The unit that says who made a connection, or went around: what the kernel noted in the moment, and
//! what was found of the process, if that was still there.

use super::decode::{object, octets, optional};
use super::encode::Writer;
use super::{Octets, UnitError};
use crate::json::{Problem, Refusal, Value};

/// Who made a connection, or went around.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maker<'a> {
    /// Its own `ip:port`, where that is known.
    pub client: Option<Octets<'a>>,
    /// The `ip:port` that it wanted to reach, where that is known.
    pub destination: Option<Octets<'a>>,
    /// What the kernel noted; none where it noted nothing.
    pub noted: Option<NotedBy>,
    /// What was found of the process; none where that was gone before the look.
    pub process: Option<ProcessSeen<'a>>,
}

/// What the kernel noted when the connection was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotedBy {
    /// The process, as the first namespace counts.
    pub process: u64,
    /// The user, where it said so.
    pub user: Option<u64>,
}

/// What was found of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessSeen<'a> {
    /// The path of its cgroup.
    pub cgroup: Option<Octets<'a>>,
    /// Its command line, arguments apart by NUL.
    pub command: Option<Octets<'a>>,
    /// The container that its cgroup's path names.
    pub container: Option<Octets<'a>>,
    /// The path of its executable.
    pub executable: Option<Octets<'a>>,
    /// The inode of its network namespace.
    pub namespace: Option<u64>,
    /// SHA-256 of its executable, in hexadecimal.
    pub sha256: Option<Octets<'a>>,
    /// When it started, in clock ticks since the machine did.
    pub started: Option<u64>,
}

impl Maker<'_> {
    /// The unit's canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new(512);
        w.fixed("{\"client\":").optional(self.client.as_ref());
        w.fixed(",\"destination\":").optional(self.destination.as_ref()).fixed(",\"noted\":");
        match &self.noted {
            Some(noted) => {
                w.fixed("{\"process\":").number(noted.process);
                w.fixed(",\"user\":");
                match noted.user {
                    Some(user) => w.number(user),
                    None => w.fixed("null"),
                };
                w.fixed("}")
            }
            None => w.fixed("null"),
        };
        w.fixed(",\"process\":");
        match &self.process {
            Some(process) => process.write(&mut w),
            None => w.fixed("null"),
        };
        w.fixed("}");
        w.bytes()
    }
}

impl ProcessSeen<'_> {
    fn write<'w>(&self, w: &'w mut Writer) -> &'w mut Writer {
        w.fixed("{\"cgroup\":").optional(self.cgroup.as_ref());
        w.fixed(",\"command\":").optional(self.command.as_ref());
        w.fixed(",\"container\":").optional(self.container.as_ref());
        w.fixed(",\"executable\":").optional(self.executable.as_ref()).fixed(",\"namespace\":");
        match self.namespace {
            Some(namespace) => w.number(namespace),
            None => w.fixed("null"),
        };
        w.fixed(",\"sha256\":").optional(self.sha256.as_ref()).fixed(",\"started\":");
        match self.started {
            Some(started) => w.number(started),
            None => w.fixed("null"),
        };
        w.fixed("}")
    }
}

impl Maker<'static> {
    /// Reads the unit from its canonical bytes.
    ///
    /// # Errors
    /// [`UnitError`] says which member is wrong, or where the text is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnitError> {
        object(bytes, |m| {
            let client = m.take("client", optional)?;
            let destination = m.take("destination", optional)?;
            let noted = m.take("noted", |v| v.optional(noted))?;
            let process = m.take("process", |v| v.optional(process))?;
            Ok(Self { client, destination, noted, process })
        })
    }
}

fn noted(value: &Value) -> Result<NotedBy, Refusal> {
    let mut m = value.members()?;
    let process = m.take("process", Value::unsigned)?;
    let user = m.take("user", |v| v.optional(Value::unsigned))?;
    m.end()?;
    Ok(NotedBy { process, user })
}

fn process(value: &Value) -> Result<ProcessSeen<'static>, Refusal> {
    let mut m = value.members()?;
    let cgroup = m.take("cgroup", optional)?;
    let command = m.take("command", optional)?;
    let container = m.take("container", optional)?;
    let executable = m.take("executable", optional)?;
    let namespace = m.take("namespace", |v| v.optional(Value::unsigned))?;
    let sha256 = m.take("sha256", |v| v.optional(digest))?;
    let started = m.take("started", |v| v.optional(Value::unsigned))?;
    m.end()?;
    Ok(ProcessSeen { cgroup, command, container, executable, namespace, sha256, started })
}

fn digest(value: &Value) -> Result<Octets<'static>, Problem> {
    let digits = octets(value)?;
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    match digits.len() == 64 && digits.iter().all(lower) {
        true => Ok(digits),
        false => Err(Problem::Value("is no SHA-256 in lowercase hexadecimal".into())),
    }
}
