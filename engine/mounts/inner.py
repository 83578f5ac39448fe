"""Mount namespaces that belong to a user namespace below the tree's, as they are restored.

Only the copy that unshare(2) makes in another user namespace has locked mounts. So what is locked together is put
together in a namespace of the tree's, each such part in a directory of its own; who is in the user namespace has a copy
of that made, takes the parts out of it, their topmost mounts without locks, and goes to the one that is to be the
root. The rest is mounted there one by one.
"""

from __future__ import annotations

import os
import stat

from engine.errors import BadImage, EngineError
from engine.kernel import mounts, namespaces
from engine.kernel.namespaces import FLAGS
from engine.mounts import files
from engine.namespaces import errand
from engine.namespaces.errand import become_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder

_ATIME = mounts.MS_NOATIME | mounts.MS_NODIRATIME | mounts.MS_RELATIME
_OF = {"sysfs": "net", "mqueue": "ipc", "cgroup": "cgroup", "cgroup2": "cgroup"}  # whose owner is theirs


def user_space(build: Builder, entry: Any) -> int:
    """A descriptor of the user namespace that the file system of a mnt_entry belongs to; -1: the tree's. BadImage."""
    if not entry.HasField("owner_ns_id"):
        return -1
    fd = build.namespaces.get(("user", entry.owner_ns_id))
    if fd is None:
        what = f"mount {entry.mnt_id}: user namespace {entry.owner_ns_id} is not known; dump again"
        raise BadImage(build.image(), 0, what)
    return fd


def open_fs(build: Builder, mount: Planned) -> int:
    """fsopen(2) of a file system that belongs to the user namespace of the mount's entry. EngineError."""
    user = user_space(build, mount.entry)
    kind = mount.fstype
    space = _OF.get(kind, "")
    other = build.namespaces.get((space, build.spaces[mount.ident][space])) if space else None

    def work() -> Iterable[int]:
        if other is not None:
            namespaces.setns(other, FLAGS[space])
        _go(user)
        return [mounts.open_fs(kind)]

    return errand.run(work, str(mount))[0]


def assemble(build: Builder, ident: int, tree: list[Planned]) -> None:
    """Make the namespace, with all its mounts but for those that wait."""
    back = build.own_namespace()
    try:
        parts = _parts(tree)
        copied = [part for part in parts if part is parts[0] or len(part) > 1 or part[0].entry.locked_flags]
        where = _put_together(build, copied)
        fds = _copy(build, ident, where)
        for fd in where:
            os.close(fd)
        namespaces.setns(fds[0], FLAGS["mnt"])
        for part, fd in zip(copied, fds[1:], strict=True):
            _take(part, fd)
        singles = [part[0] for part in parts[1:]]
        changed = {mount for part in copied for mount in part}
        for mount in tree:
            if mount.parent in changed and (mount in singles or mount.waits):
                build.place(mount)
        files.open_covered(build, tree)
        for mount in singles:
            build.attach(mount)
        for mount in tree:
            if mount.fd >= 0:
                build.set_flags(mount)
        build.made(ident, fds[0], tree)
    finally:
        build.leave(back)


def _parts(tree: list[Planned]) -> list[list[Planned]]:
    """What is locked together: each begins with a mount that is not, the first one with the root."""
    parts: list[list[Planned]] = []
    of: dict[Planned, list[Planned]] = {}
    for mount in tree:
        if mount.waits:
            if mount.entry.locked:
                raise EngineError(f"{mount} is locked, and cannot be made in time; dump again")
            continue
        if mount.parent in of and mount.entry.locked:
            of[mount] = of[mount.parent]
            of[mount].append(mount)
        else:
            of[mount] = [mount]
            parts.append(of[mount])
    return parts


def _put_together(build: Builder, parts: list[list[Planned]]) -> list[int]:
    """In a new namespace, one directory each. Returns descriptors of these."""
    namespaces.unshare(FLAGS["mnt"])
    scratch = mounts.make("tmpfs", "", ["mode=755"])
    top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mounts.attach(scratch, top)
        os.fchdir(scratch)
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        os.chdir("/")
    finally:
        os.close(top)
        os.close(scratch)
    for number, part in enumerate(parts):
        for mount in part:
            entry = mount.entry
            mounts.set_flags(mount.fd, entry.flags & (entry.locked_flags | _ATIME))
        name = f"/{number}"
        if stat.S_ISDIR(os.fstat(part[0].fd).st_mode):
            os.mkdir(name)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_CLOEXEC))
        at = os.open(name, os.O_PATH | os.O_CLOEXEC)
        mounts.attach(part[0].fd, at)
        os.close(at)
        for mount in part[1:]:
            build.attach(mount)
    return [os.open(f"/{number}", os.O_PATH | os.O_CLOEXEC) for number in range(len(parts))]


def _copy(build: Builder, ident: int, where: list[int]) -> list[int]:
    """The namespace, and a descriptor of each part in it, but for the first attached nowhere."""

    def work() -> Iterable[int]:
        _go(build.namespaces["user", build.owners[ident]])
        parts = [os.open(f"/{number}", os.O_PATH | os.O_CLOEXEC) for number in range(len(where))]
        fds = [mounts.clone(part, recursive=True) for part in parts]
        top = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.attach(fds[0], top)
        os.fchdir(fds[0])
        mounts.pivot_root(".", ".")
        mounts.umount(".", mounts.MNT_DETACH)
        for fd in (*parts, top):
            os.close(fd)
        return [build.own_namespace(), *fds]

    return errand.run(work, f"mount namespace {ident}")


def _take(part: list[Planned], fd: int) -> None:
    """Its mounts are now those of the copy; -1 for what others lie over."""
    os.close(part[0].fd)
    part[0].fd = fd
    for mount in part[1:]:
        os.close(mount.fd)
        mount.fd = -1
        over = any(not child.within and child.entry.locked for child in mount.children)
        parent = mount.parent
        if over or parent is None:
            continue
        above, within = parent, mount.within
        while above.fd < 0 and above.parent:  # covered by this one, or by what that is in
            above, within = above.parent, os.path.join(above.within, within)
        mount.fd = namespaces.open_in(above.fd, within or ".", os.O_PATH | os.O_NOFOLLOW)


def _go(user: int) -> None:
    """To a user namespace, with a mount namespace that belongs to it."""
    namespaces.setns(user, FLAGS["user"])
    become_root()
    namespaces.unshare(FLAGS["mnt"])
