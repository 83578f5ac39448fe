"""Ghost files: open, mapped as a working directory, but without a name (unlink(2), rmdir(2) of what is in use).

ghost-file-ID.img holds the object itself, remap-fpath.img says which file of files.img it stands for. Restored under
its old name, where that is free, and removed again at once: whoever asks the kernel is told the same `NAME (deleted)`.
"""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images

DELETED = " (deleted)"
GHOST = 1  # remap_type
LIMIT = 1 << 20  # bytes of contents, as CRIU's --ghost-limit
_COPY = 1 << 20


def is_ghost(name: str, st: os.stat_result) -> bool:
    """Is what a proc link leads to without any name? (A directory's link count is no sign on every file system.)"""
    return name.endswith(DELETED) and (st.st_nlink == 0 or stat.S_ISDIR(st.st_mode))


def check(name: str, st: os.stat_result, what: str) -> None:
    """Unsupported for a ghost that cannot be dumped."""
    if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
        raise Unsupported([f"{what}: {name}: only deleted files and directories are supported yet"])
    if stat.S_ISREG(st.st_mode) and st.st_size > LIMIT:
        raise Unsupported(
            [f"{what}: {name}: a deleted file of {st.st_size} bytes; more than {LIMIT} are not supported yet"]
        )


class Ghosts:
    """The ghosts of a dump. Their contents are held by descriptors until they are written."""

    __slots__ = ("_held", "_ids", "message", "remaps")

    def __init__(self, message: Any) -> None:
        self.message = message  # the schema's accessor
        self.remaps: list[Any] = []
        self._ids: dict[tuple[int, int], int] = {}
        self._held: list[tuple[int, Any, int]] = []

    def add(self, ident: int, where: str, st: os.stat_result) -> None:
        """File `ident` of files.img is the nameless object that the proc link `where` leads to."""
        key = (st.st_dev, st.st_ino)
        if key not in self._ids:
            self._ids[key] = len(self._ids) + 1
            entry = self.message("ghost_file_entry")(uid=st.st_uid, gid=st.st_gid, mode=st.st_mode)
            entry.dev = os.major(st.st_dev) << 20 | os.minor(st.st_dev)
            entry.ino = st.st_ino
            for field, ns in (("atim", st.st_atime_ns), ("mtim", st.st_mtime_ns)):
                part = getattr(entry, field)
                part.tv_sec, part.tv_usec = ns // 1_000_000_000, ns % 1_000_000_000 // 1000
            held = os.open(where, os.O_RDONLY | os.O_CLOEXEC) if stat.S_ISREG(st.st_mode) else -1
            self._held.append((self._ids[key], entry, held))
        self.remaps.append(
            self.message("remap_file_path_entry")(orig_id=ident, remap_id=self._ids[key], remap_type=GHOST)
        )

    def write(self, images: Images) -> None:
        """Write all of them; without any, there is no image."""
        if self.remaps:
            images.write("REMAP_FPATH", (), self.remaps)
        for ident, entry, held in self._held:
            out = images.begin("GHOST_FILE", (ident,), [entry])
            try:
                while held >= 0 and os.sendfile(out, held, None, _COPY):
                    pass
            except OSError as e:
                name = images.name("GHOST_FILE", ident)
                raise EngineError(f"writing {images.path}/{name}: {e.strerror}") from e
            finally:
                os.close(out)

    def close(self) -> None:
        """Let go of the contents."""
        for _, _, held in self._held:
            if held >= 0:
                os.close(held)
        self._held.clear()


def make(images: Images, ident: int, name: str) -> int:
    """Make the object of ghost-file-`ident`.img without leaving a name; returns an O_PATH descriptor of it."""
    image = images.name("GHOST_FILE", ident)
    entry, begin, size = images.read_spans("GHOST_FILE", ident)[0]
    if entry.chunks:
        raise Unsupported([f"{image}: deleted files that were dumped in chunks are not supported yet"])
    path = name if not os.path.lexists(name) else f"{name}.cr.{ident:x}.ghost"
    try:
        if stat.S_ISDIR(entry.mode):
            os.mkdir(path, 0o700)
        elif stat.S_ISREG(entry.mode):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        else:
            raise BadImage(image, 0, f"mode {entry.mode:o} is neither a file's nor a directory's")
    except OSError as e:
        raise EngineError(f"cannot make {path} again, which was in use without a name ({image}): {e.strerror}") from e
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    finally:
        (os.rmdir if stat.S_ISDIR(entry.mode) else os.unlink)(path)
    link = f"/proc/self/fd/{fd}"
    if size:
        source, out = images.open_raw("GHOST_FILE", ident), os.open(link, os.O_WRONLY | os.O_CLOEXEC)
        try:
            while size:
                done = os.sendfile(out, source, begin, size)
                begin, size = begin + done, size - done
        finally:
            os.close(source)
            os.close(out)
    os.chown(link, entry.uid, entry.gid)
    os.chmod(link, stat.S_IMODE(entry.mode))
    if entry.HasField("atim") and entry.HasField("mtim"):
        times = ((t.tv_sec * 1_000_000 + t.tv_usec) * 1000 for t in (entry.atim, entry.mtim))
        atime, mtime = times
        os.utime(link, ns=(atime, mtime))
    return fd
