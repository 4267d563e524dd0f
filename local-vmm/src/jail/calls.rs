//! Which system calls each kind of thread may make. Any other ends the process at once.
//!
//! What a list has, a machine uses: the lab counts calls by thread and compares (`tests/jail.rs`). Flags that would give more than the thread
//! needs are checked too: memory that can be executed, processes instead of threads, sockets other than unix sockets.

use super::threads::Role;
use kvm_bindings::{
    kvm_clock_data, kvm_cpuid2, kvm_debugregs, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_msr_list,
    kvm_msrs, kvm_pit_state2, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use vmm_sys_util::ioctl::{_IOC_NONE, _IOC_READ, _IOC_WRITE, ioctl_expr};

/// KVM's requests (`linux/kvm.h`) that a CPU's thread makes: run, and what is told of a fault.
const RUN: [u64; 3] = [kvm(_IOC_NONE, 0x80, 0), read::<kvm_regs>(0x81), read::<kvm_sregs>(0x83)];
/// What is asked of a whole machine and of CPUs that stand still, to pause, keep and resume.
const STATE: [u64; 17] = [
    // Clock, and the word to a CPU that it stood still.
    read::<kvm_clock_data>(0x7c),
    kvm(_IOC_WRITE, 0x7b, size_of::<kvm_clock_data>()),
    kvm(_IOC_NONE, 0xad, 0),
    // Names of registers, features of CPUs.
    both::<kvm_msr_list>(0x02),
    both::<kvm_cpuid2>(0x05),
    // Interrupt controllers, timer.
    both::<kvm_irqchip>(0x62),
    read::<kvm_pit_state2>(0x9f),
    // A CPU.
    read::<kvm_mp_state>(0x98),
    kvm(_IOC_NONE, 0xa3, 0),
    read::<kvm_regs>(0x81),
    read::<kvm_sregs>(0x83),
    read::<kvm_xsave>(0xa4),
    read::<kvm_xcrs>(0xa6),
    read::<kvm_debugregs>(0xa1),
    read::<kvm_lapic_state>(0x8e),
    both::<kvm_msrs>(0x88),
    read::<kvm_vcpu_events>(0x9f),
];

/// Number of a request to KVM, whose argument has that many bytes.
const fn kvm(direction: u32, number: u32, size: usize) -> u64 {
    ioctl_expr(direction, kvm_bindings::KVMIO, number, size as u32)
}

const fn read<T>(number: u32) -> u64 {
    kvm(_IOC_READ, number, size_of::<T>())
}

const fn both<T>(number: u32) -> u64 {
    kvm(_IOC_READ | _IOC_WRITE, number, size_of::<T>())
}

/// Sets whether a file waits.
const NONBLOCKING: u64 = 0x5421;

/// A call, and which of them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    /// All.
    Any(i64),
    /// Memory that cannot be executed.
    Data(i64),
    /// One of these requests to a device.
    Request(&'static [u64]),
    /// A new thread of this process.
    Thread,
    /// A signal to a thread of this process.
    Own(i64),
    /// A unix socket.
    Unix(i64),
    /// The calling thread's name.
    Name,
}

impl Call {
    /// Its number.
    pub(super) fn number(&self) -> i64 {
        match *self {
            Any(number) | Data(number) | Own(number) | Unix(number) => number,
            Request(_) => libc::SYS_ioctl,
            Thread => libc::SYS_clone,
            Call::Name => libc::SYS_prctl,
        }
    }
}

use Call::{Any, Data, Own, Request, Thread, Unix};

/// Memory, locks, time, the log, the end of a thread: what every thread may need, at any moment.
pub(super) const ALL: &[Call] = &[
    Data(libc::SYS_mmap),
    Data(libc::SYS_mprotect),
    Any(libc::SYS_munmap),
    Any(libc::SYS_mremap),
    Any(libc::SYS_madvise),
    Any(libc::SYS_brk),
    Any(libc::SYS_futex),
    Any(libc::SYS_sched_yield),
    Any(libc::SYS_clock_gettime),
    Any(libc::SYS_clock_nanosleep),
    Any(libc::SYS_restart_syscall),
    Any(libc::SYS_write),
    Any(libc::SYS_getrandom),
    Any(libc::SYS_sigaltstack),
    Any(libc::SYS_rt_sigprocmask),
    Any(libc::SYS_rt_sigreturn),
    Any(libc::SYS_gettid),
    Any(libc::SYS_getpid),
    Any(libc::SYS_exit),
];

/// Blocks of the disk, from and to memory of the guest, and whether the host has room for them.
const BLOCKS: &[Call] = &[Any(libc::SYS_preadv), Any(libc::SYS_pwritev), Any(libc::SYS_fstatfs)];

/// Files of the disk.
const DISK: &[Call] = &[
    Any(libc::SYS_openat),
    Any(libc::SYS_close),
    Any(libc::SYS_read),
    Any(libc::SYS_lseek),
    Any(libc::SYS_pread64),
    Any(libc::SYS_pwrite64),
    Any(libc::SYS_fallocate),
    Any(libc::SYS_fdatasync),
    Any(libc::SYS_statx),
    Any(libc::SYS_fcntl),
];

/// Changes of folders: checkpoints, kept machines, logs.
const FOLDERS: &[Call] = &[
    Any(libc::SYS_fsync),
    Any(libc::SYS_ftruncate),
    Any(libc::SYS_rename),
    Any(libc::SYS_unlink),
    Any(libc::SYS_unlinkat),
    Any(libc::SYS_mkdir),
    Any(libc::SYS_getdents64),
    Any(libc::SYS_newfstatat),
    Any(libc::SYS_copy_file_range),
];

/// Waiting for events.
const EVENTS: &[Call] = &[Any(libc::SYS_epoll_wait), Any(libc::SYS_read)];

/// Connections that are there.
const STREAMS: &[Call] = &[
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_accept4),
    Any(libc::SYS_recvfrom),
    Any(libc::SYS_sendto),
    Any(libc::SYS_writev),
    Any(libc::SYS_shutdown),
    Any(libc::SYS_close),
    Any(libc::SYS_fcntl),
    Request(&[NONBLOCKING]),
];

