"""Binds of files and directories that were deleted since: made anew, bound, and deleted when all mounts are in place.

The kernel does not attach what is deleted already.
"""

from __future__ import annotations

import os
import stat

from engine.errors import EngineError
from engine.kernel import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder

_ASIDE = ".cr.aside"


class _Made:
    """Something that is there for the time being; `aside`: what has its name is called so meanwhile."""

    __slots__ = ("aside", "is_directory", "name", "parent", "times")

    def __init__(self, parent: int, name: str, is_directory: bool) -> None:
        before = os.fstat(parent)
        self.parent = parent
        self.name = name
        self.is_directory = is_directory
        self.times = before.st_atime_ns, before.st_mtime_ns
        self.aside = ""

    def make(self) -> None:
        aside = self.name[: 240 - len(_ASIDE)] + _ASIDE
        try:
            os.rename(self.name, aside, src_dir_fd=self.parent, dst_dir_fd=self.parent)
            self.aside = aside
        except FileNotFoundError:
            self.aside = ""
        if self.is_directory:
            os.mkdir(self.name, 0o755, dir_fd=self.parent)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(self.name, flags, 0o644, dir_fd=self.parent))

    def remove(self) -> None:
        if self.is_directory:
            os.rmdir(self.name, dir_fd=self.parent)
        else:
            os.unlink(self.name, dir_fd=self.parent)
        if self.aside:
            os.rename(self.aside, self.name, src_dir_fd=self.parent, dst_dir_fd=self.parent)
        os.utime(self.parent, ns=self.times)
        os.close(self.parent)


class Deleted:
    """All of them."""

    __slots__ = ("_build", "_made")

    def __init__(self, build: Builder) -> None:
        self._build = build
        self._made: dict[tuple[int, str], _Made] = {}

    def clone(self, source: int, name: str, mount: Planned) -> int:
        """A mount of something new that is called as the deleted one was."""
        key = mount.entry.root_dev, mount.root
        where, _, last = name.rpartition("/")
        try:
            if key not in self._made:
                parent = self._build.exact(source, where, os.O_RDONLY | os.O_DIRECTORY)
                made = self._made[key] = _Made(parent, last, self._is_directory(mount))
                made.make()
            fd = self._build.exact(self._made[key].parent, last, os.O_PATH)
        except OSError as e:
            raise EngineError(f"{mount}: cannot make the deleted {mount.root} for a moment: {e.strerror}") from e
        try:
            return mounts.clone(fd)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Delete them, the last one first; what had their names has them again."""
        while self._made:
            key, made = self._made.popitem()
            try:
                made.remove()
            except OSError as e:
                raise EngineError(f"cannot delete {key[1]} again: {e.strerror}") from e

    def _is_directory(self, mount: Planned) -> bool:
        """Only directories are mounted on directories."""
        if mount.parent is None or not mount.within:
            return mount.parent is None or self._is_directory(mount.parent)
        return stat.S_ISDIR(os.fstat(mount.at).st_mode)
