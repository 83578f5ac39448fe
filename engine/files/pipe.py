"""Pipes (pipe(7)): one object with any number of ends; each struct file of an end is an entry, and all name the pipe.

An end that is held outside of the tree cannot be brought back. The tree's descriptors tell which ends it has itself;
where it lacks one, poll(2) on another struct file of the end that it has tells whether the missing one is closed
everywhere (legal, it stays closed) or held by somebody else (refused). Who besides the tree holds an end that the tree
has too is not asked, and loses the connection.
"""

from __future__ import annotations

import os
from contextlib import suppress

from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.pipe_data import Contents
    from engine.images.files import Images

TYPE = 2  # fd_types.PIPE
_LINK = "pipe:["
_LARGEFILE = 0o100000  # the kernel's, of every open(2): an end that pipe(2) made lacks it
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_DIRECT | os.O_NOATIME
_IMAGE = "files.img"


def is_kind(d: Descriptor) -> bool:
    """An end of a pipe; Unsupported for one with what cannot be dumped."""
    if not d.link.startswith(_LINK):
        return False
    if d.flags & os.O_PATH:
        raise Unsupported([f"{d}: open with O_PATH: not supported yet for pipes; close it before the dump"])
    if d.flags & os.O_ASYNC:
        raise Unsupported([f"{d}: signals SIGIO (O_ASYNC): not supported yet; clear that before the dump"])
    if "lock" in d.info:
        raise Unsupported([f"{d}: file locks are not supported yet; release the lock before the dump"])
    return True


def dump(entry: Any, d: Descriptor) -> None:
    """Fill a file_entry; the pipe's number is its inode's."""
    entry.type = TYPE
    pipe = entry.pipe
    pipe.id = entry.id
    pipe.pipe_id = d.stat.st_ino
    pipe.flags = d.flags & ~O_CLOEXEC
    for field in ("uid", "euid", "signum", "pid_type", "pid"):
        setattr(pipe.fown, field, 0)
    if d.stat.st_uid or d.stat.st_gid:
        pipe.uid, pipe.gid = d.stat.st_uid, d.stat.st_gid


class Ends:
    """All pipes of a tree, and which ends of them it has."""

    __slots__ = ("_packets", "_readers", "_writers")

    def __init__(self) -> None:
        self._readers: dict[int, Descriptor | None] = {}  # by inode; all pipes are in both
        self._writers: dict[int, Descriptor | None] = {}
        self._packets: set[int] = set()

    def add(self, d: Descriptor) -> None:
        """One more descriptor of an end."""
        ident = d.stat.st_ino
        mode = d.flags & os.O_ACCMODE
        for ends, other in ((self._readers, os.O_WRONLY), (self._writers, os.O_RDONLY)):
            if not ends.setdefault(ident, None) and mode != other:
                ends[ident] = d
        if d.flags & os.O_DIRECT:
            self._packets.add(ident)

    def blockers(self, pids: set[int]) -> list[str]:
        """The ends that are held outside of the tree, one line each; `pids` are the tree's."""
        out = []
        for ident, reader in self._readers.items():
            writer = self._writers[ident]
            d = reader or writer
            if d is not None and not (reader and writer) and _other_end_is_open(d):
                which, mode = ("reading", os.O_WRONLY) if writer else ("writing", os.O_RDONLY)
                out.append(
                    f"{d}: its {which} end is held {_holder(d.link, mode, pids)}, outside of the tree: dump both "
                    "together, or close it first; external pipes are not supported yet"
                )
        return out

    def write(self, images: Images, message: Any) -> None:
        """Write what waits in them, while the tree is frozen."""
        if not self._readers:
            return
        from engine.files import pipe_data

        sources = []
        for ident, reader in self._readers.items():
            d = reader or self._writers[ident]
            if d is not None:
                sources.append(pipe_data.Source(ident, d.path, reader is not None, ident in self._packets, str(d)))
        pipe_data.dump(images, "PIPES_DATA", message, sources)


