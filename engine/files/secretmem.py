"""Secret memory (memfd_secret(2)), which CRIU does not have; secretmem.img.

Nothing reads it from outside but who has it mapped, and to map it takes its one description: so the engine takes a copy
of the descriptor, and maps it itself. What is mapped without a descriptor left is out of reach.
"""

from __future__ import annotations

import mmap
import os
import stat
import sys

from engine.errors import BadImage, KernelError, Unsupported
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import process, secretmem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.kernel.proc import Vma
    from engine.tasks.opener import Opener

TYPE = 1002  # fd_types.SECRETMEM
_IMAGE = "SECRETMEM"
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_NOATIME


def is_one(path: str) -> bool:
    """Does a link of procfs lead to secret memory?"""
    return secretmem.is_one(path)


def check(d: Descriptor, scope: Scope) -> None:
    """Unsupported for a mere path of it."""
    if d.flags & os.O_PATH:
        raise Unsupported([f"{d}: secret memory that is open with O_PATH: close it before the dump"])


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; what is in it is `Survey`'s."""
    entry.type = TYPE
    it = entry.secretmem
    it.id, it.flags, it.size, it.mode = entry.id, d.flags & ~O_CLOEXEC, d.stat.st_size, d.stat.st_mode
    it.uid, it.gid = files.scope.uid(d.stat.st_uid), files.scope.gid(d.stat.st_gid)
    it.fown.SetInParent()
    files.survey.of(sys.modules[__name__]).found.append((d, entry))


class Survey:
    """The secret memory of a tree."""

    __slots__ = ("_mapped", "_open", "found")

    def __init__(self, scope: Scope) -> None:
        self.found: list[tuple[Descriptor, Any]] = []
        self._open: set[int] = set()
        self._mapped: list[tuple[int, Vma]] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        self._open.add(d.stat.st_ino)

    def mapped(self, pid: int, vma: Vma) -> None:
        """A mapping of a task."""
        self._mapped.append((pid, vma))

    def blockers(self, pids: set[int]) -> list[str]:
        """Mappings of what nobody has a descriptor of."""
        return [closed(pid, vma) for pid, vma in self._mapped if vma.ino not in self._open]

    def write(self, images: Images, message: Any) -> None:
        """Write what is in it, while nobody can write to it."""
        if not self.found:
            return
        new = message("secretmem_data_entry")
        out = images.begin(_IMAGE, (), [])
        try:
            for d, entry in self.found:
                _write(out, d, entry, new)
        except OSError as e:
            what = f"copying what is in it to {images.path}/{images.name(_IMAGE)}"
            raise KernelError(what, e.errno or 0) from e
        finally:
            os.close(out)


def closed(pid: int, vma: Vma) -> str:
    """Why a mapping cannot be dumped."""
    what = "secret memory whose descriptor is closed is out of reach"
    return f"pid {pid}: mapping {vma}: {what}: keep one open, or unmap it before the dump"


def _write(out: int, d: Descriptor, entry: Any, new: Any) -> None:
    size = entry.secretmem.size
    if not size:
        return
    fd = process.borrow(d.pid, d.fd)
    try:
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
            for offset, length in secretmem.present(memory):
                raw = new(id=entry.id, offset=offset, bytes=length).SerializeToString()
                _put(out, len(raw).to_bytes(4, "little") + raw)
                with memoryview(memory) as whole, whole[offset : offset + length] as part:
                    _put(out, part)
    finally:
        os.close(fd)


def _put(out: int, data: bytes | memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.write(out, data[done:])


class Objects:
    """The secret memory of images."""

    __slots__ = ("_opener", "_parts")

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._parts: dict[int, list[tuple[int, int, int]]] = {}  # by file id: offset, where in the image, bytes
        images = opener.images
        for part, at, length in images.read_spans(_IMAGE) if images.exists(_IMAGE) else ():
            entry = opener.files.get(part.id)
            if entry is None or not entry.HasField("secretmem") or part.offset + length > entry.secretmem.size:
                what = f"{length} bytes from {part.offset} on of file {part.id:#x}, which has no such place; dump again"
                raise BadImage(images.name(_IMAGE), at, what)
            self._parts.setdefault(part.id, []).append((part.offset, at, length))

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """One of them: nobody can open it once more."""
        if not entry.HasField("secretmem"):
            raise BadImage(self._opener.image, 0, f"file {entry.id:#x} is secret memory without an entry of that")
        it = entry.secretmem
        fd = secretmem.make()
        try:
            if it.size:
                os.ftruncate(fd, it.size)
                self._fill(fd, it)
            st = os.fstat(fd)
            if (st.st_uid, st.st_gid) != (it.uid, it.gid):
                os.fchown(fd, it.uid, it.gid)
            if stat.S_IMODE(st.st_mode) != stat.S_IMODE(it.mode):
                os.fchmod(fd, stat.S_IMODE(it.mode))
            if it.flags & _SETTABLE:
                import fcntl

                fcntl.fcntl(fd, fcntl.F_SETFL, it.flags & _SETTABLE)
        except BaseException as e:
            os.close(fd)
            if isinstance(e, OSError):
                what = f"making {it.size} bytes of secret memory (file {entry.id:#x}): raise RLIMIT_MEMLOCK if need be"
                raise KernelError(what, e.errno or 0) from e
            raise
        return {entry.id: fd}

    def _fill(self, fd: int, it: Any) -> None:
        parts = self._parts.get(it.id, [])
        if not parts:
            return
        source = self._opener.images.open_raw(_IMAGE)
        try:
            with mmap.mmap(fd, it.size) as memory, memoryview(memory) as whole:
                for offset, at, length in parts:
                    done = 0
                    while done < length:
                        with whole[offset + done : offset + length] as part:
                            got = os.preadv(source, [part], at + done)
                        if not got:
                            raise BadImage(self._opener.images.name(_IMAGE), at + done, "truncated; dump again")
                        done += got
        finally:
            os.close(source)
