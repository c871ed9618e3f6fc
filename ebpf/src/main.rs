//! The kernel programs of sealtap.
//!
//! Attached at the root cgroup, they decide themselves what is in scope: what a watched cgroup's
//! tasks do, and what is done with sockets that such tasks made. TCP goes to the gateway
//! (`connect`), which reads where it was meant to go (`flow`); every packet that leaves is
//! looked at once more (`egress`), and frames that no such look saw, on their way to the network
//! (`uplink`), with what frames could use to pass that unseen (`option`). When a process becomes another program
//! is noted for whoever looks at it afterwards (`exec`). Each connection and packet in scope is counted as exactly one
//! thing (`count`), and what goes around is reported.
//!
//! Only contexts that the kernel promises to keep are used, so that one object serves every kernel
//! from 5.15 on, without type information of that kernel. Built by `cargo xtask ebpf`; for any
//! target but the kernel's this crate is empty.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    allow(internal_features, reason = "an atomic addition has no stable name on this target")
)]
#![cfg_attr(
    target_arch = "bpf",
    allow(unsafe_code, reason = "contexts, maps and helpers of the kernel are raw pointers")
)]

#[cfg(target_arch = "bpf")]
mod connect;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod egress;
#[cfg(target_arch = "bpf")]
mod exec;
#[cfg(target_arch = "bpf")]
mod flow;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod names;
#[cfg(target_arch = "bpf")]
mod option;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod uplink;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// What some helpers demand, and all of this is free for anyone to use.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier admits no program that could get here.
    loop {}
}
