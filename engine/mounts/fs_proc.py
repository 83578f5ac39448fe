"""procfs: each shows the processes of one pid namespace, whose user namespace it belongs to (proc(5)).

That of the root task's namespace is made like any other file system. One of a namespace below has to wait for the first
process there; so do all mounts below it, and whatever comes after the last mount: sharing, files that are open there.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, EngineError, KernelError
from engine.images.schema import text
from engine.kernel import mounts
from engine.namespaces.errand import in_pid_namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.images.files import Images
    from engine.mounts.image import Planned
    from engine.mounts.tree import MountTable
    from engine.namespaces.table import Namespaces

FSTYPE = "proc"
_INIT = 1


def spaces(table: MountTable) -> dict[int, str]:
    """By device: the pid namespace of a procfs, as /proc/PID/ns/pid shows it; "" for one that has ended."""
    from engine.mounts.reach import reach

    out: dict[int, str] = {}
    for tree in table.trees.values():
        its = {m.dev: m for m in tree.mounts if m.fstype == FSTYPE and m.root == "/" and m.dev not in out}
        found: dict[int, int] = {}
        try:
            for dev, mount in its.items():
                try:
                    found.update(reach(tree, [mount]))
                except EngineError:  # under what is locked there: another namespace may show it
                    continue
                try:
                    out[dev] = os.readlink(f"{_INIT}/ns/pid", dir_fd=found[mount.mnt_id])
                except FileNotFoundError:
                    out[dev] = ""
                except PermissionError:  # of a process that is none of the tree's for sure
                    continue
        finally:
            for fd in found.values():
                os.close(fd)
    return out


def blockers(table: MountTable, root: int, namespaces: Namespaces) -> list[str]:
    """A namespace that has ended, or that no task of the tree is in, will not be there."""
    top = os.readlink(f"/proc/{root}/ns/pid")
    found = spaces(table)
    out = []
    for tree, mount in table.all():
        its = found.get(mount.dev, top) if mount.fstype == FSTYPE else top
        if its == top or table.is_given(tree, mount):
            continue
        if not its:
            out.append(f"{mount}: the pid namespace that it shows has ended: unmount it before the dump, or --skip-mnt")
        elif not namespaces.find("pid", _inode(its)):
            out.append(
                f"{mount}: shows the processes of {its}, which no task of the tree is in: unmount it before the dump, "
                f"or give it by --external 'mnt[{mount.point}]:KEY'"
            )
    return out


def numbers(table: MountTable, root: int, namespaces: Namespaces) -> dict[int, int]:
    """By device: the number of the pid namespace of each procfs that is not of the root task's."""
    if not namespaces.nested("pid", root):
        return {}
    top = os.readlink(f"/proc/{root}/ns/pid")
    out = {}
    for dev, link in spaces(table).items():
        ns = namespaces.find("pid", _inode(link)) if link and link != top else None
        if ns:
            out[dev] = ns.ident
    return out


def _inode(link: str) -> int:
    return int(link.partition("[")[2].rstrip("]"))


# Restore


def waiting(images: Images, idents: list[int], first: Mapping[int, int]) -> list[int]:
    """The pid namespaces that are shown by mounts of these mount namespaces. BadImage."""
    out: dict[int, None] = {}
    for ident in idents:
        for entry in images.read("MNTS", ident):
            if entry.HasField("pid_ns_id"):
                if entry.pid_ns_id not in first:
                    what = f"mount {entry.mnt_id}: pid namespace {entry.pid_ns_id} has no first process; dump again"
                    raise BadImage(images.name("MNTS", ident), 0, what)
                out[entry.pid_ns_id] = None
    return list(out)


def make(mount: Planned, first: int, pids: list[int]) -> int:
    """A descriptor of a new one, attached nowhere, of the namespace whose first process is called `first` here.

    It is of the namespace of who calls fsopen(2): `pids` are what that one is called.
    """
    entry = mount.entry
    options = [option for option in text(entry.options).split(",") if option]
    (fs,) = in_pid_namespace(first, pids, lambda: [mounts.open_fs(FSTYPE)], str(mount))
    try:
        return mounts.make(FSTYPE, text(entry.source), options, entry.sb_flags, entry.flags, fs)
    except KernelError as e:
        raise EngineError(f"cannot make {mount}: {e}") from e
