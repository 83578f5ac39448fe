"""The cgroups of the threads of a tree, as sets: a set is a place in every hierarchy.

The engine's own has number 1 (inventory.root_cg_set).
"""

from __future__ import annotations

import os

from engine.errors import KernelError, Unsupported
from engine.kernel import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.namespaces.table import Namespace
    from engine.options import Options

OWN = 1
# A set: for each hierarchy its name, the path, and how much of that is above the root of the cgroup namespace.
Set = tuple[tuple[str, str, int], ...]


def prefixes(ns: Namespace, outer: dict[str, str], pid: int) -> dict[str, int]:
    """How much of each path of a task lies above its cgroup namespace; Unsupported where that cannot be said."""
    from engine.kernel.namespaces import entered

    with entered(ns.pid, "cgroup"):
        inner = proc.cgroups(proc.read_text(f"/proc/{pid}/cgroup"))
    out = {}
    for name, path in outer.items():
        within = inner.get(name, path)
        if not path.endswith(within) and within != "/":
            raise Unsupported(
                [
                    f"pid {pid}: its cgroup {name}:{path} is outside of its cgroup namespace ({within}): "
                    "move it into that, or dump with --manage-cgroups=ignore"
                ]
            )
        out[name] = 0 if path == within else len(path) - len(within) if within != "/" else len(path)
    return out


def begins(ns: Namespace, yard: str) -> dict[str, str]:
    """Where a cgroup namespace begins, by hierarchy, if no task is in it; Unsupported where that cannot be said.

    From inside what a hierarchy has for its root is that; its file handle leads there from outside, too.
    """
    from engine.kernel.cgroup import Hierarchy
    from engine.kernel.events import name_to_handle, open_by_handle
    from engine.kernel.namespaces import entered

    out = {}
    for name in proc.cgroups(proc.read_text("/proc/self/cgroup")):
        outer = Hierarchy(name, yard)
        try:
            with entered(ns.pid, "cgroup"):
                inner = Hierarchy(name)
            try:
                top = outer.open("/", "", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    found = open_by_handle(top, *name_to_handle(inner.fd))
                finally:
                    os.close(top)
            finally:
                inner.close()
            try:
                out[name] = os.readlink(f"/proc/self/fd/{found}")
            finally:
                os.close(found)
        except KernelError as e:
            what = f"{ns}, which no task is in: where it begins in hierarchy {outer} is not known ({e})"
            raise Unsupported([f"{what}: close it before the dump, or dump with --manage-cgroups=ignore"]) from e
        finally:
            outer.close()
    return out


class Sets:
    """The sets of one dump, by number."""

    __slots__ = ("_by_key", "_by_text", "_ignored", "_only", "_own", "_own_ns", "foreign", "held")

    def __init__(self, options: Options, own_ns: Namespace) -> None:
        self._ignored = options.manage_cgroups == "ignore"
        self._only = options.cgroup_dump_controller
        self._own_ns = own_ns
        self._own = {} if self._ignored else proc.cgroups(proc.read_text("/proc/self/cgroup"))
        self._by_text: dict[tuple[str, int], int] = {}
        self._by_key: dict[Set, int] = {}
        self.held: dict[int, list[int]] = {}  # by set: the cgroup namespaces that no thread is in, and begin there
        self.foreign = False  # has any thread another set, or another cgroup namespace, than the engine?

    def number(self, pid: int, tid: int, ns: Namespace) -> int:
        """The set of a thread of process `pid`, which is in a cgroup namespace."""
        if self._ignored:
            return OWN
        text = proc.read_text(f"/proc/{pid}/task/{tid}/cgroup")
        known = self._by_text.get((text, ns.ident))
        if known is None:
            known = self._by_text[text, ns.ident] = self._add(proc.cgroups(text), tid, ns)
        return known

    def _add(self, paths: dict[str, str], tid: int, ns: Namespace) -> int:
        if self._only:
            paths = {name: path for name, path in paths.items() if self._is_wanted(name)}
        above = {} if ns is self._own_ns else prefixes(ns, paths, tid)
        if ns is not self._own_ns:
            self.foreign = True
        # a hierarchy that is new to one of the two is where nobody has moved yet: in its root
        names = paths.keys() | (self._own.keys() if not self._only else set())
        if ns is self._own_ns and all(paths.get(name, "/") == self._own.get(name, "/") for name in names):
            self._by_key[_key(paths, above)] = OWN
            return OWN
        self.foreign = True
        return self._by_key.setdefault(_key(paths, above), OWN + 1 + len(set(self._by_key.values()) - {OWN}))

    def hold(self, ns: Namespace, yard: str) -> None:
        """A cgroup namespace that no thread is in: a set of where it begins."""
        if self._ignored:
            return
        paths = begins(ns, yard)
        if self._only:
            paths = {name: path for name, path in paths.items() if self._is_wanted(name)}
        self.foreign = True
        number = OWN + 1 + len(set(self._by_key.values()) - {OWN})
        key = _key(paths, {name: len(path) for name, path in paths.items() if path != "/"})
        self.held.setdefault(self._by_key.setdefault(key, number), []).append(ns.ident)

    def _is_wanted(self, name: str) -> bool:
        return name in self._only or any(part in self._only for part in name.split(","))

    def all(self) -> list[tuple[int, Set]]:
        """Number and set, each once."""
        return list({number: (number, key) for key, number in self._by_key.items()}.values())

    def own(self, name: str) -> str:
        """Where the engine is in a hierarchy."""
        return self._own.get(name, "/")


def _key(paths: dict[str, str], above: dict[str, int]) -> Set:
    return tuple((name, path, above.get(name, 0)) for name, path in sorted(paths.items()))
