"""The opener: makes every file object of the tree exactly once; tasks take theirs with pidfd_getfd(2)."""

from __future__ import annotations

import os

from engine.errors import BadImage, Unsupported
from engine.files import ghost, kinds, pipe
from engine.images.files import Images
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any

    from engine.files.memfd import Memfds


_PROCFS = 2  # remap_type


class Opener:
    """Open files by their id in files.img. It runs in the engine's own process and namespaces."""

    __slots__ = ("_dry", "_fds", "_files", "_ghosts", "_images", "_memfds", "_pipes", "_rwx_check")

    def __init__(
        self,
        images: Images,
        files: dict[int, Any],
        remaps: list[Any],
        memfds: Memfds | None = None,
        rwx_check: bool = True,
        dry: bool = False,
    ) -> None:
        self._images = images
        self._rwx_check = rwx_check
        self._ghosts = {r.orig_id: r.remap_id for r in remaps}
        for remap in remaps:
            if remap.remap_type == _PROCFS:
                raise Unsupported(
                    [f"file {remap.orig_id:#x} of files.img: is of a task that had ended: not supported yet"]
                )
        self._pipes = pipe.Pipes(images, files)
        self._memfds = memfds
        self._files = files
        self._dry = dry
        self._fds: dict[object, int] = {}

    def file(self, ident: int, flags: int | None = None) -> int:
        """The opener's descriptor of a file; BadImage for an id that files.img lacks, EngineError if it cannot be.

        With `flags` (of open(2)) it is another description of the same file, as mappings need it.
        """
        key = (ident, flags)
        if key not in self._fds:
            entry = self._files.get(ident)
            if entry is None:
                raise BadImage("files.img", 0, f"file {ident:#x} is used by the task but is not in it; dump again")
            kind = kinds.by_type(entry.type)
            if kind is None:
                raise BadImage("files.img", 0, f"file {ident:#x} has type {entry.type}")
            if kind is pipe and flags is not None:
                raise BadImage("files.img", 0, f"file {ident:#x} is a pipe, and used like one with a path; dump again")
            if self._dry:
                self._fds[key] = -1
            elif kind is pipe:
                self._fds.update(((made, flags), fd) for made, fd in self._pipes.make(entry.pipe.pipe_id).items())
            elif self._memfds and entry.type == kinds.MEMFD:
                self._fds[key] = self._memfds.open(entry, flags)
            else:
                self._fds[key] = self._open(kind, entry, flags)
        return self._fds[key]

    def proc(self) -> int:
        """A descriptor of the directory /proc."""
        if "proc" not in self._fds:
            self._fds["proc"] = -1 if self._dry else os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._fds["proc"]

    def _open(self, kind: ModuleType, entry: Any, flags: int | None) -> int:
        fd: int = kind.open_again(entry, "files.img", flags, self._ghost(entry), self._rwx_check)
        return fd

    def _ghost(self, entry: Any) -> int:
        """A descriptor of the ghost behind a file_entry, -1 if it is none. Each is made once."""
        ident = self._ghosts.get(entry.id)
        if ident is None:
            return -1
        key = f"ghost-{ident}"
        if key not in self._fds:
            self._fds[key] = ghost.make(self._images, ident, text(entry.reg.name))
        return self._fds[key]

    def raw(self, kind: str, ident: int) -> int:
        """A descriptor of a raw image."""
        key = f"{kind}-{ident}"
        if key not in self._fds:
            self._fds[key] = self._images.open_raw(kind, ident)
        return self._fds[key]

    def name(self, ident: int) -> str:
        """The path of a file, for descriptions."""
        entry = self._files.get(ident)
        if entry is not None and entry.type == kinds.MEMFD and self._memfds:
            return self._memfds.name(entry)
        return text(entry.reg.name) if entry is not None and entry.HasField("reg") else f"file {ident:#x}"

    def settle(self) -> None:
        """The tasks have taken and mapped what is theirs: what had to wait for that."""
        if self._memfds:
            self._memfds.seal()

    def close(self) -> None:
        """Close everything; the tasks have theirs."""
        if self._memfds:
            self._memfds.close()
        for fd in self._fds.values():
            if fd >= 0:
                os.close(fd)
        self._fds.clear()

    def __enter__(self) -> Opener:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
