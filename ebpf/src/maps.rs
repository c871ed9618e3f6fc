//! What programs and gateway share.

use aya_ebpf::bindings::BPF_F_RDONLY;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;
use sealtap_common::kernel::{
    Bank, Endpoint, FLOWS, Flow, FlowKey, LEFT_ALONE, RING, SCOPES, Settings, VERSION, Watch,
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

/// The version of what is shared, for the loader to compare.
#[unsafe(no_mangle)]
#[used]
static ABI_VERSION: u32 = VERSION;
