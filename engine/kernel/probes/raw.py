"""What the probes share: the C library, calls by number, children, namespaces, stopped tasks.

A probe asks by doing; none of this is on the way of a dump or a restore, which go through `engine.kernel._native`.
"""

from __future__ import annotations

import os
import signal

from engine.blocks import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

PAGE = 4096
SECONDS = 5  # a probe that is not done by then counts as missing

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MS_BIND, MS_REC, MS_PRIVATE, MS_SHARED = 0x1000, 0x4000, 1 << 18, 1 << 20

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_ANONYMOUS = 2, 0x20

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
PTRACE_O_EXITKILL = 1 << 20

PR_SET_PDEATHSIG = 1

# Calls that the C library has no function for, by machine.
NUMBERS = {
    "x86_64": {
        "io_setup": 206,
        "io_getevents": 208,
        "timer_create": 222,
        "timer_delete": 226,
        "kcmp": 312,
        "userfaultfd": 323,
        "move_mount": 429,
        "clone3": 435,
        "openat2": 437,
        "pidfd_getfd": 438,
    },
    "aarch64": {
        "io_setup": 0,
        "io_getevents": 4,
        "timer_create": 107,
        "timer_delete": 111,
        "kcmp": 272,
        "userfaultfd": 282,
        "move_mount": 429,
        "clone3": 435,
        "openat2": 437,
        "pidfd_getfd": 438,
    },
}


def libc() -> Any:
    """The C library; its integers are 64 bits wide here, so that addresses pass."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def c(name: str, *args: Any) -> int:
    """Call a C library function with ints, bytes and ctypes objects; OSError of errno when it returns -1."""
    import ctypes

    function = getattr(libc(), name)
    function.restype = ctypes.c_long
    # an int goes as a whole register; the upper half is ignored where the function takes less
    result: int = function(*(ctypes.c_long(a) if isinstance(a, int) else a for a in args))
    if result == -1 or result == 0xFFFFFFFF:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), name)
    return result


def syscall(name: str, *args: Any) -> int:
    """A call by number; OSError as from `c`."""
    numbers = NUMBERS.get(os.uname().machine)
    if numbers is None:
        raise OSError(38, os.strerror(38), name)
    return c("syscall", numbers[name], *args)


def isolate(probe: Callable[[], bool]) -> bool:
    """Run a probe in a child of its own: what it does to memory, mounts, namespaces and descriptors ends with it.

    A probe that raises OSError, dies or hangs says no.
    """
    libc()  # loaded once here, not in every child
    answer, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _quiet()
            os.write(told, b"1" if probe() else b"0")
        except OSError:
            pass
        finally:
            os._exit(0)
    os.close(told)
    try:
        # not the exit status: whoever started us may have left SIGCHLD ignored
        return os.read(answer, 1) == b"1"
    finally:
        os.close(answer)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _quiet() -> None:
    """In a fresh child: no words, no core, an end in sight, signals as they come."""
    import resource

    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGCHLD, signal.SIGALRM, signal.SIGTRAP, signal.SIGSEGV):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def fork() -> int:
    """A probe's own child: it ends with the probe, or in time."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        c("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return pid


def unshare(flags: int) -> None:
    """unshare(2)."""
    c("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    c("setns", fd, kind)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    c("mount", source.encode(), target.encode(), kind.encode(), flags, data.encode())


def scratch() -> str:
    """Mount namespace of our own, with an empty tmpfs; its path."""
    unshare(CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    place = next(d for d in ("/mnt", "/tmp", "/run", "/dev") if os.path.isdir(d))
    mount("none", place, "tmpfs")
    return place


def map_pages(pages: int, protection: int = PROT_READ | PROT_WRITE) -> int:
    """Address of fresh anonymous private memory."""
    return c("mmap", 0, pages * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)


def poke(address: int, data: bytes) -> None:
    """Write into our own memory."""
    import ctypes

    ctypes.memmove(address, data, len(data))


def buffer(data: bytes | int) -> Any:
    """Memory for a call to read and fill; `.raw` are its bytes."""
    import ctypes

    # with the size given, no byte is added to the end
    return ctypes.create_string_buffer(data) if isinstance(data, int) else ctypes.create_string_buffer(data, len(data))


def address(buf: Any) -> int:
    """Where a buffer is."""
    import ctypes

    return ctypes.addressof(buf)


def lines(path: str) -> list[str]:
    """The lines of a small file."""
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return f.read().splitlines()


def fdinfo(fd: int) -> list[str]:
    """The lines of a descriptor's fdinfo."""
    return lines(f"/proc/self/fdinfo/{fd}")


def stopped_task(run: Callable[[], None], options: int = 0) -> Iterator[int]:
    """Pid of a child that has done `run`, sits still, and is seized and stopped by us; killed after the loop's body."""
    ready, told = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            run()
            os.write(told, b"1")
            while True:
                signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    try:
        if os.read(ready, 1) == b"1":
            c("ptrace", PTRACE_SEIZE, pid, 0, PTRACE_O_EXITKILL | options)
            c("ptrace", PTRACE_INTERRUPT, pid, 0, 0)
            os.waitpid(pid, 0)
            yield pid
    finally:
        os.close(ready)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
