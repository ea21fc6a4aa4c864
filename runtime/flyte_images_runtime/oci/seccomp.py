"""The system calls that a container may make: an allowlist as wide as Docker's default. Pure.

A refused call answers "not permitted". A call that this list is too old to know answers "not implemented", so that
programs fall back to older calls instead of failing.
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from typing import Any

_EPERM, _ENOSYS = 1, 38

# By subject, so that a reader can check it. Left out on purpose: modules, mounts, namespaces, keys, tracing by
# perf_event, bpf, io_uring, userfaultfd, swap, reboot, clock setting, quotas, raw I/O ports, NUMA policies.
_ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek sendfile sendfile64 splice
tee
vmsplice copy_file_range readahead fadvise64 fadvise64_64 arm_fadvise64_64 sync_file_range sync_file_range2
arm_sync_file_range sync syncfs fsync fdatasync
open openat openat2 creat close close_range dup dup2 dup3 fcntl fcntl64 flock ioctl pipe pipe2
stat stat64 fstat fstat64 fstatat64 lstat lstat64 newfstatat oldfstat oldlstat statx statfs statfs64 fstatfs
fstatfs64 access
faccessat faccessat2 getdents getdents64 getcwd chdir fchdir
mkdir mkdirat rmdir link linkat unlink unlinkat symlink symlinkat readlink readlinkat rename renameat renameat2
mknod
mknodat truncate truncate64 ftruncate ftruncate64 fallocate chmod fchmod fchmodat fchmodat2 chown chown32 fchown
fchown32
fchownat lchown lchown32 umask utime utimes utimensat utimensat_time64 futimesat
getxattr lgetxattr fgetxattr setxattr lsetxattr fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr
fremovexattr getxattrat setxattrat listxattrat removexattrat name_to_handle_at inotify_init inotify_init1
inotify_add_watch
inotify_rm_watch fanotify_mark memfd_create memfd_secret landlock_create_ruleset landlock_add_rule
landlock_restrict_self
cachestat statmount listmount
mmap mmap2 munmap mremap mprotect msync madvise mincore brk mlock mlock2 mlockall munlock munlockall
remap_file_pages
pkey_alloc pkey_free pkey_mprotect map_shadow_stack process_mrelease mseal
shmget shmat shmdt shmctl semget semop semctl semtimedop semtimedop_time64 msgget msgsnd msgrcv msgctl ipc
mq_open mq_unlink mq_timedsend mq_timedsend_time64 mq_timedreceive mq_timedreceive_time64 mq_notify mq_getsetattr
fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgrp getpgid setpgid getsid
setsid
pidfd_open pidfd_send_signal kill tkill tgkill pause
uretprobe rseq set_tid_address set_robust_list get_robust_list membarrier restart_syscall
rt_sigaction rt_sigprocmask rt_sigpending rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn rt_sigsuspend
rt_sigtimedwait
rt_sigtimedwait_time64 sigaltstack sigprocmask sigreturn signal signalfd signalfd4
futex futex_time64 futex_waitv futex_wait futex_wake futex_requeue
sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler sched_setscheduler
sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min sched_rr_get_interval
sched_rr_get_interval_time64 getpriority setpriority ioprio_get ioprio_set nice getcpu getrlimit ugetrlimit
setrlimit
prlimit64 getrusage times sysinfo uname capget capset prctl arch_prctl set_thread_area get_thread_area seccomp
getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32 getresgid getresgid32
getgroups
getgroups32 setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32 setresgid
setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32
time gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep
clock_nanosleep_time64
nanosleep alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 adjtimex
clock_adjtime
clock_adjtime64
poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64 epoll_create epoll_create1 epoll_ctl
epoll_ctl_old
epoll_wait epoll_wait_old epoll_pwait epoll_pwait2 eventfd eventfd2
socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt send
sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 socketcall
io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents io_pgetevents_time64
getrandom ptrace process_vm_readv process_vm_writev
"""

