//! Connections while their records are read: who made each, what it carried, and when that is over.
//!
//! In: records of connections, and of the exchanges that came over them, in their order. Out: each
//! connection with its commitment, once it is over and so are all of its exchanges, and its coverage is
//! armed. One whose boot ended before it is cut off there.

use std::borrow::Cow;
use std::collections::HashMap;

use sealtap_common::commit::{self, BodyKey, UnitKind};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Attribution, Connection, ConnectionEnd, Coverage, CoverageSaid, Extensions, Passed, Ranges,
    Side, Unit,
};
use sealtap_common::unit::{Maker, NotedBy, ProcessSeen};

use super::pins::Held;
use crate::capture::connection::{Began, Learned, Over};
use crate::kernel::Process;

/// About how long a leaf is, in bytes.
pub(super) const LEAF: usize = 1_024;

/// About what a range of exchanges takes, in bytes: as numbers, as numbers for the store, and as text.
const RANGE: usize = 16 + 16 + 20;

/// A connection that is over, but for when its leaf is made.
#[derive(Debug)]
pub struct DigestedConnection {
    /// Its leaf.
    pub leaf: Connection,
    /// The unit that the leaf binds.
    pub unit: KeptUnit,
    /// The journal file that its first record is in.
    pub first_file: u64,
    /// What is counted of it on its way to the store, in bytes; 0 where nothing is.
    pub weight: u64,
}

/// A committed unit and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptUnit {
    /// The key of its commitment.
    pub key: [u8; 32],
    /// The bytes that were committed.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for KeptUnit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys stay out of every log.
        formatter
            .debug_struct("KeptUnit")
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl KeptUnit {
    /// Memory taken, in bytes.
    pub(super) fn taken(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    pub(super) fn new(key: [u8; 32], maker: &Maker<'_>) -> (Self, Unit) {
        let bytes = maker.encode();
        let unit = commit::unit(&BodyKey::new(key), UnitKind::Maker, &bytes);
        (Self { key, bytes }, unit)
    }
}

impl DigestedConnection {
    /// Counts it from now on; about how much memory it takes, its leaves included, in bytes.
    pub fn weigh(&mut self) -> u64 {
        // As ranges once more for the store, and as text.
        let ranges = self.leaf.exchanges.as_slice().len() * RANGE;
        let bytes = size_of::<Self>() + self.unit.taken() + ranges + LEAF;
        self.weight = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.weight
    }

    /// What the journal keeps for it.
    #[must_use]
    pub fn held(&self) -> Held {
        Held::Connection(self.leaf.boot.0, self.leaf.connection.0)
    }
}

/// The connections of one boot.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: HashMap<[u8; 16], Open>,
    /// The number of the next statement of each coverage that was armed.
    armed: HashMap<[u8; 16], u64>,
    /// Those that were over before their coverage was armed.
    early: Vec<DigestedConnection>,
}

#[derive(Debug)]
struct Open {
    leaf: Connection,
    key: [u8; 32],
    maker: Maker<'static>,
    /// How it would be said that its maker was learned.
    by: Attribution,
    file: u64,
    carried: Vec<(u64, u64)>,
    under_way: u64,
    is_over: bool,
}

impl Connections {
    /// A connection came; what the journal is to keep.
    pub(super) fn began(&mut self, boot: [u8; 16], payload: &[u8], file: u64) -> Come {
        let Ok(began) = postcard::from_bytes::<Began<'_>>(payload) else { return Come::default() };
        let open = Open::new(boot, &began, file);
        let held = (Held::Connection(boot, began.id), file);
        match began.refused {
            true => Come { held: Some(held), over: self.ready(open.finish()) },
            false => {
                self.open.insert(began.id, open);
                Come { held: Some(held), over: None }
            }
        }
    }

    /// Its maker was found.
    pub(super) fn learned(&mut self, payload: &[u8]) {
        let Ok(learned) = postcard::from_bytes::<Learned<'_>>(payload) else { return };
        if let Some(open) = self.open.get_mut(&learned.id) {
            open.maker.process = Some(seen(&learned.process));
            open.leaf.attribution = open.by;
        }
    }

