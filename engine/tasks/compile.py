"""Compile a tree's images into programs, one a task and thread: births, memory, files, and what makes a task a task."""

from __future__ import annotations

import os

from engine.context import Context
from engine.files.kinds import IO_URING
from engine.kernel import proc
from engine.kernel.memory import PAGE
from engine.kernel.uapi import prctl as pr
from engine.memory import attributes
from engine.memory.space import Spaces
from engine.plan import abi
from engine.plan.program import ARENA_ROOM, Arena, Program, place
from engine.tasks import births, compat, creds, entering, identity, kids, limits, sched, signals, threads
from engine.tasks.births import OUTER, SIBLING, Node
from engine.tasks.descriptors import OPENER_FD, Descriptors
from engine.tasks.fs import Fs
from engine.tasks.images import STOPPED, TaskImages, TreeImages
from engine.tasks.numbers import Called
from engine.tasks.opener import Opener
from engine.tasks.runners import Guard, Mover, Plan, Runner, Shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.tasks.owned import Owned
    from engine.tasks.steered import Steered

_ALL_FDS = 0xFFFFFFFF
_CLONE = {"vm": 0x100, "fs": 0x200, "files": 0x400, "sighand": 0x800}
_CLONE_PARENT = 0x8000
# CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM
_CLONE_THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
_WALL = 0x40000000
_SIG_UNBLOCK = 1


