//! Scope: whether a task or a socket belongs to a watched cgroup.

use core::ptr::read_volatile;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_skb_ancestor_cgroup_id,
};
use sealtap_common::kernel::{Endpoint, LEVELS, Settings, Watch, alone};

use crate::maps::{LOOPBACK, SETTINGS, WATCHED};

/// A watched cgroup, and its id.
#[derive(Clone, Copy)]
pub(crate) struct Scope {
    /// The id.
    pub(crate) id: u64,
    /// What is to be done with it.
    pub(crate) watch: Watch,
}

/// What programs look at first; nothing is in scope without.
///
/// Not a copy: most programs need a word of it, and each reads what it needs once. The bank above all is
/// read where something is counted, by [`bank`].
#[inline(always)]
pub(crate) fn settings() -> Option<&'static Settings> {
    SETTINGS.get(0)
}

/// The bank that counts now. The loader turns it, so one that is counted in and told of is read once.
#[inline(always)]
pub(crate) fn bank(settings: &Settings) -> u32 {
    // SAFETY: a word of a map, aligned; the loader may write to it meanwhile, and either value is right.
    unsafe { read_volatile(&raw const settings.bank) & 1 }
}

/// The watched cgroup with an id. Where there is but one, as for a run, no map is asked.
#[inline(always)]
pub(crate) fn watched(settings: &Settings, id: u64) -> Option<Scope> {
    let found = match level_of_single(settings) {
        Some(_) => single_if(settings, id),
        None => of(id, listed(id)),
    };
    some(found)
}

/// How far below the root the one cgroup lies that is watched; nothing where others are, too.
#[inline(always)]
fn level_of_single(settings: &Settings) -> Option<u32> {
    // SAFETY: a word of a map, aligned. The loader writes what it stands for while it is 0, and waits before
    // and behind that until no program runs that began earlier: so whoever sees it set reads what belongs
    // together, in whatever order.
    unsafe { read_volatile(&raw const settings.single) }.checked_sub(1)
}

/// That one, if this is its id.
#[inline(always)]
fn single_if(settings: &Settings, id: u64) -> Scope {
    if settings.single_id != id {
        return NONE;
    }
    Scope { id, watch: settings.single_watch }
}

/// No cgroup. All zero rather than nothing, see [`crate::packet::Packet`].
const NONE: Scope = Scope { id: 0, watch: Watch { mode: 0, port: 0 } };

#[inline(always)]
fn some(scope: Scope) -> Option<Scope> {
    (scope.id != 0).then_some(scope)
}

/// What is to be done with the cgroup with that id, among several; 0 where it is none of them. In one word,
/// which is handed over in a register: mode and port.
#[inline(never)]
fn listed(id: u64) -> u64 {
    // SAFETY: the loader replaces entries whole, and a value that is read while it is replaced is
    // the old or the new one for each of its aligned halves, of which only one ever changes.
    unsafe { WATCHED.get(id) }
        .map_or(0, |watch| u64::from(watch.mode) | u64::from(watch.port) << 32)
}

/// The cgroup with that id and that word.
#[inline(always)]
fn of(id: u64, listed: u64) -> Scope {
    if listed == 0 {
        return NONE;
    }
    Scope { id, watch: Watch { mode: listed as u32, port: (listed >> 32) as u32 } }
}

/// The watched cgroup that the current task is in, the innermost one.
#[inline(always)]
pub(crate) fn of_task(settings: &Settings) -> Option<Scope> {
    if let Some(level) = level_of_single(settings) {
        return some(single_if(settings, of_current(level)));
    }
    let mut word = 0;
    let id = task_among_several(settings.levels, &mut word);
    some(of(id, word))
}

/// The watched cgroup that the maker of a packet's socket was in, the innermost one.
#[inline(always)]
pub(crate) fn of_packet(settings: &Settings, buffer: *mut __sk_buff) -> Option<Scope> {
    if let Some(level) = level_of_single(settings) {
        return some(single_if(settings, of_buffer(buffer, level)));
    }
    let mut word = 0;
    let id = packet_among_several(settings.levels, buffer, &mut word);
    some(of(id, word))
}

