//! What programs and gateway share.

use aya_ebpf::bindings::BPF_F_RDONLY;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;
use sealtap_common::kernel::{
    Bank, EXECS, Endpoint, FLOWS, Flow, FlowKey, LEFT_ALONE, PORTS, QUERIES, Query, RING, SCOPES,
    Settings, VERSION, Watch,
};

/// The watched cgroups by id.
#[btf_map]
pub(crate) static WATCHED: HashMap<u64, Watch, SCOPES> = HashMap::new();

/// What the programs look at first.
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

/// What a socket's maker belongs to, and where it was meant to go.
#[btf_map]
pub(crate) static SOCKETS: SkStorage<Flow> = SkStorage::new();

/// Connections that were sent to the gateway and are not over. Only programs write to it: the
/// system refuses even root.
#[btf_map]
pub(crate) static CONNECTIONS: HashMap<FlowKey, Flow, FLOWS, { BPF_F_RDONLY as usize }> =
    HashMap::new();

/// How many of these come from each port: see [`crate::flow`].
#[btf_map]
pub(crate) static NOTED: Array<u32, PORTS> = Array::new();

/// Places on the machine that may be reached without the gateway, a zero port for all of an
/// address.
#[btf_map]
pub(crate) static LOOPBACK: HashMap<Endpoint, u32, LEFT_ALONE> = HashMap::new();

/// What was counted, in two banks.
#[btf_map]
pub(crate) static COUNTED: PerCpuArray<Bank, 2> = PerCpuArray::new();

/// What went around.
#[btf_map]
pub(crate) static EVENTS: RingBuf<Flow, RING> = RingBuf::new();

/// Queries for names, on their way to the resolver.
#[btf_map]
pub(crate) static NAMES: RingBuf<Query, QUERIES> = RingBuf::new();

/// Those that found no room, by bank.
#[btf_map]
pub(crate) static UNREAD: PerCpuArray<u64, 2> = PerCpuArray::new();

/// When a process became another program, the latest of all whose numbers share a slot. None is ever evicted, and
/// none finds no room: that numbers share one makes unknown what could be known, and never anything wrong. Each
/// processor has its own, so that no write is overtaken by an earlier one; the latest of all of them counts.
#[btf_map]
pub(crate) static EXECUTED: PerCpuArray<u64, EXECS> = PerCpuArray::new();

/// The room for it, as the loader made it.
#[unsafe(no_mangle)]
pub(crate) static RING_BYTES: u32 = RING as u32;

/// The version of what is shared is this one's name: the loader writes to it, and finds none in an object of
/// another version.
#[unsafe(no_mangle)]
#[used]
static ABI_7: u32 = VERSION;

const _: () = assert!(VERSION == 7, "the name says so");
