//! Who made the calls of a run, by process.
//!
//! In: the store. Out: processes, and how many connections and exchanges each made. It is a
//! convenience for people: what binds it are the leaves of the connections.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::data::DataDir;
use crate::identify::Launch;
use crate::store::{StoreError, StoreReader};

/// What processes made.
pub(super) type Makers = BTreeMap<Who, Made>;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    process: Option<u64>,
    executable: Option<String>,
    sha256: Option<String>,
}

/// What it made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Made {
    /// Connections.
    pub(super) connections: u64,
    /// Exchanges over them.
    pub(super) exchanges: u64,
}

impl Who {
    /// In few words.
    pub(super) fn said(&self) -> String {
        let executable = self.executable.as_deref().unwrap_or("unknown");
        match self.process {
            Some(process) => format!("{executable} ({process})"),
            None => executable.to_owned(),
        }
    }
}

/// Looks them up.
pub(super) fn read(data: &DataDir, launch: &Launch) -> Makers {
    let found = find(data, launch);
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "who made the calls is not known");
        Makers::new()
    })
}

fn find(data: &DataDir, launch: &Launch) -> Result<Makers, StoreError> {
    let mut makers = Makers::new();
    if !data.store().exists() {
        return Ok(makers);
    }
    let store = StoreReader::open(&data.store())?;
    let Some(run) = store.run(&launch.id)? else { return Ok(makers) };
    for (made, exchanges) in store.makers(&run.boot)? {
        let text = |octets: Option<&[u8]>| {
            octets.map(|octets| String::from_utf8_lossy(octets).into_owned())
        };
        let process = made.maker.process.as_ref();
        let who = Who {
            process: made.maker.noted.map(|noted| noted.process),
            executable: text(process.and_then(|process| process.executable.as_deref())),
            sha256: text(process.and_then(|process| process.sha256.as_deref())),
        };
        let sum: &mut Made = makers.entry(who).or_default();
        sum.connections = sum.connections.saturating_add(1);
        sum.exchanges = sum.exchanges.saturating_add(exchanges);
    }
    Ok(makers)
}

/// For programs.
pub(super) fn json((who, made): (&Who, &Made)) -> Value {
    json!({
        "process": who.process,
        "executable": who.executable,
        "sha256": who.sha256,
        "connections": made.connections,
        "exchanges": made.exchanges,
    })
}
