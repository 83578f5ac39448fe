"""Ghost files: open, mapped or a working directory, but without a name (unlink(2), rmdir(2) of what is in use).

ghost-file-ID.img holds the object itself. The contents of what has holes are in chunks, each with its offset.
"""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError, Unsupported
from engine.files.fd import O_CLOEXEC, shown
from engine.images.schema import set_text, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from engine.files.links import Links
    from engine.files.scope import Scope
    from engine.images.files import Images

_KIND = "GHOST_FILE"
_BLOCK = 512  # bytes, of st_blocks
_COPY = 1 << 20
_TYPES = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
_NODES = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)  # mknod(2) makes them


def check(name: str, st: os.stat_result, what: object, limit: int) -> None:
    """Unsupported for a ghost that takes more than `limit` bytes on disk."""
    if stat.S_ISREG(st.st_mode) and st.st_blocks * _BLOCK > limit:
        raise Unsupported(
            [
                f"{what}: {shown(name)}: a deleted file that takes {st.st_blocks * _BLOCK} bytes on disk, "
                f"more than {limit}: raise --ghost-limit"
            ]
        )


class Ghosts:
    """The ghosts of a dump. Their contents are held by descriptors until they are written."""

    __slots__ = ("_held", "_ids", "_message", "_scope")

    def __init__(self, message: Any, scope: Scope) -> None:
        self._message = message  # the schema's accessor
        self._scope = scope
        self._ids: dict[tuple[int, int], int] = {}
        self._held: list[tuple[int, Any, int]] = []

    def add(self, where: str, st: os.stat_result) -> int:
        """The number of the nameless object that the proc link `where` leads to."""
        key = (st.st_dev, st.st_ino)
        if key not in self._ids:
            self._ids[key] = len(self._ids) + 1
            owner = {"uid": self._scope.uid(st.st_uid), "gid": self._scope.gid(st.st_gid)}
            entry = self._message("ghost_file_entry")(mode=st.st_mode, **owner)
            entry.dev = os.major(st.st_dev) << 20 | os.minor(st.st_dev)
            entry.ino = st.st_ino
            for field, ns in (("atim", st.st_atime_ns), ("mtim", st.st_mtime_ns)):
                part = getattr(entry, field)
                part.tv_sec, part.tv_usec = ns // 1_000_000_000, ns % 1_000_000_000 // 1000
                if ns % 1000:
                    setattr(entry, f"{field}_ns", ns % 1000)
            held = -1
            if stat.S_ISREG(st.st_mode):
                held = _open(where)
                if st.st_blocks * _BLOCK < st.st_size:
                    entry.chunks, entry.size = True, st.st_size
            elif stat.S_ISLNK(st.st_mode):
                set_text(entry, "symlnk_target", _target(where))
            elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
                entry.rdev = st.st_rdev & 0xFFFFFFFF
            self._held.append((self._ids[key], entry, held))
            _dump_xattrs(entry, where)
        return self._ids[key]

    def write(self, images: Images) -> None:
        """Write all of them."""
        for ident, entry, held in self._held:
            out = images.begin(_KIND, (ident,), [entry])
            try:
                if entry.chunks:
                    for at, end in self._data(held, entry.size):
                        chunk = self._message("ghost_chunk_entry")(len=end - at, off=at).SerializeToString()
                        os.write(out, len(chunk).to_bytes(4, "little") + chunk)
                        _copy(out, held, at, end - at)
                elif held >= 0:
                    _copy(out, held, 0, os.fstat(held).st_size)
            except OSError as e:
                raise EngineError(f"writing {images.path}/{images.name(_KIND, ident)}: {e.strerror}") from e
            finally:
                os.close(out)

    def _data(self, fd: int, size: int) -> Iterator[tuple[int, int]]:
        """(begin, end) of what is no hole, by what the file system says of its extents, or by lseek(2)."""
        if self._scope.options.ghost_fiemap:
            from engine.kernel import fiemap

            extents = fiemap.extents(fd, size)
            if extents is not None:
                yield from extents
                return
            self._scope.log.warn("--ghost-fiemap: the file system does not tell extents: holes are searched for")
        at = 0
        while at < size:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:  # ENXIO: there is no more
                return
            end = os.lseek(fd, at, os.SEEK_HOLE)
            yield at, min(end, size)
            at = end

    def close(self) -> None:
        """Let go of the contents."""
        for _, _, held in self._held:
            if held >= 0:
                os.close(held)
        self._held.clear()


