//! Scope: whether a task or a socket belongs to a watched cgroup.

use aya_ebpf::helpers::generated::bpf_get_current_ancestor_cgroup_id;
use sealtap_common::kernel::{LEVELS, Settings, Watch};

use crate::maps::{SETTINGS, WATCHED};

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
pub(crate) fn of_task(settings: &Settings) -> Option<Scope> {
    let mut level = LEVELS;
    while level > 0 {
        level -= 1;
        if settings.levels & (1 << level) == 0 {
            continue;
        }
        // SAFETY: the helper takes a number and gives one; where there is no such level, zero.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
        if let Some(scope) = watched(id) {
            return Some(scope);
        }
    }
    None
}
