"""Processes that have ended, as their pidfds show them (pidfd_open(2), PIDFD_GET_INFO of ioctl_pidfd(2))."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from engine.errors import KernelError
from engine.kernel import process
from engine.kernel._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# struct pidfd_info of linux/pidfd.h, as Linux 6.15 has it: mask, cgroup, 11 ids, exit_code
_INFO = struct.Struct("<QQ11Ii")
_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11  # _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)
_INFO_EXIT = 1 << 3
_NOT_KNOWN = (errno.ENOTTY, errno.EINVAL, errno.ESRCH)


def exit_code(pid: int, fd: int) -> int | None:
    """The wait status of the process that descriptor `fd` of task `pid` is a pidfd of; None where nothing tells it.

    It has ended, and has been waited for; Linux 6.15 and newer tell. KernelError.
    """
    holder = process.pidfd_open(pid)
    try:
        ours = process.pidfd_getfd(holder, fd)
    finally:
        os.close(holder)
    try:
        raw = fcntl.ioctl(ours, _GET_INFO, _INFO.pack(_INFO_EXIT, *(0,) * 13))
    except OSError as e:
        if e.errno in _NOT_KNOWN:
            return None
        raise KernelError("ioctl(PIDFD_GET_INFO)", e.errno or 0, f"fd {fd} of pid {pid}") from e
    finally:
        os.close(ours)
    mask, *_, code = _INFO.unpack(raw)
    return code if mask & _INFO_EXIT else None


def of_dead(flags: Iterable[int], code: int) -> list[int]:
    """A pidfd for each of `flags` (of pidfd_open(2)), all of one process that has ended with this wait status.

    It is a child of ours that does nothing, and has been waited for. KernelError.
    """
    go, ours = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if not child:
        _end(go, ours, code)
    fds: list[int] = []
    try:
        try:
            fds += [process.pidfd_open(child, how) for how in flags]
        finally:
            os.close(ours)
            os.close(go)
            got = process.wait_exit(child)
        if got != code & ~0x80:  # whether it has dumped core is not for us
            raise KernelError("a child's end", errno.ECHILD, f"status {got:#x} instead of {code:#x}")
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def _end(go: int, other: int, code: int) -> None:
    """In the child: wait until the other end of the pipe is closed, and end."""
    try:
        os.close(other)
        os.read(go, 1)
        lib.zd_end(code)  # inside of another root Python has no modules to load
    finally:
        os._exit(255)
