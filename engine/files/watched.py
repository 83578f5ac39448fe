"""What inotify(7) and fanotify(7) watch is an inode, or a mount: by which name it can be watched again.

fdinfo tells the inode by its number, the device that the kernel knows it on, and a file handle (name_to_handle_at(2)).
A handle leads to the object, the object to its name, and the name has to lead back. Where that fails, directories are
searched (irmap.py). What has no name, but is open in the tree, is watched by its file.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files import irmap
from engine.files.fd import Descriptor, descriptors
from engine.images.schema import set_text, text
from engine.kernel import events, proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.tasks.opener import Opener

_HANDLE_WORDS = 16  # as many as CRIU's images have, at least


class Inode:
    """One, as a line of fdinfo has it."""

    __slots__ = ("dev", "handle", "ino", "kind")

    def __init__(self, line: dict[str, str]) -> None:
        self.ino = int(line["ino"], 16)
        self.dev = int(line["sdev"], 16)
        self.kind = int(line.get("fhandle-type", "0"), 16)
        self.handle = bytes.fromhex(line.get("f_handle", ""))

    def name(self, scope: Scope, pid: int) -> str | None:
        """A name that leads to it in the mount namespace of `pid`; None for none. Found once, it is only looked at."""
        key = (self.dev, self.ino, self.handle, scope.root(pid))
        known = scope.watched.get(key)
        if known is not None and self._leads_here(scope, pid, known[0], known[1]):
            return known[0]
        name = None
        if self.handle and not scope.options.force_irmap:
            name = self._by_handle(scope, pid)
        name = name or irmap.find(scope, pid, self.dev, self.ino)
        st = scope.stat(pid, name, follow=False) if name else None
        if name and st:
            scope.watched[key] = name, (st.st_dev, st.st_ino)
            return name
        return None

    def place(self, scope: Scope, pid: int) -> tuple[str, int] | None:
        """The same in any mount namespace of the tree, that of `pid` first: the name, and a task there."""
        for viewer in (pid, *(scope.viewers() if scope.has_mounts else ())):
            if (name := self.name(scope, viewer)) is not None:
                return name, viewer
        return None

    def _leads_here(self, scope: Scope, pid: int, name: str, ident: tuple[int, int]) -> bool:
        st = scope.stat(pid, name, follow=False)
        return st is not None and (st.st_dev, st.st_ino) == ident

    def open(self, pid: int | str) -> int:
        """An O_PATH descriptor of it by its handle, -1 if that does not lead to it: the caller's to close."""
        for mount in mounts(pid):
            if mount.dev != self.dev or not self.handle:
                continue
            try:
                at = os.open(f"/proc/{pid}/root{mount.point}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fd = events.open_by_handle(at, self.kind, self.handle)
            except KernelError:  # ESTALE, or a file system whose handles are for comparing only
                continue
            finally:
                os.close(at)
            if os.fstat(fd).st_ino == self.ino:
                return fd
            os.close(fd)
        return -1

    def _by_handle(self, scope: Scope, pid: int) -> str | None:
        fd = self.open(pid)
        if fd < 0:
            return None
        try:
            name, st = os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd)
        finally:
            os.close(fd)
        return name if self._leads_here(scope, pid, name, (st.st_dev, st.st_ino)) else None

    def is_file(self, d: Descriptor) -> bool:
        """Is this descriptor of the very inode? Told by its handle, else by its numbers."""
        if d.stat.st_ino != self.ino or not d.link.startswith("/"):
            return False
        fd = self.open(d.pid)
        if fd < 0:
            return proc_dev(d.stat.st_dev) == self.dev
        try:
            return os.path.samestat(os.fstat(fd), d.stat)
        finally:
            os.close(fd)

    def nameless(self, d: Descriptor) -> str:
        """The blocker: nothing leads to it."""
        at = f"inode {self.ino} of device {self.dev >> 20}:{self.dev & 0xFFFFF}"
        return (
            f"{d}: no name leads to what it watches ({at}): give the directory that it is in with --irmap-scan-path, "
            "or remove the watch before the dump"
        )

    def dump(self, entry: Any, name: str | None) -> None:
        """Fill a fh_entry."""
        entry.bytes = len(self.handle)
        entry.type = self.kind
        padded = self.handle + bytes(-len(self.handle) % 8)
        words = [int.from_bytes(padded[i : i + 8], "little") for i in range(0, len(padded), 8)]
        entry.handle.extend(words + [0] * (_HANDLE_WORDS - len(words)))
        if name is not None:
            set_text(entry, "path", name)


