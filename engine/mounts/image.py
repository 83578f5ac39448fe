"""Mounts as mountpoints-ID.img tells them, checked: a tree for each namespace."""

from __future__ import annotations

from engine.errors import BadImage
from engine.images.schema import text
from engine.mounts import filesystems
from engine.mounts.external import is_below
from engine.mounts.tree import below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images

_IMAGE = "MNTS"


class Planned:
    """One mount: `fd` is of it as soon as it is made, `at` is where it goes."""

    __slots__ = ("at", "children", "entry", "fd", "ident", "parent", "point", "root")

    def __init__(self, entry: Any, ident: int) -> None:
        self.entry = entry
        self.ident = ident
        self.point = text(entry.mountpoint)
        self.root = text(entry.root)
        self.parent: Planned | None = None
        self.children: list[Planned] = []
        self.fd = self.at = -1

    @property
    def topmost(self) -> Planned:
        """What is seen where it is: itself, or what lies over the whole of it."""
        mount = self
        while over := next((child for child in mount.children if not child.within), None):
            mount = over
        return mount

    @property
    def waits(self) -> bool:
        """Is it of, or below, a procfs of a pid namespace that is not there before its first process?"""
        mount: Planned | None = self
        while mount is not None and not mount.entry.HasField("pid_ns_id"):
            mount = mount.parent
        return mount is not None

    @property
    def fstype(self) -> str:
        """The kind of file system, "" for what only a bind can be."""
        if self.entry.fstype == filesystems.AUTO:
            return text(self.entry.fsname)
        return filesystems.NAMES.get(self.entry.fstype, "")

    @property
    def within(self) -> str:
        """The mount point, below that of the mount that it is on."""
        return below(self.point, self.parent.point) if self.parent else ""

    def __str__(self) -> str:
        return f"mount {self.entry.mnt_id} ({self.fstype or 'bind'}) on {self.point}"


def read(images: Images, ident: int) -> list[Planned]:
    """All mounts of a namespace, the root first and parents before children. BadImage."""
    name = images.name(_IMAGE, ident)
    # They are stored last one first; so what was mounted first is made first.
    mounts = [Planned(entry, ident) for entry in reversed(images.read(_IMAGE, ident))]
    by_id: dict[int, Planned] = {}
    for mount in mounts:
        if mount.entry.mnt_id in by_id:
            raise BadImage(name, 0, f"two mounts have the id {mount.entry.mnt_id}; dump again")
        by_id[mount.entry.mnt_id] = mount
        for what, path in (("mount point", mount.point), ("root", mount.root)):
            if not is_clean(path) and not (what == "root" and not path.startswith("/") and "/" not in path):
                raise BadImage(name, 0, f"mount {mount.entry.mnt_id}: the {what} {path!r} is no absolute name")
    roots = []
    for mount in mounts:
        parent = by_id.get(mount.entry.parent_mnt_id)
        if parent is None or parent is mount:
            roots.append(mount)
            continue
        if not is_below(mount.point, parent.point):
            raise BadImage(name, 0, f"{mount} is not below {parent.point}, which it is mounted on")
        mount.parent = parent
        parent.children.append(mount)
    if len(roots) != 1 or roots[0].point != "/":
        raise BadImage(name, 0, f"{len(roots)} mounts have no parent, and one on / is expected; dump again")
    ordered = list(roots)
    for mount in ordered:
        ordered += mount.children
    if len(ordered) != len(mounts):
        raise BadImage(name, 0, "mounts are each other's parents; dump again")
    return ordered


def covered_roots(images: Images, idents: list[int]) -> set[int]:
    """The mounts on / that others lie over: whose root that is has to be put there."""
    entries = [entry for ident in idents for entry in images.read(_IMAGE, ident)]
    on_root = {entry.mnt_id for entry in entries if text(entry.mountpoint) == "/"}
    return {entry.parent_mnt_id for entry in entries if entry.mnt_id in on_root} & on_root


def is_clean(path: str) -> bool:
    """Is it an absolute name without dots?"""
    return path == "/" or (path.startswith("/") and all(p not in ("", ".", "..") for p in path[1:].split("/")))