#[inline(always)]
fn of_current(level: u32) -> u64 {
    // SAFETY: the helper takes a number and gives one; where there is no such level, zero.
    unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
}

#[inline(always)]
fn of_buffer(buffer: *mut __sk_buff, level: u32) -> u64 {
    // SAFETY: the context, and as above.
    unsafe { bpf_skb_ancestor_cgroup_id(buffer, level as i32) }
}

/// Not among the instructions that the others run through; likewise below.
#[inline(never)]
fn task_among_several(levels: u32, word: &mut u64) -> u64 {
    innermost(levels, of_current, word)
}

#[inline(never)]
fn packet_among_several(levels: u32, buffer: *mut __sk_buff, word: &mut u64) -> u64 {
    innermost(levels, |level| of_buffer(buffer, level), word)
}

/// From the root down as far as anybody is watched: the id of the last that is, and its word.
#[inline(always)]
fn innermost(levels: u32, ancestor: impl Fn(u32) -> u64, word: &mut u64) -> u64 {
    let (mut found, mut left) = (0, levels);
    for level in 0..LEVELS {
        if left == 0 {
            break;
        }
        if left & 1 == 1 {
            let id = ancestor(level);
            if id == 0 {
                break;
            }
            let listed = listed(id);
            if listed != 0 {
                (found, *word) = (id, listed);
            }
        }
        left >>= 1;
    }
    found
}

/// Whether names may be asked for there.
#[inline(always)]
pub(crate) fn is_resolver(settings: &Settings, destination: &Endpoint) -> bool {
    // The port first: it is what differs.
    settings.resolver.port != 0 && is_same(&settings.resolver, destination)
}

/// Whether it is a place on the machine that may be reached without the gateway.
#[inline(always)]
pub(crate) fn is_left_alone(settings: &Settings, destination: &Endpoint) -> bool {
    let listed = settings.left_alone;
    if listed == 0 || !is_this_machine(destination) {
        return false;
    }
    // SAFETY: values are not looked at, entries alone.
    unsafe {
        listed & alone::PORTS != 0
            && settings.ports & Settings::port_bit(destination.port) != 0
            && LOOPBACK.get(*destination).is_some()
            || listed & alone::ADDRESSES != 0
                && LOOPBACK.get(Endpoint { port: 0, ..*destination }).is_some()
    }
}

/// Whether two are the same, by words: bytes are what takes time here.
#[inline(always)]
pub(crate) fn is_same(one: &Endpoint, other: &Endpoint) -> bool {
    one.port == other.port && words(one) == words(other)
}

/// An address by words, each in network byte order.
#[inline(always)]
fn words(endpoint: &Endpoint) -> [u32; 4] {
    // SAFETY: sixteen bytes at the beginning of what is aligned for words.
    unsafe { (&raw const endpoint.address).cast::<[u32; 4]>().read() }
}

/// Whether it is where connections are led: the loopback's first address, in either family.
#[inline(always)]
pub(crate) fn is_where_led(endpoint: &Endpoint) -> bool {
    let [first, second, third, last] = words(endpoint);
    let v4 = third == 0xffff_u32.to_be() && last == u32::from_ne_bytes([127, 0, 0, 1]);
    let v6 = third == 0 && last == 1_u32.to_be();
    first == 0 && second == 0 && (v4 || v6)
}

/// Whether an address is one by which the machine calls itself.
#[inline(always)]
pub(crate) fn is_this_machine(endpoint: &Endpoint) -> bool {
    let [first, second, third, last] = words(endpoint);
    let v4 = third == 0xffff_u32.to_be() && last.to_ne_bytes()[0] == 127;
    let v6 = third == 0 && last == 1_u32.to_be();
    first == 0 && second == 0 && (v4 || v6)
}