/// New threads.
const THREADS: &[Call] = &[
    Thread,
    // Answered as unknown by the filter before this one, and the older call is made instead, whose flags can be seen.
    Any(libc::SYS_clone3),
    Any(libc::SYS_rseq),
    Any(libc::SYS_set_robust_list),
    Call::Name,
    Any(libc::SYS_sched_getaffinity),
];

/// What vhost-user takes: queues and memory that come over a socket.
const VHOST: &[Call] = &[
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_accept4),
    Any(libc::SYS_recvmsg),
    Any(libc::SYS_sendmsg),
    Any(libc::SYS_shutdown),
    Any(libc::SYS_poll),
    Any(libc::SYS_close),
    Any(libc::SYS_epoll_create1),
    Any(libc::SYS_eventfd2),
    Any(libc::SYS_fcntl),
];

/// Calls from the server, calls to the agent.
const CONTROL: &[Call] = &[
    Unix(libc::SYS_socketpair),
    Any(libc::SYS_setsockopt),
    Any(libc::SYS_epoll_create1),
    Any(libc::SYS_eventfd2),
    Any(libc::SYS_rt_sigtimedwait),
    Own(libc::SYS_tgkill),
    Any(libc::SYS_exit_group),
];

/// For QEMU: its end.
const CHILD: &[Call] =
    &[Any(libc::SYS_wait4), Any(libc::SYS_waitid), Any(libc::SYS_kill), Any(libc::SYS_pidfd_send_signal)];

/// For a process that reads disks and says what it found.
const READER: &[Call] = &[
    Any(libc::SYS_openat),
    Any(libc::SYS_close),
    Any(libc::SYS_read),
    Any(libc::SYS_lseek),
    Any(libc::SYS_pread64),
    Any(libc::SYS_preadv),
    Any(libc::SYS_statx),
    Any(libc::SYS_fstat),
    Any(libc::SYS_newfstatat),
    Any(libc::SYS_fcntl),
    Any(libc::SYS_exit_group),
];

