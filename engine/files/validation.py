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
from engine.files.fd import shown
from engine.images.schema import text
from engine.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any

    from engine.files.links import Links
    from engine.files.scope import Scope
    from engine.log import Log
    from engine.options import Options

FIRST, EVERY, WHOLE = range(3)  # checksum_config: the first N bytes, every Nth byte from the first on, all bytes
DEFAULT_PARAMETER = 1024  # bytes: N
_CONFIG = {"checksum": FIRST, "checksum-period": EVERY, "checksum-full": WHOLE}
_SIZE_ONLY = "filesize"
_LEAST_ELF = 64  # bytes of a header
_PUT_BACK = f"put the old file back, or use --file-validation {_SIZE_ONLY}"


def look_ahead(scope: Scope) -> None:
    """Read the build-ids of open files before the tree is frozen: of all that have names and are not leased."""
    if scope.has_mounts or scope.options.file_validation in (_SIZE_ONLY, *_CONFIG):
        return
    todo = {}
    for d in (d for its in scope.seen.values() for d in its.values()):
        is_likely = d.is_named and d.size >= _LEAST_ELF and stat.S_ISREG(d.mode)
        if is_likely and d.ino not in scope.leased and not procfs.is_pseudo(d.link):
            todo[d.dev, d.ino] = d
    found = files.build_ids([(d.link, *key) for key, d in todo.items()])
    for (key, d), build_id in zip(todo.items(), found, strict=True):
        if build_id is not None:
            scope.build_ids[key] = d.changed, build_id


def changed(st: os.stat_result) -> tuple[int, int, int]:
    """What is another when the contents are."""
    return st.st_size, st.st_mtime_ns, st.st_ctime_ns


class Validation:
    """By which method, and what is known of each file: one is read once, however often it is open and mapped."""

    __slots__ = ("_build_ids", "_checksums", "_known", "_later", "_leased", "_log", "_method", "_parameter", "_written")

    def __init__(self, options: Options, log: Log, scope: Scope | None = None) -> None:
        """`scope` is that of a dump."""
        self._method = options.file_validation
        self._parameter = options.checksum_parameter or DEFAULT_PARAMETER
        self._log = log
        self._build_ids: dict[tuple[int, int], list[int]] = {}
        self._checksums: dict[tuple[int, int, int, int], int] = {}
        self._later: list[tuple[Any, str, str, os.stat_result]] = []
        self._written: set[tuple[int, int]] = set()
        # inodes of files that opening would break a write lease of
        self._leased: Container[int] = scope.leased if scope else ()
        self._known = scope.build_ids if scope else {}

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
        if self._method == _SIZE_ONLY or procfs.is_pseudo(name) or st.st_ino in self._leased:
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
        self._log.warn(f"{shown(name)}: cannot be read ({why}): only its size will tell whether it has changed")

    def _dump_build_id(self, reg: Any, where: str, st: os.stat_result) -> bool:
        key = (st.st_dev, st.st_ino)
        if key not in self._build_ids:
            before, known = self._known.get(key, (None, []))
            if before is None or before != changed(st):
                known = files.build_id(where) if st.st_size >= _LEAST_ELF else []
            self._build_ids[key] = known
        if words := self._build_ids[key]:
            reg.build_id.extend(words)
        return bool(words)

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

    def _checksum(
        self, where: str, name: str, st: os.stat_result, config: int, parameter: int, at: int | None = None
    ) -> int:
        from engine.kernel.checksum import crc32c

        key = (st.st_dev, st.st_ino, config, parameter)
        if key not in self._checksums:
            fd = _open(where, at)
            try:
                limit, period = parameter if config == FIRST else 0, parameter if config == EVERY else 1
                self._checksums[key] = crc32c(fd, name, limit, period)
            finally:
                os.close(fd)
        return self._checksums[key]

    def prepare(self, entries: Iterable[Any]) -> None:
        """Load what comparing with these file_entry will need: in the namespaces of a tree it could not be found."""
        if any(entry.HasField("reg") and entry.reg.HasField("checksum") for entry in entries):
            __import__("engine.kernel.checksum")

    def compare(self, reg: Any, fd: int, links: Links) -> None:
        """EngineError if the file at `fd` is not what was dumped, as far as the entry tells, or cannot be read."""
        path, st = text(reg.name), os.fstat(fd)
        name = shown(path)
        if procfs.is_pseudo(path) or not stat.S_ISREG(st.st_mode):
            return
        if reg.HasField("size") and st.st_size != reg.size:
            raise EngineError(
                f"{name} has {st.st_size} bytes, but had {reg.size} when it was dumped; put the old file back"
            )
        if self._method == _SIZE_ONLY:
            return
        try:
            if reg.build_id:
                self._compare_build_id(reg, name, fd, links, st)
            if reg.HasField("checksum"):
                self._compare_checksum(reg, name, fd, links, st)
        except OSError as e:
            raise EngineError(
                f"{name} cannot be compared with what was dumped: {e.strerror}; "
                f"make it readable, or use --file-validation {_SIZE_ONLY}"
            ) from e

    def _compare_build_id(self, reg: Any, name: str, fd: int, links: Links, st: os.stat_result) -> None:
        key, old = (st.st_dev, st.st_ino), list(reg.build_id)
        if key not in self._build_ids:
            self._build_ids[key] = files.build_id(links.name(fd), links.proc)
        now = self._build_ids[key]
        if now != old:
            shown = f"its build-id is {_hex(now)}" if now else "it has no build-id"
            raise EngineError(f"{name} is another build than the dumped one: {shown}, was {_hex(old)}; {_PUT_BACK}")

    def _compare_checksum(self, reg: Any, name: str, fd: int, links: Links, st: os.stat_result) -> None:
        config, parameter = reg.checksum_config, reg.checksum_parameter
        if config not in (FIRST, EVERY, WHOLE) or (config != WHOLE and not parameter):
            raise BadImage(
                "files.img",
                0,
                f"{name}: checksum_config {config} with checksum_parameter {parameter}: "
                f"not known here; dump again, or use --file-validation {_SIZE_ONLY}",
            )
        now = self._checksum(links.name(fd), name, st, config, parameter, links.proc)
        if now != reg.checksum:
            of = {FIRST: f"first {parameter} bytes", EVERY: f"bytes, every {parameter}th,", WHOLE: "contents"}[config]
            raise EngineError(
                f"{name} has changed since the dump: the CRC32C of its {of} is {now:08x}, was {reg.checksum:08x}; "
                + _PUT_BACK
            )


def _hex(words: list[int]) -> str:
    return struct.pack(f"<{len(words)}I", *words).hex()


def _open(where: str, at: int | None = None) -> int:
    """To read; its access time stays where we may see to that (O_NOATIME of open(2)). `at`: below that directory."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(where, flags | os.O_NOATIME, dir_fd=at)
    except PermissionError:
        return os.open(where, flags, dir_fd=at)
