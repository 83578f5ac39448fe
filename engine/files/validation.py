"""Has a file changed since the dump? What reg_file_entry keeps of it (--file-validation), and how that is compared.

Always its size; with it the GNU build-id of an ELF file (elf(5)), or a CRC32C. CRIU 4.2 knows size and build-id; its
entry has fields for a checksum, too, which it passes over: `checksum_config` says of what it is, `checksum_parameter`
is N.
"""

from __future__ import annotations

import os
import stat
import struct

from engine.errors import BadImage, EngineError, KernelError
from engine.files import procfs
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.log import Log
    from engine.options import Options

FIRST, EVERY, WHOLE = range(3)  # checksum_config: the first N bytes, every Nth byte from the first on, all bytes
DEFAULT_PARAMETER = 1024  # bytes: N
_CONFIG = {"checksum": FIRST, "checksum-period": EVERY, "checksum-full": WHOLE}
_SIZE_ONLY = "filesize"
_PT_NOTE, _NT_GNU_BUILD_ID = 4, 3
# by ELF class: an address, where the header has e_phoff, and e_phentsize, e_phnum; a program header p_offset, p_filesz
_LAYOUTS = {1: ("<I", 28, 42, 4, 16), 2: ("<Q", 32, 54, 8, 32)}
_PUT_BACK = f"put the old file back, or use --file-validation {_SIZE_ONLY}"