def _open(where: str) -> int:
    """To read; its access time stays where we may see to that."""
    flags = os.O_RDONLY | os.O_NONBLOCK | O_CLOEXEC
    try:
        return os.open(where, flags | os.O_NOATIME)
    except PermissionError:
        return os.open(where, flags)


def _target(where: str) -> str:
    """Where a symbolic link leads to that a link of procfs leads to."""
    fd = os.open(where, os.O_PATH | O_CLOEXEC)
    try:
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def _dump_xattrs(entry: Any, where: str) -> None:
    try:
        names = os.listxattr(where)
    except OSError:  # a file system without any
        return
    for name in names:
        one = entry.xattrs.add()
        set_text(one, "name", name)
        one.value = os.getxattr(where, name)


def _copy(out: int, source: int, at: int, size: int) -> None:
    """Bytes of a file to where another one is; sendfile(2)."""
    while size:
        done = os.sendfile(out, source, at, min(size, _COPY))
        if not done:  # it has become shorter
            raise OSError(0, "the file ends before its size")
        at, size = at + done, size - done


class Object:
    """The object of ghost-file-`ident`.img, to be made again."""

    __slots__ = ("_ident", "_image", "_images", "_spans", "entry", "is_directory")

    def __init__(self, images: Images, ident: int) -> None:
        self._images = images
        self._ident = ident
        self._image = images.name(_KIND, ident)
        self._spans = images.read_spans(_KIND, ident)
        self.entry = self._spans[0][0]
        self.is_directory = stat.S_ISDIR(self.entry.mode)
        if stat.S_IFMT(self.entry.mode) not in _TYPES:
            raise BadImage(self._image, 0, f"mode {self.entry.mode:o} is of no kind of file; dump again")

    def make(self, directory: int, name: str) -> None:
        """Make it, empty and root's; OSError, FileExistsError if there is something of that name."""
        entry, kind = self.entry, stat.S_IFMT(self.entry.mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=directory)
        elif kind == stat.S_IFLNK:
            os.symlink(text(entry.symlnk_target), name, dir_fd=directory)
        elif kind in _NODES:
            os.mknod(name, kind | 0o600, entry.rdev, dir_fd=directory)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | O_CLOEXEC
            os.close(os.open(name, flags, 0o600, dir_fd=directory))

    def fill(self, fd: int, links: Links) -> None:
        """Contents, owner, mode and attributes, by an O_PATH descriptor; OSError."""
        entry = self.entry
        if stat.S_ISREG(entry.mode):
            self._fill_contents(fd, links)
        links.chown(fd, entry.uid, entry.gid)
        if not stat.S_ISLNK(entry.mode):
            links.chmod(fd, stat.S_IMODE(entry.mode))
        for one in entry.xattrs:
            try:
                links.setxattr(fd, text(one.name), one.value)
            except OSError as e:
                raise EngineError(f"{self._image}: cannot set the attribute {text(one.name)}: {e.strerror}") from e

    def _fill_contents(self, fd: int, links: Links) -> None:
        entry = self.entry
        spans = self._spans[1:] if entry.chunks else self._spans
        if not entry.chunks and not spans[0][2]:
            return
        source, out = self._images.open_raw(_KIND, self._ident), links.open(fd, os.O_WRONLY)
        try:
            for chunk, begin, size in spans:
                if entry.chunks:
                    if chunk.off + size > entry.size:
                        raise BadImage(self._image, begin, f"a chunk ends behind the file's {entry.size} bytes")
                    os.lseek(out, chunk.off, os.SEEK_SET)
                _copy(out, source, begin, size)
            if entry.chunks:
                os.ftruncate(out, entry.size)
        finally:
            os.close(source)
            os.close(out)


def set_times(fd: int, entry: Any, links: Links) -> None:
    """When it was read and changed, by an O_PATH descriptor."""
    if entry.HasField("atim") and entry.HasField("mtim"):
        atime, mtime = (
            (t.tv_sec * 1_000_000 + t.tv_usec) * 1000 + ns
            for t, ns in ((entry.atim, entry.atim_ns), (entry.mtim, entry.mtim_ns))
        )
        links.utime(fd, atime, mtime)
