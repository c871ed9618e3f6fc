//! Who made an exchange: the process at the other end of its connection, where the kernel led that here.

use sealtap_common::unit::Maker;
use serde::Serialize;

use super::octets::{printable, readable};
use crate::store::MadeBy;

/// Who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MakerView {
    /// The index of the leaf of its connection.
    pub leaf: u64,
    /// The process, as the kernel noted it in the moment.
    pub process: Option<u64>,
    /// The user, likewise.
    pub user: Option<u64>,
    /// The path of the process's executable; none where it was gone before anybody looked.
    pub executable: Option<String>,
    /// SHA-256 of that file.
    pub sha256: Option<String>,
    /// Its arguments, with spaces between.
    pub command: Option<String>,
    /// Its cgroup.
    pub cgroup: Option<String>,
    /// Its container.
    pub container: Option<String>,
    /// The inode of its network namespace.
    pub namespace: Option<u64>,
    /// When it started, in hundredths of a second since the machine did.
    pub started: Option<u64>,
}

impl MakerView {
    /// What is known of it.
    #[must_use]
    pub fn new(made: &MadeBy) -> Self {
        let Maker { noted, process, .. } = &made.maker;
        let process = process.clone().unwrap_or_default();
        let text = |octets: &Option<_>| octets.as_deref().map(readable);
        Self {
            leaf: made.leaf,
            process: noted.map(|noted| noted.process),
            user: noted.and_then(|noted| noted.user),
            executable: text(&process.executable),
            sha256: text(&process.sha256),
            command: process.command.as_deref().map(arguments),
            cgroup: text(&process.cgroup),
            container: text(&process.container),
            namespace: process.namespace,
            started: process.started,
        }
    }

    /// In a column: the executable's name, and the process.
    #[must_use]
    pub fn name(&self) -> String {
        let process = self.process.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let executable = self.executable.as_deref().unwrap_or("?");
        let name = executable.rsplit('/').next().unwrap_or(executable);
        format!("{} {process}", printable(name))
    }

    /// In few words.
    #[must_use]
    pub fn said(&self) -> String {
        let process = self.process.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
        match &self.executable {
            Some(executable) => format!("{executable}  (process {process})"),
            None => format!("unknown  (process {process}, gone before it was looked at)"),
        }
    }
}

fn arguments(command: &[u8]) -> String {
    let command = command.strip_suffix(b"\0").unwrap_or(command);
    readable(&command.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect::<Vec<_>>())
}
