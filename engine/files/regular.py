"""Regular files, directories and the memory devices (/dev/null and its like): path, flags, offset (open(2))."""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError, Unsupported
from engine.files import kinds, procfs
from engine.files.fd import DELETED, O_CLOEXEC, Descriptor, may_be_memfd, shown
from engine.images.schema import set_text, text
from engine.kernel import files
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.plan.program import Program, Ref
    from engine.tasks.opener import Opener

TYPE = 1  # fd_types.REG
_MEM_MAJOR = 1  # /dev/null, zero, full, random, urandom
# Devices that can be mapped again, because what was mapped has nothing to do with them any more: /dev/zero.
_MAPPED_DEVICES = ((_MEM_MAJOR, 5),)
ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_SILLY = ".nfs"  # what NFS calls what was deleted while it was open
_POSITIONS = 1 << 64  # fdinfo shows those of /proc/PID/mem as signed


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a file that no name leads to and that cannot be made anew, and for most devices."""
    if stat.S_ISCHR(d.mode) and os.major(d.stat.st_rdev) != _MEM_MAJOR and not d.flags & os.O_PATH:
        raise Unsupported([f"{d}: this kind of file is not supported yet; close it before the dump"])
    check_name(d, scope)


def check_name(d: Descriptor, scope: Scope) -> None:
    """The same of any file that has a name; `d.found` is how it is found."""
    if d.is_named and not scope.has_mounts and scope.is_mounted(d.pid, d.mnt_id) and not _is_odd(d.link):
        d.found = None, d.link
        return
    if not scope.is_mounted(d.pid, d.mnt_id) and not may_be_memfd(d.link):
        if scope.has_mounts:
            from engine.files import detached

            if its := detached.find(d, scope):
                scope.detached[d.mnt_id] = its
                d.found = None, d.link
                return
        what = "on a mount that is in no tree (open_tree(2), fsmount(2), umount2(2) with MNT_DETACH)"
        raise Unsupported(
            [f"{d}: {what}: not supported yet; close it, or move the mount into the tree (move_mount(2))"]
        )
    d.found = find(scope.viewer(d.pid, d.mnt_id), d.link, d.stat, d, scope, d.mnt_id)


def _is_odd(name: str) -> bool:
    """May a name lead to a file by chance, or for a while?"""
    return name.startswith(procfs.ROOT) or name.endswith(DELETED) or _SILLY in name


def check_path(pid: int, link: str, name: str, what: str, scope: Scope) -> None:
    """Can the file be reached again that /proc/PID/`link` leads to, mapped, executed or current? Unsupported if not."""
    there = os.stat(f"/proc/{pid}/{link}")
    if may_be_memfd(name):
        from engine.files import memfd

        if memfd.find(name, there) is not None:
            return
    _find_path(pid, link, name, there, what, scope)


def _find_path(
    pid: int, link: str, name: str, st: os.stat_result, what: object, scope: Scope
) -> tuple[int | None, str]:
    if procfs.task_of(name) and link != "cwd":
        raise Unsupported([f"{what}: {shown(name)}: what procfs has of a task is only supported for open files"])
    mnt_id = scope.mount_of(f"/proc/{pid}/{link}") if scope.has_mounts else 0
    return find(scope.viewer(pid, mnt_id), name, st, what, scope, mnt_id)


def find(pid: int, name: str, st: os.stat_result, what: object, scope: Scope, mnt_id: int) -> tuple[int | None, str]:
    """How a restore comes by the file that a link of procfs calls `name`: (None: by its name; or remap_type, name).

    `mnt_id` is the mount that it is on. Unsupported if it cannot.
    """
    if procfs.task_of(name):
        ended, name = procfs.find(pid, name, st, str(what), scope)
        return kinds.PROCFS if ended else None, name
    if not name.endswith(DELETED) and _SILLY not in name:
        here = scope.stat(pid, name, False)
        if here is not None and (here.st_dev, here.st_ino) == (st.st_dev, st.st_ino):
            return None, name
        if scope.has_mounts and scope.is_covered(pid, mnt_id, name):
            return None, name  # the restore opens it before it is covered
    from engine.files import remap

    return remap.find(pid, name, st, str(what), scope)


def check_mapped(where: str, what: str) -> None:
    """Can the file that a link of map_files leads to be mapped again? Unsupported for devices and the like."""
    st = os.stat(where)
    device = os.major(st.st_rdev), os.minor(st.st_rdev)
    if stat.S_ISREG(st.st_mode) or (stat.S_ISCHR(st.st_mode) and device in _MAPPED_DEVICES):
        return
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        kind = "character" if stat.S_ISCHR(st.st_mode) else "block"
        it = f"memory of the {kind} device {device[0]}:{device[1]}"
    else:
        it = f"memory of a file of type {stat.S_IFMT(st.st_mode):o}"
    raise Unsupported([f"{what}: {it} cannot be dumped; unmap it first"])


def dump(entry: Any, d: Descriptor, table: FileTable) -> None:
    """Fill a file_entry from a descriptor."""
    _fill(entry, d.path, d.found, d.flags & ~O_CLOEXEC, d.pos % _POSITIONS, d.stat, table)
    if table.scope.has_mounts:
        entry.reg.mnt_id = d.mnt_id
    if d.mnt_id in table.scope.detached:
        table.scope.detached[d.mnt_id].write(entry.reg)


def dump_path(entry: Any, pid: int, link: str, name: str, table: FileTable) -> None:
    """Fill a file_entry for a file that is mapped, executed or a working directory."""
    where = f"/proc/{pid}/{link}"
    st = os.stat(where)
    found = _find_path(pid, link, name, st, where, table.scope)
    if procfs.task_of(name):
        table.survey.of(kinds.module("regular")).add_name(where, *found)
    _fill(entry, where, found, os.O_RDONLY, 0, st, table)
    if table.scope.has_mounts:
        entry.reg.mnt_id = table.scope.mount_of(where)


def _fill(
    entry: Any, where: str, found: tuple[int | None, str], flags: int, pos: int, st: os.stat_result, table: FileTable
) -> None:
    how, name = found
    entry.type = TYPE
    reg = entry.reg
    reg.id = entry.id
    reg.flags = flags
    reg.pos = pos
    if name.isascii():
        reg.name = name
    else:
        set_text(reg, "name", name)
    reg.mode = st.st_mode
    table.validation.dump(reg, where, name, st)
    if how is not None:
        table.remaps().add(entry, how, where, st)


class Survey:
    """Files of procfs that are a task's: of those outside of the tree there will be none."""

    __slots__ = ("_of_tasks", "_scope")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._of_tasks: list[tuple[str, int, bool]] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        if d.link.startswith(procfs.ROOT):
            self.add_name(str(d), *d.found)

    def add_name(self, what: str, how: int | None, name: str) -> None:
        """One more of what `find` has found."""
        if pid := procfs.task_of(name):
            self._of_tasks.append((what, pid, how == kinds.PROCFS))

    def blockers(self, pids: set[int]) -> list[str]:
        """What leads out of the tree; `pids` are those of all its threads. Names have them as the tree sees them."""
        if not self._of_tasks:
            return []
        inner = {self._scope.pids.inner(pid) for pid in pids if os.path.exists(f"/proc/{pid}")}
        return [why for what, pid, ended in self._of_tasks if (why := procfs.outside(what, pid, ended, inner))]

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def open_again(entry: Any, opener: Opener, flags: int | None) -> int:
    """Open the file of a file_entry as it was: flags (unless others are given), offset; its type must be the old."""
    reg = entry.reg
    path = text(reg.name)
    wanted = (reg.flags if flags is None else flags) & ~ONCE
    if opener.given or reg.ext:
        from engine.files import external

        if (fd := external.open_again(entry, opener.given, wanted, opener.links)) >= 0:
            return fd
    try:
        fd = opener.open_nameless(entry, wanted)
        if fd < 0:
            fd = _open(opener, path, wanted, reg.mnt_id)
    except OSError as e:
        raise EngineError(f"cannot open {shown(path)} (file {reg.id:#x} of {opener.image}): {e.strerror}") from e
    try:
        check_mode(reg, shown(path), fd, opener.rwx_check)
        if reg.pos and not reg.flags & os.O_PATH:
            os.lseek(fd, reg.pos, os.SEEK_SET)
        opener.validation.compare(reg, fd, opener.links)
    except (OSError, OverflowError) as e:
        os.close(fd)
        why = e.strerror if isinstance(e, OSError) else "there is no such position"
        raise BadImage(opener.image, 0, f"file {shown(path)}: offset {reg.pos}: {why}") from e
    except EngineError:
        os.close(fd)
        raise
    return fd


