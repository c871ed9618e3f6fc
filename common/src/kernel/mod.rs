//! The kernel's contract: what the programs in `ebpf/` and the gateway say to each other.
//!
//! Both sides compile this file, the programs without `std`; each type has a fixed layout without
//! padding, and its size is asserted where it is compiled. Integers are in the byte order of the
//! machine except where a name says otherwise: the programs run on the machine that reads them.

mod counters;
mod flow;
mod query;

pub use counters::{Bank, Counters};
pub use flow::{Endpoint, Flow, FlowKey, Settings, Watch, alone, family, flag, mode, way};
pub use query::{QUERIES, QUERY, Query};

/// Bumped with every change of a layout or of a meaning here; the loader refuses an object of another version.
pub const VERSION: u32 = 7;

/// Cgroups that can be watched at once.
pub const SCOPES: usize = 1_024;
/// Connections on their way from `connect` to the gateway's `accept` and until they close.
pub const FLOWS: usize = 262_144;
/// Ports that a connection can come from.
pub const PORTS: usize = 65_536;
/// Addresses on the machine that can be left alone.
pub const LEFT_ALONE: usize = 1_024;
/// Bytes of the ring in which events wait to be read.
pub const RING: usize = 256 << 10;
/// Slots in which the kernel notes when a process became another program, by the process's number modulo this.
pub const EXECS: usize = 8_192;
/// How deep below the root a cgroup may lie and still be watched.
pub const LEVELS: u32 = 16;

/// The option that gives the gateway a whole [`Flow`] of an accepted socket, at level `SOL_IP`.
/// `SO_ORIGINAL_DST` (80) gives the destination alone, as others know it.
pub const FLOW_OPTION: i32 = 0x5ea1;
