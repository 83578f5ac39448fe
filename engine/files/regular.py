"""Regular files, directories and the memory devices (/dev/null and its like): path, flags, offset (open(2))."""

from __future__ import annotations

import os
import stat
import struct

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
_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
# by ELF class: an address, where the header has e_phoff, and e_phentsize, e_phnum; a program header p_offset, p_filesz
_LAYOUTS = {1: ("<I", 28, 42, 4, 16), 2: ("<Q", 32, 54, 8, 32)}


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
    _fill(entry, d.path, d.link, d.flags & ~O_CLOEXEC, int(d.info["pos"]), d.stat)


def dump_path(entry: Any, where: str, name: str) -> None:
    """Fill a file_entry for a file that is mapped, executed or a working directory."""
    check_path(where, name, where)
    _fill(entry, where, name, os.O_RDONLY, 0, os.stat(where))


def _fill(entry: Any, where: str, name: str, flags: int, pos: int, st: os.stat_result) -> None:
    entry.type = TYPE
    reg = entry.reg
    reg.id = entry.id
    reg.flags = flags
    reg.pos = pos
    for field in ("uid", "euid", "signum", "pid_type", "pid"):
        setattr(reg.fown, field, 0)
    set_text(reg, "name", name.removesuffix(ghost.DELETED) if ghost.is_ghost(name, st) else name)
    reg.mode = st.st_mode
    # what is only written, a log say, may have grown by the time of the restore
    if stat.S_ISREG(st.st_mode) and flags & os.O_ACCMODE != os.O_WRONLY:
        reg.size = st.st_size
        if not procfs.is_pseudo(name):
            reg.build_id.extend(_build_id(where))


def _build_id(path: str) -> list[int]:
    """The GNU build id of an ELF file in 32-bit words, as elf(5) notes have it; empty for any other file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []  # write-only files and the like: nothing to compare, as with any file without an id
    try:
        head = os.pread(fd, 4096, 0)
        if head[:4] != b"\x7fELF" or head[4] not in _LAYOUTS or len(head) < 64:
            return []
        word, phoff_at, sizes_at, offset_at, size_at = _LAYOUTS[head[4]]
        (phoff,) = struct.unpack_from(word, head, phoff_at)
        phentsize, phnum = struct.unpack_from("<HH", head, sizes_at)
        for i in range(phnum):
            at = phoff + i * phentsize
            if at + 56 > len(head):
                break
            if struct.unpack_from("<I", head, at)[0] == _PT_NOTE:
                (offset,) = struct.unpack_from(word, head, at + offset_at)
                (size,) = struct.unpack_from(word, head, at + size_at)
                found = _find_note(os.pread(fd, min(size, 4096), offset))
                if found:
                    return found
    finally:
        os.close(fd)
    return []


def _find_note(notes: bytes) -> list[int]:
    at = 0
    while at + 12 <= len(notes):
        namesz, descsz, kind = struct.unpack_from("<III", notes, at)
        desc = at + 12 + (namesz + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return list(struct.unpack_from(f"<{descsz // 4}I", notes, desc))
        at = desc + (descsz + 3 & ~3)
    return []


def open_again(entry: Any, image: str, flags: int | None = None, ghost_fd: int = -1, rwx_check: bool = True) -> int:
    """Open the file of a file_entry as it was: flags (unless others are given), offset; errors name what has changed.

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
        _validate(reg, path, fd, rwx_check)
        if reg.pos and not reg.flags & os.O_PATH:
            os.lseek(fd, reg.pos, os.SEEK_SET)
    except OSError as e:
        os.close(fd)
        raise BadImage(image, 0, f"file {path}: offset {reg.pos}: {e.strerror}") from e
    except EngineError:
        os.close(fd)
        raise
    return fd


def _validate(reg: Any, path: str, fd: int, rwx_check: bool) -> None:
    st = os.fstat(fd)
    if reg.HasField("mode") and reg.mode and stat.S_IFMT(st.st_mode) != stat.S_IFMT(reg.mode):
        raise EngineError(f"{path} has changed its type since the dump (mode {st.st_mode:o}, was {reg.mode:o})")
    if rwx_check and reg.HasField("mode") and reg.mode and st.st_mode != reg.mode:
        raise EngineError(
            f"{path}: mode {st.st_mode:o} is not the dumped {reg.mode:o}; chmod it or use --skip-file-rwx-check"
        )
    if procfs.is_pseudo(path):
        return
    if reg.HasField("size") and stat.S_ISREG(st.st_mode) and st.st_size != reg.size:
        raise EngineError(
            f"{path} has {st.st_size} bytes, but had {reg.size} when it was dumped; put the old file back"
        )
    if reg.build_id:
        now = _build_id(f"/proc/self/fd/{fd}")
        if now and now != list(reg.build_id):
            raise EngineError(f"{path} is another build than the dumped one; put the old file back")