def open_many(wanted: dict[tuple[int, int | None], int], opener: Opener) -> list[tuple[int, int | None]]:
    """Open what nothing is special about, at once, as the numbers it is to have; what is open then.

    What cannot be opened so is for `open_again`, which says why.
    """
    if opener.given or opener.mounts:
        return []
    keys, plain = [], []
    for key, number in wanted.items():
        ident, flags = key
        entry = opener.files[ident]
        if entry.type != TYPE or opener.is_nameless(ident):
            continue
        reg = entry.reg
        own, pos = reg.flags, reg.pos
        if own & os.O_PATH or pos >> 63 or reg.ext or reg.build_id or reg.HasField("checksum"):
            continue
        name = text(reg.name)
        size = reg.size if reg.HasField("size") and not procfs.is_pseudo(name) else -1
        plain.append((name, pos, size, (own if flags is None else flags) & ~ONCE, reg.mode, opener.rwx_check, number))
        keys.append(key)
    return [key for key, done in zip(keys, files.open_many(plain), strict=True) if done]


def _open(opener: Opener, path: str, wanted: int, mnt_id: int) -> int:
    """Without waiting for whom a FIFO that stands there by now has at its other end."""
    if wanted & (os.O_PATH | os.O_NONBLOCK):
        return opener.open(path, wanted, mnt_id)
    try:
        fd = opener.open(path, wanted | os.O_NONBLOCK, mnt_id)
    except BlockingIOError:  # somebody has a lease, and is asked to give it up
        return opener.open(path, wanted, mnt_id)
    import fcntl  # a dump needs none

    fcntl.fcntl(fd, fcntl.F_SETFL, wanted)
    return fd


