"""Probes of tasks: ptrace, pids, timers, seccomp, what /proc tells of a task."""

from __future__ import annotations

import os
import signal
from errno import EEXIST
from struct import calcsize, pack, unpack

from engine.kernel.probes import raw

PTRACE_POKEUSER, PTRACE_CONT, PTRACE_TRACEME = 6, 7, 0
PTRACE_GETREGSET = 0x4204
PTRACE_SECCOMP_GET_FILTER = 0x420C
PTRACE_GET_RSEQ_CONFIGURATION = 0x420F
PTRACE_O_SUSPEND_SECCOMP = 1 << 21
RSEQ_CONFIGURATION = "QIIII"

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
SECCOMP_MODE_FILTER = 2
ALLOW_ALL = pack("HBBI", 0x06, 0, 0, 0x7FFF0000)  # one sock_filter: return SECCOMP_RET_ALLOW

PR_TIMER_CREATE_RESTORE_IDS, RESTORE_IDS_ON = 77, 1
CLOCK_MONOTONIC = 1
SIGEV_NONE = 1

DEBUGREG = 848  # offsetof(struct user, u_debugreg) on x86_64
DR7_L0 = 1
NT_ARM_HW_BREAK = 0x402

KCMP_EPOLL_TFD = 7


def seccomp_suspend() -> bool:
    """ptrace(2): PTRACE_O_SUSPEND_SECCOMP."""
    return any(True for _ in raw.stopped_task(lambda: None, PTRACE_O_SUSPEND_SECCOMP))


def _filtered() -> None:
    program = raw.buffer(ALLOW_ALL)
    raw.c("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    raw.c("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, raw.buffer(pack("H6xQ", 1, raw.address(program))), 0, 0)


def seccomp_filters() -> bool:
    """ptrace(2): PTRACE_SECCOMP_GET_FILTER gives back the filter that a task has set."""
    back = raw.buffer(4096 * len(ALLOW_ALL))
    for pid in raw.stopped_task(_filtered):
        count = raw.c("ptrace", PTRACE_SECCOMP_GET_FILTER, pid, 0, back)
        return count == 1 and back.raw[: len(ALLOW_ALL)] == ALLOW_ALL
    return False


def get_rseq_conf() -> bool:
    """linux/ptrace.h: PTRACE_GET_RSEQ_CONFIGURATION, where the C library has registered an rseq area or not."""
    size = calcsize(RSEQ_CONFIGURATION)
    conf = raw.buffer(size)
    for pid in raw.stopped_task(lambda: None):
        return raw.c("ptrace", PTRACE_GET_RSEQ_CONFIGURATION, pid, size, conf) == size
    return False


def breakpoints() -> bool:
    """A hardware breakpoint that the tracer sets stops the task there."""
    if os.uname().machine != "x86_64":
        state = raw.buffer(8 + 16 * 16)
        where = raw.buffer(pack("QQ", raw.address(state), len(state.raw)))
        for pid in raw.stopped_task(lambda: None):
            raw.c("ptrace", PTRACE_GETREGSET, pid, NT_ARM_HW_BREAK, where)
            return bytes(state.raw)[0] > 0
        return False
    import ctypes

    function = raw.libc().getppid
    at = ctypes.cast(function, ctypes.c_void_p).value or 0
    pid = raw.fork()
    if pid == 0:
        try:
            raw.c("ptrace", PTRACE_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            function()
        finally:
            os._exit(0)
    try:
        os.waitpid(pid, 0)
        raw.c("ptrace", PTRACE_POKEUSER, pid, DEBUGREG, at)
        raw.c("ptrace", PTRACE_POKEUSER, pid, DEBUGREG + 7 * 8, DR7_L0)
        raw.c("ptrace", PTRACE_CONT, pid, 0, 0)
        status = os.waitpid(pid, 0)[1]
        if not os.WIFSTOPPED(status):
            pid = 0
            return False
        return os.WSTOPSIG(status) == signal.SIGTRAP
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def clone3_set_tid() -> bool:
    """clone3(2): a child with a pid of our choice."""
    wanted = raw.fork()
    if wanted == 0:
        os._exit(0)
    os.waitpid(wanted, 0)  # this one is free now
    tid = raw.buffer(pack("i", wanted))
    args = pack("11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, raw.address(tid), 1, 0)
    try:
        pid = raw.syscall("clone3", raw.buffer(args), len(args))
    except OSError as e:
        return e.errno == EEXIST  # somebody else was faster; the kernel has looked at the pid that we asked for
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid == wanted


def pidfd_store() -> bool:
    """pidfd_open(2), and pidfd_getfd(2) to keep pidfds with another process."""
    import select

    reader, writer = os.pipe()
    pid = raw.fork()
    if pid == 0:
        os.read(reader, 1)
        os._exit(0)
    pidfd = os.pidfd_open(pid)
    fd = raw.syscall("pidfd_getfd", pidfd, reader, 0)
    same = os.fstat(fd) == os.fstat(reader)
    os.write(writer, b"1")
    gone = select.select([pidfd], [], [], 1)[0] == [pidfd]
    os.waitpid(pid, 0)
    return same and gone


def ns_pid() -> bool:
    """proc(5): NSpid in /proc/PID/status."""
    pid = str(os.getpid())
    return any(line.startswith("NSpid:") and pid in line.split() for line in raw.lines("/proc/self/status"))


def timer_cr_ids() -> bool:
    """linux/prctl.h: PR_TIMER_CREATE_RESTORE_IDS, and a timer with an id of our choice."""
    raw.c("prctl", PR_TIMER_CREATE_RESTORE_IDS, RESTORE_IDS_ON, 0, 0, 0)
    wanted = 4242
    event, timer = raw.buffer(pack("Qii48x", 0, 0, SIGEV_NONE)), raw.buffer(pack("i", wanted))
    raw.syscall("timer_create", CLOCK_MONOTONIC, event, timer)
    return bool(unpack("i", timer.raw)[0] == wanted)


def loginuid() -> bool:
    """proc(5): /proc/PID/loginuid can be read, and set again."""
    fd = os.open("/proc/self/loginuid", os.O_RDWR | os.O_CLOEXEC)
    uid = os.pread(fd, 16, 0)
    os.pwrite(fd, uid, 0)
    return os.pread(fd, 16, 0) == uid


def kcmp_epoll() -> bool:
    """kcmp(2): KCMP_EPOLL_TFD finds the file behind an epoll target."""
    import select

    reader, writer = os.pipe()
    with select.epoll() as epoll:
        epoll.register(reader, select.EPOLLIN)
        slot = raw.buffer(pack("III", epoll.fileno(), reader, 0))
        me = os.getpid()
        return (
            raw.syscall("kcmp", me, me, KCMP_EPOLL_TFD, reader, slot) == 0
            and raw.syscall("kcmp", me, me, KCMP_EPOLL_TFD, writer, slot) != 0
        )


def apparmor_stacking() -> bool:
    """AppArmor is on, and can stack one profile upon another."""
    with open("/proc/self/attr/current", "rb") as f:
        f.read()
    return raw.lines("/sys/kernel/security/apparmor/features/domain/stack") == ["yes"]
