"""Cgroups at dump (cgroup.img): the sets of a tree's threads, the directories that are theirs, and their properties.

Where all threads are in the engine's own set there is no image. A dump changes no cgroup.
"""

from __future__ import annotations

import os

from engine.errors import EngineError, Unsupported
from engine.images.schema import set_text
from engine.kernel.cgroup import UNIFIED, Hierarchy
from engine.tasks.cgroup_image import given_roots
from engine.tasks.cgroup_props import FREEZER, FREEZER_UNIFIED, Table, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.context import Context
    from engine.images.files import Images
    from engine.tasks.cgroup_freezer import Freezer
    from engine.tasks.cgroup_sets import Sets


def dump(ctx: Context, images: Images, sets: Sets, freezer: Freezer | None) -> None:
    """Write cgroup.img, if there is anything to say."""
    if not sets.foreign:
        return
    new = ctx.schema.message
    entry = new("cgroup_entry")()
    wanted: dict[str, set[str]] = {}
    for number, key in sets.all():
        its = entry.sets.add()
        its.id = number
        its.ns_id.extend(sets.held.get(number, ()))
        for name, path, above in key:
            if path.startswith("/.."):
                raise Unsupported(
                    [
                        f"cgroup {name}:{path} is outside of the engine's own cgroup namespace: "
                        "run the engine in that of the host, or with --manage-cgroups=ignore"
                    ]
                )
            member = its.ctls.add()
            set_text(member, "name", name)
            set_text(member, "path", path)
            if above:
                member.cgns_prefix = above
            wanted.setdefault(name, set()).add(path[:above] or path)
            wanted[name].add(path)
    roots = given_roots(ctx.options.cgroup_root)
    table = Table(ctx.options)
    for name, paths in sorted(wanted.items()):
        controller = entry.controllers.add()
        for part in name.split(","):
            set_text(controller, "cnames", part)
        root = roots.get(name, roots.get("", ""))
        _Walk(controller, name, paths, sets.own(name), root, table, ctx, freezer).run()
    images.write("CGROUP", (), [entry])


class _Walk:
    """The directories of one hierarchy."""

    __slots__ = ("_controller", "_freezer", "_full", "_heads", "_hierarchy", "_name", "_table", "_wanted", "_yard")

    def __init__(
        self,
        controller: Any,
        name: str,
        paths: set[str],
        own: str,
        root: str,
        table: Table,
        ctx: Context,
        freezer: Freezer | None,
    ) -> None:
        self._controller = controller
        self._name = name
        if root and any(_is_below(path, root) for path in paths):
            paths = paths | {root}
        self._wanted = paths
        # what is below the engine's own cgroup is not the tree's
        self._full = {path for path in paths if path != own or path == root}
        self._heads = _top(sorted(paths))
        self._table = table
        self._freezer = freezer
        self._yard = ctx.options.cgroup_yard
        self._hierarchy: Hierarchy

    def run(self) -> None:
        """Fill the entry. Who is alone in the root of a hierarchy, with the engine, has nothing there."""
        threaded = self._name != UNIFIED
        if not self._full and self._heads == ["/"]:
            self._controller.dirs.add().dir_name = ""
        else:
            self._hierarchy = Hierarchy(self._name, self._yard)
            try:
                for head in _top(sorted({self._domain(head) for head in self._heads})):
                    entry = self._controller.dirs.add()
                    set_text(entry, "dir_name", head.strip("/"))
                    threaded |= self._dir(entry, head, False)
            except OSError as e:
                raise EngineError(f"cgroup {self._hierarchy}: {e.filename or ''}: {e.strerror}") from e
            finally:
                self._hierarchy.close()
        if threaded:
            self._controller.is_threaded = True

    def _domain(self, path: str) -> str:
        """What a threaded cgroup of version 2 cannot be made without: the domain that it is in."""
        while self._name == UNIFIED and self._hierarchy.find(path, "cgroup.type") == "threaded":
            path = path.rpartition("/")[0] or "/"
        return path

    def _dir(self, entry: Any, path: str, full: bool) -> bool:
        """One cgroup, and those below it; was any of them threaded?"""
        hierarchy = self._hierarchy
        full = full or path in self._full
        for name in self._table.names(hierarchy, path) if path != "/" else []:
            found = value(hierarchy, path, name)
            if found is None:
                continue
            self._property(entry, path, name, found)
        if frozen := self._frozen(path):
            self._property(entry, path, *frozen)
        _perms(entry.dir_perms, hierarchy.stat(path))
        threaded = any(p.name == "cgroup.type" and p.value == "threaded" for p in entry.properties)
        for child in hierarchy.children(path):
            below = f"{path.rstrip('/')}/{child}"
            if full or any(_is_below(p, below) for p in self._wanted):
                its = entry.children.add()
                set_text(its, "dir_name", child)
                threaded |= self._dir(its, below, full)
        return threaded

    def _property(self, entry: Any, path: str, name: str, found: str) -> None:
        prop = entry.properties.add()
        prop.name = name
        set_text(prop, "value", found)
        _perms(prop.perms, self._hierarchy.stat(path, name))

    def _frozen(self, path: str) -> tuple[str, str] | None:
        """The property of a cgroup that was frozen when the dump began."""
        if "freezer" in self._name.split(","):
            name, frozen, said = FREEZER, "FROZEN", self._hierarchy.find(path, "freezer.self_freezing") == "1"
        elif self._name == UNIFIED:
            name, frozen, said = FREEZER_UNIFIED, "1", self._hierarchy.find(path, FREEZER_UNIFIED) == "1"
        else:
            return None
        if self._freezer and self._freezer.is_of(self._hierarchy.stat(path)):
            said = self._freezer.was_frozen
        return (name, frozen) if said else None


def _top(paths: list[str]) -> list[str]:
    """Those that are below no other."""
    return [path for path in paths if not any(path != p and _is_below(path, p) for p in paths)]


def _is_below(path: str, above: str) -> bool:
    """Is it that cgroup, or one below it?"""
    return path == above or path.startswith(above.rstrip("/") + "/")


def _perms(perms: Any, st: os.stat_result) -> None:
    perms.mode, perms.uid, perms.gid = st.st_mode, st.st_uid, st.st_gid
