"""Descriptors that signals are read from (signalfd(2)): their mask and flags; what is pending is the task's."""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

TYPE = 9  # fd_types.SIGNALFD


def check(d: Descriptor, scope: Scope) -> None:
    """Any can be dumped."""


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry: the mask of signals that it accepts, bit 0 for signal 1, as fdinfo has it."""
    entry.type = TYPE
    sgfd = entry.sgfd
    sgfd.id = entry.id
    sgfd.flags = d.flags & ~O_CLOEXEC
    sgfd.sigmask = int(d.info["sigmask"], 16)


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Make it anew. It is bound to no task: whoever reads gets the signals of its own (epoll(7) aside)."""
    import fcntl

    if not entry.HasField("sgfd"):
        raise BadImage(opener.image, 0, f"file {entry.id:#x} is a signalfd without a signalfd_entry")
    fd = events.signalfd(entry.sgfd.sigmask)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, entry.sgfd.flags)
    except OSError as e:
        os.close(fd)
        what = f"file {entry.id:#x} of {opener.image}"
        raise KernelError(f"fcntl(F_SETFL, {entry.sgfd.flags:#o})", e.errno or 0, what) from e
    return fd
