"""Compile a tree's images into programs, one a task and thread: births, memory, files, and what makes a task a task."""

from __future__ import annotations

import os
import struct

from engine.context import Context
from engine.kernel import proc
from engine.kernel.memory import PAGE
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGCHLD, SIGSTOP
from engine.memory import attributes
from engine.memory.space import Spaces
from engine.plan import abi
from engine.plan.program import ARENA_ROOM, Arena, Program, Ref, place
from engine.tasks import births, compat, creds, identity, limits, sched, signals, threads, timers
from engine.tasks.births import OUTER, SIBLING, Node
from engine.tasks.descriptors import Descriptors
from engine.tasks.images import STOPPED, TaskImages, TreeImages
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ALL_FDS = 0xFFFFFFFF
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)
_CLONE = {"vm": 0x100, "fs": 0x200, "files": 0x400, "sighand": 0x800}
_CLONE_PARENT = 0x8000
# CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM
_CLONE_THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000
_P_PID, _WSTOPPED, _WEXITED, _WNOWAIT, _WALL = 1, 2, 4, 0x01000000, 0x40000000
_SIG_UNBLOCK = 1


class Runner:
    """One thread that the coordinator takes over when its program has parked."""

    __slots__ = ("core", "pid", "program", "room", "stops", "tid")

    def __init__(self, pid: int, tid: int, core: Any, program: Program, room: int) -> None:
        self.pid = pid
        self.tid = tid
        self.core = core
        self.program = program
        self.room = room  # 16 bytes of the arena, for whoever takes it over
        self.stops = False  # at its last operations it stops itself


class Guard:
    """A process that needs the coordinator as its tracer at some point: its threads `arrived`, and wait for `held`."""

    __slots__ = ("arrived", "held", "runners", "task")

    def __init__(self, arena: Arena, task: TaskImages) -> None:
        self.task = task
        self.arrived = arena.reserve(4)
        self.held = arena.reserve(8)  # and the word of those who install filters together
        self.runners: list[Runner] = []


class Plan:
    """Everything compiled."""

    __slots__ = ("arena", "guards", "limits", "programs", "root", "runners")

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.root: Program
        self.runners: dict[int, list[Runner]] = {}  # by pid, the first thread first
        self.guards: list[Guard] = []
        self.limits: list[tuple[Program, list[tuple[str, Ref]]]] = []
        self.programs: list[Program] = []  # those to wait for


