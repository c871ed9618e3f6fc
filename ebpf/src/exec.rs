//! Exec: when a process became another program.
//!
//! Noted by the process's number, as the first namespace counts it, when the kernel says that it has become
//! another: by then its number is that of the process whichever of its threads asked for it. Nothing of what
//! the kernel hands over is read, so that no type of that kernel need be known.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use sealtap_common::kernel::EXECS;

use crate::maps::EXECUTED;

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn sealtap_exec(_: RawTracePointContext) -> i32 {
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a helper that gives a number.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    if let Some(latest) = EXECUTED.get_ptr_mut(process % EXECS as u32) {
        // SAFETY: the slot is there as long as the map. It is this processor's own, and nothing interrupts
        // this that becomes another program: what is written last is the latest.
        unsafe { latest.write(now) };
    }
    0
}
