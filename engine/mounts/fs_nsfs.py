"""nsfs: bind mounts of namespaces, which keep them where no task is in them (namespaces(7)), as with ip-netns(8)."""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError
from engine.kernel.namespaces import FLAGS
from engine.mounts import filesystems
from engine.namespaces import held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from engine.files.scope import Scope
    from engine.mounts.tree import MountTable
    from engine.namespaces.table import Namespaces

# A process is needed for the others, or, for a mount namespace, all of its mounts.
_KINDS = tuple(kind for kind in held.KINDS if kind != "mnt")


def split(name: str) -> tuple[str, int]:
    """What the kernel calls one, "net:[4026531840]" say: its kind and inode."""
    kind, _, number = name.partition(":")
    return kind.removesuffix("_for_children"), int(number.strip("[]"))


def hold(mounts: MountTable, namespaces: Namespaces, scope: Scope) -> list[str]:
    """Have processes be in those that no task of the tree is in; what cannot be dumped, one line each."""
    out = []
    for tree, mount in mounts.all():
        if mount.fstype != filesystems.NSFS:
            continue
        kind, inode = split(mount.root)
        if kind not in _KINDS:
            out.append(f"{mount}: of a {kind} namespace: not supported yet; unmount it before the dump")
            continue
        if namespaces.find(kind, inode):
            continue
        try:
            fd = scope.open(tree.pid, mount.point, os.O_RDONLY)
            try:
                if os.fstat(fd).st_ino != inode:
                    raise FileNotFoundError(2, "something else is mounted there")
                scope.hold(kind, inode, fd)
            finally:
                os.close(fd)
        except (OSError, KernelError) as e:
            out.append(f"{mount}: its namespace cannot be entered ({e}): unmount it before the dump")
    return out


def dump_mount(entry: Any, namespaces: Namespaces) -> None:
    """Fill in which namespace a mnt_entry is of. KernelError for one that nobody has seen before the freeze."""
    kind, inode = split(entry.root)
    ns = namespaces.find(kind, inode)
    if ns is None:
        raise KernelError(f"{entry.mountpoint}: {entry.root} was mounted while the tree was being frozen", 11)
    entry.ns_id, entry.ns_cflag = ns.ident, FLAGS[kind]


def find(entry: Any, namespaces: Mapping[tuple[str, int], int], image: str) -> int:
    """A descriptor of the namespace of a mnt_entry."""
    for kind, flag in FLAGS.items():
        if flag == entry.ns_cflag and (kind, entry.ns_id) in namespaces:
            return namespaces[kind, entry.ns_id]
    raise BadImage(
        image, 0, f"mount {entry.mnt_id}: namespace {entry.ns_id} ({entry.ns_cflag:#x}) is not known; dump again"
    )
