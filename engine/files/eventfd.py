"""Event counters (eventfd(2)): the count, EFD_SEMAPHORE, flags."""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

TYPE = 6  # fd_types.EVENTFD
_MAX = (1 << 64) - 2  # the largest count that can be written; the kernel itself may add one more
_INITIAL_MAX = (1 << 32) - 1  # that eventfd(2) takes


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a counter that has overflown, which only the kernel's own events can do (io_submit(2))."""
    if _count(d) > _MAX:
        raise Unsupported([f"{d}: its count has overflown: not supported; read it before the dump"])


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry."""
    entry.type = TYPE
    efd = entry.efd
    efd.id = entry.id
    efd.flags = d.flags & ~O_CLOEXEC
    efd.counter = _count(d)
    if d.info.get("eventfd-semaphore") == "1":
        efd.semaphore = True


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Make it anew."""
    what = f"file {entry.id:#x} of {opener.image}"
    if not entry.HasField("efd"):
        raise BadImage(opener.image, 0, f"file {entry.id:#x} is an eventfd without an eventfd_file_entry")
    efd = entry.efd
    if efd.counter > _MAX:
        raise BadImage(opener.image, 0, f"file {entry.id:#x}: the count {efd.counter:#x} is too large")
    made = os.EFD_CLOEXEC | (efd.flags & os.O_NONBLOCK) | (os.EFD_SEMAPHORE if efd.semaphore else 0)
    first = min(efd.counter, _INITIAL_MAX)
    try:
        fd = os.eventfd(first, made)
        if efd.counter > first:
            os.eventfd_write(fd, efd.counter - first)
    except OSError as e:
        raise KernelError(f"eventfd({efd.counter}, {made:#x})", e.errno or 0, what) from e
    return fd


def _count(d: Descriptor) -> int:
    return int(d.info["eventfd-count"], 16)
