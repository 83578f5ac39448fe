"""The namespaces of a dump: those that its tasks are in, each with a number in the images."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from types import ModuleType

    from engine.context import Context
    from engine.files.scope import Scope
    from engine.images.files import Images
    from engine.mounts.tree import MountTable
    from engine.network.lock import locked

# The kinds, in the order in which the engine's own are numbered, from 1 on.
KINDS = ("pid", "net", "ipc", "uts", "time", "mnt", "user", "cgroup")
# The modules of those that are dumped one by one, in the order in which they are restored. Those of mounts belong
# together, and come last, because with them the engine's own files go out of sight.
_MODULES = {
    **{kind: f"engine.namespaces.{kind}" for kind in ("user", "pid", "uts", "ipc", "cgroup")},
    "net": "engine.network.namespace",
    "time": "engine.namespaces.timens",
}
MOUNTS = "mnt"
FOR_CHILDREN = ("pid", "time")  # kinds of which children to come may be in another than the task itself
NESTED = ("uts", "ipc", "net", "cgroup", "pid", "time", "user")


def is_supported(kind: str) -> bool:
    """Can namespaces of this kind be restored?"""
    return kind in _MODULES or kind == MOUNTS


def can_nest(kind: str, has_mounts: bool) -> bool:
    """Can tasks of a tree be in other namespaces of this kind than its root task? Has that its own mounts?"""
    return kind in NESTED or (kind == MOUNTS and has_mounts)


def module(kind: str) -> ModuleType | None:
    """The module with both halves of a kind; None for one that is not supported, and for mounts."""
    if kind not in _MODULES:
        return None
    name = _MODULES[kind]
    if name not in sys.modules:
        __import__(name)
    return sys.modules[name]


class Namespace:
    """One namespace; `pid` is a task in it, as the engine sees it; `is_held`: one of the engine's (held.py)."""

    __slots__ = ("ident", "inode", "is_held", "kind", "pid")

    def __init__(self, kind: str, ident: int, inode: int, pid: int) -> None:
        self.kind = kind
        self.ident = ident
        self.inode = inode
        self.pid = pid
        self.is_held = False

    def __str__(self) -> str:
        return f"{self.kind} namespace {self.kind}:[{self.inode}]"

    @property
    def path(self) -> str:
        """A file that stands for it, as long as `pid` is there: children of that may be in it, and not itself."""
        path = f"/proc/{self.pid}/ns/{self.kind}"
        return path if _inode(self.pid, self.kind) == self.inode else f"{path}_for_children"


