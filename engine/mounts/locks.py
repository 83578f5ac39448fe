"""Mount namespaces that belong to a user namespace below the tree's: what is locked there, and whose file systems are.

What was copied into one when it was made is locked (mount_namespaces(7)): such mounts cannot be taken away by
themselves, nor flags of theirs cleared. The kernel tells it nobody: a process of the engine tries, in a copy that goes
away with it. Whose a file system is tells FITHAW: it takes capabilities in the user namespace of that, nothing else.
"""

from __future__ import annotations

import errno
import os

from engine.errors import EngineError, KernelError
from engine.kernel import mountinfo, mounts, namespaces
from engine.kernel.namespaces import FLAGS, owner
from engine.mounts import filesystems, fs_proc
from engine.mounts.reach import mount_id, receive, send
from engine.mounts.tree import Tree
from engine.namespaces.errand import become_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.mountinfo import Mount
    from engine.mounts.tree import MountTable
    from engine.namespaces.table import Namespace, Namespaces

_USERNS = 0xB701  # NS_GET_USERNS (ioctl_ns(2))
_FITHAW = 0xC0045878  # linux/fs.h
_FLAGS = (mounts.MS_RDONLY, mounts.MS_NOSUID, mounts.MS_NODEV, mounts.MS_NOEXEC)
# Those that can be made for another user namespace.
_KINDS = ("tmpfs", "devpts", "proc", "mqueue", "sysfs", "cgroup", "cgroup2")
# Further ones that can belong to another one than the first. fuse too, whose daemon may be frozen: not to be asked.
_OTHERS = ("overlay", "ramfs", "binfmt_misc", "bpf")


class Locks:
    """Of one namespace: by mount id whether it is locked, and its locked MS_ flags (MS_NOATIME for all times).

    `owned` are the devices whose user namespace is that of the mount namespace, or below it.
    """

    __slots__ = ("flags", "locked", "owned")

    def __init__(self, lines: list[str]) -> None:
        self.locked: set[int] = set()
        self.flags: dict[int, int] = {}
        self.owned: set[int] = set()
        for line in lines:
            what, number, flags = line.split()
            if what == "owned":
                self.owned.add(int(number))
                continue
            if what == "locked":
                self.locked.add(int(number))
            self.flags[int(number)] = int(flags)


def all_of(table: MountTable, namespaces: Namespaces, root: int) -> dict[int, tuple[Namespace, Locks]]:
    """By the number of each mount namespace that belongs to one below: which, and what is locked there."""
    top = (namespaces.of("user", root), namespaces.own["user"])
    out = {}
    for tree in table.trees.values():
        inode = owner(f"/proc/{tree.pid}/ns/mnt")
        ns = namespaces.find("user", inode) if inode else None
        if ns and ns not in top:
            out[tree.ident] = ns, look(tree)
    return out


def owners(found: dict[int, tuple[Namespace, Locks]]) -> dict[int, Namespace]:
    """By device: the user namespace that a file system belongs to, of those below the tree's."""
    out: dict[int, Namespace] = {}
    # Who is further in has a higher number, and no capabilities further out.
    for ns, locks in sorted(found.values(), key=lambda its: its[0].ident):
        out.update(dict.fromkeys(locks.owned, ns))
    return out


def blockers(table: MountTable, namespaces: Namespaces, root: int) -> list[str]:
    """What of such namespaces cannot be made again."""
    out = []
    found = all_of(table, namespaces, root)
    whose = owners(found)
    shown = fs_proc.numbers(table, root, namespaces) if found else {}
    for ident, (ns, locks) in found.items():
        tree = table.trees[ident]
        for mount in tree.mounts:
            where = f"{mount}: is in a mount namespace that belongs to {ns},"
            module = filesystems.module(mount.fstype)
            if mount.dev in whose and mount.fstype not in _KINDS:
                out.append(f"{where} as does its file system: not supported yet: unmount it, or use --skip-mnt")
            elif mount.dev in shown and mount.mnt_id in locks.locked:
                out.append(
                    f"{where} and is locked there, with the processes of a pid namespace that is not the root task's: "
                    "not supported yet: end what is in there, or dump the tree of its first process"
                )
            elif hasattr(module, "LATE") and not table.external.key(tree, mount, table):
                out.append(f"{where} and cannot be made there: not supported yet: unmount it, or use --skip-mnt")
            elif _is_hidden(tree, mount, locks) and _matters(tree, mount, locks):
                out.append(
                    f"{where} and under others that are locked: not supported yet: make it private, with nothing "
                    "mounted on it"
                )
    return out


def _is_hidden(tree: Tree, mount: Mount, locks: Locks) -> bool:
    """Can nobody get at it, or what is under it, without taking away what is locked?"""
    return any(child.point == mount.point and child.mnt_id in locks.locked for child in tree.children(mount))


