"""Pids as the engine sees them, and as the tree's own pid namespace does (pid_namespaces(7))."""

from __future__ import annotations

import os

from engine.kernel import proc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Pids:
    """The namespace that the root task is in. In the engine's own all pids are the same inside and outside.

    Tasks may be in namespaces below that. It knows all of them, so its pids tell all tasks of the tree apart.
    """

    __slots__ = ("_home", "_level", "_nested", "_numbers", "foreign")

    def __init__(self, root: int) -> None:
        self._home = os.readlink(f"/proc/{root}/ns/pid")
        self.foreign = self._home != os.readlink("/proc/self/ns/pid")
        self._level = len(proc.status(root)["NSpid"].split()) - 1 if self.foreign else 0
        self._numbers: dict[int, list[int]] = {}
        self._nested: dict[int, bool] = {}

    def inner(self, pid: int) -> int:
        """What a process or thread is called inside; 0 for one that is not. FileNotFoundError for one that is gone."""
        if not self.foreign:
            return pid
        return next(iter(self.numbers(pid)), 0)

    def numbers(self, pid: int) -> list[int]:
        """What it is called inside, and in each namespace below that which it is in, the innermost last."""
        known = self._numbers.get(pid)
        if known is None:
            known = self._numbers[pid] = self._at(pid, "NSpid")
        return known

    def is_nested(self, pid: int) -> bool:
        """Is a process in a namespace below the root task's?"""
        known = self._nested.get(pid)
        if known is None:
            known = self._nested[pid] = os.readlink(f"/proc/{pid}/ns/pid") != self._home
        return known

    def called(self, by: int, pid: int) -> int:
        """What a process calls one of its threads or children, wherever both are."""
        if not self.is_nested(by):
            return self.inner(pid)
        return self.numbers(pid)[len(self.numbers(by)) - 1]

    def all_called(self, by: int, pids: Iterable[int]) -> list[int]:
        """What a process calls those of these that it knows."""
        if not self.is_nested(by):
            return [self.inner(pid) for pid in pids]
        level = len(self.numbers(by)) - 1
        return [its[level] for pid in pids if len(its := self.numbers(pid)) > level]

    def session(self, pid: int, sid: int, pgid: int) -> tuple[int, int]:
        """The session and process group of a process, of which the engine sees the numbers `sid` and `pgid`.

        0 where they are led by somebody outside.
        """
        if not self.foreign:
            return sid, pgid
        return next(iter(self._at(pid, "NSsid")), 0), next(iter(self._at(pid, "NSpgid")), 0)

    def sessions(self, pid: int) -> tuple[list[int], list[int]]:
        """Their numbers inside, and in each namespace below that which the process is in; 0 where a leader is not."""
        return self._at(pid, "NSsid"), self._at(pid, "NSpgid")

    def _at(self, pid: int, field: str) -> list[int]:
        return [int(number) for number in proc.status(pid)[field].split()[self._level :]]