class Namespaces:
    """All that were met. The engine's own have the numbers from 1 on; they are not dumped."""

    __slots__ = ("_by_inode", "_dead", "_next", "own", "tuns")

    def __init__(self) -> None:
        self._by_inode: dict[tuple[str, int], Namespace] = {}
        self._dead: dict[int, int] = {}  # pid namespaces that can have no process any more: inode -> number
        self._next = len(KINDS) + 1
        self.own: dict[str, Namespace] = {}
        # of tun devices, by network namespace and name: flags and sizes in bytes, by who holds them (network/tun.py)
        self.tuns: dict[tuple[int, str], tuple[int, int, int]] = {}
        for number, kind in enumerate(KINDS, 1):
            own = Namespace(kind, number, _inode("self", kind), os.getpid())
            self.own[kind] = self._by_inode[kind, own.inode] = own

    def of(self, kind: str, pid: int) -> Namespace:
        """A task's namespace of a kind."""
        inode = _inode(pid, kind)
        if not inode:  # it is ending, and in none any more, or the kernel has none of this kind
            return self.own[kind]
        return self.numbered(kind, inode, pid)

    def for_children(self, kind: str, pid: int) -> Namespace | None:
        """That of a task's children to come, "pid" or "time", where it is not the task's own; without inode: none yet.

        None where it is.
        """
        its, kids = _inode(pid, kind), _inode(pid, f"{kind}_for_children")
        if its == kids or not its:
            return None
        return self.numbered(kind, kids, pid) if kids else Namespace(kind, 0, 0, pid)

    def numbered(self, kind: str, inode: int, pid: int) -> Namespace:
        """The one with an inode of nsfs, which process `pid` is in, or has to do with."""
        known = self._by_inode.get((kind, inode))
        if known is None:
            known = self._by_inode[kind, inode] = Namespace(kind, self._next, inode, pid)
            self._next += 1
        return known

    def dead(self, inode: int) -> int:
        """The number of a pid namespace whose first process has ended, which no task can be in."""
        if inode not in self._dead:
            self._dead[inode] = self._next
            self._next += 1
        return self._dead[inode]

    def find(self, kind: str, inode: int) -> Namespace | None:
        """One that was met, by its inode."""
        return self._by_inode.get((kind, inode))

    def foreign(self) -> Iterator[Namespace]:
        """Those that are not the engine's own, in the order in which they were met."""
        for ns in self._by_inode.values():
            if ns is not self.own[ns.kind]:
                yield ns

    def nested(self, kind: str, root: int) -> list[Namespace]:
        """Those of a kind that are neither the engine's own nor the root task's."""
        return [ns for ns in self.foreign() if ns.kind == kind and ns is not self.of(kind, root)]

    def blockers(self, ctx: Context, root: int) -> list[str]:
        """What of them cannot be dumped, one line each."""
        out = []
        top = {kind: self.of(kind, root) for kind in KINDS}
        mounts = self._mounts(ctx)
        if mounts:
            out += mounts.blockers()
        if top["user"] is not self.own["user"] and top["pid"] is self.own["pid"]:
            out.append(
                f"{top['user']} of pid {root} has no pid namespace that belongs to it: nobody in it could have its pid "
                "again: make both (unshare --user --pid), or dump from inside of it"
            )
        for ns in self.foreign():
            if ns is not top[ns.kind] and not can_nest(ns.kind, top[MOUNTS] is not self.own[MOUNTS]):
                out.append(
                    f"{ns} of pid {ns.pid} is not the root task's: nested ones of this kind are not supported yet: "
                    "dump that task by itself"
                )
                continue
            if line := self._owner_blocker(ns, top["user"]):
                out.append(line)
            if ns.kind == MOUNTS:
                continue
            kind = module(ns.kind)
            out += kind.blockers(ctx, ns) if kind else [f"{ns}: this kind is not supported yet"]
        return out

    def _owner_blocker(self, ns: Namespace, top: Namespace) -> str:
        """A namespace has to belong to a user namespace of the tree; "" for one that can be restored so."""
        from engine.kernel.namespaces import owner

        inode = owner(ns.path)
        if not inode or inode in (top.inode, self.own["user"].inode):
            return ""
        if ("user", inode) not in self._by_inode:
            return f"{ns} belongs to the user namespace user:[{inode}], which no task is in: dump with one in it"
        return ""

    def held_by_mounts(self, ctx: Context, scope: Scope) -> list[str]:
        """Have those be known that only bind mounts of nsfs lead to; what cannot be dumped, one line each."""
        mounts = self._mounts(ctx)
        if not mounts:
            return []
        from engine.mounts import fs_nsfs

        out = fs_nsfs.hold(mounts, self, scope)
        if self.nested("user", ctx.options.tree):
            from engine.mounts import locks

            out += locks.blockers(mounts, self, ctx.options.tree)
        if self.nested("pid", ctx.options.tree):
            from engine.mounts import fs_proc

            out += fs_proc.blockers(mounts, ctx.options.tree, self)
        return out

    def dump(self, ctx: Context, images: Images, shmids: Container[int]) -> tuple[int, int]:
        """Write the images of all of them, while the tree is frozen. `shmids` are those of other shared memory.

        Returns how many pages of shared memory were looked at, and written.
        """
        scanned = written = 0
        mounts = self._mounts(ctx)
        if mounts:
            mounts.dump(ctx, images, self)
        for ns in self.foreign():
            if ns.kind == "ipc":
                from engine.namespaces import ipc

                pages = ipc.dump(ctx, images, ns, shmids)
                scanned, written = scanned + pages[0], written + pages[1]
            elif ns.kind == "net":
                from engine.network import namespace

                namespace.dump(ctx, images, ns, [other for other in self.foreign() if other.kind == "net"], self.tuns)
            elif ns.kind == "user":
                from engine.namespaces import user

                user.dump(ctx, images, ns, self)
            elif kind := module(ns.kind):
                kind.dump(ctx, images, ns)
        return scanned, written

    def lock(self, ctx: Context) -> locked | None:
        """A context in which no packets come to, or leave, the network namespaces that are dumped; the root's first.

        External ones are others' as well, and not locked.
        """
        external = ctx.options.externals.get("net", ())
        its = [ns for ns in self.foreign() if ns.kind == "net" and str(ns.inode) not in external]
        if not its:
            return None
        from engine.network.lock import locked

        return locked(ctx, [f"/proc/{ns.pid}/ns/net" for ns in its])

    def _mounts(self, ctx: Context) -> MountTable | None:
        its = [ns for ns in self.foreign() if ns.kind == MOUNTS]
        if not its:
            return None
        from engine.mounts.tree import MountTable

        return MountTable(ctx, its)


def _inode(pid: int | str, kind: str) -> int:
    try:
        link = os.readlink(f"/proc/{pid}/ns/{kind}")
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/ns"):
            return 0
        raise
    return int(link.partition("[")[2].rstrip("]"))
