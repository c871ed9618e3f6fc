//! Families: which sockets a command behind a fence can make at all, and which calls it does not have.
//!
//! Out: programs for seccomp, made once and handed to the kernel by the child. They see the numbers of a
//! call, not what its pointers lead to. A call by another architecture's table (32-bit programs) ends the
//! process; x32, which has this architecture's name and numbers of its own, is refused the same calls.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, Ge, Le, MaskedEq, Ne};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The bit by which x32 numbers its calls (`__X32_SYSCALL_BIT` of `asm/unistd.h`).
const X32: i64 = 0x4000_0000;

/// IP, whose hooks are the kernel programs'; the same machine; and questions to the kernel.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// What IP may carry: the protocols that have hooks. ICMP over a datagram socket needs no capability and
/// has none.
const PROTOCOLS: [libc::c_int; 4] = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_MPTCP];

/// The bits of a type, beside which are flags (`SOCK_TYPE_MASK` of `linux/net.h`). Of IP, streams and datagrams
/// are TCP, MPTCP and UDP; by another type a family gives raw and packet sockets, or SCTP without naming it.
const TYPE: u64 = 0xf;
const TYPES: [libc::c_int; 2] = [libc::SOCK_STREAM, libc::SOCK_DGRAM];

/// Into a terminal's input as if it were typed there, for whoever reads from it next (`ioctl_tty(2)`).
const TYPING: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Takes on a device whose frames its holder writes (`tuntap.rst`). Of one that is there and belongs to the user,
/// or to nobody, it needs no capability; and what is written there leaves no socket that a hook sees.
const ATTACHING: u64 = libc::TUNSETIFF;

/// Options by which a socket joins groups or anycast addresses, or says from which sources it wants them: the
/// first and the last of each range (`linux/in.h`, `linux/in6.h`). The kernel reports them on the link, group
/// and up to 64 sources as they were given, by sockets of its own that are in no cgroup, so no hook counts it.
const MEMBERSHIPS: [(libc::c_int, libc::c_int, libc::c_int); 4] = [
    (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, MCAST_MSFILTER),
    (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP, libc::IPV6_ADD_MEMBERSHIP),
    (libc::IPPROTO_IPV6, IPV6_JOIN_ANYCAST, IPV6_JOIN_ANYCAST),
    (libc::IPPROTO_IPV6, MCAST_JOIN_GROUP, MCAST_MSFILTER),
];

/// Of `linux/in.h`: those of either family begin and end with these.
const MCAST_JOIN_GROUP: libc::c_int = 42;
const MCAST_MSFILTER: libc::c_int = 48;

/// Of `linux/in6.h`.
const IPV6_JOIN_ANYCAST: libc::c_int = 27;

/// Namespaces that a command makes for itself. In one of users it is root: it could name another file as its
/// executable, and serve the file systems that this is read from. In one of networks it has a loopback of its
/// own, with whatever it likes at the gateway's port.
const NAMESPACES: [libc::c_int; 2] = [libc::CLONE_NEWUSER, libc::CLONE_NEWNET];

/// What is done to one process by its number (`linux/ioprio.h`); to this one by 0.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// What keeps a command to its families.
pub(super) fn filters() -> Result<Vec<BpfProgram>, BackendError> {
    let made = [libc::SYS_socket, libc::SYS_socketpair];
    let other = rule(FAMILIES.map(|family| condition(0, Ne, family)))?;
    let mut sockets = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let among = PROTOCOLS.map(|protocol| condition(2, Ne, protocol));
        sockets.push(rule([condition(0, Eq, family)].into_iter().chain(among))?);
        let carried = TYPES.map(|kind| u64::from(kind.unsigned_abs()));
        for kind in (0..=TYPE).filter(|kind| !carried.contains(kind)) {
            let kind = SeccompCondition::new(1, Dword, MaskedEq(TYPE), kind);
            sockets.push(rule([condition(0, Eq, family), kind])?);
        }
    }
    let mut denied = every(&[libc::SYS_socket], &sockets);
    let requests = TYPING.into_iter().chain([ATTACHING]);
    let requests = requests.map(|request| rule([SeccompCondition::new(1, Dword, Eq, request)]));
    let requests = requests.collect::<Result<Vec<_>, _>>()?;
    denied.extend(every(&[libc::SYS_ioctl], &requests));
    // A pin is opened by its path, and a link that is open can be detached.
    denied.extend(every(&[libc::SYS_bpf], &[]));
    // By these the sockets of the same user's processes outside could be had, or be made to send.
    let others = [libc::SYS_pidfd_getfd, libc::SYS_ptrace, libc::SYS_process_vm_readv];
    denied.extend(every(&others, &[]));
    denied.extend(every(&[libc::SYS_process_vm_writev], &[]));
    // By a key that is asked for, the kernel has a program outside look names up, for one; and keys are left
    // for others to use.
    let keys = [libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl];
    denied.extend(every(&keys, &[]));
    denied.extend(apart()?);
    denied.extend(upon_others()?);
    // Rings make sockets and connect them by calls that no filter sees; and `clone3` takes what it is to make
    // behind a pointer. Programs that are told that there is no such call do without.
    let rings = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let mut none = every(&rings, &[]);
    none.extend(every(&[libc::SYS_clone3], &[]));
    Ok(vec![
        compiled(every(&made, &[other]), libc::EAFNOSUPPORT)?,
        compiled(denied, libc::EPERM)?,
        compiled(none, libc::ENOSYS)?,
        // As of an option that the kernel was made without: who can do without it goes on.
        compiled(memberships()?, libc::ENOPROTOOPT)?,
    ])
}

