//! Families: which sockets a command behind a fence can make at all.
//!
//! Out: programs for seccomp, made once and handed to the kernel by the child. They see the numbers of a
//! call, not what its pointers lead to. A call by another architecture's table (32-bit programs) ends the
//! process; x32, which has this architecture's name and numbers of its own, is refused the same calls.

use std::collections::BTreeMap;

use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
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

/// The type by which a packet socket can be had from family `AF_INET`, and the bits of a type
/// (`SOCK_PACKET` and `SOCK_TYPE_MASK` of `linux/net.h`).
const PACKET: u64 = 10;
const TYPE: u64 = 0xf;

/// What keeps a command to its families.
pub(super) fn filters() -> Result<Vec<BpfProgram>, BackendError> {
    let made = [libc::SYS_socket, libc::SYS_socketpair];
    let other = rule(FAMILIES.map(|family| condition(0, Ne, family)))?;
    let packet = SeccompRule::new(vec![
        condition(0, Eq, libc::AF_INET)?,
        SeccompCondition::new(1, Dword, MaskedEq(TYPE), PACKET)?,
    ])?;
    let families = vec![other, packet];
    let mut protocols = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let among = PROTOCOLS.map(|protocol| condition(2, Ne, protocol));
        protocols.push(rule([condition(0, Eq, family)].into_iter().chain(among))?);
    }
    let mut denied = every(&[libc::SYS_socket], &protocols);
    // A pin is opened by its path, and a link that is open can be detached.
    denied.extend(every(&[libc::SYS_bpf], &[]));
    // By these the sockets of the same user's processes outside could be had, or be made to send.
    let others = [libc::SYS_pidfd_getfd, libc::SYS_ptrace, libc::SYS_process_vm_readv];
    denied.extend(every(&others, &[]));
    denied.extend(every(&[libc::SYS_process_vm_writev], &[]));
    // It makes sockets and connects them by calls that no filter sees. Programs that are told that there
    // is no such call do without.
    let rings = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    Ok(vec![
        compiled(every(&made, &families), libc::EAFNOSUPPORT)?,
        compiled(denied, libc::EPERM)?,
        compiled(every(&rings, &[]), libc::ENOSYS)?,
    ])
}

/// Calls that are refused, and by which rules; without a rule, always.
type Refused = BTreeMap<i64, Vec<SeccompRule>>;

fn every(calls: &[i64], rules: &[SeccompRule]) -> Refused {
    let numbered = |call: &i64| match cfg!(target_arch = "x86_64") {
        true => vec![*call, *call | X32],
        false => vec![*call],
    };
    calls.iter().flat_map(numbered).map(|call| (call, rules.to_vec())).collect()
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
