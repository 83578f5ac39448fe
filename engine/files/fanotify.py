"""Groups that are told of accesses to files (fanotify(7)): marks on inodes, mounts and whole file systems.

Marks are set last, when nothing is opened or closed any more. Where somebody has to be asked for permission, a frozen
task would have to give it, to the engine too: such marks are refused.
"""

from __future__ import annotations

import os

from engine.blocks import closing
from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files import watched
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.images.schema import set_text, text
from engine.kernel import events, proc
from engine.kernel.files import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.tasks.opener import Opener

_WORD = "fanotify "  # of the lines in fdinfo
TYPE = 12  # fd_types.FANOTIFY
_INODE, _MOUNT, _FILESYSTEM = 1, 2, 1000  # mark_type
_PERMISSION = 0x10000 | 0x20000 | 0x40000 | 0x100000  # FAN_OPEN_PERM, ACCESS_PERM, OPEN_EXEC_PERM, PRE_ACCESS
_ADD, _IGNORED_MASK, _IGNORED_SURV_MODIFY, _EVICTABLE, _IGNORE = 1, 0x20, 0x40, 0x200, 0x400  # FAN_MARK_*
_FLAG_OF = {_INODE: 0, _MOUNT: 0x10, _FILESYSTEM: 0x100}
_EVENT = 24  # bytes that an event counts for


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for marks that ask for permission, and for what is marked in a way that is unknown here."""
    for line in _lines(d):
        if "flags" in line:
            continue
        if not {"ino", "mnt_id", "sdev"} & set(line):
            raise Unsupported([f"{d}: a mark of an unknown kind ({line}): not supported; remove it before the dump"])
        if int(line["mask"], 16) & _PERMISSION:
            raise Unsupported(
                [f"{d}: a mark lets it decide who may open files: nobody would while it is frozen; remove that mark"]
            )
        if "mnt_id" in line or "ino" not in line:
            _mount(line, d)


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry, but for the marks."""
    from engine.files.held import Held

    entry.type = TYPE
    ffy = entry.ffy
    ffy.id = entry.id
    ffy.flags = d.flags & ~O_CLOEXEC
    with closing(Held(d)) as held:
        queued = waiting(held.fd)
    if queued:
        files.scope.log.warn(
            f"{d}: {queued // _EVENT} events that nobody has read are dropped, the dump's own accesses among them"
        )


def dump_after(entry: Any, d: Descriptor, files: FileTable) -> None:
    """All files of the tree are known: group and marks."""
    ffy = entry.ffy
    for line in _lines(d):
        if "flags" in line:
            ffy.faflags, ffy.evflags = int(line["flags"], 16), int(line["event-flags"], 16)
            continue
        mark = ffy.mark.add()
        mark.id = 0
        mark.mflags, mark.mask, mark.ignored_mask = (int(line[key], 16) for key in ("mflags", "mask", "ignored_mask"))
        mark.s_dev = int(line.get("sdev", "0"), 16)
        if "ino" in line:
            inode = watched.Inode(line)
            mark.type = _INODE
            mark.ie.i_ino = inode.ino
            watched.dump(inode, d, mark.ie, mark.ie.f_handle, files)
            continue
        mount = _mount(line, d)
        mark.s_dev = mount.dev
        if "mnt_id" in line:
            mark.type = _MOUNT
            mark.me.mnt_id = mount.ident
            set_text(mark.me, "path", mount.point)
        else:
            mark.type = _FILESYSTEM
            set_text(mark.sbe, "path", mount.point)


def _lines(d: Descriptor) -> list[dict[str, str]]:
    return proc.fdinfo_lines(d.pid, d.fd, _WORD)


def _mount(line: dict[str, str], d: Descriptor) -> watched.Mount:
    """The mount of a mark, or one of its file system, that the task sees and none hides; Unsupported for none."""
    ident, dev = int(line.get("mnt_id", "0"), 16), int(line.get("sdev", "0"), 16)
    for mount in watched.mounts(d.pid):
        if mount.ident != ident if ident else mount.dev != dev:
            continue
        if not ident or _mount_at(d.pid, mount.point) == ident:
            return mount
    what = f"mount {ident}" if ident else f"the file system of device {dev >> 20}:{dev & 0xFFFFF}"
    raise Unsupported([f"{d}: it has marked {what}, which the task does not see: remove that mark before the dump"])


def _mount_at(pid: int, point: str) -> int:
    """The id of the mount that a name leads to."""
    try:
        fd = os.open(f"/proc/{pid}/root{point}", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(proc.fdinfo(os.getpid(), fd)["mnt_id"])
    finally:
        os.close(fd)


class Survey(watched.Survey):
    """Those of a tree."""

    __slots__ = ()
    WORD = _WORD


class Objects:
    """The groups of a restore: made with all files, marking when all is there."""

    __slots__ = ("_made", "_opener")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._made: list[Any] = []

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """A group without marks; what it is to mark must be there."""
        opener = self._opener
        if not entry.HasField("ffy"):
            raise BadImage(opener.image, 0, f"file {entry.id:#x} is a fanotify without a fanotify_file_entry")
        ffy = entry.ffy
        for mark in ffy.mark:
            if mark.mask & _PERMISSION:
                raise BadImage(opener.image, 0, f"file {entry.id:#x}: marks that ask for permission are not supported")
            if mark.type == _INODE:
                watched.find_file(opener, mark.ie, mark.ie.f_handle, (mark.s_dev, mark.ie.i_ino))
            if not mark.ie.HasField("file"):
                os.close(self._object(entry, mark))
        self._made.append(entry)
        try:
            return {entry.id: events.fanotify(ffy.faflags, ffy.evflags)}
        except KernelError as e:
            raise KernelError(e.call, e.errno, f"file {entry.id:#x} of {opener.image}") from e

    def keeps(self) -> set[int]:
        """The files that it needs to the end."""
        return {entry.id for entry in self._made} | {m.ie.file for entry in self._made for m in entry.ffy.mark}

    def settle(self) -> None:
        """All tasks are there, and nothing is opened any more: mark."""
        for entry in self._made:
            fd = self._opener.descriptor(entry.id)
            for mark in entry.ffy.mark:
                what = self._object(entry, mark)
                try:
                    _add(fd, mark, f"/proc/self/fd/{what}")
                except KernelError as e:
                    raise KernelError(e.call, e.errno, f"file {entry.id:#x} of {self._opener.image}") from e
                finally:
                    os.close(what)

    def _object(self, entry: Any, mark: Any) -> int:
        opener = self._opener
        if mark.type == _INODE:
            return watched.open_object(opener, entry.id, mark.ie, mark.ie.f_handle, (mark.s_dev, mark.ie.i_ino))
        path = text(mark.me.path if mark.type == _MOUNT else mark.sbe.path)
        try:
            return opener.open(path, os.O_PATH)
        except OSError as e:
            what = f"file {entry.id:#x} of {opener.image} has marked the mount there"
            raise EngineError(f"cannot open {path!r}: {e.strerror}; {what}") from e


def _add(fd: int, mark: Any, path: str) -> None:
    how = _ADD | _FLAG_OF[mark.type] | mark.mflags & _EVICTABLE
    if mark.mask:
        events.fanotify_mark(fd, how, mark.mask, path)
    if mark.ignored_mask:
        kind = _IGNORE if mark.mflags & _IGNORE else _IGNORED_MASK
        events.fanotify_mark(fd, how | kind | mark.mflags & _IGNORED_SURV_MODIFY, mark.ignored_mask, path)
