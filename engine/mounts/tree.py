"""Mount namespaces (mount_namespaces(7)): the trees of mounts that a dump meets, and what each mount is.

All namespaces of a dump are looked at together: a mount of one may be a bind of what only another one has whole.
"""

from __future__ import annotations

from engine.kernel import mountinfo
from engine.mounts import filesystems
from engine.mounts.external import External, is_bind_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.kernel.mountinfo import Mount
    from engine.namespaces.table import Namespace, Namespaces


class Tree:
    """The mounts of one namespace, in the order of mountinfo; `pid` is a task in it."""

    __slots__ = ("by_id", "ident", "mounts", "pid", "root")

    def __init__(self, ident: int, pid: int, mounts: list[Mount]) -> None:
        self.ident = ident
        self.pid = pid
        self.mounts = mounts
        self.by_id = {m.mnt_id: m for m in mounts}
        self.root = next((m for m in mounts if m.parent not in self.by_id), None)

    def children(self, mount: Mount) -> list[Mount]:
        """What is mounted on a mount itself."""
        return [m for m in self.mounts if m.parent == mount.mnt_id and m is not mount]

    def below(self, mount: Mount) -> list[Mount]:
        """All that hangs below a mount, parents first."""
        found = self.children(mount)
        for child in found:
            found += self.children(child)
        return found


class MountTable:
    """The mounts of all mount namespaces of a tree."""

    __slots__ = ("_ctx", "external", "trees")

    def __init__(self, ctx: Context, namespaces: list[Namespace]) -> None:
        self._ctx = ctx
        self.external = External(ctx.options, dumping=True)
        self.trees = {ns.ident: self._tree(ns) for ns in namespaces}
        self.external.look(list(self.trees.values()))

    def _tree(self, ns: Namespace) -> Tree:
        tree = Tree(ns.ident, ns.pid, mountinfo.read(ns.pid))
        skipped: set[int] = set()
        for mount in tree.mounts:
            if mount.point in self._ctx.options.skip_mnt and mount is not tree.root:
                skipped.update(m.mnt_id for m in (mount, *tree.below(mount)))
        return Tree(ns.ident, ns.pid, [m for m in tree.mounts if m.mnt_id not in skipped]) if skipped else tree

    def find(self, ident: int, mnt_id: int) -> Mount | None:
        """A mount by its id; None for one that is in no namespace any more, or was skipped."""
        tree = self.trees.get(ident)
        return tree.by_id.get(mnt_id) if tree else None

    def owner(self, mnt_id: int) -> Tree | None:
        """The namespace that a mount is in: a file that was open before unshare(2) is in another than its task."""
        return next((tree for tree in self.trees.values() if mnt_id in tree.by_id), None)

    def all(self) -> list[tuple[Tree, Mount]]:
        """Every mount of every namespace."""
        return [(tree, mount) for tree in self.trees.values() for mount in tree.mounts]

    def blockers(self) -> list[str]:
        """What cannot be dumped, by name, with the remedy."""
        out = []
        for tree in self.trees.values():
            if tree.root is None or tree.root.point != "/":
                out.append(f"mount namespace of pid {tree.pid}: its root cannot be told: mount one file system as /")
        for tree, mount in self.all():
            if self.number(mount) != filesystems.UNSUPPORTED or self.is_given(tree, mount):
                continue
            out.append(
                f"{mount}: {mount.fstype} cannot be dumped, and what it is a bind of is not in the tree: give it by "
                f"--external 'mnt[{mount.point}]:KEY' (and --external 'mnt[KEY]:PATH' at restore), or --skip-mnt"
                + self._device_remedy(mount)
            )
        return out + self._sharing_blockers() + self._special_blockers()

    def _special_blockers(self) -> list[str]:
        out = []
        for tree in self.trees.values():
            special = [m for m in tree.mounts if hasattr(filesystems.module(m.fstype), "blockers")]
            made = {m.dev: m for m in special if not self.is_given(tree, m)}
            if made:
                for mount in made.values():
                    module: Any = filesystems.module(mount.fstype)
                    out += module.blockers(tree, mount)
        return out

    def _device_remedy(self, mount: Mount) -> str:
        major, minor = mount.dev >> 20, mount.dev & 0xFFFFF
        if not major or mount.root != "/":
            return ""
        return f", or its device by --external 'dev[{major}/{minor}]:KEY' (and --external 'dev[KEY]:PATH' at restore)"

    def _sharing_blockers(self) -> list[str]:
        """Sharing with what is outside has to be allowed, and needs something outside that it can be had of."""
        out = []
        groups = {m.shared for _, m in self.all()}
        given = {m.shared for tree, m in self.all() if self._comes_from_outside(tree, m)}
        for tree, mount in self.all():
            if mount.master and mount.master not in groups:
                what, group, option = "is a slave of", mount.master, "--enable-external-masters"
                key = self.external.key(tree, mount, self)
                allowed, has_source = self.external.may_be_slave(key), self._comes_from_outside(tree, mount)
            elif mount.shared in self.external.groups:
                what, group, option = "shares with", mount.shared, "--enable-external-sharing"
                allowed, has_source = self.external.sharing, mount.shared in given
            else:
                continue
            it = f"{mount}: {what} mounts outside of the tree (group {group}):"
            if not allowed:
                out.append(f"{it} use {option}, or make it private (mount --make-private)")
            elif not has_source:
                out.append(f"{it} give it by --external 'mnt[]', or make it private (mount --make-private)")
        return out

    def _comes_from_outside(self, tree: Tree, mount: Mount) -> bool:
        return (mount is tree.root and tree is self.first()) or bool(self.external.key(tree, mount, self))

    def number(self, mount: Mount) -> int:
        """The kind's number in images; AUTO for those of --enable-fs."""
        if mount.fstype in filesystems.NUMBERS:
            return filesystems.NUMBERS[mount.fstype]
        if mount.fstype == filesystems.NSFS or self.external.is_enabled(mount.fstype) or self.external.device(mount):
            return filesystems.AUTO
        return filesystems.UNSUPPORTED

    def is_given(self, tree: Tree, mount: Mount) -> bool:
        """Is it the root, or external, or a bind of something that is?"""
        if mount is tree.root and tree is self.first():
            return True
        if self.external.key(tree, mount, self):
            return True
        return any(
            other is not mount and is_bind_of(mount, other)
            for where, other in self.all()
            if (other is where.root and where is self.first())
            or self.external.key(where, other, self)
            or self.number(other) == filesystems.AUTO
        )

    def first(self) -> Tree:
        """The root task's: namespaces are numbered in the order in which tasks are met."""
        return next(iter(self.trees.values()))

    def dump(self, ctx: Context, images: Images, namespaces: Namespaces) -> None:
        """Write mountpoints-ID.img of every namespace, and what its file systems hold."""
        from engine.mounts import dump as mnt_dump

        mnt_dump.dump(ctx, images, self, namespaces)


def below(path: str, top: str) -> str:
    """The rest of a path below another one; "" for that itself."""
    return path.removeprefix(top).strip("/") if top != "/" else path.strip("/")