def task_behind(entry: Any) -> int:
    """The pid of the task without which the file cannot be opened, 0 if there is none."""
    return procfs.task_of(text(entry.reg.name))


def plan_open(program: Program, entry: Any, proc: int, lowest: int) -> Ref:
    """Let a task open it, when the tasks of the tree are there. `proc` is a descriptor of /proc."""
    reg = entry.reg
    name = program.arena.text(text(reg.name).removeprefix(procfs.ROOT))
    flags = reg.flags & ~ONCE | O_CLOEXEC
    note = f"file {reg.id:#x}"
    got = program.sys("openat", proc, name, flags, 0, expect=abi.EXPECT_EQUAL, want=lowest, note=note)
    if reg.pos and not reg.flags & os.O_PATH:
        pos = reg.pos - _POSITIONS if reg.pos >> 63 else reg.pos  # an address may look like an errno
        program.sys("lseek", got, pos, os.SEEK_SET, expect=abi.EXPECT_EQUAL, want=pos)
    return got


def check_mode(reg: Any, path: str, fd: int, rwx_check: bool) -> None:
    """EngineError for what is of another type than when it was dumped, or has other permissions."""
    st = os.fstat(fd)
    if reg.HasField("mode") and reg.mode and stat.S_IFMT(st.st_mode) != stat.S_IFMT(reg.mode):
        raise EngineError(f"{path} has changed its type since the dump (mode {st.st_mode:o}, was {reg.mode:o})")
    if rwx_check and reg.HasField("mode") and reg.mode and st.st_mode != reg.mode:
        raise EngineError(
            f"{path}: mode {st.st_mode:o} is not the dumped {reg.mode:o}; chmod it or use --skip-file-rwx-check"
        )
