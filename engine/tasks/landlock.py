"""Landlock (landlock(7)): a task's domain cannot be read out of the kernel, but whether it is in one can be found out.

A thread in a domain may not look at a process outside of it (ptrace(2), "Ptrace access mode checking"), whatever else
the domain allows. So each thread is asked for the robust list of a process that it could look at otherwise: where its
capabilities allow anything, the engine; else a bystander with its own user and group. The credentials alone do not tell
who needs to be asked: a domain is inherited, also by a task that has neither no_new_privs nor CAP_SYS_ADMIN.
"""

from __future__ import annotations

import errno
import os

from engine.errors import EngineError, KernelError
from engine.kernel import landlock as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel import proc
    from engine.plan.program import Ref
    from engine.tasks.questions import Answers, Questions

_CAP_SYS_PTRACE = 1 << 19


class Unprobed(EngineError):
    """A thread has credentials for which there is no probe yet: there is to be one, and then another attempt."""

    def __init__(self, tid: int, status: proc.Status) -> None:
        super().__init__(f"pid {tid} changed its credentials while it was being frozen; dump again")
        self.status = status


class Probes:
    """The processes that threads are asked about; a context manager that ends them. Empty on a kernel without Landlock.

    For threads in the engine's own pid and user namespaces.
    """

    __slots__ = ("_pids", "_present")

    def __init__(self) -> None:
        self._present = kernel.abi() > 0
        self._pids: dict[tuple[int, int] | None, int] = {}  # by user and group, None: by capability

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *exc: object) -> None:
        for ids, pid in self._pids.items():
            if ids is not None:
                kernel.end_bystander(pid)
        self._pids.clear()

    @property
    def pids(self) -> list[int]:
        """All of them, in the order of `add`."""
        return list(self._pids.values())

    def add(self, status: proc.Status) -> None:
        """See to it that there is one for the thread with this /proc/TID/status. KernelError: none can be started."""
        ids = _ids(status)
        if self._present and ids not in self._pids:
            self._pids[ids] = kernel.start_bystander(*ids) if ids else os.getpid()

    def suits(self, status: proc.Status) -> bool:
        """Is there one that only Landlock can hide from this thread? There need not be any without Landlock."""
        return not self._present or _ids(status) in self._pids


def _ids(status: proc.Status) -> tuple[int, int] | None:
    """The kernel compares the real ids of who looks with all of the other's, unless it is capable."""
    if int(status["CapEff"], 16) & _CAP_SYS_PTRACE:
        return None
    return int(status["Uid"].split()[0]), int(status["Gid"].split()[0])


def ask_thread(q: Questions, probes: Probes) -> list[Ref]:
    """May the thread look at them?"""
    room = q.room(16)
    return [q.ask("get_robust_list", pid, room, room + 8) for pid in probes.pids]


def blocker(tid: int, q: Answers, asked: list[Ref]) -> str | None:
    """The blocker, without the pid, if a thread that Probes suit is restricted. KernelError: it cannot be told."""
    results = [q.result(ref) for ref in asked]
    for result in results:
        if result not in (0, -errno.EPERM):
            raise KernelError(f"get_robust_list in task {tid}, to find out whether Landlock restricts it", -result)
    if 0 in results or not results:
        return None
    return (
        "is restricted by Landlock (or a security module's label), which cannot be read out of the kernel and would be "
        "lost: dump it before it restricts itself, or start it without"
    )
