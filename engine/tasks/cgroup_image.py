"""cgroup.img as a restore sees it: sets, and the directories of each hierarchy, where --cgroup-root has put them."""

from __future__ import annotations

from engine.errors import BadImage, EngineError
from engine.images.schema import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IMAGE = "cgroup.img"


class Directory:
    """One cgroup of the images; those below it come after it."""

    __slots__ = ("entry", "hierarchy", "path")

    def __init__(self, hierarchy: str, path: str, entry: Any) -> None:
        self.hierarchy = hierarchy
        self.path = path
        self.entry = entry

    def __str__(self) -> str:
        return f"cgroup {self.hierarchy or 'version 2'}:{self.path}"

    def properties(self) -> list[tuple[str, str]]:
        """Names and values."""
        return [(text(p.name), text(p.value)) for p in self.entry.properties]


class Member:
    """Where a set is in one hierarchy. `above`: the root of its cgroup namespace there."""

    __slots__ = ("above", "path")

    def __init__(self, path: str, above: str) -> None:
        self.path = path
        self.above = above


class CgroupImage:
    """All of it. BadImage for names that lead anywhere else."""

    __slots__ = ("_moved", "directories", "held", "sets")

    def __init__(self, entry: Any, roots: dict[str, str]) -> None:
        """`roots`: --cgroup-root, by hierarchy; "" is for all others."""
        names = _names(entry)
        by_name: dict[str, list[str]] = {}
        for controller in entry.controllers:
            name = names[_cnames(controller)]
            heads = by_name.setdefault(name, [])
            heads += [_path("/" + text(head.dir_name).strip("/")) for head in controller.dirs]
        # by hierarchy: what is the topmost cgroup, and what instead of that
        self._moved = {name: (common(heads), roots.get(name, roots.get("", ""))) for name, heads in by_name.items()}
        self.directories: list[Directory] = []
        for controller in entry.controllers:
            name = names[_cnames(controller)]
            for head in controller.dirs:
                path = _path("/" + text(head.dir_name).strip("/"))
                self._add(name, self.rebased(name, path), head)
        self.sets: dict[int, dict[str, Member]] = {}
        self.held: dict[int, int] = {}  # cgroup namespaces that no task is in, and their sets
        for its in entry.sets:
            if its.id in self.sets:
                raise BadImage(_IMAGE, 0, f"set {its.id} is there twice")
            members = self.sets[its.id] = {}
            self.held.update((ident, its.id) for ident in its.ns_id)
            for ctl in its.ctls:
                name, path = text(ctl.name), _path(text(ctl.path))
                if ctl.cgns_prefix > len(path):
                    raise BadImage(_IMAGE, 0, f"set {its.id}: {path} is shorter than its prefix {ctl.cgns_prefix}")
                above = _path(path[: ctl.cgns_prefix] or "/")
                members[name] = Member(self.rebased(name, path), self.rebased(name, above))

    def rebased(self, name: str, path: str) -> str:
        """Where a cgroup is to be. EngineError."""
        return rebased(path, *self._moved.get(name, ("/", "")))

    def called(self, options: list[str]) -> str:
        """The hierarchy that a mount with these options is of."""
        for name in self._moved:
            if name and set(name.split(",")) <= set(options):
                return name
        return ""

    def _add(self, name: str, path: str, entry: Any) -> None:
        for prop in entry.properties:
            if "/" in text(prop.name) or text(prop.name) in ("", ".", ".."):
                raise BadImage(_IMAGE, 0, f"{text(prop.name)!r} is no property of a cgroup")
        self.directories.append(Directory(name, path, entry))
        for child in entry.children:
            below = text(child.dir_name)
            if "/" in below:
                raise BadImage(_IMAGE, 0, f"{below!r} is no name of a cgroup")
            self._add(name, _path(f"{path.rstrip('/')}/{below}"), child)


def given_roots(given: list[str]) -> dict[str, str]:
    """--cgroup-root [CTRL:]/PATH, by hierarchy; "" for all others."""
    out = {}
    for one in given:
        name, _, path = one.rpartition(":")
        out[name] = "/" + path.strip("/")
    return out


def _cnames(controller: Any) -> frozenset[str]:
    return frozenset(text(name) for name in controller.cnames)


def _names(entry: Any) -> dict[frozenset[str], str]:
    """By their controllers: the names of hierarchies as the sets have them."""
    out = {_cnames(controller): ",".join(map(text, controller.cnames)) for controller in entry.controllers}
    for its in entry.sets:
        for ctl in its.ctls:
            parts = frozenset(text(ctl.name).split(","))
            if parts in out:
                out[parts] = text(ctl.name)
    return out


def _path(path: str) -> str:
    if not path.startswith("/") or "\0" in path or any(part in (".", "..") for part in path.split("/")):
        raise BadImage(_IMAGE, 0, f"{path!r} is no path of a cgroup")
    if path != "/" and "" in path[1:].split("/"):
        raise BadImage(_IMAGE, 0, f"{path!r} is no path of a cgroup")
    return path


def common(paths: list[str]) -> str:
    """The cgroup that is above all of them, or the only one."""
    if not paths:
        return "/"
    parts = [path.strip("/").split("/") if path != "/" else [] for path in paths]
    first, last = min(parts), max(parts)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return "/" + "/".join(first[:same])


def rebased(path: str, base: str, root: str) -> str:
    """What is at or below `base`, below a new root instead; without one as it is. EngineError for what is elsewhere."""
    if not root:
        return path
    below = path.removeprefix(base.rstrip("/"))
    if path != base and not below.startswith("/"):
        if base.startswith(path.rstrip("/") + "/"):  # the root of a cgroup namespace, say
            return root
        raise EngineError(f"--cgroup-root {root}: cgroup {path} of the images is not below {base}")
    return (root.rstrip("/") + below.rstrip("/")) or "/"
