"""Descriptors that signals are read from (signalfd(2)): their mask and flags; what is pending is the task's."""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError
from engine.files.fd import O_CLOEXEC, Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPE = 9  # fd_types.SIGNALFD
_SIGSET_BYTES = 128  # the C library's sigset_t; the kernel reads the first 8


def is_kind(d: Descriptor) -> bool:
    """A signalfd, told by its anonymous inode."""
    return d.link == "anon_inode:[signalfd]"


def dump(entry: Any, d: Descriptor) -> None:
    """Fill a file_entry: the mask of signals that it accepts, bit 0 for signal 1, as fdinfo has it."""
    entry.type = TYPE
    sgfd = entry.sgfd
    sgfd.id = entry.id
    sgfd.flags = d.flags & ~O_CLOEXEC
    for field in ("uid", "euid", "signum", "pid_type", "pid"):
        setattr(sgfd.fown, field, 0)
    sgfd.sigmask = int(d.info["sigmask"], 16)


def open_again(entry: Any, image: str, flags: int | None = None, ghost_fd: int = -1, rwx_check: bool = True) -> int:
    """Make it anew. It is bound to no task: whoever reads gets the signals of its own (epoll(7) aside)."""
    import ctypes  # Python has no call for it before 3.13; few trees need it
    import fcntl

    if not entry.HasField("sgfd"):
        raise BadImage(image, 0, f"file {entry.id:#x} is a signalfd without a signalfd_entry")
    libc = ctypes.CDLL(None, use_errno=True)
    mask = entry.sgfd.sigmask.to_bytes(8, "little").ljust(_SIGSET_BYTES, b"\0")
    fd = int(libc.signalfd(-1, mask, O_CLOEXEC))
    if fd < 0:
        raise KernelError(
            f"signalfd(-1, {entry.sgfd.sigmask:#x})", ctypes.get_errno(), f"file {entry.id:#x} of {image}"
        )
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, entry.sgfd.flags)
    except OSError as e:
        os.close(fd)
        what = f"file {entry.id:#x} of {image}"
        raise KernelError(f"fcntl(F_SETFL, {entry.sgfd.flags:#o})", e.errno or 0, what) from e
    return fd
