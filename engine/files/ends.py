"""What pipes and FIFOs have in common: one object with any number of ends, and contents (pipe(7), fifo(7)).

The tree's descriptors tell which ends it has itself. Where it lacks one, poll(2) on a description of the other tells
whether the missing one is closed everywhere (legal, it stays closed) or held by somebody outside of the tree. Who
besides the tree holds an end that the tree has too is not asked, and loses the connection.
"""

from __future__ import annotations

import os

from engine.blocks import suppress
from engine.errors import KernelError
from engine.files import pipe_data
from engine.files.fd import Descriptor
from engine.kernel import proc, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any

    from engine.files.links import Links
    from engine.files.scope import Scope
    from engine.images.files import Images

READING, WRITING = 1, 2
# open(2) sets these, but F_SETFL alone can change them once there is a description
SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
# what is not to happen again, and O_DIRECT, which no FIFO can be opened with
ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_DIRECT
_POLLERR, _POLLHUP = 8, 16


class Ends:
    """One pipe, and the first descriptors of its ends that the tree has."""

    __slots__ = ("outside", "reader", "writer")

    def __init__(self) -> None:
        self.reader: Descriptor | None = None
        self.writer: Descriptor | None = None
        self.outside = 0  # READING, WRITING: who else has such an end, and the tree has none

    @property
    def first(self) -> Descriptor | None:
        """Any descriptor of it, but those with O_PATH."""
        return self.reader or self.writer


class Survey:
    """All pipes of a tree, and which ends of them it has. What is different for FIFOs is in a class of theirs."""

    __slots__ = ("ends", "scope")
    IMAGE = "PIPES_DATA"

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.ends: dict[Hashable, Ends] = {}

    def key(self, d: Descriptor) -> Hashable:
        """What the descriptors of one pipe have in common."""
        return d.ino

    def number(self, key: Any) -> int:
        """The pipe_id of images."""
        return int(key)

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        ends = self.ends.setdefault(self.key(d), Ends())
        if d.flags & os.O_PATH:
            return
        mode = d.flags & os.O_ACCMODE
        if mode != os.O_WRONLY:
            ends.reader = ends.reader or d
        if mode != os.O_RDONLY:
            ends.writer = ends.writer or d

    def look_outside(self) -> list[tuple[Descriptor, Ends]]:
        """Those of which an end is held outside of the tree; `outside` says which."""
        out = []
        for ends in self.ends.values():
            d = ends.first
            # of who runs nothing is borrowed: a FIFO would keep what its task has closed
            if d is not None and not (ends.reader and ends.writer) and (not self.scope.frozen or self.is_open(d)):
                ends.outside = WRITING if ends.reader else READING
                out.append((d, ends))
        return out

    def is_open(self, d: Descriptor) -> bool:
        """Has anybody an end of the other kind?"""
        events = events_of(d)
        return events is not None and not events & (_POLLERR | _POLLHUP)

    def write(self, images: Images, message: Any) -> None:
        """Write what waits in them, while the tree is frozen."""
        sources = [
            pipe_data.Source(self.number(key), ends.first, ends.reader is not None, ends.outside)
            for key, ends in self.ends.items()
            if ends.first
        ]
        if sources:
            pipe_data.dump(images, self.IMAGE, message, sources)


def events_of(d: Descriptor) -> int | None:
    """What poll(2) says of a task's very description without being asked (POLLERR, POLLHUP); None if it is gone."""
    import select

    try:
        fd = process.borrow(d.pid, d.fd)
    except KernelError:
        return None  # the task went on: what it has when it is frozen counts
    try:
        st = os.fstat(fd)
        if (st.st_dev, st.st_ino) != (d.stat.st_dev, d.stat.st_ino):
            return None
        poll = select.poll()
        poll.register(fd, 0)
        return sum(events for _, events in poll.poll(0))
    finally:
        os.close(fd)


def holder(d: Descriptor, want: int, pids: set[int]) -> str:
    """Who outside of the tree has an end of the pipe: READING or WRITING; empty if nobody is to be seen."""
    other = os.O_WRONLY if want == READING else os.O_RDONLY
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in pids:
            continue
        with suppress(OSError):
            for fd in proc.fds(int(name)):
                st = os.stat(f"/proc/{name}/fd/{fd}")
                flags = int(proc.fdinfo(int(name), fd)["flags"], 8)
                mine = (st.st_dev, st.st_ino) == (d.stat.st_dev, d.stat.st_ino)
                if mine and not flags & os.O_PATH and flags & os.O_ACCMODE != other:
                    return f"by pid {name} ({proc.Stat(int(name)).comm})"
    return ""


def open_end(fd: int, flags: int, links: Links) -> int:
    """One more description of what a descriptor of ours has open; it never waits for the other end.

    `settle` makes its flags the old.
    """
    return links.open(fd, _asked(flags))


def open_given(what: int | str, flags: int, links: Links) -> int:
    """One more description of what the user gives; the same one of what cannot be opened (again), like sockets.

    ENXIO says so of a FIFO too, of which nobody has the other end.
    """
    import errno

    if isinstance(what, str):
        return os.open(what, _asked(flags) | os.O_CLOEXEC)
    try:
        return open_end(what, flags, links)
    except OSError as e:
        if e.errno != errno.ENXIO:
            raise
        return os.dup(what)


def _asked(flags: int) -> int:
    wait = 0 if flags & os.O_PATH else os.O_NONBLOCK
    return flags & ~(ONCE | os.O_NOFOLLOW) | wait


def settle(fd: int, flags: int, what: str) -> None:
    """Set the flags that a description had."""
    import fcntl

    if flags & os.O_PATH:
        return
    try:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & SETTABLE != flags & SETTABLE:
            fcntl.fcntl(fd, fcntl.F_SETFL, flags & SETTABLE)
    except OSError as e:
        raise KernelError(f"fcntl(F_SETFL, {flags:#o})", e.errno or 0, what) from e
