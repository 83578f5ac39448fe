"""What descriptors are of, by their links (/proc/self/fd, proc_pid_fd(5)): to open it once more, or to change it.

A tree may have no /proc, and what it has there may be anything: the links are those of the engine's own procfs, by a
descriptor of it.
"""

from __future__ import annotations

import os

from engine.files.fd import O_CLOEXEC


class Links:
    """Of the descriptors of whatever process asks, the engine or a copy of it that has entered namespaces. OSError."""

    __slots__ = ("proc",)

    def __init__(self) -> None:
        self.proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | O_CLOEXEC)

    def name(self, fd: int) -> str:
        """A descriptor's link, below `proc`."""
        return f"self/fd/{fd}"

    def open(self, fd: int, flags: int) -> int:
        """Open what a descriptor is of once more; the new one is close-on-exec."""
        return os.open(self.name(fd), flags | O_CLOEXEC, dir_fd=self.proc)

    def chown(self, fd: int, uid: int, gid: int) -> None:
        """Also by O_PATH."""
        os.chown(self.name(fd), uid, gid, dir_fd=self.proc)

    def chmod(self, fd: int, mode: int) -> None:
        """Also by O_PATH."""
        os.chmod(self.name(fd), mode, dir_fd=self.proc)

    def utime(self, fd: int, atime: int, mtime: int) -> None:
        """In ns since the epoch; also by O_PATH."""
        os.utime(self.name(fd), ns=(atime, mtime), dir_fd=self.proc)

    def setxattr(self, fd: int, attribute: str, value: bytes) -> None:
        """Also by O_PATH: there is no call that takes a directory's descriptor before Linux 6.13."""
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY | O_CLOEXEC)
        try:
            os.fchdir(self.proc)
            os.setxattr(self.name(fd), attribute, value)
        finally:
            os.fchdir(cwd)
            os.close(cwd)

    def close(self) -> None:
        """Let go of procfs."""
        os.close(self.proc)
