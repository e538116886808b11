//! System calls that lead around what Landlock knows.
//!
//! Its rules for TCP are about connecting sockets of plain TCP. MPTCP, for one, speaks to the same
//! ports, and TCP Fast Open connects while it sends. So a worker gets sockets of the usual kinds only,
//! no sending that connects, and no `io_uring`, which makes sockets by another way. Key rings go too:
//! all workers have that of the daemon's session in common.
//!
//! Its rule for signals has a way around, too: a limit that is too low ends a process, and any process
//! of the same user can set it (`prlimit64`). So a worker sets its own only, which is that of pid 0.

use std::collections::BTreeMap;

use nix::libc::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, EACCES, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_IP,
    IPPROTO_TCP, IPPROTO_UDP, MSG_FASTOPEN, SYS_add_key, SYS_io_uring_setup, SYS_keyctl,
    SYS_mq_open, SYS_msgget, SYS_prlimit64, SYS_request_key, SYS_semget, SYS_sendmmsg, SYS_sendmsg,
    SYS_sendto, SYS_shmget, SYS_socket, c_int,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// The kinds of sockets that a worker gets.
const FAMILIES: [c_int; 4] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];
/// What an internet socket of a worker speaks.
const PROTOCOLS: [c_int; 5] = [IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6];
/// What a worker does not get at all.
const FORBIDDEN: [i64; 4] = [SYS_add_key, SYS_io_uring_setup, SYS_keyctl, SYS_request_key];
/// How workers get at what each other have in a common IPC namespace.
const IPC: [i64; 4] = [SYS_mq_open, SYS_msgget, SYS_semget, SYS_shmget];
/// What sends, and which of its arguments has the flags.
const SENDING: [(i64, u8); 3] = [(SYS_sendto, 3), (SYS_sendmsg, 2), (SYS_sendmmsg, 3)];
/// Two of them have another number there.
#[cfg(target_arch = "x86_64")]
const SENDING_BY_SECOND_NUMBER: [(i64, u8); 2] = [(0x4000_0000 | 518, 2), (0x4000_0000 | 538, 3)];
#[cfg(not(target_arch = "x86_64"))]
const SENDING_BY_SECOND_NUMBER: [(i64, u8); 0] = [];

/// By this bit a call has a second number on x86-64, where the kernel still knows that.
#[cfg(target_arch = "x86_64")]
const SECOND_NUMBERS: &[i64] = &[0, 0x4000_0000];
#[cfg(not(target_arch = "x86_64"))]
const SECOND_NUMBERS: &[i64] = &[0];

/// Takes these calls away from the calling thread and what it starts, for ever; needs
/// `no_new_privs`. In a `common_ipc` namespace those go that make or find something in it. Programs
/// of another architecture, such as 32-bit ones, are killed.
pub(super) fn forbid(common_ipc: bool) -> Result<(), String> {
    let program =
        program(common_ipc).map_err(|cause| format!("no filter of system calls: {cause}"))?;
    apply_filter(&program).map_err(|cause| format!("no filter of system calls: {cause}"))
}

fn program(common_ipc: bool) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut sockets = vec![SeccompRule::new(none_of(0, &FAMILIES)?)?];
    for family in [AF_INET, AF_INET6] {
        let mut conditions = vec![argument(0, SeccompCmpOp::Eq, family)?];
        conditions.extend(none_of(2, &PROTOCOLS)?);
        sockets.push(SeccompRule::new(conditions)?);
    }
    let mut rules = BTreeMap::new();
    for bit in SECOND_NUMBERS {
        rules.insert(SYS_socket | bit, sockets.clone());
        rules.extend(FORBIDDEN.map(|call| (call | bit, Vec::new())));
        if common_ipc {
            rules.extend(IPC.map(|call| (call | bit, Vec::new())));
        }
        let of_another = SeccompRule::new(vec![argument(0, SeccompCmpOp::Ne, 0)?])?;
        rules.insert(SYS_prlimit64 | bit, vec![of_another]);
        for (call, flags) in SENDING {
            rules.insert(call | bit, vec![connects(flags)?]);
        }
    }
    for (call, flags) in SENDING_BY_SECOND_NUMBER {
        rules.insert(call, vec![connects(flags)?]);
    }
    let refused = SeccompAction::Errno(EACCES.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()
}

/// A call with the flag that connects a socket while it sends.
fn connects(flags: u8) -> Result<SeccompRule, BackendError> {
    let bit = u64::from(MSG_FASTOPEN.unsigned_abs());
    SeccompRule::new(vec![argument(flags, SeccompCmpOp::MaskedEq(bit), MSG_FASTOPEN)?])
}

fn none_of(number: u8, values: &[c_int]) -> Result<Vec<SeccompCondition>, BackendError> {
    values.iter().map(|value| argument(number, SeccompCmpOp::Ne, *value)).collect()
}

fn argument(
    number: u8,
    compare: SeccompCmpOp,
    value: c_int,
) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.unsigned_abs());
    SeccompCondition::new(number, SeccompCmpArgLen::Dword, compare, value)
}