def _matters(tree: Tree, mount: Mount, locks: Locks) -> bool:
    lone = mount is tree.root or mount.mnt_id not in locks.locked
    return bool(lone or mount.shared or mount.master or any(c.mnt_id not in locks.locked for c in tree.children(mount)))


def look(tree: Tree) -> Locks:
    """Try all of it in a copy. EngineError if that cannot be had."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    answers, answer = os.pipe()
    child = namespaces.fork()
    if child == 0:
        try:
            os.close(answers)
            try:
                lines = _look(proc, tree)
            except (EngineError, OSError) as e:
                lines = [f"error {e}"]
            send(answer, "\n".join(lines))
        finally:
            os._exit(0)
    os.close(proc)
    os.close(answer)
    try:
        lines = receive(answers).split("\n")
    finally:
        os.close(answers)
        os.waitpid(child, 0)
    if lines[-1].startswith("error ") or lines == [""]:
        raise EngineError(f"the mounts of pid {tree.pid} cannot be looked at in its user namespace: {lines[-1]}")
    return Locks(lines)


def _look(proc: int, tree: Tree) -> list[str]:
    from fcntl import ioctl

    fd = os.open(f"/proc/{tree.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    namespaces.setns(ioctl(fd, _USERNS), FLAGS["user"])
    become_root()
    namespaces.setns(fd, FLAGS["mnt"])
    namespaces.unshare(FLAGS["mnt"])
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    mounts.set_propagation(top, mounts.MS_PRIVATE, recursive=True)
    return _Trial(proc, tree).lines


class _Trial:
    """A copy of a tree's mounts, which are taken away one after the other."""

    __slots__ = ("_copies", "_proc", "_seen", "_tree", "_what", "lines")

    def __init__(self, proc: int, tree: Tree) -> None:
        self._proc = proc
        self._tree = tree
        self._copies = Tree(tree.ident, 0, mountinfo.parse(mountinfo.read_at(proc)))
        self.lines: list[str] = []
        self._seen: set[int] = set()  # devices
        self._what: dict[int, Mount] = {}  # by the id of a copy
        todo = [(tree.root, self._copies.root)]
        for mount, copy in todo:
            if mount and copy:
                self._what[copy.mnt_id] = mount
                points = {c.point: c for c in self._copies.children(copy)}
                todo += [(child, points.get(child.point)) for child in tree.children(mount)]
        gone: dict[int, bool] = {}
        if self._copies.root:
            self._try(self._copies.root, gone)

    def _try(self, copy: Mount, gone: dict[int, bool]) -> None:
        """Its children first; `gone` says of each copy that was tried whether it could be taken away."""
        if copy.mnt_id in gone:
            return
        for child in self._copies.children(copy):
            self._try(child, gone)
        while True:
            fd = os.open(copy.point, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            there = self._copies.by_id[mount_id(self._proc, fd)]
            if there is copy or gone.get(there.mnt_id) is False:
                break
            os.close(fd)
            self._try(there, gone)
        try:
            flags = _locked_flags(fd, copy) if there is copy else copy.flags | mounts.MS_NOATIME
            if there is copy:
                self._owner(fd, copy)
        finally:
            os.close(fd)
        gone[copy.mnt_id] = False
        if there is copy and copy is not self._copies.root:
            try:
                mounts.umount(copy.point, mounts.MNT_DETACH | mounts.UMOUNT_NOFOLLOW)
                gone[copy.mnt_id] = True
            except KernelError as e:
                if e.errno != errno.EINVAL:
                    raise
        mount = self._what.get(copy.mnt_id)
        if mount:
            what = "free" if gone[copy.mnt_id] or copy is self._copies.root else "locked"
            self.lines.append(f"{what} {mount.mnt_id} {flags}")

    def _owner(self, fd: int, copy: Mount) -> None:
        from fcntl import ioctl

        if copy.dev in self._seen or copy.fstype not in (*_KINDS, *_OTHERS):
            return
        try:
            root = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        except OSError:  # of a file, or closed to everybody in there
            return
        self._seen.add(copy.dev)
        try:
            ioctl(root, _FITHAW, bytes(4))
        except PermissionError:
            return
        except OSError:  # it is not frozen, or never can be
            self.lines.append(f"owned {copy.dev} 0")
        finally:
            os.close(root)


def _locked_flags(fd: int, mount: Mount) -> int:
    """Which of a mount's flags cannot be cleared: MS_ bits, MS_NOATIME if its times cannot be changed."""
    return sum(flag for flag in _FLAGS if mount.flags & flag and mounts.is_locked(fd, flag)) | (
        mounts.MS_NOATIME if mounts.is_locked(fd, mounts.MS_NOATIME, mount.flags) else 0
    )
