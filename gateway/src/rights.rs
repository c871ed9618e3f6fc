//! Rights: the capabilities that parts of sealtap need, and which of them this thread lacks.
//!
//! User 0 is not enough: in a container it has few of them, as a rule. So what is missing is named.

use rustix::thread::{CapabilitySet, capabilities};

/// What the loader needs: programs and maps, hooks at cgroups, packets by their pointers, and the `/proc` of
/// other users' processes.
pub const LOADER: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// What a fence takes besides: mounts, and that nothing can be had again.
pub const FENCE: CapabilitySet =
    LOADER.union(CapabilitySet::SYS_ADMIN).union(CapabilitySet::SETPCAP);

/// What it takes to begin as somebody else.
pub const SOMEBODY: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// As capabilities(7) calls them.
const NAMES: [(CapabilitySet, &str); 9] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
    (CapabilitySet::SETPCAP, "CAP_SETPCAP"),
    (CapabilitySet::SETUID, "CAP_SETUID"),
    (CapabilitySet::SETGID, "CAP_SETGID"),
];

/// Which of those needed this thread lacks, by name; none where it has them all.
#[must_use]
pub fn lacking(needed: CapabilitySet) -> Option<String> {
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    named(needed.difference(has))
}

fn named(set: CapabilitySet) -> Option<String> {
    let names = NAMES.iter().filter(|(one, _)| set.contains(*one)).map(|(_, name)| *name);
    (!set.is_empty()).then(|| names.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_that_is_needed_has_its_name() {
        let all = FENCE | SOMEBODY;
        let bits = usize::try_from(all.bits().count_ones()).unwrap();
        assert_eq!(named(all).unwrap().split(", ").count(), bits);
        assert_eq!(named(CapabilitySet::SETUID).unwrap(), "CAP_SETUID");
        assert_eq!(named(CapabilitySet::empty()), None);
    }
}
