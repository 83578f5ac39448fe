"""One descriptor of a task as procfs shows it, and fdinfo-ID.img: which number, which description, close-on-exec."""

from __future__ import annotations

import os
import stat

from engine.kernel import files, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType
    from typing import Any

O_CLOEXEC = 0o2000000
O_TMPFILE = 0o20000000  # without the O_DIRECTORY that open(2) wants with it
DELETED = " (deleted)"  # behind the names that links of procfs show
FD_CLOEXEC = 1


def may_be_memfd(name: str) -> bool:
    """Can a link of procfs lead to a memfd or to shared anonymous memory? engine/files/memfd.py knows."""
    return name.endswith(" (deleted)") and name.startswith(("/memfd:", "/dev/zero ", "/anon_hugepage "))


def shown(name: str) -> str:
    """A name for a message of one line: newlines and what is no text are escaped."""
    return name if name.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


class Descriptor:
    """Where a descriptor points, and what fdinfo says of it. `found` is for its kind's `check` to leave to `dump`.

    Trees have thousands: what few of them are asked is made when somebody asks.
    """

    __slots__ = (
        *("_info", "_words", "_stat", "fd", "flags", "found", "ino", "is_named", "is_plain", "kind", "link", "mnt_id"),
        *("mode", "owner", "pid", "pos", "row", "size"),
    )

    def __init__(self, pid: int, row: bytes, is_named: bool) -> None:
        self.row = row
        self.pid = pid
        self.kind: ModuleType | None = None  # once it has been found to be one that can be dumped
        self.found: Any = None
        self._stat: os.stat_result | None = None
        self._info: dict[str, str] | None = None
        words = self._words = files.parse(row)
        self.mode, self.ino, self.size = words[1], words[2], words[7]
        self.pos, self.fd, self.flags, self.mnt_id = words[14:18]
        self.is_plain = words[18]  # fdinfo has nothing but what all files have
        self.is_named = is_named  # for the engine `link` leads there, and is no symbolic link
        self.link = files.link(row, words[19])
        # who is told of input and output
        self.owner = words[21:] if words[21] or words[23] else None

    @property
    def path(self) -> str:
        """Its link."""
        return f"/proc/{self.pid}/fd/{self.fd}"

    @property
    def dev(self) -> int:
        """The device that it is on, as fstat(2) says."""
        return self._words[3]

    @property
    def uid(self) -> int:
        """Whose it is, as the engine calls him."""
        return self._words[5]

    @property
    def gid(self) -> int:
        """The same of the group."""
        return self._words[6]

    @property
    def changed(self) -> tuple[int, int, int]:
        """Of its stat, what `changed` of validation.py says."""
        return self._words[7], self._words[9], self._words[10]

    @property
    def stat(self) -> os.stat_result:
        """What fstat(2) says of it."""
        if self._stat is None:
            self._stat = files.status(self._words)
        return self._stat

    @property
    def text(self) -> bytes:
        """Of fdinfo; it begins with what all kinds of file have."""
        return files.text(self.row, *self._words[19:21])

    @property
    def info(self) -> dict[str, str]:
        """All lines of fdinfo by key; the first of those that have the same."""
        if self._info is None:
            self._info = proc.keys(os.fsdecode(self.text))
        return self._info

    def is_gone(self) -> bool:
        """Has it been closed, so that nothing or something else has its number, since or while it was looked at?"""
        try:
            st = os.stat(self.path)
            return (st.st_dev, st.st_ino) != (self.dev, self.ino) or os.readlink(self.path) != self.link
        except (FileNotFoundError, ProcessLookupError):
            return True

    @property
    def cloexec(self) -> int:
        """FD_CLOEXEC or 0."""
        return FD_CLOEXEC if self.flags & O_CLOEXEC else 0

    def what(self) -> str:
        """A word for the kind of object."""
        mode = self.mode
        if self.link.startswith("anon_inode:"):
            return self.link.removeprefix("anon_inode:").strip("[]")
        for test, name in (
            (stat.S_ISSOCK, "socket"),
            (stat.S_ISFIFO, "pipe" if self.link.startswith("pipe:") else "fifo"),
            (stat.S_ISCHR, "character device"),
            (stat.S_ISBLK, "block device"),
            (stat.S_ISDIR, "directory"),
            (stat.S_ISLNK, "symbolic link"),
        ):
            if test(mode):
                return name
        return "memfd" if self.link.startswith("/memfd:") else "file"

    def __str__(self) -> str:
        return f"pid {self.pid}: fd {self.fd} ({self.what()} {shown(self.link)})"


def descriptors(pid: int) -> Iterator[Descriptor]:
    """All of a process but plain pipes, ascending; OSError, KernelError.

    `pid` is that of a thread where its leader has ended.
    """
    for row, is_named in files.rows(pid, True):
        yield Descriptor(pid, row, is_named)


def again(pid: int, before: Mapping[int, Descriptor], looking: files.Looking) -> Iterator[Descriptor]:
    """The same of one that was looked at; those that are what they were `before`, by number, are the same objects.

    Nothing is asked for that who is frozen might have to answer.
    """
    for row, _ in looking.rows(pid):
        old = before.get(files.number(row))
        yield old if old is not None and old.row == row else Descriptor(pid, row, False)
