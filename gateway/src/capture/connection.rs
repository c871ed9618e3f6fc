//! The records of connections that the kernel led here, and of what went around.
//!
//! In: what a listener saw of a connection, from its coming to its end. Out: records in the journal,
//! which a crash may cut after any of them. Never touches the disk on the caller's thread.

#[cfg(test)]
pub(crate) mod samples;

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use rustls::crypto::SecureRandom;
use serde::{Deserialize, Serialize};

use super::journal::{Journal, RecordRef};
use super::record::kind;
use super::{Tap, fill, random_id};
use crate::clock::Timeline;
use crate::kernel::Process;

/// A connection came.
#[derive(Clone, Serialize, Deserialize)]
pub struct Began<'a> {
    /// Its random id.
    pub id: [u8; 16],
    /// The coverage that it belongs to.
    pub coverage: [u8; 16],
    /// Its number there; those that are refused are counted by themselves.
    pub number: u64,
    /// The next statement of the coverage, which counts it.
    pub statement: u64,
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Whether it was turned away, which is its end.
    pub refused: bool,
    /// The key of the unit that says who made it.
    pub key: [u8; 32],
    /// The client's address.
    #[serde(borrow)]
    pub client: Cow<'a, str>,
    /// What the kernel noted of it.
    #[serde(borrow)]
    pub noted: Option<Noted<'a>>,
}

// Its key opens a commitment, so it reaches no log.
impl fmt::Debug for Began<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Began");
        shown.field("number", &self.number).field("statement", &self.statement);
        shown.field("refused", &self.refused).finish_non_exhaustive()
    }
}

/// What the kernel noted of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Noted<'a> {
    /// The socket's number.
    pub cookie: u64,
    /// The process.
    pub process: u32,
    /// The user.
    pub user: u32,
    /// Whether the hook ran in the context of the task that connected.
    pub in_task: bool,
    /// Whether it is watched for the sake of the socket's creator.
    pub by_creator: bool,
    /// Where it was meant to go.
    #[serde(borrow)]
    pub destination: Cow<'a, str>,
}

/// Who made a connection was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Learned<'a> {
    /// The connection.
    pub id: [u8; 16],
    /// The process.
    pub process: Cow<'a, Process>,
}

/// A connection is over.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Over {
    /// The connection.
    pub id: [u8; 16],
    /// The next statement of its coverage.
    pub statement: u64,
    /// When, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// Bytes from the client and to it, as the gateway read and wrote them.
    pub passed: (u64, u64),
    /// The same, as the kernel received and saw acknowledged.
    pub kernel: Option<(u64, u64)>,
}

/// The connection that a record is about, if it is about one.
#[must_use]
pub fn connection_of(record: &RecordRef<'_>) -> Option<[u8; 16]> {
    match record.kind {
        // Each of them begins with the id, which takes its own length there.
        kind::CONNECTION_BEGAN | kind::CONNECTION_LEARNED | kind::CONNECTION_OVER => {
            record.payload.first_chunk().copied()
        }
        _ => None,
    }
}

/// The way around, or the names, that a record is about: its kind, its coverage, and its number there.
#[must_use]
pub fn aside_of(record: &RecordRef<'_>) -> Option<(u8, [u8; 16], u64)> {
    match record.kind {
        // Both begin so.
        kind::WENT_AROUND | kind::NAMES_ASKED => {
            let ((coverage, number), _) = postcard::take_from_bytes(record.payload).ok()?;
            Some((record.kind, coverage, number))
        }
        _ => None,
    }
}

/// Something went around the gateway, or several things of a kind did.
#[derive(Clone, Serialize, Deserialize)]
pub struct WentAround<'a> {
    /// The coverage that saw it.
    pub coverage: [u8; 16],
    /// Which leaf of its kind this is in the coverage, from 1.
    pub number: u64,
    /// The statement that counts it.
    pub statement: u64,
    /// How many.
    pub count: u64,
    /// What was counted, by its registered word.
    #[serde(borrow)]
    pub unit: Cow<'a, str>,
    /// What became of it, likewise.
    #[serde(borrow)]
    pub verdict: Cow<'a, str>,
    /// By what way, likewise.
    #[serde(borrow)]
    pub way: Cow<'a, str>,
    /// Who went where, where that is told, and the key of the unit that says so.
    pub who: Option<([u8; 32], WhoWent)>,
}

