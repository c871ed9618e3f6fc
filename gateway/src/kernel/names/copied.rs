//! Copied: the loader's side, which reads no byte of a query.
//!
//! In: the ring that the programs copy queries into. Out: messages for the gateway, and how many were
//! read of each bank, so that a bank that is closed can be waited for.

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use sealtap_common::kernel::Query;

use super::super::banks::{Record, Ring};
use super::super::message::{NamesCounted, Packet};
use super::super::programs::ProgramsError;
use super::super::raw::query_in;

/// Bytes in one message: several fit below the longest, each with the longest path there is.
const TOGETHER: usize = 32 << 10;

impl Record for Query {
    type Read = u64;

    const AT_ONCE: usize = 256;

    fn within(bytes: &[u8]) -> Option<Self> {
        query_in(bytes)
    }

    fn flags(&self) -> u32 {
        self.flags
    }

    fn counted(&self) -> u64 {
        1
    }
}

/// The queries, and how many were read.
pub(in super::super) struct Queue {
    queries: Ring<Query>,
}

impl Queue {
    /// With nothing read so far.
    pub(in super::super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { queries: Ring::new(ring) }
    }

    /// What becomes readable when somebody asks.
    pub(in super::super) fn ring(&self) -> &RingBuf<MapData> {
        self.queries.readable()
    }

    /// Hands on what was asked since the last look, as much as is read at once.
    pub(in super::super) fn read(&mut self, told: &mut impl FnMut(&Query)) {
        self.queries.read(told);
    }

    /// Reads every query of a bank that is closed, in which so many were `allowed`, and tells whether each
    /// is of that bank. `before` and `lost` are those that found no room: in the other bank, and in it.
    pub(in super::super) fn settle(
        &mut self,
        bank: u32,
        allowed: u64,
        (before, lost): (u64, u64),
        told: &mut impl FnMut(&Query, bool),
    ) -> NamesCounted {
        let due = allowed.saturating_sub(lost);
        let mut told = |query: &Query| told(query, query.bank() == bank);
        self.queries.settle(bank, |read| read >= due, &mut told);
        NamesCounted { read: self.queries.together(), lost: before.saturating_add(lost) }
    }
}

/// Those of a bank that found no room, all processors together.
pub(in super::super) fn lost(ebpf: &Ebpf, bank: u32) -> Result<u64, ProgramsError> {
    let unread = ebpf.map("UNREAD").ok_or(ProgramsError::Lacks("UNREAD"))?;
    let unread: PerCpuArray<_, u64> = unread.try_into()?;
    Ok(unread.get(&bank, 0)?.iter().fold(0, |sum, processor| sum.wrapping_add(*processor)))
}

/// Queries on their way to the gateway.
#[derive(Default)]
pub(in super::super) struct Copies(Vec<Copied>);

/// One, and by whose socket it went.
pub(in super::super) struct Copied {
    /// As the gateway is told, but for the executable.
    pub(in super::super) packet: Packet,
    /// When the process connected the socket, or sent by it first.
    pub(in super::super) connected: u64,
}

impl Copies {
    /// Takes one.
    pub(in super::super) fn add(&mut self, query: &Query) {
        let Query { process, connected, passed, length, each, .. } = *query;
        let copied = usize::try_from(query.copied).unwrap_or_default().min(query.bytes.len());
        let bytes = query.bytes.get(..copied).unwrap_or_default().to_vec();
        let packet = Packet { process, executable: None, passed, length, each, bytes };
        self.0.push(Copied { packet, connected });
    }

    /// All of them.
    pub(in super::super) fn all(self) -> Vec<Copied> {
        self.0
    }
}

/// As many at once as a message takes.
pub(in super::super) fn together(packets: Vec<Packet>) -> impl Iterator<Item = Vec<Packet>> {
    let mut left = packets.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut together = Vec::new();
        let mut bytes = 0_usize;
        while bytes < TOGETHER
            && let Some(packet) = left.next()
        {
            let path = packet.executable.as_ref().map_or(0, String::len);
            bytes = bytes.saturating_add(packet.bytes.len()).saturating_add(path + 64);
            together.push(packet);
        }
        (!together.is_empty()).then_some(together)
    })
}
