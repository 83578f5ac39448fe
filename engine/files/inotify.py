"""Watches of files (inotify(7)): on what, for which events, under the same watch descriptors.

The kernel counts watch descriptors up, so they are reached by adding and removing watches, in their order. All of that
comes last, when nothing is opened or closed any more that is watched. Events that were queued cannot be queued again:
a restored queue says instead that it has overflown (IN_Q_OVERFLOW).
"""

from __future__ import annotations

import os

from engine.blocks import closing
from engine.errors import BadImage, KernelError, Unsupported
from engine.files import watched
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import events, proc
from engine.kernel.files import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

_WORD = "inotify "  # of the lines in fdinfo
TYPE = 8  # fd_types.INOTIFY
# Watch descriptors up to this are reached in half a minute or so.
_MAX_WD = 1 << 24
_EVENT = 16  # bytes that an event takes at least


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a watch descriptor that cannot be reached again; whether names lead to all is asked later."""
    wd = max((int(line["wd"], 16) for line in _lines(d)), default=0)
    if wd > _MAX_WD:
        raise Unsupported(
            [f"{d}: watch descriptor {wd} cannot be reached again: above {_MAX_WD}; remove that watch before the dump"]
        )


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry, but for the watches."""
    from engine.files.held import Held

    entry.type = TYPE
    ify = entry.ify
    ify.id = entry.id
    ify.flags = d.flags & ~O_CLOEXEC
    with closing(Held(d)) as held:
        queued = waiting(held.fd)
    if queued:
        ify.dropped = True
        files.scope.log.warn(
            f"{d}: {queued} bytes of events that nobody has read are dropped, {queued // _EVENT} at most; restored, it "
            "says IN_Q_OVERFLOW instead"
        )


def dump_after(entry: Any, d: Descriptor, files: FileTable) -> None:
    """All files of the tree are known: the watches."""
    for line in _lines(d):
        inode = watched.Inode(line)
        wd = entry.ify.wd.add()
        wd.id = 0
        wd.i_ino, wd.s_dev, wd.wd = inode.ino, inode.dev, int(line["wd"], 16)
        wd.mask, wd.ignored_mask = int(line["mask"], 16), int(line["ignored_mask"], 16)
        watched.dump(inode, d, wd, wd.f_handle, files)


def _lines(d: Descriptor) -> list[dict[str, str]]:
    return proc.fdinfo_lines(d.pid, d.fd, _WORD)


class Survey(watched.Survey):
    """Those of a tree."""

    __slots__ = ()
    WORD = _WORD


class Objects:
    """The instances of a restore: made with all files, watching when all is there."""

    __slots__ = ("_made", "_opener")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._made: list[Any] = []

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """An instance without watches; what it is to watch must be there."""
        if not entry.HasField("ify"):
            raise BadImage(self._opener.image, 0, f"file {entry.id:#x} is an inotify without an inotify_file_entry")
        for wd in entry.ify.wd:
            watched.find_file(self._opener, wd, wd.f_handle, (wd.s_dev, wd.i_ino))
            if not wd.HasField("file"):
                os.close(self._object(entry, wd))
        self._made.append(entry)
        return {entry.id: events.inotify(entry.ify.flags & os.O_NONBLOCK)}

    def keeps(self) -> set[int]:
        """The files that it needs to the end."""
        return {entry.id for entry in self._made} | {wd.file for entry in self._made for wd in entry.ify.wd}

    def settle(self) -> None:
        """All tasks are there, and nothing is opened any more: watch."""
        for entry in self._made:
            fd = self._opener.descriptor(entry.id)
            for wd in sorted(entry.ify.wd, key=lambda wd: int(wd.wd)):
                what = self._object(entry, wd)
                try:
                    events.inotify_watch(fd, f"/proc/self/fd/{what}", wd.mask, wd.wd)
                except KernelError as e:
                    raise KernelError(e.call, e.errno, f"file {entry.id:#x} of {self._opener.image}") from e
                finally:
                    os.close(what)
            if entry.ify.dropped:
                events.inotify_overflow(fd)

    def _object(self, entry: Any, wd: Any) -> int:
        return watched.open_object(self._opener, entry.id, wd, wd.f_handle, (wd.s_dev, wd.i_ino))