class Mount:
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    __slots__ = ("dev", "ident", "point", "root")

    def __init__(self, line: str) -> None:
        words = line.split(" ", 6)
        major, _, minor = words[2].partition(":")
        self.ident = int(words[0])
        self.dev = int(major) << 20 | int(minor)
        self.root = words[3]
        self.point = unescaped(words[4])


def unescaped(word: str) -> str:
    """A word of mountinfo: blanks, newlines and backslashes in it are octal."""
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(octal, char)
    return word


def mounts(pid: int | str) -> list[Mount]:
    """Those that a task sees; of each file system whole ones first."""
    found = [Mount(line) for line in proc.mountinfo(pid).splitlines()]
    return sorted(found, key=lambda mount: mount.root != "/")


def proc_dev(dev: int) -> int:
    """The kernel's own number of a device."""
    return os.major(dev) << 20 | os.minor(dev)


def blockers(inode: Inode, d: Descriptor, scope: Scope, pids: set[int]) -> list[str]:
    """What is wrong with it: nothing if a name leads to it, or anybody in the tree has it open."""
    if inode.place(scope, d.pid) is not None:
        return []
    for pid in (d.pid, *sorted(pids)):
        try:
            if any(inode.is_file(other) for other in descriptors(pid)):
                return []
        except OSError:  # it ends, or closes something
            continue
    return [inode.nameless(d)]


class Survey:
    """The inotify instances, or the fanotify groups, of a tree; WORD begins the lines of fdinfo."""

    __slots__ = ("_all", "_scope")
    WORD = ""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._all: list[Descriptor] = []

    def add(self, d: Descriptor) -> None:
        """One more."""
        self._all.append(d)

    def blockers(self, pids: set[int]) -> list[str]:
        """What is watched but cannot be found, one line each."""
        out = []
        for d in self._all:
            try:
                for line in proc.fdinfo_lines(d.pid, d.fd, self.WORD):
                    if "ino" in line:
                        out += blockers(Inode(line), d, self._scope, pids)
            except (FileNotFoundError, ProcessLookupError):
                continue  # the task goes on: what it has when it is frozen counts
        return out

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def dump(inode: Inode, d: Descriptor, entry: Any, handle: Any, files: FileTable) -> None:
    """Fill the fh_entry, and `file` of the entry that it is in where there is no name. Unsupported for neither."""
    scope = files.scope
    found = inode.place(scope, d.pid)
    if found is None:
        entry.file = files.of_inode(inode.ino, inode.is_file)
        if not entry.file:
            raise Unsupported([inode.nameless(d)])
        inode.dump(handle, None)
        return
    name, viewer = found
    inode.dump(handle, name)
    if scope.has_mounts:
        fd = scope.open(viewer, name, os.O_PATH | os.O_NOFOLLOW)
        try:
            handle.mnt_id = scope.mount_of(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)


def find_file(opener: Opener, entry: Any, handle: Any, numbers: tuple[int, int]) -> None:
    """Fill `file` in where there is no name: CRIU's images say by the numbers alone that it is a ghost."""
    if not entry.HasField("file") and not handle.path and (ident := opener.ghost_of(*numbers)):
        entry.file = ident


def open_object(opener: Opener, ident: int, entry: Any, handle: Any, numbers: tuple[int, int]) -> int:
    """A descriptor of what a watch of file `ident` is to be on: the caller's to close. `numbers`: device, inode."""
    if entry.HasField("file"):
        return os.dup(opener.descriptor(entry.file))
    path = text(handle.path)
    if path:
        try:
            flags = os.O_PATH | os.O_NOFOLLOW
            return opener.open(path, flags, handle.mnt_id) if handle.HasField("mnt_id") else opener.open(path, flags)
        except OSError as e:
            what = f"file {ident:#x} of {opener.image} watches it"
            raise EngineError(f"cannot open {path}: {e.strerror}; {what}") from e
    raw = b"".join(word.to_bytes(8, "little") for word in handle.handle)[: handle.bytes]
    line = {"sdev": f"{numbers[0]:x}", "ino": f"{numbers[1]:x}"}
    fd = Inode({**line, "fhandle-type": f"{handle.type:x}", "f_handle": raw.hex()}).open("self")
    if fd < 0:
        what = f"file {ident:#x} watches inode {numbers[1]} without a name, and its handle leads nowhere; dump again"
        raise BadImage(opener.image, 0, what)
    return fd
