"""The mounts of a restored tree, for whoever opens files there."""

from __future__ import annotations

import fcntl
import os
import resource

from engine.errors import EngineError, KernelError
from engine.kernel import mounts, namespaces
from engine.kernel.namespaces import FLAGS
from engine.mounts.external import is_below
from engine.mounts.tree import below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.mounts.image import Planned

# More mounts than that have their descriptors from that number on.
FEW, FIRST = 100, 1 << 16


class Restored:
    """The mounts that were made, by their ids in the images; the descriptors are O_PATH."""

    __slots__ = ("_by_id", "_clones", "_own", "_roots", "at_end", "built", "covered", "namespaces", "pipes", "trees")

    def __init__(self, planned: list[Planned], roots: dict[int, Planned], names: dict[int, int], own: int) -> None:
        self._own = own  # the root task's namespace
        self._by_id = {mount.entry.mnt_id: mount for mount in planned}
        if len(planned) > FEW:  # the lower ones are for others
            for mount in planned:
                if mount.fd >= 0:
                    mount.fd = _put_away(mount.fd)
        self._roots = roots
        self._clones: dict[int, int] = {}
        self.covered: dict[tuple[int, str], int] = {}  # O_PATH descriptors of files that others lie over
        self.trees: set[tuple[int, str]] = set()  # those of them that are mounts in no namespace
        self.at_end: list[Callable[[], None]] = []
        self.built: dict[str, int] = {}
        self.pipes: dict[int, tuple[int, int]] = {}
        self.namespaces = names  # descriptors of the namespaces' files, by their ids

    def __contains__(self, mnt_id: int) -> bool:
        return mnt_id in self._by_id

    def waits(self, mnt_id: int) -> bool:
        """Is a mount one that is made when there are tasks, and not before?"""
        mount = self._by_id.get(mnt_id)
        return mount is not None and mount.waits

    def root(self, mnt_id: int) -> int:
        """The root of the namespace that a mount is in; KeyError for one that is in none."""
        return self._roots[self._by_id[mnt_id].ident].fd

    def elsewhere(self, mnt_id: int) -> int | None:
        """The root of the namespace that a mount is in; None for the root task's, and for mounts that are not known."""
        mount = self._by_id.get(mnt_id)
        return None if mount is None or mount.ident == self._own else self._roots[mount.ident].fd

    def mount(self, mnt_id: int) -> int:
        """The root of the mount itself, whatever covers it; KeyError."""
        return self._by_id[mnt_id].fd

    def point(self, mnt_id: int) -> str:
        """The mount point, as its namespace names it."""
        return self._by_id[mnt_id].point

    def directory(self, mnt_id: int, name: str, same: int) -> int:
        """A directory by a mount of ours that can be written to: of all mounts of its file system it is the same one.

        `name` is the one of the mount's namespace, `same` a descriptor of the directory. -1 if that cannot be had.
        """
        mount = self._by_id.get(mnt_id)
        if mount is None or not is_below(name, mount.point):
            return -1
        path = mount.root.rstrip("/") + "/" + below(name, mount.point)
        its = [m for m in self._by_id.values() if m.entry.root_dev == mount.entry.root_dev and is_below(path, m.root)]
        most = min(its, key=lambda m: (m.entry.deleted, len(m.root)), default=mount)
        try:
            fd = mounts.exact(self._clone(most), below(path, most.root), os.O_PATH | os.O_DIRECTORY)
        except (OSError, KernelError):
            return -1
        if os.path.samestat(os.fstat(fd), os.fstat(same)):
            return fd
        os.close(fd)
        return -1

    def _clone(self, mount: Planned) -> int:
        """A clone of a mount that can be written to if its file system can; only its own namespace can make it."""
        ident = mount.entry.mnt_id
        if ident not in self._clones:
            if mount.ident != self._own:
                namespaces.setns(self.namespaces[mount.ident], FLAGS["mnt"])
            try:
                clone = self._clones[ident] = mounts.clone(mount.fd)
                if mount.entry.flags & mounts.MS_RDONLY:
                    mounts.set_flags(clone, mount.entry.flags & ~mounts.MS_RDONLY)
            finally:
                if mount.ident != self._own:
                    namespaces.setns(self.namespaces[self._own], FLAGS["mnt"])
        return self._clones[ident]

    def close(self) -> None:
        """Close all descriptors."""
        for many in (self.namespaces, self._clones, self.covered):
            for fd in many.values():
                os.close(fd)
        for mount in self._by_id.values():
            if mount.fd >= 0:
                os.close(mount.fd)
        self._by_id.clear()
        self._clones.clear()


def _put_away(fd: int) -> int:
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST)
    os.close(fd)
    return high


def make_room(mounts: int) -> None:
    """Each mount takes two descriptors while it is made; the restored tasks have limits of their own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FIRST + 3 * mounts
    if mounts > FEW and soft < wanted:
        if 0 <= hard < wanted:
            raise EngineError(f"{mounts} mounts need up to {wanted} descriptors (RLIMIT_NOFILE), {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
