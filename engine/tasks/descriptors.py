"""A task's descriptor table: every number with the right description and close-on-exec (pidfd_getfd(2), dup3(2)).

Almost all descriptions are the opener's. Files of procfs that belong to tasks of the tree are not there before these
tasks: when all of them are, the first task that has such a file opens it; others that share it take it from that one.
"""

from __future__ import annotations

import os

from engine.errors import EngineError, Unsupported
from engine.files import procfs, regular
from engine.files.fd import FD_CLOEXEC, O_CLOEXEC
from engine.images.schema import text
from engine.plan import abi
from engine.plan.program import Program, Ref
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.plan.program import Arena
    from engine.tasks.images import TaskImages, TreeImages

_F_SETFD = 2
_PROC = "/proc/"


class Late:
    """A description that a task opens: where it is then, for those who share it."""

    __slots__ = ("entry", "fd", "name", "owner", "word")

    def __init__(self, entry: Any, name: str) -> None:
        self.entry = entry
        self.name = name
        self.owner = 0
        self.fd = 0
        self.word = 0  # 0 unless it is shared


class Descriptors:
    """Those of all tasks of a tree. Unsupported for a file of a task that the tree does not have."""

    __slots__ = ("_arena", "_coordinator", "_count", "_late", "_opener", "_there")

    def __init__(self, arena: Arena, tree: TreeImages, opener: Opener, coordinator: int) -> None:
        self._arena = arena
        self._opener = opener
        self._coordinator = coordinator
        self._late: dict[int, Late] = {}
        self._there = 0
        self._count = sum(not node.helper for node in tree.nodes)
        self._find(tree)

    def _find(self, tree: TreeImages) -> None:
        names = {ident: text(e.reg.name) for ident, e in tree.files.items() if e.type == regular.TYPE}
        late = {ident: name for ident, name in names.items() if procfs.task_of(name)}
        if not late:
            return
        tids = {tid for task in tree.tasks for tid in (task.pid, *(tid for tid, _ in task.threads))}
        tables = set()
        for task in tree.live():
            table = task.node.ids["files"]
            for entry in task.fdinfo if table not in tables else ():
                if entry.id in late:
                    self._use(tree.files[entry.id], late[entry.id], task, entry.fd, tids)
            tables.add(table)
        self._there = self._arena.reserve(4)

    def _use(self, entry: Any, name: str, task: TaskImages, fd: int, tids: set[int]) -> None:
        if procfs.task_of(name) not in tids:
            raise Unsupported([f"pid {task.pid}: fd {fd}: {name}: that task is not in the tree: not supported yet"])
        known = self._late.get(entry.id)
        if known is None:
            known = self._late[entry.id] = Late(entry, name)
        elif known.owner and known.owner != task.pid:
            known.word = known.word or self._arena.reserve(4)
        if not known.owner and not task.leader_gone:  # of one whose leader has ended pidfd_getfd(2) gets nothing
            known.owner, known.fd = task.pid, fd

    def fill(self, program: Program, task: TaskImages, pidfd: Ref) -> None:
        """All that the opener has.

        pidfd_getfd takes the lowest free number, which is known here: the table is filled from below, and the pidfd
        sits above all of it.
        """
        opener = self._opener
        wanted = sorted((e for e in task.fdinfo if e.id not in self._late), key=lambda e: int(e.fd))
        high = _above(task)
        if high > 0:
            program.sys("dup3", pidfd, high, O_CLOEXEC, note="the opener, out of the way")
            program.sys("close", pidfd)
        source: Ref | int = high if high > 0 else pidfd
        have: dict[int, int] = {}
        lowest = 0
        for entry in wanted:
            if entry.id in have:
                program.sys("dup3", have[entry.id], entry.fd, _cloexec(entry))
            else:
                note = f"fd {entry.fd}: {opener.name(entry.id)}"
                got = program.sys("pidfd_getfd", source, opener.file(entry.id), 0, note=note)
                _move(program, got, lowest, entry)
                have[entry.id] = entry.fd
            if lowest == entry.fd:
                lowest += 1
        program.sys("close", source)

    def here(self, program: Program) -> None:
        """The task is there, with its threads and what `fill` gives it."""
        if self._there:
            program.add(self._there, 1)

    def fill_late(self, program: Program, task: TaskImages) -> None:
        """What tasks open, and then what they take from others: whoever opens has waited for nobody who takes."""
        wanted = sorted((e for e in task.fdinfo if e.id in self._late), key=lambda e: int(e.fd))
        if not wanted:
            return
        high = _above(task)
        taken = {e.fd for e in task.fdinfo if e.id not in self._late}
        mine = [e for e in wanted if self._late[e.id].owner == task.pid]
        program.wait(self._there, self._count)
        if mine:
            self._take(program, self._coordinator, high, "the opener")
            got = program.sys("pidfd_getfd", high, self._opener.proc(), 0, note="/proc, as the engine sees it")
            program.sys("dup3", got, high, O_CLOEXEC)
            program.sys("close", got)
            self._each(program, mine, taken, self._open, high)
            program.sys("close", high)
        self._each(program, [e for e in wanted if e not in mine], taken, self._take_from, high)

    def _each(self, program: Program, entries: list[Any], taken: set[int], get: Any, high: int) -> None:
        have: dict[int, int] = {}
        for entry in entries:
            if entry.id in have:
                program.sys("dup3", have[entry.id], entry.fd, _cloexec(entry))
            else:
                lowest = next(n for n in range(high + 1) if n not in taken)
                _move(program, get(program, self._late[entry.id], high, lowest), lowest, entry)
                have[entry.id] = entry.fd
                late = self._late[entry.id]
                if get == self._open and late.word:
                    program.add(late.word, 1)
            taken.add(entry.fd)

    def _open(self, program: Program, late: Late, proc: int, lowest: int) -> Ref:
        reg = late.entry.reg
        name = self._arena.text(late.name[len(_PROC) :])
        flags = reg.flags & ~regular.ONCE | O_CLOEXEC
        got = program.sys(
            "openat", proc, name, flags, 0, expect=abi.EXPECT_EQUAL, want=lowest, note=f"file {reg.id:#x}"
        )
        if reg.pos and not reg.flags & os.O_PATH:
            program.sys("lseek", got, reg.pos, os.SEEK_SET)
        return got

    def _take_from(self, program: Program, late: Late, high: int, lowest: int) -> Ref:
        if not late.owner:
            raise EngineError(f"{late.name}: only tasks whose leader has ended have it open: not supported yet")
        program.wait(late.word, 1)
        self._take(program, late.owner, high, f"who has {late.name}")
        got = program.sys(
            "pidfd_getfd", high, late.fd, 0, expect=abi.EXPECT_EQUAL, want=lowest, note=f"file {late.entry.id:#x}"
        )
        program.sys("close", high)
        return got

    def _take(self, program: Program, pid: int, high: int, note: str) -> None:
        """A pidfd, above all numbers of the table."""
        got = program.sys("pidfd_open", pid, 0, note=note)
        program.sys("dup3", got, high, O_CLOEXEC)
        program.sys("close", got)


def _above(task: TaskImages) -> int:
    return max((int(e.fd) for e in task.fdinfo), default=-1) + 1


def _cloexec(entry: Any) -> int:
    return O_CLOEXEC if entry.flags & FD_CLOEXEC else 0


def _move(program: Program, got: Ref, at: int, entry: Any) -> None:
    """From number `at`, the lowest that was free, to the entry's; all of ours are close-on-exec."""
    if at != entry.fd:
        program.sys("dup3", got, entry.fd, _cloexec(entry))
        program.sys("close", got)
    elif not _cloexec(entry):
        program.sys("fcntl", got, _F_SETFD, 0)