// Like the others that hold a key.
impl fmt::Debug for WentAround<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("WentAround");
        shown.field("number", &self.number).field("statement", &self.statement);
        shown.field("count", &self.count).finish_non_exhaustive()
    }
}

/// Names were asked for, between two statements.
#[derive(Clone, Serialize, Deserialize)]
pub struct NamesAsked {
    /// The coverage that saw it.
    pub coverage: [u8; 16],
    /// Which leaf of its kind this is in the coverage, from 1.
    pub number: u64,
    /// The statement that counts it.
    pub statement: u64,
    /// Packets to the resolver.
    pub seen: u64,
    /// Those whose questions were all read.
    pub parsed: u64,
    /// Those of which not all could be.
    pub unparsable: u64,
    /// Those that found no room.
    pub lost: u64,
    /// Those of which only the beginning was there.
    pub cut: u64,
    /// Questions that were read.
    pub questions: u64,
    /// Those that the unit does not list.
    pub omitted: u64,
    /// The key of the unit that lists them, and its bytes.
    pub names: Option<([u8; 32], Vec<u8>)>,
}

// Nor do the names.
impl fmt::Debug for NamesAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NamesAsked");
        shown.field("number", &self.number).field("statement", &self.statement);
        shown.field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Who went where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoWent {
    /// Where to.
    pub destination: SocketAddr,
    /// The process.
    pub process: u32,
    /// Its executable, where it was still there.
    pub executable: Option<String>,
}

/// Takes what is to be said of connections.
#[derive(Clone)]
pub struct Notes {
    journal: Journal,
    timeline: Timeline,
    random: &'static dyn SecureRandom,
}

impl Tap {
    /// What takes notes of connections.
    #[must_use]
    pub fn notes(&self) -> Notes {
        let (journal, timeline, random) = (self.journal.clone(), self.timeline, self.random);
        Notes { journal, timeline, random }
    }
}

impl Notes {
    /// A connection came; whether the journal took it.
    #[must_use]
    pub fn began(&self, began: &Began<'_>) -> bool {
        self.note(kind::CONNECTION_BEGAN, began)
    }

    /// Who made a connection was found.
    pub fn learned(&self, learned: &Learned<'_>) {
        // Where the journal is down it stays unknown.
        let _ = self.note(kind::CONNECTION_LEARNED, learned);
    }

    /// A connection is over.
    pub fn over(&self, over: &Over) {
        // Where the journal is down it ends with the boot.
        let _ = self.note(kind::CONNECTION_OVER, over);
    }

    /// Something went around; whether the journal took it.
    #[must_use]
    pub fn went_around(&self, around: &WentAround<'_>) -> bool {
        self.note(kind::WENT_AROUND, around)
    }

    /// Names were asked for; whether the journal took it.
    #[must_use]
    pub fn names_asked(&self, asked: &NamesAsked) -> bool {
        self.note(kind::NAMES_ASKED, asked)
    }

    /// Bytes that what is noted at once may have.
    #[must_use]
    pub fn record_limit(&self) -> usize {
        self.journal.record_limit()
    }

    /// A new random id.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        random_id(self.random)
    }

    /// A new random key.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        fill(self.random, &mut key);
        key
    }

    /// Now, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.timeline.now_us()
    }

    fn note(&self, kind: u8, record: &impl Serialize) -> bool {
        let bytes = postcard::to_stdvec(record);
        bytes.is_ok_and(|bytes| self.journal.note(kind, &[&bytes]).is_ok())
    }
}

impl fmt::Debug for Notes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Notes").finish_non_exhaustive()
    }
}
