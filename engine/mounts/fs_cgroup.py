"""Mounts of cgroup hierarchies, of version 1 and 2.

Roots of mounts are, in the images, as the engine's own cgroup namespace has them. A new mount begins at the root of the
namespace that it is made in: the opener makes them before it enters that of the tree, where it can come back from
there. Inside of a user namespace it cannot: then what they are relative to is in cgroup.img.
"""

from __future__ import annotations

from engine.images.schema import text
from engine.tasks.cgroup_image import CgroupImage, given_roots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.mounts.image import Planned
    from engine.mounts.restore import Builder


def root(build: Builder, entry: Any) -> str:
    """Where a new mount of a hierarchy begins."""
    images = build.images
    first = images.read("PSTREE")[0].pid
    core = images.read_one("CORE", first)
    ids, own = (
        core.ids if core.HasField("ids") else images.read_one("IDS", first),
        images.read_one("INVENTORY").root_ids,
    )
    apart = ids.user_ns_id != own.user_ns_id and ids.cgroup_ns_id != own.cgroup_ns_id
    cgroups = _image(build)
    if not apart or cgroups is None:
        return "/"
    members = cgroups.sets.get(core.thread_core.cg_set or core.tc.cg_set, {})
    name = cgroups.called(text(entry.options).split(","))
    return members[name].above if name in members else "/"


def move(build: Builder, mounts: list[Planned]) -> None:
    """What --cgroup-root does to the roots of mounts."""
    cgroups = _image(build) if build.ctx.options.cgroup_root else None
    for mount in mounts if cgroups else []:
        if mount.fstype in ("cgroup", "cgroup2") and cgroups:
            mount.root = cgroups.rebased(cgroups.called(text(mount.entry.options).split(",")), mount.root)


def _image(build: Builder) -> CgroupImage | None:
    if build.ctx.options.manage_cgroups == "ignore" or not build.images.exists("CGROUP"):
        return None
    return CgroupImage(build.images.read_one("CGROUP"), given_roots(build.ctx.options.cgroup_root))
