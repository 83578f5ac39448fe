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
    from collections.abc import Callable

    from engine.files.scope import Scope
    from engine.kernel import proc
    from engine.plan.program import Ref
    from engine.tasks.questions import Answers, Questions

    # the namespaces that it is in, "" for the root task's; user and group, None where capabilities allow to look
    _Key = tuple[str, tuple[int, int] | None]

_CAP_SYS_PTRACE = 1 << 19


class Unprobed(EngineError):
    """A thread has credentials for which there is no probe yet: there is to be one, and then another attempt."""

    def __init__(self, tid: int, status: proc.Status) -> None:
        super().__init__(f"pid {tid} changed its credentials while it was being frozen; dump again")
        self.status = status


class Probes:
    """The processes that threads are asked about; a context manager that ends them. Empty on a kernel without Landlock.

    Threads in pid or user namespaces below the root task's have their own.
    """

    __slots__ = ("_ends", "_pids", "_present", "_root", "_scope")

    def __init__(self, root: int, scope: Scope) -> None:
        self._present = kernel.abi() > 0
        self._scope = scope
        self._root = root
        self._pids: dict[_Key, int] = {}  # as those call them who are asked about them
        self._ends: list[Callable[[], None]] = []

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End them."""
        while self._ends:
            self._ends.pop()()
        self._pids.clear()

    @property
    def pids(self) -> list[int]:
        """All of them, as those threads call them that are asked about them, in the order of `add`."""
        return list(self._pids.values())

    def nth(self, status: proc.Status) -> int:
        """Which of them tells about a thread with this /proc/TID/status."""
        return list(self._pids).index(self._key(status)) if self._present else 0

    def add(self, status: proc.Status) -> None:
        """See to it that there is one for the thread with this /proc/TID/status. KernelError: none can be started."""
        if self._present and (key := self._key(status)) not in self._pids:
            below, ids = key
            self._pids[key] = self._start_below(int(status["Tgid"]), ids) if below else self._start(ids)

    def _key(self, status: proc.Status) -> _Key:
        return self._scope.below(int(status["Tgid"])), _ids(status)

    def _start_below(self, task: int, ids: tuple[int, int] | None) -> int:
        from engine.namespaces.user import Ids

        maps = Ids.of_task(task)
        uid, gid = (maps.uid_inside(ids[0]), maps.gid_inside(ids[1])) if ids else maps.first()
        pid, end = kernel.start_inside(task, uid, gid)
        self._ends.append(end)
        return self._scope.pids.numbers(pid)[-1]

    def _start(self, ids: tuple[int, int] | None) -> int:
        scope = self._scope
        if scope.pids.foreign or scope.ids:
            uid, gid = (scope.uid(ids[0]), scope.gid(ids[1])) if ids else (0, 0)
            pid, end = kernel.start_inside(self._root, uid, gid)
            self._ends.append(end)
            return scope.pids.inner(pid)
        if ids is None:
            return os.getpid()
        pid = kernel.start_bystander(*ids)
        self._ends.append(lambda: kernel.end_bystander(pid))
        return pid

    def suits(self, status: proc.Status) -> bool:
        """Is there one that only Landlock can hide from this thread? There need not be any without Landlock."""
        return not self._present or self._key(status) in self._pids


def _ids(status: proc.Status) -> tuple[int, int] | None:
    """The kernel compares the real ids of who looks with all of the other's, unless it is capable."""
    if int(status["CapEff"], 16) & _CAP_SYS_PTRACE:
        return None
    return int(status["Uid"].split()[0]), int(status["Gid"].split()[0])


def ask_thread(q: Questions, probes: Probes) -> list[Ref]:
    """May the thread look at them?"""
    room = q.room(16)
    return [q.ask("get_robust_list", pid, room, room + 8) for pid in probes.pids]


def blocker(tid: int, q: Answers, asked: list[Ref], nth: int) -> str | None:
    """The blocker, without the pid, if a thread that the `nth` of Probes suits is restricted.

    KernelError: it cannot be told.
    """
    if not asked:
        return None
    result = q.result(asked[nth])
    if result not in (0, -errno.EPERM):
        raise KernelError(f"get_robust_list in task {tid}, to find out whether Landlock restricts it", -result)
    if not result:
        return None
    return (
        "is restricted by Landlock (or a security module's label), which cannot be read out of the kernel and would be "
        "lost: dump it before it restricts itself, or start it without"
    )