/// What the kernel would report on the link. To leave a group that was never joined is an error anyway.
fn memberships() -> Result<Refused, BackendError> {
    let rules = MEMBERSHIPS.map(|(level, first, last)| {
        rule([condition(1, Eq, level), condition(2, Ge, first), condition(2, Le, last)])
    });
    let rules = rules.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(every(&[libc::SYS_setsockopt], &rules))
}

/// By what a process would be elsewhere than where it is looked up, or another than it is.
fn apart() -> Result<Refused, BackendError> {
    let made = NAMESPACES.map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        rule([SeccompCondition::new(0, Dword, MaskedEq(flag), flag)])
    });
    let made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut refused = every(&[libc::SYS_unshare, libc::SYS_clone], &made);
    refused.extend(every(&[libc::SYS_setns], &[]));
    let map = rule([condition(0, Eq, libc::PR_SET_MM)])?;
    refused.extend(every(&[libc::SYS_prctl], &[map]));
    Ok(refused)
}

/// What reaches other processes of the same user, gateway and loader among them, and no domain holds back: by a
/// limit the kernel ends whoever exceeds it. A process's own number is not known here, so only 0 stands for it.
fn upon_others() -> Result<Refused, BackendError> {
    let given = SeccompCondition::new(2, Qword, Ne, 0);
    let limits = rule([condition(0, Ne, 0), given])?;
    let mut refused = every(&[libc::SYS_prlimit64], &[limits]);
    let process = libc::c_int::try_from(libc::PRIO_PROCESS).unwrap_or(0);
    for (call, process) in
        [(libc::SYS_setpriority, process), (libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS)]
    {
        let rules = [rule([condition(0, Ne, process)])?, rule([condition(1, Ne, 0)])?];
        refused.extend(every(&[call], &rules));
    }
    Ok(refused)
}

/// Calls that are refused, and by which rules; without a rule, always.
type Refused = BTreeMap<i64, Vec<SeccompRule>>;

fn every(calls: &[i64], rules: &[SeccompRule]) -> Refused {
    let numbered = |call: &i64| match cfg!(target_arch = "x86_64") {
        true => vec![*call, *call | X32, by_x32(*call) | X32],
        false => vec![*call],
    };
    calls.iter().flat_map(numbered).map(|call| (call, rules.to_vec())).collect()
}

/// What x32 calls a call: the same, but for those that it has of its own (`asm/unistd_x32.h`).
fn by_x32(call: i64) -> i64 {
    match call {
        libc::SYS_ioctl => 514,
        libc::SYS_ptrace => 521,
        libc::SYS_process_vm_readv => 539,
        libc::SYS_process_vm_writev => 540,
        libc::SYS_setsockopt => 541,
        other => other,
    }
}

fn compiled(refused: Refused, errno: libc::c_int) -> Result<BpfProgram, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let errno = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(refused, SeccompAction::Allow, errno, architecture)?.try_into()
}

fn condition(
    argument: u8,
    how: seccompiler::SeccompCmpOp,
    value: libc::c_int,
) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Dword, how, u64::from(value.unsigned_abs()))
}

/// All of these at once.
fn rule(
    conditions: impl IntoIterator<Item = Result<SeccompCondition, BackendError>>,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.into_iter().collect::<Result<_, _>>()?)
}