_REFUSED = """
_sysctl acct add_key afs_syscall bpf chroot clock_settime clock_settime64 create_module delete_module fanotify_init
finit_module fsconfig fsmount fsopen fspick get_kernel_syms get_mempolicy getpmsg init_module io_uring_enter
io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie lsm_get_self_attr
lsm_list_modules lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount move_pages nfsservctl
open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_madvise putpmsg query_module quotactl
quotactl_fd reboot request_key security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns
settimeofday stime swapoff swapon sysfs syslog tuxcall umount umount2 unshare uselib userfaultfd ustat vhangup vserver
"""

# Calls that come with a capability: a task that has the capability may make its calls.
_BY_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr "
        "lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl "
        "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}
_CLONE_NAMESPACES = (0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000)
_AF_VSOCK = 40
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
    "ppc64le": ["SCMP_ARCH_PPC64LE"],
    "s390x": ["SCMP_ARCH_S390X", "SCMP_ARCH_S390"],
    "riscv64": ["SCMP_ARCH_RISCV64"],
}


def profile(capabilities: Collection[str] = (), *, machine: str | None = None) -> dict[str, Any]:
    """Return the `linux.seccomp` part of a container's configuration.

    >>> rules = profile(machine="x86_64")["syscalls"]
    >>> "read" in rules[0]["names"], [rule["action"] for rule in rules if "mount" in rule["names"]]
    (True, ['SCMP_ACT_ERRNO'])
    """
    machine = machine or platform.machine()
    rules: list[dict[str, Any]] = [_allow(*_ALLOWED.split())]
    given = {name for capability in capabilities for name in _BY_CAPABILITY.get(capability, "").split()}
    if given:
        rules.append(_allow(*sorted(given)))
    rules.append(_refuse(*(name for name in _REFUSED.split() if name not in given)))
    rules += [_allow("personality", args=[_argument(0, value, "SCMP_CMP_EQ")]) for value in _PERSONALITIES]
    rules.append(_allow("socket", args=[_argument(0, _AF_VSOCK, "SCMP_CMP_NE")]))
    rules.append(_refuse("socket", args=[_argument(0, _AF_VSOCK, "SCMP_CMP_EQ")]))
    if "CAP_SYS_ADMIN" not in capabilities:
        rules += _clone(1 if machine == "s390x" else 0)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _ENOSYS,
        "architectures": _ARCHITECTURES.get(machine, []),
        "syscalls": rules + _of_machine(machine),
    }


def _clone(flags: int) -> list[dict[str, Any]]:
    """Allow new processes without new namespaces. `flags` is the index of the argument with the flags of clone(2)."""
    every = sum(_CLONE_NAMESPACES)
    plain = {"index": flags, "value": every, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    refused = [{"index": flags, "value": one, "valueTwo": one, "op": "SCMP_CMP_MASKED_EQ"} for one in _CLONE_NAMESPACES]
    return [
        _allow("clone", args=[plain]),
        *(_refuse("clone", args=[one]) for one in refused),
        # a filter cannot follow the pointer to the flags of clone3; C libraries then use clone
        _refuse("clone3", number=_ENOSYS),
    ]


def capability(name: str) -> str:
    """Return the full name of a capability: `sys_nice`, `SYS_NICE` and `CAP_SYS_NICE` are the same.

    >>> capability("sys_nice")
    'CAP_SYS_NICE'
    """
    return "CAP_" + name.upper().removeprefix("CAP_")


def _of_machine(machine: str) -> list[dict[str, Any]]:
    if machine == "x86_64":
        return [_allow("modify_ldt")]
    if machine == "aarch64":
        return [
            _allow("arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2")
        ]
    if machine == "s390x":
        return [_allow("s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr")]
    if machine == "ppc64le":
        return [_allow("sync_file_range2", "swapcontext")]
    return [_allow("riscv_flush_icache")] if machine == "riscv64" else []


def _allow(*names: str, args: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    return {**rule, "args": args} if args else rule


def _refuse(*names: str, args: list[dict[str, Any]] | None = None, number: int = _EPERM) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number}
    return {**rule, "args": args} if args else rule


def _argument(index: int, value: int, op: str) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": 0, "op": op}
