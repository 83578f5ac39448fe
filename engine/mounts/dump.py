"""The dump of mount namespaces: mountpoints-ID.img, and what the file systems of the tree hold."""

from __future__ import annotations

import os

from engine.images.schema import set_text
from engine.mounts import filesystems
from engine.mounts.external import AUTOMATIC, DEVICE
from engine.mounts.reach import reach
from engine.namespaces.user import Ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.kernel.mountinfo import Mount
    from engine.mounts.tree import MountTable, Tree
    from engine.namespaces.table import Namespaces

_IMAGE = "MNTS"


class Dump:
    """What the modules of kinds get: `jobs` are to be waited for at the end, each called once.

    `owners` are, by device, tasks in the user namespaces that file systems belong to, where those are below the tree's.
    """

    __slots__ = ("ctx", "ids", "images", "jobs", "owners", "tree")

    def __init__(self, ctx: Context, images: Images, tree: Tree) -> None:
        self.ctx = ctx
        self.images = images
        self.tree = tree
        self.ids = Ids.of_task(ctx.options.tree)
        self.jobs: list[Any] = []
        self.owners: dict[int, int] = {}


def dump(ctx: Context, images: Images, table: MountTable, namespaces: Namespaces) -> None:
    """Write all images of all mount namespaces."""
    from engine.mounts import fs_proc

    shown = fs_proc.numbers(table, ctx.options.tree, namespaces)
    from engine.mounts import locks as mnt_locks

    inner = mnt_locks.all_of(table, namespaces, ctx.options.tree)
    whose = mnt_locks.owners(inner)
    dumps = [_dump_tree(ctx, images, table, tree) for tree in table.trees.values()]
    for dumped, _ in dumps:
        dumped.owners = {dev: ns.pid for dev, ns in whose.items()}
    _contents(table, dumps)
    for dumped, entries in dumps:
        for entry in entries:
            if entry.root_dev in shown and not entry.ext_key:
                entry.pid_ns_id = shown[entry.root_dev]
            if dumped.tree.ident in inner:
                locks = inner[dumped.tree.ident][1]
                entry.locked = entry.mnt_id in locks.locked
                entry.locked_flags = locks.flags.get(entry.mnt_id, 0)
                if entry.root_dev in whose:
                    entry.owner_ns_id = whose[entry.root_dev].ident
            if entry.fsname == filesystems.NSFS:
                from engine.mounts import fs_nsfs

                fs_nsfs.dump_mount(entry, namespaces)
        for job in dumped.jobs:
            job()
        # CRIU writes them in that order, and puts them into a list one before the other.
        images.write(_IMAGE, (dumped.tree.ident,), list(reversed(entries)))


def _dump_tree(ctx: Context, images: Images, table: MountTable, tree: Tree) -> tuple[Dump, list[Any]]:
    make = ctx.schema.message("mnt_entry")
    dumped = Dump(ctx, images, tree)
    return dumped, [_entry(make(), table, tree, mount, dumped.ids) for mount in tree.mounts]


def _entry(entry: Any, table: MountTable, tree: Tree, mount: Mount, ids: Ids) -> Any:
    number = table.number(mount)
    entry.fstype = number
    entry.mnt_id = mount.mnt_id
    entry.root_dev = mount.dev
    entry.parent_mnt_id = mount.parent
    entry.flags = mount.flags
    entry.sb_flags = mount.sb_flags
    set_text(entry, "root", mount.root)
    set_text(entry, "mountpoint", mount.point)
    key = table.external.key(tree, mount, table)
    set_text(entry, "source", table.external.paths[mount.mnt_id] if key == AUTOMATIC else mount.source)
    module = filesystems.module(mount.fstype)
    options = module.options(mount, ids) if module and hasattr(module, "options") else mount.options
    set_text(entry, "options", ",".join(options))
    entry.shared_id = mount.shared
    entry.master_id = mount.master
    if number == filesystems.AUTO:
        set_text(entry, "fsname", mount.fstype)
    if mount.deleted:
        entry.deleted = True
    device = "" if key else table.external.device(mount)
    if key or device:
        set_text(entry, "ext_key", key or DEVICE)
    if device:
        set_text(entry, "source", f"dev[{device}]")
    if mount.shared and mount.shared not in table.external.groups:
        entry.internal_sharing = True
    return entry


def _contents(table: MountTable, dumps: list[tuple[Dump, list[Any]]]) -> None:
    """What file systems hold that a restore has to make anew: of each one once, through the mount that shows most."""
    best: dict[int, tuple[Dump, Mount, Any]] = {}
    for dumped, entries in dumps:
        for mount, entry in zip(dumped.tree.mounts, entries, strict=True):
            module = filesystems.module(mount.fstype)
            if not hasattr(module, "dump") or entry.ext_key or mount.deleted:
                continue
            known = best.get(mount.dev)
            if known is None or len(mount.root) < len(known[1].root):
                best[mount.dev] = dumped, mount, entry
    given = {m.dev for tree, m in table.all() if table.external.key(tree, m, table)}
    for dumped, _ in dumps:
        mine = [(m, e) for d, m, e in best.values() if d is dumped and m.dev not in given]
        found = reach(dumped.tree, [m for m, _ in mine])
        try:
            for mount, entry in mine:
                module = filesystems.module(mount.fstype)
                if module is not None:
                    module.dump(dumped, entry, found[mount.mnt_id])
        finally:
            for fd in found.values():
                os.close(fd)
