"""A task's descriptor table: every number with the right description and close-on-exec (pidfd_getfd(2), dup3(2)).

Almost all descriptions are the opener's. Files of procfs that belong to tasks of the tree are not there before these
tasks: when all of them are, the first task that has such a file opens it; others that share it take it from that one.
"""

from __future__ import annotations

import resource

from engine.errors import EngineError, Unsupported
from engine.files import kinds, owner
from engine.files.fd import FD_CLOEXEC, O_CLOEXEC
from engine.kernel.uapi import prctl as pr
from engine.plan import abi
from engine.plan.program import Program, Ref
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType
    from typing import Any

    from engine.files.locks import Restored
    from engine.plan.program import Arena
    from engine.tasks.births import Node
    from engine.tasks.images import TaskImages, TreeImages

OPENER_FD = 0  # every task has a pidfd of the opener here until it has its own descriptors
_F_SETFD = 2
_MANY = 8  # descriptors that one operation is worth
_INIT = 1  # of the host: always there


class Late:
    """A description that a task opens: where it is then, for those who share it."""

    __slots__ = ("entry", "fd", "kind", "name", "owner", "word")

    def __init__(self, entry: Any, kind: ModuleType, name: str) -> None:
        self.entry = entry
        self.kind = kind
        self.name = name
        self.owner = 0
        self.fd = 0
        self.word = 0  # 0 unless it is shared


