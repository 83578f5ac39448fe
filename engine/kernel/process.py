"""Processes and futexes: pidfds (pidfd_open(2)), the seed (clone3(2)), kcmp(2), the keeper (set_robust_list(2))."""

from __future__ import annotations

import errno
import os
import struct

from engine.errors import KernelError
from engine.kernel import proc
from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.uapi import ptrace as pt

ENDED = ("Z", "X")  # proc.Stat.state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_PARENT = 0x8000
PIDFD_THREAD = os.O_EXCL
# struct sched_attr of linux/sched/types.h, behind its size
_SCHED_ATTR = struct.Struct("<IQiIQQQII")


def pidfd_open(pid: int, flags: int = 0) -> int:
    """A pidfd of a process, or with PIDFD_THREAD (Linux 6.9) of a thread; KernelError ESRCH if there is none."""
    return check(lib.zd_pidfd_open(pid, flags), f"pidfd_open({pid}, {flags:#o})")


def pidfd_of(tid: int) -> int:
    """A pidfd by any thread of a process (Linux 6.9 if that is not the first)."""
    pidfd = lib.zd_pidfd_open(tid, 0)
    if pidfd in (-errno.EINVAL, -errno.ENOENT):
        pidfd = lib.zd_pidfd_open(tid, PIDFD_THREAD)
    return check(pidfd, f"pidfd_open({tid})")


def borrow(tid: int, fd: int) -> int:
    """A descriptor of our own for one of a task."""
    pidfd = pidfd_of(tid)
    try:
        return pidfd_getfd(pidfd, fd)
    finally:
        os.close(pidfd)


def pidfd_getfd(pidfd: int, fd: int) -> int:
    """A descriptor of our own for another process's (pidfd_getfd(2)); it is close-on-exec."""
    return check(lib.zd_pidfd_getfd(pidfd, fd), f"pidfd_getfd({pidfd}, {fd})")


def pidfd_kill(pidfd: int, sig: int) -> bool:
    """Send a signal; False if the process is gone."""
    r = lib.zd_pidfd_send_signal(pidfd, sig)
    if r == -errno.ESRCH:
        return False
    check(r, f"pidfd_send_signal({pidfd}, {sig})")
    return True


def spawn_seed(seed_fd: int, arena_fd: int, pid: int, sibling: bool) -> int:
    """Start the seed with this very pid (0: any) and return the pid; raises KernelError, EEXIST for a pid in use.

    Both descriptors must be above SEED_FD. The child dies with this thread (PR_SET_PDEATHSIG).
    """
    return check(
        lib.zd_spawn_seed(seed_fd, arena_fd, pid, CLONE_PARENT if sibling else 0),
        f"clone3(set_tid {pid}) + execveat(seed)",
    )


def wait_exit(pid: int, timeout_us: int = -1) -> int:
    """Wait for a child's end and return its wait status; KernelError ETIMEDOUT after timeout_us."""
    status = ffi.new("int *")
    check(lib.zd_wait(pid, pt.WALL, timeout_us, status), f"waitpid({pid})")
    return int(status[0])


def block_sigchld(block: bool) -> None:
    """SIGCHLD must be blocked where waits have timeouts: they are woken by sigtimedwait(2)."""
    check(lib.zd_block_signals(block), "sigprocmask(SIGCHLD)")


def keeper_arm(arena: Any, node: int, word: int) -> None:
    """Tie the arena's keeper word (offset `word`, list node at `node`) to this thread's life."""
    check(lib.zd_keeper_arm(ffi.from_buffer(arena), node, word), "set_robust_list")


def keeper_disarm() -> None:
    """Take the keeper off this thread's robust list again."""
    check(lib.zd_keeper_disarm(), "set_robust_list")


def futex_wait(arena: Any, offset: int, seen: int, timeout_us: int) -> bool:
    """Wait until the word at `offset` is no longer `seen`, or was woken; False after timeout_us."""
    r = lib.zd_futex_wait(ffi.from_buffer(arena) + offset, seen, timeout_us)
    if r == -errno.ETIMEDOUT:
        return False
    if r not in (0, -errno.EAGAIN, -errno.EINTR):
        raise KernelError("futex(FUTEX_WAIT)", -r)
    return True


KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND = range(5)  # linux/kcmp.h
KCMP_SYSVSEM = 6
_CLONE_SYSVSEM = 0x40000


def kcmp(pid1: int, pid2: int, kind: int, idx1: int = 0, idx2: int = 0) -> int:
    """kcmp(2): 0 when the two processes share this kernel object, 1 or 2 when the first's is the lesser or greater."""
    return check(lib.zd_kcmp(pid1, pid2, kind, idx1, idx2), f"kcmp({pid1}, {pid2}, {kind})")


def with_vdso32(at: int) -> int:
    """Start a process that has the vdso of 32-bit programs at this address, and does nothing; returns its pid.

    It dies with this thread; to be killed and reaped. KernelError for a kernel that runs no 32-bit programs.
    """
    return check(lib.zd_with_vdso32(at), "arch_prctl(ARCH_MAP_VDSO_32)")