    /// An exchange came over it.
    pub(super) fn carries(&mut self, id: Option<[u8; 16]>, number: u64) {
        let Some(open) = id.and_then(|id| self.open.get_mut(&id)) else { return };
        open.under_way = open.under_way.saturating_add(1);
        match open.carried.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => open.carried.push((number, number)),
        }
    }

    /// An exchange that came over it is over; the connection, if this was what it waited for.
    pub(super) fn left(&mut self, id: Option<[u8; 16]>) -> Option<DigestedConnection> {
        let id = id?;
        let open = self.open.get_mut(&id)?;
        open.under_way = open.under_way.saturating_sub(1);
        let done = open.is_over && open.under_way == 0;
        let open = if done { self.open.remove(&id) } else { None };
        self.ready(open?.finish())
    }

    /// It is over; the connection, if no exchange is left to wait for.
    pub(super) fn over(&mut self, payload: &[u8]) -> Option<DigestedConnection> {
        let over = postcard::from_bytes::<Over>(payload).ok()?;
        let open = self.open.get_mut(&over.id)?;
        let passed = |(from_client, to_client)| Passed { from_client, to_client };
        open.is_over = true;
        open.leaf.end = ConnectionEnd::Closed;
        open.leaf.ended = over.at_us.max(open.leaf.began);
        open.leaf.last = over.statement.max(open.leaf.first);
        open.leaf.bytes = passed(over.passed);
        open.leaf.kernel = over.kernel.map(passed);
        let open = if open.under_way == 0 { self.open.remove(&over.id) } else { None };
        self.ready(open?.finish())
    }

    /// Something was said of a coverage; the connections that waited for it.
    pub(super) fn said(&mut self, said: &Coverage) -> Vec<DigestedConnection> {
        let next = match &said.said {
            CoverageSaid::Armed(_) => 1,
            CoverageSaid::Heartbeat(statement) => statement.number.saturating_add(1),
            CoverageSaid::Closed(_, _, number, _) => number.saturating_add(1),
            // Not a statement: its connections are none of the gateway's.
            CoverageSaid::Canary(_) => return Vec::new(),
        };
        self.armed.insert(said.coverage.0, next);
        let early = std::mem::take(&mut self.early);
        early.into_iter().filter_map(|connection| self.ready(connection)).collect()
    }

    /// No exchange is under way any more; those that were over but for theirs.
    pub(super) fn all_left(&mut self) -> Vec<DigestedConnection> {
        for open in self.open.values_mut() {
            open.under_way = 0;
        }
        let done: Vec<_> = self.open.extract_if(|_, open| open.is_over).collect();
        done.into_iter().filter_map(|(_, open)| self.ready(open.finish())).collect()
    }

    /// No leaf may name a coverage that was never armed, and this boot arms none any more.
    pub(super) fn forget_unheard(&mut self) {
        self.early.clear();
        let armed = &self.armed;
        self.open.retain(|_, open| armed.contains_key(&open.leaf.coverage.0));
    }

    /// The boot is over: everything that is left, cut off where it is not over.
    pub(super) fn all(&mut self) -> Vec<DigestedConnection> {
        let mut all = std::mem::take(&mut self.early);
        for (_, mut open) in std::mem::take(&mut self.open) {
            let next = self.armed.get(&open.leaf.coverage.0).copied().unwrap_or(1);
            open.leaf.last = open.leaf.last.max(next);
            all.push(open.finish());
        }
        all.sort_by_key(|connection| connection.leaf.number);
        all
    }

    fn ready(&mut self, connection: DigestedConnection) -> Option<DigestedConnection> {
        if self.armed.contains_key(&connection.leaf.coverage.0) {
            return Some(connection);
        }
        self.early.push(connection);
        None
    }
}

/// What becomes of a connection that came.
#[derive(Default)]
pub(super) struct Come {
    pub(super) held: Option<(Held, u64)>,
    pub(super) over: Option<DigestedConnection>,
}

impl Open {
    fn new(boot: [u8; 16], began: &Began<'_>, file: u64) -> Self {
        let octets = |text: &str| Cow::Owned(text.as_bytes().to_vec());
        let noted = began.noted.as_ref();
        let maker = Maker {
            client: Some(octets(&began.client)),
            destination: noted.map(|noted| octets(&noted.destination)),
            noted: noted.map(|noted| NotedBy {
                process: u64::from(noted.process),
                user: Some(u64::from(noted.user)),
            }),
            process: None,
        };
        let by = match noted {
            Some(noted) if noted.by_creator => Attribution::KernelCreator,
            Some(noted) if noted.in_task => Attribution::KernelTask,
            _ => Attribution::Unknown,
        };
        let refused = began.refused;
        let leaf = Connection {
            attribution: Attribution::Unknown,
            began: began.at_us,
            boot: Id(boot),
            bytes: Passed::default(),
            connection: Id(began.id),
            cookie: noted.map(|noted| noted.cookie),
            coverage: Id(began.coverage),
            end: if refused { ConnectionEnd::Refused } else { ConnectionEnd::Interrupted },
            ended: began.at_us,
            exchanges: Ranges::default(),
            ext: Extensions::new(),
            first: began.statement,
            kernel: None,
            last: began.statement,
            maker: Unit { length: 0, root: [0; 32] },
            number: began.number,
            part: 1,
            parts: 1,
            sealed: 0,
            side: Side::Client,
        };
        let (key, carried, under_way) = (began.key, Vec::new(), 0);
        Self { leaf, key, maker, by, file, carried, under_way, is_over: false }
    }

    fn finish(self) -> DigestedConnection {
        let (unit, bound) = KeptUnit::new(self.key, &self.maker);
        let exchanges = Ranges::new(self.carried).unwrap_or_default();
        let leaf = Connection { exchanges, maker: bound, ..self.leaf };
        DigestedConnection { leaf, unit, first_file: self.file, weight: 0 }
    }
}

/// What is committed of a process.
fn seen(process: &Process) -> ProcessSeen<'static> {
    let octets = |text: &str| Cow::Owned(text.as_bytes().to_vec());
    ProcessSeen {
        cgroup: process.cgroup.as_deref().map(octets),
        command: process.command.clone().map(Cow::Owned),
        container: process.cgroup.as_deref().and_then(container).map(octets),
        executable: process.executable.as_deref().map(octets),
        namespace: process.namespace,
        sha256: process.digest.map(|digest| octets(&hexadecimal(&digest))),
        started: Some(process.started),
    }
}

fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The container that a cgroup's path names: 64 hexadecimal digits, as the common runtimes put them,
/// alone or between a prefix and a suffix.
fn container(cgroup: &str) -> Option<&str> {
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    cgroup
        .rsplit('/')
        .find_map(|name| name.split(|c: char| !is_digit(c)).find(|digits| digits.len() == 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_by_its_digits_alone() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("/docker/{id}"),
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/pod1/cri-containerd-{id}.scope/inner"),
        ] {
            assert_eq!(container(&path), Some(id.as_str()), "{path}");
        }
        for path in ["/", "/user.slice/session-2.scope", &format!("/x/{id}0"), &id[1..]] {
            assert_eq!(container(path), None, "{path}");
        }
    }
}