class Descriptors:
    """Those of all tasks of a tree. Unsupported for a file of a task that the tree does not have."""

    __slots__ = (
        *("_arena", "_aside", "_behind", "_count", "_late", "_leased", "_limit", "_locks", "_opener", "_owners"),
        *("_set", "_settled", "_settlers", "_sharers", "_there", "_watches"),
    )

    def __init__(self, arena: Arena, tree: TreeImages, opener: Opener) -> None:
        self._arena = arena
        self._opener = opener
        self._aside: dict[int, set[int]] = {}  # by the number of a table: numbers of its that are somebody's meanwhile
        self._sharers: dict[int, list[TaskImages]] = {}  # by the same: tasks
        for task in tree.live():
            self._sharers.setdefault(task.ids.files_id, []).append(task)
        self._late: dict[int, Late] = {}
        self._settled: set[int] = set()  # files whose owners are set
        self._settlers: dict[int, int] = {}  # file id -> who settles it
        self._watches: dict[int, Any] = {}  # epoll id -> what it watches
        self._there = 0
        self._behind: dict[int, list[int]] = {}  # helpers: a word of the arena, how many files are to be opened
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._owners = owner.Owners(tree, opener.image)
        self._locks = tree.locks
        self._leased = arena.reserve(4)  # tables whose leases are taken
        self._set: dict[int, int] = {}  # by the number of a table: a word, for when it is complete
        if self._owners:
            self._there = arena.reserve(4)
        self._find(tree)
        self._count = sum(not node.helper or node.pid in self._behind for node in tree.nodes)
        self._find_settlers(tree)

    def _find(self, tree: TreeImages) -> None:
        late: dict[int, int] = {}  # file id -> the task behind it
        types = {kind: kinds.by_type(kind) for kind in {entry.type for entry in tree.files.values()}}
        behind = {kind: its.task_behind for kind, its in types.items() if its and hasattr(its, "task_behind")}
        for ident, entry in tree.files.items() if behind else ():
            if entry.type in behind and (pid := behind[entry.type](entry)):
                late[ident] = pid
        if not late:
            return
        tids = {tid for task in tree.tasks for tid in (task.pid, *(tid for tid, _ in task.threads))}
        helpers = {node.pid for node in tree.nodes if node.helper}
        tables = set()
        for task in tree.live():
            if (pid := late.get(task.fs.cwd_id, 0)) in helpers:
                self._behind.setdefault(pid, [self._arena.reserve(4), 0])[1] += 1
        for task in tree.live():
            table = task.node.ids["files"]
            for entry in task.fdinfo if table not in tables else ():
                if entry.id in late:
                    pid = late[entry.id]
                    if pid in helpers and entry.id not in self._late:
                        self._behind.setdefault(pid, [self._arena.reserve(4), 0])[1] += 1
                    elif pid not in tids and pid not in helpers:
                        if pid == _INIT:
                            continue
                        what = f"pid {task.pid}: fd {entry.fd}: {self._opener.name(entry.id)}"
                        raise Unsupported([f"{what}: pid {late[entry.id]} is not in the tree: not supported yet"])
                    self._use(tree.files[entry.id], task, entry.fd)
            tables.add(table)
        self._there = self._there or self._arena.reserve(4)

    def _find_settlers(self, tree: TreeImages) -> None:
        """The first that has a file, in the order of the tree, of those who fill a table: epolls are bound to one."""
        types = {t: kinds.by_type(t) for t in {entry.type for entry in tree.files.values()}}
        hooked = {t for t, kind in types.items() if hasattr(kind, "plan_after") or hasattr(kind, "plan_watches")}
        idents = {ident for ident, entry in tree.files.items() if entry.type in hooked}
        if not idents:
            return
        tasks, tables = tree.by_pid(), set()
        for node in tree.nodes:
            table = node.ids.get("files")
            if node.dead or table in tables:
                continue
            tables.add(table)
            for entry in tasks[node.pid].fdinfo:
                if entry.id in idents and entry.id not in self._settlers:
                    self._settlers[entry.id] = node.pid
                    kind = self._opener.kind(entry.id)
                    if hasattr(kind, "plan_watches"):
                        self._watches[entry.id] = kind.needs(tree.files[entry.id], tasks[node.pid])
        for epoll, wanted in self._watches.items():
            for _, ident, _ in wanted:
                late = self._late.get(ident)
                if late and late.owner != self._settlers[epoll]:
                    late.word = late.word or self._arena.reserve(4)

    def _use(self, entry: Any, task: TaskImages, fd: int) -> None:
        known = self._late.get(entry.id)
        if known is None:
            known = self._late[entry.id] = Late(entry, self._opener.kind(entry.id), self._opener.name(entry.id))
        elif known.owner and known.owner != task.pid:
            known.word = known.word or self._arena.reserve(4)
        if known.owner or task.leader_gone:  # of one whose leader has ended pidfd_getfd(2) gets nothing
            return
        if getattr(known.kind, "BOUND", False) and known.kind.task_behind(entry) != task.pid:
            known.word = known.word or self._arena.reserve(4)
        else:
            known.owner, known.fd = task.pid, fd

    def fill(self, program: Program, task: TaskImages) -> None:
        """All that the opener has.

        pidfd_getfd takes the lowest free number, which is known here: the table is filled from below, and the pidfd
        sits above all of it.
        """
        opener = self._opener
        wanted = sorted((e for e in task.fdinfo if e.id not in self._late), key=lambda e: int(e.fd))
        high = self._spare(task)
        if high > 0:
            program.sys("dup3", OPENER_FD, high, O_CLOEXEC, note="the opener, out of the way")
            program.sys("close", OPENER_FD)
        source = max(high, OPENER_FD)
        have: dict[int, int] = {}
        lowest = 0
        in_the_way = high if high > 0 else -1
        skip = 0
        for i, entry in enumerate(wanted):
            if i < skip:
                continue
            run = _run(wanted, i, lowest, have)
            if len(run) >= _MANY:
                self._take_run(program, source, run)
                have.update((each.id, each.fd) for each in run)
                lowest, skip = run[-1].fd + 1, i + len(run)
                continue
            if entry.id in have:
                program.sys("dup3", have[entry.id], entry.fd, _cloexec(entry))
            else:
                note = f"fd {entry.fd}: {opener.name(entry.id)}"
                got = program.sys("pidfd_getfd", source, opener.file(entry.id), 0, note=note)
                _move(program, got, lowest, entry)
                have[entry.id] = entry.fd
            while lowest in (entry.fd, in_the_way):
                lowest += 1
        if keep := self._keep_at(task):
            program.sys("dup3", source, keep, O_CLOEXEC, note="the opener, for what epolls watch")
        if not any(e.id in self._late for e in task.fdinfo) and not self._broken(task):
            program.sys("close", source)

    def _take_run(self, program: Program, source: int, run: list[Any]) -> None:
        opener = self._opener
        kept = abi.TAKE_KEPT
        sources = [opener.file(e.id) | (0 if e.flags & FD_CLOEXEC else kept) for e in run]
        program.take(source, sources, run[0].fd, lambda: ", ".join(f"fd {e.fd}: {opener.name(e.id)}" for e in run))

    def put_aside(self, program: Program, task: TaskImages, number: int) -> int:
        """Before `fill`: take what the opener has as `number`, to where it is in nobody's way; returns that number."""
        got = program.sys("pidfd_getfd", OPENER_FD, number, 0)
        given = self._aside.setdefault(task.ids.files_id, set())
        at = self._spare(task, {self._spare(task), *map(self._keep_at, self._sharers[task.ids.files_id]), *given})
        given.add(at)
        program.sys("dup3", got, at, O_CLOEXEC)
        program.sys("close", got)
        return at

    def here(self, program: Program) -> None:
        """The task is there, with its threads and what `fill` gives it."""
        if self._there:
            program.add(self._there, 1)

    def ends(self, program: Program, node: Node) -> None:
        """A task that only ends is there; of a helper all files have to be open by then."""
        if not node.helper or node.pid in self._behind:
            self.here(program)
        if node.pid in self._behind:
            program.wait(*self._behind[node.pid])

    def enter_late(self, program: Program, cwd: Any) -> None:
        """A working directory in procfs, by its name: no number is free for sure in a table that others share."""
        name = self._opener.name(cwd.id)
        program.wait(self._there, self._count)
        program.sys("chdir", program.arena.text(name))
        self._opened(program, cwd)

    def _opened(self, program: Program, entry: Any) -> None:
        pid = self._opener.kind(entry.id).task_behind(entry)
        if pid in self._behind:
            program.add(self._behind[pid][0], 1)

    def fill_late(self, program: Program, task: TaskImages) -> None:
        """What tasks open, and then what they take from others: whoever opens has waited for nobody who takes."""
        wanted = sorted((e for e in task.fdinfo if e.id in self._late), key=lambda e: int(e.fd))
        high = self._spare(task)
        self._lease(program, task, high)
        if not wanted:
            return
        taken = {e.fd for e in task.fdinfo if e.id not in self._late} | {self._keep_at(task)} - {0}
        mine = [e for e in wanted if self._late[e.id].owner == task.pid]
        program.wait(self._there, self._count)
        if mine:
            # or procfs has its files belong to the engine's root, whom a user namespace may not know
            program.sys("prctl", pr.PR_SET_DUMPABLE, 1, 0, 0, 0)
            got = program.sys("pidfd_getfd", high, self._opener.proc(), 0, note="/proc, as the engine sees it")
            program.sys("dup3", got, high, O_CLOEXEC)
            program.sys("close", got)
            self._each(program, mine, taken, self._open, high)
            program.sys("close", high)
        self._each(program, [e for e in wanted if e not in mine], taken, self._take_from, high)

    def settle(self, program: Program, task: TaskImages) -> None:
        """All of the task's descriptors are there: what only a task can do with them, by the first that has the file.

        That is `plan_after(program, entry, fd, task)` of its kind, then owners, and locks. Before all of it, since
        descriptors are closed for it, which takes locks away: what epolls watch.
        """
        mine: dict[int, int] = {}
        for entry in task.fdinfo if self._settlers else ():
            if self._settlers.get(entry.id) == task.pid:
                mine.setdefault(entry.id, entry.fd)
        if keep := self._keep_at(task):
            self._watch(program, task, mine, keep)
        for ident, fd in mine.items():
            kind = self._opener.kind(ident)
            if hasattr(kind, "plan_after"):
                kind.plan_after(program, self._opener.files[ident], fd, task)
        owned: dict[int, int] = {}
        for entry in task.fdinfo if self._owners else ():
            if entry.id not in self._settled and self._owners.has(entry.id):
                self._settled.add(entry.id)
                owned[entry.id] = entry.fd
        if owned:
            program.wait(self._there, self._count)
        for ident, fd in owned.items():
            self._owners.plan(program, ident, fd)
        if self._locks:
            self._locks.plan(program, task)
            program.add(self._word(task), 1)

    def settle_shared(self, program: Program, task: TaskImages) -> None:
        """The same for a task whose table is another's: its locks bear its pid."""
        if self._locks and self._locks.sets(task):
            program.wait(self._word(task), 1)
            self._locks.plan(program, task)

    def _word(self, task: TaskImages) -> int:
        table = task.ids.files_id
        if table not in self._set:
            self._set[table] = self._arena.reserve(4)
        return self._set[table]

    def _broken(self, task: TaskImages) -> list[Restored]:
        """The leases of a table that are being broken."""
        return [lease for lease in self._locks.leases(task.ids.files_id) if lease.broken] if self._locks else []

    def _lease(self, program: Program, task: TaskImages, high: int) -> None:
        """Leases come before owners; those of a file are broken together, when all of them are there.

        If any is to be, `high` is the opener, and closed where no late file needs it.
        """
        if not self._locks or not (leases := self._locks.leases(task.ids.files_id)):
            return
        from engine.files import locks

        locks.plan_leases(program, leases, self._owners)
        program.add(self._leased, 1)
        if broken := self._broken(task):
            program.wait(self._leased, self._locks.leasing)
            got = program.sys("pidfd_getfd", high, self._opener.proc(), 0, note="/proc, as the opener sees it")
            locks.plan_breaks(program, broken, got)
            program.sys("close", got)
            if not any(e.id in self._late for e in task.fdinfo):
                program.sys("close", high)

    def _watch(self, program: Program, task: TaskImages, mine: dict[int, int], keep: int) -> None:
        """The registrations of epolls; `keep` is the opener's pidfd, which is closed."""
        from engine.tasks.borrow import Borrowed

        opener = self._opener
        files = Borrowed(program, task, lambda ident: self._borrow(program, ident, keep), keep)
        for ident, fd in mine.items():
            if ident in self._watches:
                kind = opener.kind(ident)
                kind.plan_watches(program, opener.files[ident], fd, self._watches[ident], files, opener)
        program.sys("close", keep)

    def _keep_at(self, task: TaskImages) -> int:
        """The number of the opener's pidfd in a task that settles epolls, which nothing else uses then; else 0."""
        numbers = {
            number
            for epoll, wanted in self._watches.items()
            if self._settlers[epoll] == task.pid
            for _, _, number in wanted
        }
        return self._spare(task, numbers | {self._spare(task)}) if numbers else 0

    def _borrow(self, program: Program, ident: int | None, opener: int) -> Ref:
        """A file that another task or the opener has, or /proc."""
        late = self._late.get(ident) if ident else None
        if late:
            program.wait(late.word, 1)
            pidfd = program.sys("pidfd_open", program.called(late.owner), 0, note=f"who has {late.name}")
            got = program.sys("pidfd_getfd", pidfd, late.fd, 0, note=late.name)
            program.sys("close", pidfd)
            return got
        number = self._opener.file(ident) if ident else self._opener.proc()
        return program.sys("pidfd_getfd", opener, number, 0, note=f"file {ident:#x}" if ident else "/proc")

    def _spare(self, task: TaskImages, also: Collection[int] = ()) -> int:
        """A number that the task does not use: above all others, or, where that is too high, in the highest gap."""
        used = {int(e.fd) for e in task.fdinfo} | set(also)
        spare = max(used, default=-1) + 1
        if spare >= self._limit:
            spare = next((n for n in range(self._limit - 1, -1, -1) if n not in used), -1)
        if spare < 0:
            raise EngineError(f"pid {task.pid}: all of its descriptors up to the limit are open: raise RLIMIT_NOFILE")
        return spare

    def _each(self, program: Program, entries: list[Any], taken: set[int], get: Any, high: int) -> None:
        have: dict[int, int] = {}
        for entry in entries:
            if entry.id in have:
                program.sys("dup3", have[entry.id], entry.fd, _cloexec(entry))
            else:
                lowest = next(n for n in range(self._limit) if n not in taken and n != high)
                _move(program, get(program, self._late[entry.id], high, lowest), lowest, entry)
                have[entry.id] = entry.fd
                late = self._late[entry.id]
                if get == self._open and late.word:
                    program.add(late.word, 1)
            taken.add(entry.fd)

    def _open(self, program: Program, late: Late, proc: int, lowest: int) -> Ref:
        got: Ref = late.kind.plan_open(program, late.entry, proc, lowest)
        self._opened(program, late.entry)
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
        got = program.sys("pidfd_open", program.called(pid), 0, note=note)
        program.sys("dup3", got, high, O_CLOEXEC)
        program.sys("close", got)


def _run(wanted: list[Any], first: int, lowest: int, have: dict[int, int]) -> list[Any]:
    """Those from the first on that are to have the lowest free numbers, one behind the other, without duplicates."""
    out: list[Any] = []
    seen = set()
    for i in range(first, len(wanted)):
        entry = wanted[i]
        if entry.fd != lowest + len(out) or entry.id in have or entry.id in seen:
            break
        seen.add(entry.id)
        out.append(entry)
    return out


def _cloexec(entry: Any) -> int:
    return O_CLOEXEC if entry.flags & FD_CLOEXEC else 0


def _move(program: Program, got: Ref, at: int, entry: Any) -> None:
    """From number `at`, the lowest that was free, to the entry's; all of ours are close-on-exec."""
    if at != entry.fd:
        program.sys("dup3", got, entry.fd, _cloexec(entry))
        program.sys("close", got)
    elif not _cloexec(entry):
        program.sys("fcntl", got, _F_SETFD, 0)