class Compiler:
    """Compiles one tree. `coordinator` is the pid of whoever holds the opener's descriptors."""

    def __init__(self, ctx: Context, tree: TreeImages, opener: Opener, coordinator: int) -> None:
        taken = [(v.start, v.end) for task in tree.live() for v in task.mm.vmas]
        self.ctx = ctx
        self.tree = tree
        self.opener = opener
        self.coordinator = coordinator
        low = any(compat.is_compat(task.core) for task in tree.live())
        self.spaces = Spaces(ctx, opener, tree)
        tables = self.spaces.tables_size()
        room = ARENA_ROOM + tables + -tables % ARENA_ROOM
        self.arena = Arena(ctx.machine, place(taken, room, low), room)
        self.plan = Plan(self.arena)
        self.tasks = tree.by_pid()
        self.undo: dict[int, Any] = {}  # what tasks are to undo to semaphores at their end
        spaces = [("ipc", tree.namespaces.get("ipc", 0)), *tree.nested()]
        for ident in (ident for kind, ident in spaces if kind == "ipc" and ident):
            from engine.namespaces import sysv_sem

            self.undo.update(sysv_sem.undo(opener.images, ident))
        self.daemons: dict[int, Any] = {}  # of autofs mounts
        covered: set[int] = set()
        self.shown: list[int] = []  # pid namespaces whose procfs is mounted
        if "mnt" in tree.namespaces and "mnt" not in tree.joined:
            from engine.mounts import fs_autofs, fs_proc, image

            idents = [tree.namespaces["mnt"], *(ident for kind, ident in tree.nested() if kind == "mnt")]
            self.daemons = fs_autofs.find(opener.images, tree, idents)
            covered = image.covered_roots(opener.images, idents)
            self.shown = fs_proc.waiting(opener.images, idents, tree.numbers.first)
        self.shared = Shared(self.arena, tree)
        self.descriptors = Descriptors(self.arena, tree, opener)
        self.rings: dict[int, list[Any]] | None = None  # io_urings by the thread that alone may submit to them
        if any(entry.type == IO_URING for entry in opener.files.values()):
            from engine.files import io_uring_plan

            self.rings = io_uring_plan.of_threads(opener.files)
        self.fs = Fs(tree, opener, self.descriptors, covered)
        self.groups = self.arena.reserve(4)  # process groups that are there for others to join
        self.joined = self.arena.reserve(4)
        self.stage = self.arena.reserve(4)  # orphans come to one subreaper after the other
        self.joiners = sum(node.joins for node in tree.nodes)
        self.led = {node.pgid for node in tree.nodes if node.joins} - {OUTER}
        self.arrived: dict[int, int] = {}
        self.passing = 0  # those that are there only for a moment
        self.clocks = {pid: ident for ident, pid in tree.clocks().items()}
        self.inits = {pid: self.arena.reserve(4) for pid in tree.numbers.first.values()}  # words: they are there
        self.owned: Owned | None = None
        self.visits: dict[int, tuple[int, int]] = {}  # by first process: a word, how many have to enter before
        entering.prepare(self)
        self.stages = births.stages(tree.nodes)
        self.counts = [self.arena.reserve(4) for _ in self.stages]
        self.ended = self.arena.reserve(4)  # zombies and helpers: their end must not wake who is stopped
        self.ending = sum(node.dead for node in tree.nodes)
        self.owners: dict[tuple[str, int], Node] = {}
        for node in tree.nodes:
            for item in node.ids.items():
                self.owners.setdefault(item, node)
        self.todo: list[tuple[Node, Program]] = []  # whose births are compiled, but nothing else yet
        own = proc.status(os.getpid())
        self.ignored = int(own["SigIgn"], 16)
        self.fixed_groups: list[int] | None = None  # as the engine calls them
        everybodys: list[int] | None = None  # the same, as the tree does
        if "user" in tree.namespaces and not tree.exists("user", tree.namespaces["user"]):
            from engine.namespaces import user

            groups = list(tree.root.core.thread_core.creds.groups)
            self.fixed_groups = user.fixed_groups(opener.images, tree.namespaces["user"], groups)
            everybodys = None if self.fixed_groups is None else groups
        self.creds = creds.Inherited(ctx.schema.message, "user" in tree.namespaces, everybodys)
        self.limits = limits.own()
        self.personality = int(proc.read_text("/proc/self/personality"), 16)
        self.inherited = sched.Inherited()
        self.warn: Callable[[str], None] = ctx.log.warn

    def compile(self) -> Plan:
        """All programs; the seed runs the root's."""
        root = self.tree.nodes[0]
        program = self.plan.root = self.program_of(f"task {root.pid}", root.pid)
        kinds, nested = dict(self.tree.namespaces), self.tree.nested()
        if kinds or nested or self.clocks:
            from engine.namespaces.cradle import Cradle

            there, tids = self.tree.existing, self.tree.numbers.tids(root.pid)
            nested = [key for key in nested if not self.tree.exists(*key)]
            joined = there.of(self.tree.namespaces) if there else {}
            users = self.tree.users
            self.plan.cradle = Cradle(
                self.arena, kinds, nested, program, tids, joined, self.coordinator, users, self.fixed_groups
            )
            program.wait(self.plan.cradle.world, 1)
        self._unmap(program)  # the seed, its stack, its vdso
        program.sys("close_range", 0, _ALL_FDS, 0)
        opened = program.sys("pidfd_open", self.coordinator, 0, expect=abi.EXPECT_EQUAL, want=OPENER_FD)
        self.plan.opened = opened  # in namespaces that is another
        self.todo.append((root, program))
        while self.todo:
            self._node(*self.todo.pop())
        self.plan.guards.reverse()  # children first: their parents wait to see them stopped
        return self.plan

    def program_of(self, name: str, pid: int) -> Program:
        """A program of process `pid`."""
        program = self.arena.program(name)
        program.caller = Called(self.tree.numbers, pid, self.free_pid, self.born_in(pid) > 0)
        return program

    def born_in(self, pid: int) -> int:
        """The user namespace below the tree's that a task is in from birth; 0: the tree's, which it may leave."""
        return self.owned.born_in(pid) if self.owned else 0

    def _node(self, node: Node, program: Program) -> None:
        """One task from its birth on."""
        self._place(node, program)
        if node.pid in self.inits:
            program.add(self.inits[node.pid], 1)
            if self.shown:
                program.add(self.plan.arrivals, 1)
        if not self.enters(node):
            entering.enter(self, node, program)
        entering.make_clocks(self, node.pid, program)
        if self.spaces.comes_first(node.pid):
            self.spaces.plan_first(program, node.pid, OPENER_FD)
        for step, other, number in births.steps(node, self.stages):
            if step == births.BEAR:
                self._bear(node, program, other)
            elif step == births.BEAR_ORPHAN:
                self._bear_orphan(node, program, other, number)
            elif step == births.ADOPT:
                self._adopt(program, number)
            else:
                program.sys("setsid")
                if node.pid in self.led:
                    program.add(self.groups, 1)
        self._group(node, program)
        if node.dead:
            kids.die(self, node, program)
        else:
            self._live(node, program)

    def _place(self, node: Node, program: Program) -> None:
        """Its cgroups, if they are not those of who started it. The coordinator moves it."""
        cgroups = self.tree.cgroups
        if cgroups is None or node.dead:
            return
        creator = entering.nearest(node.creator)
        before = None if creator is None else cgroups.set_of(self.tasks[creator.pid])
        after = cgroups.set_of(self.tasks[node.pid])
        if before != after:
            mover = Mover(self.arena, node.pid, before, after)
            program.add(mover.arrived, 1)
            program.add(self.plan.arrivals, 1)
            program.wait(mover.go, 1)
            self.plan.movers.append(mover)

    def _bear(self, node: Node, program: Program, other: Node) -> None:
        child = self.program_of(f"task {other.pid}" if not other.helper else f"helper {other.pid}", other.pid)
        parent = _CLONE_PARENT if other.how == SIBLING else 0
        entering.spawn(self, program, child, node, other, self._flags(node, other) | parent)
        if parent and other.parent:
            program.add(self.arrivals(other.parent), 1)
        self._born(node, other, child)

    def arrivals(self, node: Node) -> int:
        """A word: how many children others have started for a task."""
        if node.pid not in self.arrived:
            self.arrived[node.pid] = self.arena.reserve(4)
        return self.arrived[node.pid]

    def _flags(self, node: Node, other: Node) -> int:
        return sum(_CLONE[kind] for kind in other.shares_with(node))

    def _born(self, node: Node, other: Node, child: Program) -> None:
        common = other.shares_with(node)
        # others with whom its creator shares these may have begun to fill what it got a copy of
        foreign = node.ids.get("vm") in self.shared.vm and "vm" not in common
        if foreign or (self._has_memory(node) and not other.dead and not self.spaces.inherits(other.pid)):
            self._unmap(child)
        if "files" not in common and node.ids.get("files") in self.shared.files:
            child.sys("close_range", OPENER_FD + 1, _ALL_FDS, 0)
        self.todo.append((other, child))

    def _has_memory(self, node: Node) -> bool:
        """Has it anything mapped but the arena, of its own or inherited, when it starts others?"""
        at: Node | None = node
        while at is not None and at.dead:  # to which it does not matter
            at = at.creator
        return at is not None and (self.spaces.comes_first(at.pid) or self.spaces.inherits(at.pid))

    def _unmap(self, program: Program) -> None:
        """All but the arena."""
        behind = self.arena.base + self.arena.room
        program.sys("munmap", PAGE, self.arena.base - PAGE, note="all below the arena")
        program.sys("munmap", behind, self.ctx.arch.TASK_SIZE - behind, note="all above it")

    def enters(self, node: Node) -> int:
        """The user namespace that a task is born in and who starts it is not, 0 for none."""
        return self.owned.enters(node.creator, node) if self.owned and node.creator else 0

    def _bear_orphan(self, node: Node, program: Program, other: Node, number: int) -> None:
        """By one in between that ends at once, when the adopter is the nearest subreaper."""
        between = self.program_of(f"parent of task {other.pid} for a moment", node.pid)
        program.wait(self.stage, 2 * number + 1)
        flags = self._flags(node, other)
        spaces = self.tree.numbers.space(node.pid)
        pid = entering.clone(self, program, between, flags, program.caller.passing(), "", spaces=spaces, stays=False)
        child = self.program_of(f"task {other.pid}", other.pid)
        entering.spawn(self, between, child, node, other, flags)
        between.sys("exit_group", 0)
        between.park()
        program.sys("wait4", pid, 0, _WALL, 0)
        program.add(self.counts[number], 1)
        self._born(node, other, child)

    def free_pid(self) -> int:
        """In a namespace of its own the next free pid is one that the tree needs: those behind the opener's are not."""
        if "pid" not in self.tree.namespaces:
            return 0
        self.passing += 1
        return self.opener.free_pid + self.passing

    def _adopt(self, program: Program, number: int) -> None:
        program.wait(self.stage, 2 * number)
        program.sys("prctl", pr.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, note="for a while")
        program.add(self.stage, 1)
        program.wait(self.counts[number], len(self.stages[number].orphans))
        program.sys("prctl", pr.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        program.add(self.stage, 1)

    def _group(self, node: Node, program: Program) -> None:
        """Its process group: at birth everybody is in the one that bears its session's number."""
        if node.leads_group or (node.joins and node.pid in self.led):
            program.sys("setpgid", 0, 0)
            if node.pid in self.led:
                program.add(self.groups, 1)
        if node.joins:
            program.wait(self.joined, node.turn)
            program.wait(self.groups, len(self.led))
            program.sys("setpgid", 0, os.getpgrp() if node.pgid == OUTER else program.called(node.pgid))
            program.add(self.joined, 1)

    def _live(self, node: Node, program: Program) -> None:
        task = self.tasks[node.pid]
        core = task.core
        guard = self._guard(task)
        if self.shown:
            program.wait(self.plan.mounted, 1)
        if core.tc.child_subreaper:
            program.wait(self.stage, 2 * len(self.stages))  # until then orphans have to pass by
        self._turn(task, program)
        if task.pid in self.daemons:
            from engine.mounts import fs_autofs

            fs_autofs.plan(program, self.arena, self.opener, OPENER_FD, self.daemons[task.pid])
        space = -1
        if ident := entering.leaves_for(self, task):
            space = self.descriptors.put_aside(program, task, self.opener.namespace("user", ident))
        apart = entering.Apart(self, task, program)
        owns_vm = self.owns("vm", node)
        if owns_vm:
            if not self.spaces.comes_first(task.pid):
                self.spaces.plan_first(program, task.pid, OPENER_FD)
            self.spaces.plan_last(program, task.pid, OPENER_FD)
        if self.owns("fs", node):
            self.fs.enter(program, task)
        if self.owns("files", node):
            self.descriptors.fill(program, task)
        else:
            program.add(self.shared.files[node.ids["files"]][0], 1)
        self._met(task, program)
        words = ready, settled = (self.arena.reserve(4), self.arena.reserve(4)) if task.threads else (0, 0)
        steered = None
        if space >= 0 and task.threads:
            from engine.tasks.steered import Steered  # few trees have any

            steered = Steered(self, task)
        else:
            runners = self._threads(task, program, words, guard, apart, None)
        self.descriptors.here(program)
        if self.owns("fs", node):
            self.fs.enter_late(program, task)
        if self.owns("files", node):
            self.descriptors.fill_late(program, task)
            self.descriptors.settle(program, task)
        else:
            self.descriptors.settle_shared(program, task)
        if not steered:
            self._rings(task, program, owns_vm)
            kids.react(self, task, program, ready)
        self.plan.limits.append((program, limits.plan(program, core, self.limits)))
        identity.plan(program, core, task.mm, self.personality)
        runner = Runner(task.pid, task.pid, core, program, self.arena.reserve(16))
        if task.pid in self.undo:
            from engine.namespaces import sysv_sem

            sysv_sem.plan(program, self.undo[task.pid])
        if steered:
            steered.enter(program, space)
            runners = self._threads(task, program, words, guard, apart, steered)
            steered.close(program)
            self._rings(task, program, owns_vm)
            kids.react(self, task, program, ready)
        its = task.for_children("pid")
        entering.enter_for_children(self, program, task, its)

        def make() -> None:
            entering.make_for_children(self, program, task, its)

        self._own(program, task, core, guard, 0, space, steered, make)
        program.wait(settled, len(task.threads))
        if owns_vm:
            attributes.plan_last(program, task.mm)
        if task.pid in self.visits and core.tc.task_state != STOPPED:
            program.wait(*self.visits[task.pid])
        identity.plan_last(program, core, task.mm)
        pid = program.called(task.pid)
        signals.plan_pending(program, core, core, pid, pid)
        limits.plan_last(program, core, self.limits)
        if task.leader_gone:
            program.sys("exit", core.tc.leader_exit_code >> 8, note="the leader ended before the others")
        elif core.tc.task_state == STOPPED:
            program.wait(self.ended, self.ending)
            signals.plan_stop(program, core, program.called(task.pid))
            runner.stops = True
        program.park()
        if guard:
            guard.runners = [runner, *runners]
        if not task.leader_gone:
            runners.insert(0, runner)
            self.plan.programs.append(program)

    def _threads(
        self,
        task: TaskImages,
        program: Program,
        words: tuple[int, int],
        guard: Guard | None,
        apart: entering.Apart,
        steered: Steered | None,
    ) -> list[Runner]:
        """Those besides the first; the namespaces that they have by themselves are entered when this is over."""
        runners = self.plan.runners[task.pid] = []
        for i, (tid, other) in steered.order(task.threads) if steered else enumerate(task.threads):
            runners.append(self._thread(task, tid, other, program, words, guard, i + 1, apart, steered))
        if steered:
            steered.sort(runners)
        apart.close(program)
        return runners

    def _rings(self, task: TaskImages, program: Program, owns_vm: bool) -> None:
        """What there is to its io_urings, when threads that begin with those are there."""
        if self.rings is not None:
            from engine.files import io_uring_plan

            waiting = sum(len(self.rings.get(tid, [])) for tid, _ in task.threads)
            owned = self.owns("files", task.node), owns_vm
            io_uring_plan.settle(program, task, *owned, self.ctx.arch.TASK_SIZE, waiting)

    def _guard(self, task: TaskImages) -> Guard | None:
        """Whoever stops itself, or installs what would act on our own system calls, has to be traced by then."""
        if task.core.tc.task_state != STOPPED and not (task.seccomp and task.seccomp.needed):
            return None
        guard = Guard(self.arena, task)
        self.plan.guards.append(guard)
        return guard

    def owns(self, kind: str, node: Node) -> bool:
        """Is it the first of those that share this object? It makes it, the others find it made."""
        return self.owners[kind, node.ids[kind]] is node

    def _turn(self, task: TaskImages, program: Program) -> None:
        """Descriptors in a table that tasks share: they use it one after the other, and its owner last."""
        word, pids = self.shared.files.get(task.node.ids["files"], (0, []))
        if word:
            program.wait(word, (pids.index(task.pid) or len(pids)) - 1)

    def _met(self, task: TaskImages, program: Program) -> None:
        """The address space is complete: for its owner to say, and for the others to wait for."""
        word, pids = self.shared.vm.get(task.node.ids["vm"], (0, []))
        if word and pids[0] == task.pid:
            program.add(word, 1)
        elif word:
            program.wait(word, 1)

    def _thread(
        self,
        task: TaskImages,
        tid: int,
        core: Any,
        leader: Program,
        words: tuple[int, int],
        guard: Guard | None,
        index: int,
        apart: entering.Apart,
        steered: Steered | None,
    ) -> Runner:
        """A thread: it inherits what the engine has, like the leader, which has changed nothing of itself yet."""
        program = self.program_of(f"thread {tid} of task {task.pid}", task.pid)
        if steered:
            steered.spawn(leader, program, tid, _CLONE_THREAD)
        else:
            tids, spaces = self.tree.numbers.tids(tid), self.tree.numbers.space(task.pid)
            entering.clone(self, leader, program, _CLONE_THREAD, tids, f"tid {tid}", spaces=spaces)
        identity.plan_thread(program, core, task.core, self.personality)
        ready, settled = words
        apart.enter(program, tid)
        if self.rings is not None:
            from engine.files import io_uring_plan

            io_uring_plan.plan_thread(program, core, task, self.rings.get(tid, []))
        apart.enter_late(program, tid, ready)
        self._own(program, task, core, guard, index, -1, steered)
        program.add(settled, 1)
        if core.thread_core.signals_p.signals:
            program.wait(ready, 1)  # actions are set: what is queued after that stays
            signals.plan_pending(program, core, task.core, program.called(task.pid), program.called(tid))
        program.park()
        self.plan.programs.append(program)
        return Runner(task.pid, tid, core, program, self.arena.reserve(16))

    def _own(
        self,
        program: Program,
        task: TaskImages,
        core: Any,
        guard: Guard | None,
        index: int,
        space: int,
        steered: Steered | None,
        made: Callable[[], None] | None = None,
    ) -> None:
        """What every thread has of its own; what takes capabilities comes before they go.

        `space` is a descriptor of the user namespace to enter, as in `creds.plan`. What is `made` in there is made
        when it is there.
        """
        if not steered:
            sched.plan(program, core.thread_core, self.inherited, self.warn)
        signals.plan_stack(program, core)
        if guard:
            program.add(guard.arrived, 1)
            program.wait(guard.held, 1)
            if task.seccomp and task.seccomp.needed:
                task.seccomp.plan(program, index, guard.together)
        if steered:
            steered.own(program, core, made)
        else:
            creds.plan(program, core, self.creds, space, entering.born_as(self, task.pid), made)
        if not (task.leader_gone and index == 0):
            threads.plan(program, core)
        if core.thread_core.pdeath_sig or program is self.plan.root:  # the seed dies with the engine
            program.sys("prctl", pr.PR_SET_PDEATHSIG, core.thread_core.pdeath_sig, 0, 0, 0)
