"""Cgroup namespaces (cgroup_namespaces(7)): a task that makes one has it begin where it is.

There is no image of one: the members of a cgroup set say how much of their paths lies above its root (`cgns_prefix`).
The cradle makes them, moved to that place by the coordinator (`engine.tasks.cgroup_restore`).
"""

from __future__ import annotations

from engine.errors import Unsupported
from engine.kernel import proc
from engine.tasks.cgroup_sets import begins, prefixes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.images.files import Images
    from engine.namespaces.table import Namespace


def blockers(ctx: Context, ns: Namespace) -> list[str]:
    """It has to be known where it begins."""
    if ctx.options.manage_cgroups == "ignore":
        return []
    try:
        if ns.is_held:
            begins(ns, ctx.options.cgroup_yard)
            return []
        prefixes(ns, proc.cgroups(proc.read_text(f"/proc/{ns.pid}/cgroup")), ns.pid)
    except Unsupported as e:
        return e.blockers
    return []


def dump(ctx: Context, images: Images, ns: Namespace) -> None:
    """The sets of its tasks say all of it."""