def _other_end_is_open(d: Descriptor) -> bool:
    """Has anybody the other end? Asked by one more struct file of this one, which changes nothing for the task."""
    import select

    mode = d.flags & os.O_ACCMODE
    try:
        fd = os.open(d.path, mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError):
        return False  # the task went on: what it has when it is frozen counts
    try:
        if os.fstat(fd).st_ino != d.stat.st_ino:
            return False
        poll = select.poll()
        poll.register(fd, 0)
        return not poll.poll(0)
    finally:
        os.close(fd)


def _holder(link: str, other: int, pids: set[int]) -> str:
    """Who outside of the tree has an end of a pipe whose access mode is not `other`, as far as can be seen."""
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in pids:
            continue
        with suppress(OSError):
            for fd in proc.fds(int(name)):
                mine = os.readlink(f"/proc/{name}/fd/{fd}") == link
                if mine and int(proc.fdinfo(int(name), fd)["flags"], 8) & os.O_ACCMODE != other:
                    return f"by pid {name} ({proc.Stat(int(name)).comm})"
    return "by nobody to be seen"


class Pipes:
    """The pipes of images, made one by one: the first use of any end makes all."""

    __slots__ = ("_contents", "_ends")

    def __init__(self, images: Images, files: dict[int, Any]) -> None:
        self._ends: dict[int, list[Any]] = {}
        for ident, entry in files.items():
            if entry.type == TYPE:
                if not entry.HasField("pipe"):
                    raise BadImage(_IMAGE, 0, f"file {ident:#x} is a pipe without a pipe_entry")
                self._ends.setdefault(entry.pipe.pipe_id, []).append(entry)
        self._contents: Contents | None = None
        if images.exists("PIPES_DATA"):
            from engine.files.pipe_data import Contents

            self._contents = Contents(images, "PIPES_DATA")
            self._contents.check(set(self._ends))

    def make(self, pipe_id: int) -> dict[int, int]:
        """All struct files of a pipe, file id -> descriptor. An end that none of them is, is closed."""
        first = dict(zip((os.O_RDONLY, os.O_WRONLY), os.pipe2(O_CLOEXEC), strict=True))
        name = f"/proc/self/fd/{first[os.O_RDONLY]}"
        out: dict[int, int] = {}
        try:
            if self._contents:
                self._contents.fill(pipe_id, first[os.O_WRONLY])
            for entry in self._ends[pipe_id]:
                pipe = entry.pipe
                if pipe.uid or pipe.gid:
                    os.chown(name, pipe.uid, pipe.gid)
                mode = pipe.flags & os.O_ACCMODE
                if pipe.flags & _LARGEFILE or mode not in first:
                    out[entry.id] = os.open(name, pipe.flags & ~(os.O_DIRECT | os.O_CREAT | os.O_TRUNC) | O_CLOEXEC)
                else:
                    out[entry.id] = first.pop(mode)
            for entry in self._ends[pipe_id]:
                _set_flags(out[entry.id], entry)
        except BaseException as e:
            for fd in out.values():
                os.close(fd)
            if isinstance(e, OSError):
                raise KernelError(f"making pipe {pipe_id:#x} of {_IMAGE}", e.errno or 0) from e
            raise
        finally:
            for fd in first.values():
                os.close(fd)
        return out


def _set_flags(fd: int, entry: Any) -> None:
    import fcntl

    if entry.pipe.fown.pid or entry.pipe.flags & os.O_ASYNC:
        raise EngineError(f"file {entry.id:#x} of {_IMAGE}: a pipe that has an owner for SIGIO is not supported yet")
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, entry.pipe.flags & _SETTABLE)
    except OSError as e:
        what = f"file {entry.id:#x} of {_IMAGE}"
        raise KernelError(f"fcntl(F_SETFL, {entry.pipe.flags:#o})", e.errno or 0, what) from e
