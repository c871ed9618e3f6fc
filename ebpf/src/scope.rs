//! Scope: whether a task or a socket belongs to a watched cgroup.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id,
};
use sealtap_common::kernel::{Endpoint, LEVELS, Settings, Watch};

use crate::connect::MAPPED;
use crate::maps::{LOOPBACK, SETTINGS, WATCHED};

/// A watched cgroup, and its id.
pub(crate) struct Scope {
    /// The id.
    pub(crate) id: u64,
    /// What is to be done with it.
    pub(crate) watch: Watch,
}

/// What programs look at first; nothing is in scope without.
pub(crate) fn settings() -> Option<Settings> {
    SETTINGS.get(0).copied()
}

/// The watched cgroup with an id.
pub(crate) fn watched(id: u64) -> Option<Scope> {
    // SAFETY: the loader replaces entries whole, and a value that is read while it is replaced is
    // the old or the new one for each of its aligned halves, of which only one ever changes.
    let watch = unsafe { WATCHED.get(id) }.copied()?;
    Some(Scope { id, watch })
}

/// The watched cgroup that the current task is in, the innermost one.
#[inline(always)]
pub(crate) fn of_task(settings: &Settings) -> Option<Scope> {
    // SAFETY: the helper takes a number and gives one; where there is no such level, zero.
    innermost(settings, |level| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) })
}

/// The watched cgroup that the maker of a packet's socket was in, the innermost one.
#[inline(always)]
pub(crate) fn of_packet(settings: &Settings, buffer: *mut __sk_buff) -> Option<Scope> {
    // SAFETY: the context, and as above.
    innermost(settings, |level| unsafe { bpf_skb_ancestor_cgroup_id(buffer, level as i32) })
}

/// From the root down as far as anybody is watched.
#[inline(always)]
fn innermost(settings: &Settings, ancestor: impl Fn(u32) -> u64) -> Option<Scope> {
    let mut found = None;
    let mut left = settings.levels;
    for level in 0..LEVELS {
        if left == 0 {
            break;
        }
        if left & 1 == 1 {
            let id = ancestor(level);
            if id == 0 {
                break;
            }
            found = watched(id).or(found);
        }
        left >>= 1;
    }
    found
}

/// Whether names may be asked for there.
#[inline(always)]
pub(crate) fn is_resolver(settings: &Settings, destination: &Endpoint) -> bool {
    // The port first: it is what differs.
    let port = settings.resolver.port;
    port != 0 && port == destination.port && settings.resolver.address == destination.address
}

/// Whether it is a place on the machine that may be reached without the gateway.
#[inline(always)]
pub(crate) fn is_left_alone(settings: &Settings, destination: &Endpoint) -> bool {
    if settings.left_alone == 0 || !is_this_machine(destination) {
        return false;
    }
    // SAFETY: values are not looked at, entries alone.
    unsafe {
        LOOPBACK.get(*destination).is_some()
            || LOOPBACK.get(Endpoint { port: 0, ..*destination }).is_some()
    }
}

/// Whether an address is one by which the machine calls itself.
#[inline(always)]
pub(crate) fn is_this_machine(endpoint: &Endpoint) -> bool {
    let address = &endpoint.address;
    if address[15] == 1 && address[12] == 0 {
        return *address == 1_u128.to_be_bytes();
    }
    address[..12] == MAPPED && address[12] == 127
}
