"""What the tasks of a tree are called in pid namespaces below the root task's (pid_namespaces(7)).

Images call every task by its pid in the root task's namespace, which knows all of them. A task that is further in has
one pid more for each namespace on the way; what its own system calls take and return is the innermost.
"""

from __future__ import annotations

from engine.errors import BadImage, EngineError
from engine.plan.program import Caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from engine.tasks.births import Node

_IMAGE = "pstree.img"


class Numbers:
    """The pids of a tree. `first` are those of each namespace's first process, by its number in the images."""

    __slots__ = ("_free", "_outer", "_passed", "_pids", "_spaces", "first")

    def __init__(self, entries: list[Any]) -> None:
        """`entries` are pstree_entry messages; BadImage for pids that cannot be."""
        self._spaces: dict[int, tuple[int, ...]] = {}  # by pid: the namespaces that it is in, the innermost last
        self._pids: dict[int, list[int]] = {}  # by pid or tid: those in these
        self._free: dict[int, int] = {}
        self._passed = 0
        self._outer: dict[int, int] = {}  # by pid or tid: that outside of the tree, where it is to have that again
        self.first: dict[int, int] = {}
        for entry in entries:
            self._add(entry)
        for entry in entries:
            for ident in entry.ns_ids:
                if ident not in self.first:
                    what = f"pid {entry.pid}: pid namespace {ident} has no first process; dump again"
                    raise BadImage(_IMAGE, 0, what)

    def _add(self, entry: Any) -> None:
        space = tuple(entry.ns_ids)
        self._spaces[entry.pid] = space
        depth = len(space)
        if not depth:
            return
        if len(entry.ns_pids) != depth * len(entry.threads) or {len(entry.ns_sid), len(entry.ns_pgid)} != {depth}:
            raise BadImage(_IMAGE, 0, f"pid {entry.pid}: its pids in {depth} namespaces are not complete; dump again")
        for i, tid in enumerate(entry.threads):
            pids = self._pids[tid] = list(entry.ns_pids[i * depth : (i + 1) * depth])
            for ident, pid in zip(space, pids, strict=True):
                self._free[ident] = max(self._free.get(ident, 0), pid + 1)
        if self._pids[entry.pid][-1] == 1:
            self.first[space[-1]] = entry.pid
        for leader, pids in ((entry.sid, list(entry.ns_sid)), (entry.pgid, list(entry.ns_pgid))):
            known = [pid for pid in pids if pid]  # it may be further out
            if leader and known and leader not in self._spaces:
                self._spaces[leader] = space[: len(known)]
                self._pids[leader] = known
                for ident, pid in zip(space, known, strict=False):
                    self._free[ident] = max(self._free.get(ident, 0), pid + 1)

    def space(self, pid: int) -> tuple[int, ...]:
        """The namespaces that a process is in below the root task's, the innermost last."""
        return self._spaces.get(pid, ())

    def called(self, by: int, pid: int) -> int:
        """What a process calls another, or a thread. EngineError for one that it does not know."""
        depth = len(self.space(by))
        if not depth:
            return pid
        pids = self._pids.get(pid, ())
        if len(pids) < depth:
            raise EngineError(f"pid {by} knows no pid {pid}: that is outside of its pid namespace; dump again")
        return pids[depth - 1]

    def known(self, by: int, pids: Iterable[int]) -> list[int]:
        """What a process calls those of these that it knows."""
        depth = len(self.space(by))
        return [its[depth - 1] for pid in pids if len(its := self._pids.get(pid, ())) >= depth] if depth else list(pids)

    def tids(self, pid: int) -> list[int]:
        """What clone3(2) takes as set_tid for a process or thread: the innermost first."""
        outer = [self._outer[pid]] if pid in self._outer else []
        return [*reversed(self._pids.get(pid, ())), pid, *outer]

    def keep_outer(self, entries: list[Any]) -> None:
        """All are to have their pids outside again; BadImage where pstree_entry messages lack them."""
        for entry in entries:
            if len(entry.outer_pids) != len(entry.threads):
                what = f"pid {entry.pid}: --outer-pids: the images do not have its pids outside; restore without"
                raise BadImage(_IMAGE, 0, what)
            self._outer.update(zip(entry.threads, entry.outer_pids, strict=True))

    def passing(self, by: int, outer: int) -> list[int]:
        """The same for one that is there for a moment, where `by` is; `outer` in the root's namespace, or 0: any."""
        self._passed += 1
        inner = [self._free[ident] + self._passed for ident in reversed(self.space(by))]
        return [*inner, outer] if outer else inner

    def way(self, creator: Node, node: Node) -> tuple[bool, int]:
        """How one is born into its namespace: is it the first of it, and else whose namespace is to be entered, or 0.

        EngineError for what the creator cannot do.
        """
        here, there = self.space(creator.pid), self.space(node.pid)
        if here == there:
            return False, 0
        if here == there[:-1] and self.first[there[-1]] == node.pid:
            return True, 0
        if here != there[: len(here)] or self.first[there[-1]] == node.pid:
            raise EngineError(
                f"pstree.img: pid {node.pid} cannot have been started from the pid namespace of {creator.pid}"
            )
        return False, self.first[there[-1]]


class Called(Caller):
    """What one process calls others."""

    __slots__ = ("_free", "_numbers")

    def __init__(self, numbers: Numbers, pid: int, free: Callable[[], int], alone: bool) -> None:
        """`free` returns a pid in the root task's namespace for one that is there for a moment, 0: any."""
        super().__init__(pid, alone)
        self._numbers = numbers
        self._free = free

    def called(self, pid: int) -> int:
        """What it calls one that is `pid` in the images."""
        return self._numbers.called(self.pid, pid)

    def passing(self) -> list[int]:
        """What clone3(2) takes as set_tid for one that is there for a moment; empty: the kernel may choose."""
        return self._numbers.passing(self.pid, self._free())
