"""Regular files, directories and the memory devices (/dev/null and its like): path, flags, offset (open(2))."""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError, Unsupported
from engine.files import ghost, procfs
from engine.files.fd import O_CLOEXEC, Descriptor, may_be_memfd
from engine.images.schema import set_text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TYPE = 1  # fd_types.REG
_MEM_MAJOR = 1  # /dev/null, zero, full, random, urandom
# Devices that can be mapped again, because what was mapped has nothing to do with them any more: /dev/zero.
_MAPPED_DEVICES = ((_MEM_MAJOR, 5),)
ONCE = os.O_CREAT | os.O_EXCL | os.O_TRUNC


def is_kind(d: Descriptor) -> bool:
    """A file with a name that leads to it; Unsupported for one that was deleted or replaced."""
    mode = d.stat.st_mode
    if d.link.startswith("anon_inode:"):
        return False
    if not (
        stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (stat.S_ISCHR(mode) and os.major(d.stat.st_rdev) == _MEM_MAJOR)
    ):
        return False
    if "lock" in d.info:
        raise Unsupported([f"{d}: file locks are not supported yet; release the lock before the dump"])
    if procfs.task_of(d.link):
        procfs.check(d)
    else:
        check_path(d.path, d.link, str(d))
    return True


def check_path(where: str, name: str, what: str) -> None:
    """Does the name lead to the file that the proc link `where` leads to? Unsupported if not."""
    if procfs.task_of(name):
        raise Unsupported([f"{what}: {name}: what procfs has of a task is only supported for open files yet"])
    there = os.stat(where)
    if may_be_memfd(name):
        from engine.files import memfd

        if memfd.find(name, there) is not None:
            return
    if ghost.is_ghost(name, there):
        ghost.check(name, there, what)
        return
    try:
        here = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        here = None
    if here is None or (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise Unsupported(
            [f"{what}: {name}: deleted or replaced files are not supported yet; its name must lead to it"]
        )


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


def dump(entry: Any, d: Descriptor) -> None:
    """Fill a file_entry from a descriptor."""
    _fill(entry, d.link, d.flags & ~O_CLOEXEC, int(d.info["pos"]), d.stat)


def dump_path(entry: Any, where: str, name: str) -> None:
    """Fill a file_entry for a file that is mapped, executed or a working directory."""
    check_path(where, name, where)
    _fill(entry, name, os.O_RDONLY, 0, os.stat(where))


def _fill(entry: Any, name: str, flags: int, pos: int, st: os.stat_result) -> None:
    entry.type = TYPE
    reg = entry.reg
    reg.id = entry.id
    reg.flags = flags
    reg.pos = pos
    for field in ("uid", "euid", "signum", "pid_type", "pid"):
        setattr(reg.fown, field, 0)
    set_text(reg, "name", name.removesuffix(ghost.DELETED) if ghost.is_ghost(name, st) else name)
    reg.mode = st.st_mode


def open_again(entry: Any, image: str, flags: int | None = None, ghost_fd: int = -1, rwx_check: bool = True) -> int:
    """Open the file of a file_entry as it was: flags (unless others are given), offset; its type must be the old.

    `ghost_fd` leads to it where it has no name; `rwx_check` compares its permissions too.
    """
    reg = entry.reg
    path = text(reg.name)
    try:
        name = path if ghost_fd < 0 else f"/proc/self/fd/{ghost_fd}"
        fd = os.open(name, (reg.flags if flags is None else flags) & ~ONCE | O_CLOEXEC)
    except OSError as e:
        raise EngineError(f"cannot open {path} (file {reg.id:#x} of {image}): {e.strerror}") from e
    try:
        _check_mode(reg, path, fd, rwx_check)
        if reg.pos and not reg.flags & os.O_PATH:
            os.lseek(fd, reg.pos, os.SEEK_SET)
    except OSError as e:
        os.close(fd)
        raise BadImage(image, 0, f"file {path}: offset {reg.pos}: {e.strerror}") from e
    except EngineError:
        os.close(fd)
        raise
    return fd


def _check_mode(reg: Any, path: str, fd: int, rwx_check: bool) -> None:
    st = os.fstat(fd)
    if reg.HasField("mode") and reg.mode and stat.S_IFMT(st.st_mode) != stat.S_IFMT(reg.mode):
        raise EngineError(f"{path} has changed its type since the dump (mode {st.st_mode:o}, was {reg.mode:o})")
    if rwx_check and reg.HasField("mode") and reg.mode and st.st_mode != reg.mode:
        raise EngineError(
            f"{path}: mode {st.st_mode:o} is not the dumped {reg.mode:o}; chmod it or use --skip-file-rwx-check"
        )