class Shared:
    """Words of the arena by which tasks that share an address space or a descriptor table wait for each other."""

    __slots__ = ("_arena", "files", "vm")

    def __init__(self, arena: Arena, tree: TreeImages) -> None:
        self._arena = arena
        self.vm = self._by_id(tree, "vm")
        self.files = self._by_id(tree, "files")

    def _by_id(self, tree: TreeImages, kind: str) -> dict[int, tuple[int, list[int]]]:
        """id -> (word, pids in the order in which they are started), of those that several have."""
        out: dict[int, list[int]] = {}
        for node in tree.nodes:
            if not node.dead:
                out.setdefault(node.ids[kind], []).append(node.pid)
        return {ident: (self._arena.reserve(4), pids) for ident, pids in out.items() if len(pids) > 1}


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
        self.shared = Shared(self.arena, tree)
        self.descriptors = Descriptors(self.arena, tree, opener, coordinator)
        self.groups = self.arena.reserve(4)  # process groups that are there for others to join
        self.joined = self.arena.reserve(4)
        self.stage = self.arena.reserve(4)  # orphans come to one subreaper after the other
        self.joiners = sum(node.joins for node in tree.nodes)
        self.led = {node.pgid for node in tree.nodes if node.joins} - {OUTER}
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
        self.creds = creds.Inherited(ctx.schema.message)
        self.limits = limits.own()
        self.personality = int(proc.read_text("/proc/self/personality"), 16)
        self.inherited = sched.Inherited()
        self.warn: Callable[[str], None] = ctx.log.warn

    def compile(self) -> Plan:
        """All programs; the seed runs the root's."""
        root = self.tree.nodes[0]
        program = self.plan.root = self.arena.program(f"task {root.pid}")
        self._unmap(program)  # the seed, its stack, its vdso
        program.sys("close_range", 0, _ALL_FDS, 0)
        self.todo.append((root, program))
        while self.todo:
            self._node(*self.todo.pop())
        self.plan.guards.reverse()  # children first: their parents wait to see them stopped
        return self.plan

    def _node(self, node: Node, program: Program) -> None:
        """One task from its birth on."""
        if self.spaces.comes_first(node.pid):
            pidfd = program.sys("pidfd_open", self.coordinator, 0, note="the opener")
            self.spaces.plan_first(program, node.pid, pidfd)
            program.sys("close", pidfd)
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
            self._die(node, program)
        else:
            self._live(node, program)

    def _bear(self, node: Node, program: Program, other: Node) -> None:
        child = self.arena.program(f"task {other.pid}" if not other.helper else f"helper {other.pid}")
        parent = _CLONE_PARENT if other.how == SIBLING else 0
        self._spawn(program, child, other, self._flags(node, other) | parent)
        self._born(node, other, child)

    def _flags(self, node: Node, other: Node) -> int:
        return sum(_CLONE[kind] for kind in other.shares_with(node))

    def _born(self, node: Node, other: Node, child: Program) -> None:
        common = other.shares_with(node)
        # others with whom its creator shares these may have begun to fill what it got a copy of
        foreign = node.ids.get("vm") in self.shared.vm and "vm" not in common
        if foreign or (self._has_memory(node) and not other.dead and not self.spaces.inherits(other.pid)):
            self._unmap(child)
        if "files" not in common and node.ids.get("files") in self.shared.files:
            child.sys("close_range", 0, _ALL_FDS, 0)
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

    def _spawn(self, program: Program, child: Program, node: Node, flags: int) -> None:
        tid = self.arena.put(struct.pack("<q", node.pid))
        stack = self.arena.stack() - abi.STACK_SIZE
        exit_signal = 0 if flags & _CLONE_PARENT else node.exit_signal
        args = _CLONE_ARGS.pack(flags, 0, 0, 0, exit_signal, stack, abi.STACK_SIZE, 0, tid, 1, 0)
        program.spawn(self.arena.put(args), len(args), child, f"pid {node.pid}")

    def _bear_orphan(self, node: Node, program: Program, other: Node, number: int) -> None:
        """By one in between that ends at once, when the adopter is the nearest subreaper."""
        between = self.arena.program(f"parent of task {other.pid} for a moment")
        program.wait(self.stage, 2 * number + 1)
        stack = self.arena.stack() - abi.STACK_SIZE
        flags = self._flags(node, other)
        args = _CLONE_ARGS.pack(flags, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        pid = program.spawn(self.arena.put(args), len(args), between, "")
        child = self.arena.program(f"task {other.pid}")
        self._spawn(between, child, other, flags)
        between.sys("exit_group", 0)
        between.park()
        program.sys("wait4", pid, 0, _WALL, 0)
        program.add(self.counts[number], 1)
        self._born(node, other, child)

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
            program.sys("setpgid", 0, os.getpgrp() if node.pgid == OUTER else node.pgid)
            program.add(self.joined, 1)

    def _die(self, node: Node, program: Program) -> None:
        """A zombie, or a helper: it ends when nobody needs it any more, by its signal or with its status."""
        if not node.helper:
            self.descriptors.here(program)
        program.wait(self.joined, self.joiners)
        code = 0
        if not node.helper:
            core = self.tasks[node.pid].core
            code = core.tc.exit_code
            identity.plan_name(program, core.tc.comm)
            if core.HasField("thread_core"):  # CRIU does not keep whose child it was
                creds.plan(program, core, self.creds)
        if sig := code & 0x7F:
            program.sys("prlimit64", 0, 4, self.arena.put(bytes(16)), 0, note="no core dump")
            program.sys("rt_sigprocmask", _SIG_UNBLOCK, self.arena.put((1 << sig - 1).to_bytes(8, "little")), 0, 8)
            program.sys("kill", node.pid, sig)
        program.sys("exit_group", code >> 8)
        program.park()

    def _live(self, node: Node, program: Program) -> None:
        task = self.tasks[node.pid]
        core = task.core
        guard = self._guard(task)
        if core.tc.child_subreaper:
            program.wait(self.stage, 2 * len(self.stages))  # until then orphans have to pass by
        self._turn(task, program)
        pidfd = program.sys("pidfd_open", self.coordinator, 0, note="the opener")
        owns_vm = self._owns("vm", node)
        if owns_vm:
            if not self.spaces.comes_first(task.pid):
                self.spaces.plan_first(program, task.pid, pidfd)
            self.spaces.plan_last(program, task.pid, pidfd)
        if self._owns("fs", node):
            self._fs(program, task, pidfd)
        if self._owns("files", node):
            self.descriptors.fill(program, task, pidfd)
        else:
            program.sys("close", pidfd)
            program.add(self.shared.files[node.ids["files"]][0], 1)
        self._met(task, program)
        ready, settled = (self.arena.reserve(4), self.arena.reserve(4)) if task.threads else (0, 0)
        runners = self.plan.runners[task.pid] = []
        for i, (tid, other) in enumerate(task.threads):
            runners.append(self._thread(task, tid, other, program, (ready, settled), guard, i + 1))
        self.descriptors.here(program)
        if self._owns("files", node):
            self.descriptors.fill_late(program, task)
        self._kids(node, program)
        if self._owns("sighand", node):
            signals.plan_actions(program, core, self.ignored)
        if ready:
            program.add(ready, 1)
        timers.plan(program, core, [other for _, other in task.threads])
        self.plan.limits.append((program, limits.plan(program, core, self.limits)))
        identity.plan(program, core, task.mm, self.personality)
        runner = Runner(task.pid, task.pid, core, program, self.arena.reserve(16))
        self._own(program, task, core, guard, 0)
        program.wait(settled, len(task.threads))
        if owns_vm:
            attributes.plan_last(program, task.mm)
        identity.plan_last(program, core, task.mm)
        signals.plan_pending(program, core, core, task.pid, task.pid)
        limits.plan_last(program, core, self.limits)
        if task.leader_gone:
            program.sys("exit", core.tc.leader_exit_code >> 8, note="the leader ended before the others")
        elif core.tc.task_state == STOPPED:
            self._stop(program, task)
            runner.stops = True
        program.park()
        if guard:
            guard.runners = [runner, *runners]
        if not task.leader_gone:
            runners.insert(0, runner)
            self.plan.programs.append(program)

    def _guard(self, task: TaskImages) -> Guard | None:
        """Whoever stops itself, or installs what would act on our own system calls, has to be traced by then."""
        if task.core.tc.task_state != STOPPED and not (task.seccomp and task.seccomp.needed):
            return None
        guard = Guard(self.arena, task)
        self.plan.guards.append(guard)
        return guard

    def _owns(self, kind: str, node: Node) -> bool:
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

    def _kids(self, node: Node, program: Program) -> None:
        """Dead and stopped children have to be so by now: what tells of it must not be found in the restored queue."""
        told = set()
        for kid in (kid for kid in node.kids if kid.dead):
            if kid.helper:
                program.sys("wait4", kid.pid, 0, _WALL, 0, note="a helper")
            else:
                program.sys("waitid", _P_PID, kid.pid, 0, _WEXITED | _WNOWAIT | _WALL, 0, note="a zombie")
            program.add(self.ended, 1)
            told.add(kid.exit_signal)
        for kid in (kid for kid in node.kids if not kid.dead):
            tc = self.tasks[kid.pid].core.tc
            if tc.task_state == STOPPED:
                keep = 0 if tc.stop_seen else _WNOWAIT
                program.sys("waitid", _P_PID, kid.pid, 0, _WSTOPPED | keep | _WALL, 0, note="stopped")
                told.add(SIGCHLD)
        default = self.arena.reserve(32)
        for sig in sorted(told - {0}):
            if sig != SIGCHLD:  # whose default is to be ignored
                ignore = self.arena.put((1).to_bytes(32, "little"))
                program.sys("rt_sigaction", sig, ignore, 0, 8)
            program.sys("rt_sigaction", sig, default, 0, 8, note="drops what these children's ends have queued")

    def _thread(
        self,
        task: TaskImages,
        tid: int,
        core: Any,
        leader: Program,
        words: tuple[int, int],
        guard: Guard | None,
        index: int,
    ) -> Runner:
        """A thread: it inherits what the engine has, like the leader, which has changed nothing of itself yet."""
        program = self.arena.program(f"thread {tid} of task {task.pid}")
        word = self.arena.put(struct.pack("<q", tid))
        stack = self.arena.stack() - abi.STACK_SIZE
        args = _CLONE_ARGS.pack(_CLONE_THREAD, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, word, 1, 0)
        leader.spawn(self.arena.put(args), len(args), program, f"tid {tid}")
        identity.plan_thread(program, core, task.core, self.personality)
        self._own(program, task, core, guard, index)
        ready, settled = words
        program.add(settled, 1)
        if core.thread_core.signals_p.signals:
            program.wait(ready, 1)  # actions are set: what is queued after that stays
            signals.plan_pending(program, core, task.core, task.pid, tid)
        program.park()
        self.plan.programs.append(program)
        return Runner(task.pid, tid, core, program, self.arena.reserve(16))

    def _own(self, program: Program, task: TaskImages, core: Any, guard: Guard | None, index: int) -> None:
        """What every thread has of its own; what takes capabilities comes before they go."""
        sched.plan(program, core.thread_core, self.inherited, self.warn)
        signals.plan_stack(program, core)
        if guard:
            program.add(guard.arrived, 1)
            program.wait(guard.held, 1)
            if task.seccomp and task.seccomp.needed:
                task.seccomp.plan(program, index, self._seccomp_word(guard))
        creds.plan(program, core, self.creds)
        if not (task.leader_gone and index == 0):
            threads.plan(program, core)
        if core.thread_core.pdeath_sig or program is self.plan.root:  # the seed dies with the engine
            program.sys("prctl", pr.PR_SET_PDEATHSIG, core.thread_core.pdeath_sig, 0, 0, 0)

    def _seccomp_word(self, guard: Guard) -> int:
        return guard.held + 4

    def _stop(self, program: Program, task: TaskImages) -> None:
        """By the signal that had stopped it, where that still can; by SIGSTOP where its group is orphaned."""
        sig = task.core.tc.stop_signo or SIGSTOP
        program.wait(self.ended, self.ending)
        if sig != SIGSTOP:
            program.sys("rt_sigprocmask", _SIG_UNBLOCK, self.arena.put((1 << sig - 1).to_bytes(8, "little")), 0, 8)
            program.ask("tgkill", task.pid, task.pid, sig, note="stop")
        program.sys("tgkill", task.pid, task.pid, SIGSTOP, note="stop")

    def _fs(self, program: Program, task: TaskImages, pidfd: Ref) -> None:
        """Root, working directory, umask."""
        opener = self.opener
        if opener.name(task.fs.root_id) != "/":
            root = program.sys("pidfd_getfd", pidfd, opener.file(task.fs.root_id), 0, note=opener.name(task.fs.root_id))
            program.sys("fchdir", root)
            program.sys("chroot", program.arena.text("."))
            program.sys("close", root)
        cwd = program.sys("pidfd_getfd", pidfd, opener.file(task.fs.cwd_id), 0, note=opener.name(task.fs.cwd_id))
        program.sys("fchdir", cwd)
        program.sys("close", cwd)
        program.sys("umask", task.fs.umask)