def scan(pid: int) -> tuple[list[int], list[int]]:
    """(thread ids, children of all threads) of a process, ascending; KernelError ENOENT when it is gone.

    Needs CONFIG_PROC_CHILDREN.
    """
    try:
        max_tids = os.stat(f"/proc/{pid}/task").st_nlink + 64
    except OSError as e:
        raise KernelError(f"reading /proc/{pid}/task", e.errno or errno.ESRCH) from e
    max_kids = 1024
    while True:
        tids, kids, nkids = ffi.new("int[]", max_tids), ffi.new("int[]", max_kids), ffi.new("unsigned *")
        n = check(lib.zd_task_scan(pid, tids, max_tids, kids, max_kids, nkids), f"reading /proc/{pid}/task")
        if n <= max_tids and nkids[0] <= max_kids:
            # a thread that executes a program meanwhile is listed twice, under its leader's number
            return sorted({*tids[0:n]}), sorted(kids[0 : nkids[0]])
        max_tids, max_kids = n * 2, nkids[0] * 2 + 256


def view(pid: int) -> int:
    """The thread by whose directory procfs shows a process: another than the leader if that has ended; 0 for a zombie.

    KernelError, FileNotFoundError, ProcessLookupError when it is gone.
    """
    if proc.Stat(pid).state not in ENDED:
        return pid
    return next((tid for tid in scan(pid)[0] if tid != pid), 0)


def securebits() -> int:
    """This process's secure bits (PR_GET_SECUREBITS(2const))."""
    return check(lib.zd_securebits(), "prctl(PR_GET_SECUREBITS)")


def prctl(option: int, value: int) -> int:
    """prctl(2) with one argument, for the engine itself."""
    return check(lib.zd_prctl(option, value), f"prctl({option}, {value})")


def subreaper(on: bool) -> None:
    """Let orphans below this process become its children, or no longer (PR_SET_CHILD_SUBREAPER(2const))."""
    check(lib.zd_subreaper(on), "prctl(PR_SET_CHILD_SUBREAPER)")


def tgkill(pid: int, tid: int, sig: int) -> None:
    """Send a signal to one thread (tgkill(2))."""
    check(lib.zd_tgkill(pid, tid, sig), f"tgkill({pid}, {tid}, {sig})")


def futex_wake(arena: Any, offset: int) -> None:
    """Wake whoever waits on the word at `offset`."""
    check(lib.zd_futex_wake(ffi.from_buffer(arena) + offset), "futex(FUTEX_WAKE)")


def kcmp_ids(pids: list[int], kind: int) -> list[int]:
    """Equal numbers, from 1 on, for those tasks that share the kernel object (kcmp(2))."""
    ids = ffi.new("unsigned[]", len(pids))
    check(lib.zd_kcmp_ids(pids, len(pids), kind, ids), f"kcmp({pids}, {kind})")
    return list(ids)


def sched_attr(pid: int) -> tuple[int, int, int, int]:
    """(policy, flags, nice, priority) of a thread (sched_getattr(2))."""
    buf = ffi.new("char[56]")
    check(lib.zd_sched_getattr(pid, buf, 56), f"sched_getattr({pid})")
    raw = bytes(ffi.buffer(buf))
    return (
        int.from_bytes(raw[4:8], "little"),
        int.from_bytes(raw[8:16], "little"),
        int.from_bytes(raw[16:20], "little", signed=True),
        int.from_bytes(raw[20:24], "little"),
    )


def sched_getattr(tid: int) -> tuple[int, ...]:
    """sched_getattr(2) of a thread (0: the caller), from `policy` on.

    (policy, flags, nice, priority, runtime, deadline, period, util_min, util_max); times in ns. `nice` is 0 under a
    realtime policy, whatever the thread will have under another (getpriority(2) tells); `runtime` is the slice of a
    thread under a fair policy, from Linux 6.12 on.
    """
    buf = ffi.new("char[56]")
    check(lib.zd_sched_getattr(tid, buf, 56), f"sched_getattr({tid})")
    return _SCHED_ATTR.unpack_from(ffi.buffer(buf), 4)


def ioprio_get(tid: int) -> int:
    """ioprio_get(2) of a thread (0: the caller): class << 13 | data, 0 where none was ever set."""
    return check(lib.zd_ioprio_get(tid), f"ioprio_get({tid})")


def same_namespace(pid: int, name: str) -> bool:
    """Is a process in the engine's own namespace of that name? KernelError for one that is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
    except OSError as e:
        raise KernelError(f"reading /proc/{pid}/ns/{name}", e.errno or 0) from e


def forget_undo() -> None:
    """Have no list of what is to be undone to semaphores (unshare(2)), which a process gets with its first thread."""
    check(lib.zd_unshare(_CLONE_SYSVSEM), "unshare(CLONE_SYSVSEM)")


def has_semaphores() -> bool:
    """Are there any in the engine's IPC namespace? Whoever has threads has a list of what to undo, empty or not."""
    try:
        return proc.read_text("/proc/sysvipc/sem").count("\n") > 1
    except FileNotFoundError:
        return False  # a kernel without them


def set_last_pid(pid: int) -> None:
    """Have the caller's pid namespace give out numbers behind this one. KernelError.

    CONFIG_CHECKPOINT_RESTORE; CAP_CHECKPOINT_RESTORE in the user namespace that owns the pid namespace (proc(5)).
    """
    path = "/proc/sys/kernel/ns_last_pid"
    try:
        proc.write_text(path, str(pid))
    except OSError as e:
        raise KernelError(f"write({path}, {pid})", e.errno or 0) from e