class Validation:
    """By which method, and what is known of each file: one is read once, however often it is open and mapped."""

    __slots__ = ("_build_ids", "_checksums", "_later", "_log", "_method", "_parameter", "_written")

    def __init__(self, options: Options, log: Log) -> None:
        self._method = options.file_validation
        self._parameter = options.checksum_parameter or DEFAULT_PARAMETER
        self._log = log
        self._build_ids: dict[tuple[int, int], list[int]] = {}
        self._checksums: dict[tuple[int, int, int, int], int] = {}
        self._later: list[tuple[Any, str, str, os.stat_result]] = []
        self._written: set[tuple[int, int]] = set()

    def dump(self, reg: Any, where: str, name: str, st: os.stat_result) -> None:
        """Fill what a reg_file_entry keeps of the file that `where` leads to; `reg.flags` are set.

        Without a build-id, what the tree itself may write to gets no checksum unasked: it may have run on since, with
        --leave-running or restored before. That is known when all files are; see `settle`.
        """
        if not stat.S_ISREG(st.st_mode):
            return
        # a log, say, may have grown by the time of the restore
        if reg.flags & os.O_ACCMODE == os.O_WRONLY and reg.flags & os.O_APPEND:
            return
        reg.size = st.st_size
        if reg.flags & os.O_ACCMODE != os.O_RDONLY:
            self.writes(st)
        if self._method == _SIZE_ONLY or procfs.is_pseudo(name):
            return
        if self._method in _CONFIG:
            self._dump_checksum(reg, where, name, st)
            return
        try:
            if not self._dump_build_id(reg, where, st):
                self._later.append((reg, where, name, st))
        except OSError as e:
            self._warn(name, e)

    def writes(self, st: os.stat_result) -> None:
        """The tree may write to this file: by a descriptor or by a shared mapping."""
        self._written.add((st.st_dev, st.st_ino))

    def settle(self) -> None:
        """All files are known, the tree is still frozen: the checksums of those without a build-id."""
        for reg, where, name, st in self._later:
            if (st.st_dev, st.st_ino) not in self._written:
                self._dump_checksum(reg, where, name, st)
        self._later.clear()

    def _warn(self, name: str, e: KernelError | OSError) -> None:
        why = e.strerror if isinstance(e, OSError) else str(e)
        self._log.warn(f"{name}: cannot be read ({why}): only its size will tell whether it has changed")

    def _dump_build_id(self, reg: Any, where: str, st: os.stat_result) -> bool:
        key = (st.st_dev, st.st_ino)
        if key not in self._build_ids:
            self._build_ids[key] = _build_id(where)
        reg.build_id.extend(self._build_ids[key])
        return bool(reg.build_id)

    def _dump_checksum(self, reg: Any, where: str, name: str, st: os.stat_result) -> None:
        if not st.st_nlink:
            return  # its contents are in the images
        config = _CONFIG.get(self._method, FIRST)
        parameter = 0 if config == WHOLE else self._parameter
        try:
            reg.checksum = self._checksum(where, name, st, config, parameter)
        except (KernelError, OSError) as e:
            self._warn(name, e)
            return
        reg.checksum_config = config
        reg.checksum_parameter = parameter

    def _checksum(self, where: str, name: str, st: os.stat_result, config: int, parameter: int) -> int:
        from engine.kernel.checksum import crc32c

        key = (st.st_dev, st.st_ino, config, parameter)
        if key not in self._checksums:
            fd = _open(where)
            try:
                limit, period = parameter if config == FIRST else 0, parameter if config == EVERY else 1
                self._checksums[key] = crc32c(fd, name, limit, period)
            finally:
                os.close(fd)
        return self._checksums[key]

    def compare(self, reg: Any, fd: int) -> None:
        """EngineError if the file at `fd` is not what was dumped, as far as the entry tells, or cannot be read."""
        path, st = text(reg.name), os.fstat(fd)
        if procfs.is_pseudo(path) or not stat.S_ISREG(st.st_mode):
            return
        if reg.HasField("size") and st.st_size != reg.size:
            raise EngineError(
                f"{path} has {st.st_size} bytes, but had {reg.size} when it was dumped; put the old file back"
            )
        if self._method == _SIZE_ONLY:
            return
        where = f"/proc/self/fd/{fd}"
        try:
            if reg.build_id:
                self._compare_build_id(reg, path, where, st)
            if reg.HasField("checksum"):
                self._compare_checksum(reg, path, where, st)
        except OSError as e:
            raise EngineError(
                f"{path} cannot be compared with what was dumped: {e.strerror}; "
                f"make it readable, or use --file-validation {_SIZE_ONLY}"
            ) from e

    def _compare_build_id(self, reg: Any, path: str, where: str, st: os.stat_result) -> None:
        key, old = (st.st_dev, st.st_ino), list(reg.build_id)
        if key not in self._build_ids:
            self._build_ids[key] = _build_id(where)
        now = self._build_ids[key]
        if now != old:
            shown = f"its build-id is {_hex(now)}" if now else "it has no build-id"
            raise EngineError(f"{path} is another build than the dumped one: {shown}, was {_hex(old)}; {_PUT_BACK}")

    def _compare_checksum(self, reg: Any, path: str, where: str, st: os.stat_result) -> None:
        config, parameter = reg.checksum_config, reg.checksum_parameter
        if config not in (FIRST, EVERY, WHOLE) or (config != WHOLE and not parameter):
            raise BadImage(
                "files.img",
                0,
                f"{path}: checksum_config {config} with checksum_parameter {parameter}: "
                f"not known here; dump again, or use --file-validation {_SIZE_ONLY}",
            )
        now = self._checksum(where, path, st, config, parameter)
        if now != reg.checksum:
            of = {FIRST: f"first {parameter} bytes", EVERY: f"bytes, every {parameter}th,", WHOLE: "contents"}[config]
            raise EngineError(
                f"{path} has changed since the dump: the CRC32C of its {of} is {now:08x}, was {reg.checksum:08x}; "
                + _PUT_BACK
            )


def _hex(words: list[int]) -> str:
    return struct.pack(f"<{len(words)}I", *words).hex()


def _open(where: str) -> int:
    """To read; its access time stays where we may see to that (O_NOATIME of open(2))."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(where, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(where, flags)


def _build_id(where: str) -> list[int]:
    """The GNU build id of an ELF file in 32-bit words, as elf(5) notes have it; empty for any other file."""
    fd = _open(where)
    try:
        head = os.pread(fd, 4096, 0)
        if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in _LAYOUTS:
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
                found = _find_note(os.pread(fd, min(size, 4096), min(offset, 1 << 62)))
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
        if kind == _NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0" and desc + descsz <= len(notes):
            return list(struct.unpack_from(f"<{descsz // 4}I", notes, desc))
        at = desc + (descsz + 3 & ~3)
    return []
