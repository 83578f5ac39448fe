"""A descriptor of our own for a task's: what fdinfo does not tell is asked of the very same struct file."""

from __future__ import annotations

import os

from engine.errors import KernelError
from engine.files.fd import Descriptor
from engine.kernel import proc, process


class Held:
    """`fd` is the description of a task's descriptor (pidfd_getfd(2)); to be closed."""

    __slots__ = ("fd",)

    def __init__(self, d: Descriptor) -> None:
        try:
            pidfd = process.pidfd_open(d.pid)
        except KernelError:  # its leader has ended: by the thread through which we look at it
            pidfd = process.pidfd_open(d.pid, process.PIDFD_THREAD)
        try:
            self.fd = process.pidfd_getfd(pidfd, d.fd)
        finally:
            os.close(pidfd)

    def info(self) -> dict[str, str]:
        """What fdinfo says of it now."""
        return proc.fdinfo(os.getpid(), self.fd)

    def close(self) -> None:
        """The task's stays."""
        os.close(self.fd)
