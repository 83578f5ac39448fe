"""External files: what a dump leaves to the restore (--external), and descriptors that are given (--inherit-fd).

The kinds of files are here: `file`, a description that is opened anew by a descriptor that is given; `dev`, an open
device node, by a path. Those of mounts, namespaces, network devices, terminals and sockets are for who restores these.
"""

from __future__ import annotations

import os
import stat

from engine.errors import EngineError
from engine.externals import plain_key
from engine.files import ends
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.externals import External
    from engine.files.fd import Descriptor
    from engine.files.links import Links
    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.log import Log

TYPE = 1  # fd_types.REG
_KINDS = {
    stat.S_IFIFO: "a pipe or FIFO",
    stat.S_IFREG: "a regular file",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}

_STDERR = 2


def name_of(d: Descriptor, external: External) -> str:
    """What an external descriptor is called in images; empty for one that is not external."""
    key = f"{d.mnt_id:x}:{d.stat.st_ino:x}"
    if key in external.get("file", ()):
        return f"file[{key}]"
    if stat.S_ISCHR(d.stat.st_mode) or stat.S_ISBLK(d.stat.st_mode):
        device = d.stat.st_rdev
        if name := external.get("dev", {}).get(f"{os.major(device)}/{os.minor(device)}"):
            return f"dev[{name}]"
    return ""


def check(d: Descriptor, scope: Scope) -> None:
    """What it is does not matter: the restore is given another one."""


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry: a regular file's, with what it is called instead of a path."""
    entry.type = TYPE
    reg = entry.reg
    reg.id = entry.id
    reg.flags = d.flags & ~os.O_CLOEXEC
    reg.pos = d.pos
    reg.name = name_of(d, files.scope.options.externals)
    reg.size = d.stat.st_size
    reg.ext = True
    reg.mode = d.stat.st_mode


def open_again(entry: Any, given: Given | None, flags: int, links: Links) -> int:
    """Open what is given for a regular file; -1 if nothing is, and it is not external. EngineError."""
    reg = entry.reg
    name = text(reg.name)
    what = given.what(name, stat.S_IFMT(reg.mode)) if given else None
    if what is None:
        if reg.ext:
            option = f"--external {name}:PATH" if name.startswith("dev[") else f"--inherit-fd fd[N]:{name}"
            raise EngineError(f"{name} (file {entry.id:#x} of files.img) was external to the dump: give {option}")
        return -1
    try:
        fd = ends.open_given(what, flags, links)
        try:
            ends.settle(fd, flags, name)
            if reg.pos and not flags & os.O_PATH and stat.S_ISREG(os.fstat(fd).st_mode):
                os.lseek(fd, reg.pos, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            raise
    except OSError as e:
        raise EngineError(f"cannot open what is given for {name} (flags {flags:#o}): {e.strerror}") from e
    return fd


class Given:
    """What a restore is given: descriptors, which stay what they are, and paths of devices."""

    __slots__ = ("_external", "_fds", "_unused", "log")

    def __init__(self, fds: dict[str, int], external: External, log: Log) -> None:
        self.log = log
        self._fds = fds
        self._external = external
        self._unused = set(fds)

    def fd(self, key: str, kind: int = 0) -> int:
        """The descriptor for a key, -1 if there is none; EngineError if its S_IFMT is not `kind` (0: any)."""
        key = plain_key(key)
        number = self._fds.get(key, -1)
        if number >= 0:
            self._unused.discard(key)
            found = stat.S_IFMT(os.fstat(number).st_mode)
            if kind and found != kind:
                is_one, was = _KINDS.get(found, "something else"), _KINDS.get(kind, f"of type {kind:o}")
                raise EngineError(f"--inherit-fd fd[{number}]:{key}: that is {is_one}, and not {was}")
        return number

    def what(self, name: str, kind: int) -> int | str | None:
        """What to open for a regular file's name, or an external's: a descriptor, or a path; None if nothing is."""
        if name.startswith("dev[") and (device := self._external.get("dev", {}).get(name[4:-1])):
            return device
        number = self.fd(name, kind)
        return number if number >= 0 else None

    def above(self) -> int:
        """A number above all that are given."""
        return max(self._fds.values(), default=-1) + 1

    def leftover(self) -> None:
        """All files are open: a warning for what nobody wanted."""
        for key in sorted(key for key in self._unused if "/" in key or "[" in key):  # others are of namespaces
            self.log.warn(f"--inherit-fd fd[{self._fds[key]}]:{key}: nothing in the images is called so")

    def close(self) -> None:
        """Close what was given: the tasks have theirs, and may wait for the end of a pipe."""
        for number in set(self._fds.values()):
            if number > _STDERR:
                os.close(number)
        self._fds = {}