/// The filter of such a process, which has one thread.
pub(super) fn reader() -> Result<BpfProgram, String> {
    let rules = [ALL, READER].into_iter().flatten().map(|call| Ok((call.number(), rules(*call)?)));
    compile(rules.collect::<Result<_, String>>()?, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// What a thread's list is put together from.
pub(super) fn lists(role: Role, qemu: bool) -> Vec<&'static [Call]> {
    match role {
        Role::Cpu => vec![ALL, &[Request(&RUN), Own(libc::SYS_tgkill), Any(libc::SYS_sendto)]],
        Role::Disk => vec![ALL, EVENTS, DISK, BLOCKS],
        Role::Sockets => vec![ALL, EVENTS, STREAMS, &[Any(libc::SYS_poll)]],
        Role::DiskOfQemu => vec![ALL, EVENTS, DISK, BLOCKS, THREADS, VHOST],
        Role::SocketsOfQemu => vec![ALL, EVENTS, STREAMS, THREADS, VHOST],
        Role::Device => vec![ALL, EVENTS],
        Role::Console => vec![
            ALL,
            &[
                Any(libc::SYS_recvfrom),
                Any(libc::SYS_fcntl),
                Any(libc::SYS_openat),
                Any(libc::SYS_close),
                Any(libc::SYS_rename),
            ],
        ],
        Role::Control if qemu => vec![ALL, EVENTS, STREAMS, DISK, FOLDERS, THREADS, CONTROL, CHILD],
        Role::Control => vec![ALL, EVENTS, STREAMS, DISK, FOLDERS, THREADS, CONTROL, &[Request(&STATE)]],
    }
}

/// The filter of a kind of thread.
pub(super) fn filter(role: Role, qemu: bool) -> Result<BpfProgram, String> {
    let mut all: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in lists(role, qemu).into_iter().flatten() {
        let (number, these) = (call.number(), rules(*call)?);
        match all.entry(number) {
            // No rule at all means every call, which a narrower one elsewhere in the lists must not undo.
            Entry::Occupied(any) if any.get().is_empty() => {}
            Entry::Occupied(mut some) if !these.is_empty() => some.get_mut().extend(these),
            entry => drop(entry.insert_entry(these)),
        }
    }
    compile(all, SeccompAction::KillProcess, SeccompAction::Allow)
}

/// For threads that start others: a call whose flags lie in memory, where no filter sees them, is answered as if the kernel did not know it.
pub(super) fn unknown() -> Result<BpfProgram, String> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    compile(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    these: SeccompAction,
) -> Result<BpfProgram, String> {
    let filter =
        SeccompFilter::new(rules, others, these, TargetArch::x86_64).map_err(|error| error.to_string())?;
    filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())
}

/// The rules of which one must fit; none of them means any.
fn rules(call: Call) -> Result<Vec<SeccompRule>, String> {
    let failed = |error: seccompiler::BackendError| error.to_string();
    let one = |argument: u8, len: Len, op: Op, value: u64| {
        let condition = SeccompCondition::new(argument, len, op, value).map_err(failed)?;
        SeccompRule::new(vec![condition]).map_err(failed)
    };
    let is = |argument, value| Ok(vec![one(argument, Len::Dword, Op::Eq, value)?]);
    match call {
        Any(_) => Ok(Vec::new()),
        Data(_) => Ok(vec![one(2, Len::Dword, Op::MaskedEq(libc::PROT_EXEC as u64), 0)?]),
        Request(requests) => requests.iter().map(|request| one(1, Len::Dword, Op::Eq, *request)).collect(),
        Thread => {
            let flag = libc::CLONE_THREAD as u64;
            Ok(vec![one(0, Len::Qword, Op::MaskedEq(flag), flag)?])
        }
        Own(_) => is(0, u64::from(std::process::id())),
        Unix(_) => is(0, libc::AF_UNIX as u64),
        Call::Name => is(0, libc::PR_SET_NAME as u64),
    }
}
