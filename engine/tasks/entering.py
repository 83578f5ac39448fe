"""The namespaces that tasks are in, as their programs enter them: their own, and those of children to come."""

from __future__ import annotations

import struct

from engine.errors import EngineError
from engine.files.fd import O_CLOEXEC
from engine.kernel.namespaces import FLAGS
from engine.kernel.uapi import prctl as pr
from engine.plan import abi
from engine.tasks import creds
from engine.tasks.descriptors import OPENER_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.plan.program import Program, Ref
    from engine.tasks.births import Node
    from engine.tasks.compile import Compiler
    from engine.tasks.images import TaskImages
    from engine.tasks.owned import Born

_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)
_CLONE_PARENT, _WALL = 0x8000, 0x40000000


def prepare(c: Compiler) -> None:
    """What is to be known of pid namespaces before anything is compiled, and what the opener has to have ready."""
    tree, opener, first = c.tree, c.opener, c.tree.numbers.first
    if tree.users:
        from engine.tasks.owned import Owned

        c.owned = Owned(tree)
        c.visits = {pid: (c.arena.reserve(4), count) for pid, count in c.owned.visits().items()}
        opener.proxies = {ident: (opener.promise(), c.free_pid()) for ident in sorted(c.owned.spaces())}
    if c.shown:
        c.plan.shown, c.plan.mounted = [c.inits[first[ident]] for ident in c.shown], c.arena.reserve(4)
        opener.shown = {i: (first[i], tree.numbers.passing(first[i], c.free_pid())) for i in c.shown}


def enter(c: Compiler, node: Node, program: Program) -> None:
    """The namespaces that it is in and who started it is not. Its children begin in them."""
    creator = nearest(node.creator)
    if creator is None or node.dead:
        return
    for kind in ("mnt", "uts", "ipc", "net", "cgroup", "time"):
        ident, its = c.tasks[node.pid].namespace(kind), c.tasks[creator.pid].namespace(kind)
        if kind == "time":
            its = c.clocks.get(creator.pid, its)
        if ident != its:
            if kind == "time" and ident in c.clocks.values():
                what = f"pid {node.pid}: its time namespace {ident} can only be entered by children of who made it"
                raise EngineError(f"{what}, and it cannot be started by that one")
            number = c.opener.namespace(kind, ident)
            got = program.sys("pidfd_getfd", OPENER_FD, number, 0, note=f"{kind} namespace {ident}")
            program.sys("setns", got, FLAGS[kind])
            program.sys("close", got)


class Apart:
    """Namespaces that threads of a process have by themselves (engine/namespaces/of_threads.py).

    The process takes descriptors of them while it has the opener at hand, and closes them when its threads have
    entered; nothing here needs a number that its table, which tasks may share, has for anything else.
    """

    __slots__ = ("_compiler", "_entered", "_numbers", "_task")

    def __init__(self, c: Compiler, task: TaskImages, program: Program) -> None:
        self._compiler = c
        self._task = task
        self._numbers: dict[tuple[str, int], int] = {}
        self._entered = c.arena.reserve(4) if task.apart else 0
        for its in task.apart.values():
            for kind, ident in its.items():
                if kind in FLAGS and (kind, ident) not in self._numbers:
                    promised = c.opener.namespace(kind, ident)
                    self._numbers[kind, ident] = c.descriptors.put_aside(program, task, promised)

    def enter(self, program: Program, tid: int) -> None:
        """In the program of a thread, at its beginning."""
        if tid not in self._task.apart:
            return
        for kind, ident in self._task.apart[tid].items():
            if kind in FLAGS:
                what = f"{kind} namespace {ident}, its own"
                program.sys("setns", self._numbers[kind, ident], FLAGS[kind], note=what)
        program.add(self._entered, 1)
        make_clocks(self._compiler, tid, program)

    def enter_late(self, program: Program, tid: int, ready: int) -> None:
        """The pid namespace of children to come: no number is needed for sure when the word `ready` is set."""
        ident = self._task.apart.get(tid, {}).get("pid_for_children")
        if ident is not None:
            program.wait(ready, 1)
            enter_for_children(self._compiler, program, self._task, ident)
            make_for_children(self._compiler, program, self._task, ident)

    def close(self, program: Program) -> None:
        """In the process's own program, when it has made its threads."""
        if self._numbers:
            program.wait(self._entered, len(self._task.apart))
        for number in self._numbers.values():
            program.sys("close", number)


def make_clocks(c: Compiler, tid: int, program: Program) -> None:
    """A time namespace for the children of a task, or of a thread."""
    if tid not in c.clocks:
        return
    there, done = c.arena.reserve(4), c.arena.reserve(4)
    c.plan.clocks.append((tid, c.clocks[tid], there, done))
    program.sys("unshare", FLAGS["time"], note=f"time namespace {c.clocks[tid]}, for its children")
    program.add(there, 1)
    program.add(c.plan.arrivals, 1)
    program.wait(done, 1)


def clone(
    c: Compiler,
    program: Program,
    child: Program,
    flags: int,
    tids: list[int],
    note: str,
    exit_signal: int = 0,
    *,
    spaces: tuple[int, ...],
    user: int = -1,
    stays: bool = True,
) -> Ref:
    """clone3(2); `tids` as set_tid, the innermost pid namespace's first.

    `spaces` are the namespaces that it is born in, below the root task's. `user` is the user namespace that who
    starts it is in, unless that is the one of its birth. If it does not stay, it need not be looked after.
    """
    user = c.born_in(program.caller.pid) if user < 0 else user
    turn = None
    if c.owned and user and tids:
        count = c.owned.chosen(user, spaces)
        if count < len(tids):
            turn = c.owned.turn(c, spaces, tids, count, stays)
            c.plan.turns.append(turn)
            c.opener.turns = c.plan.turns
            program.add(turn.here, 1)
            program.add(c.plan.arrivals, 1)
            program.wait(turn.go, 1)
        tids = tids[:count]
    born = _clone(c, program, child, flags, tids, note, exit_signal)
    if turn:
        program.add(turn.done, 1)
    return born


def _clone(c: Compiler, program: Program, child: Program, flags: int, tids: list[int], note: str, signal: int) -> Ref:
    chosen = (c.arena.put(struct.pack(f"<{len(tids)}i", *tids)), len(tids)) if tids else (0, 0)
    stack = c.arena.stack() - abi.STACK_SIZE
    args = _CLONE_ARGS.pack(flags, 0, 0, 0, signal, stack, abi.STACK_SIZE, 0, *chosen, 0)
    return program.spawn(c.arena.put(args), len(args), child, note)


def enter_for_children(c: Compiler, program: Program, task: TaskImages, ident: int | None) -> None:
    """The pid namespace of children to come: with it there can be no more threads, nor other children."""
    if ident is None or ident == task.namespace("pid"):
        return
    if init := c.tree.numbers.first.get(ident):
        program.wait(c.inits[init], 1)
        for_children(program, init)
        visited(c, program, init)


def make_for_children(c: Compiler, program: Program, task: TaskImages, ident: int | None) -> None:
    """The same of one that has no process now: it belongs to the user namespace that the task is in."""
    if ident is None or ident == task.namespace("pid") or ident in c.tree.numbers.first:
        return
    program.sys("unshare", FLAGS["pid"], note="a pid namespace, for its children")
    if ident:  # it had its first process, which has ended
        first = c.program_of(f"first process of pid namespace {ident}", task.pid)
        first.sys("exit_group", 0)
        first.park()
        tids = program.caller.passing()
        spaces = (*c.tree.numbers.space(task.pid), ident)
        user = task.namespace("user") if task.namespace("user") in c.tree.users else 0
        pid = clone(
            c, program, first, 0, [1, *tids] if tids else [], "for a moment", spaces=spaces, user=user, stays=False
        )
        program.sys("wait4", pid, 0, _WALL, 0)


def for_children(program: Program, pid: int) -> None:
    """The pid namespace of that task is to be the one of children to come."""
    pidfd = program.sys("pidfd_open", program.called(pid), 0)
    program.sys("setns", pidfd, FLAGS["pid"], note="of children to come")
    program.sys("close", pidfd)


def visited(c: Compiler, program: Program, init: int) -> None:
    """Who is in a user namespace from birth may enter a pid namespace only as long as its first process is dumpable."""
    if init in c.visits and c.born_in(program.caller.pid):
        program.add(c.visits[init][0], 1)


def leaves_for(c: Compiler, task: TaskImages) -> int:
    """The user namespace that a task enters last, 0 for none."""
    ident = task.namespace("user")
    return ident if ident in c.tree.users and ident != c.born_in(task.pid) else 0


def born_as(c: Compiler, pid: int) -> Born | None:
    """Who a task is at birth; None for the engine's root."""
    return c.owned.credentials(pid) if c.owned else None


def nearest(node: Node | None) -> Node | None:
    """The one whose namespaces a task begins in: dead ones and helpers are in those of who started them."""
    while node is not None and node.dead:
        node = node.creator
    return node


def spawn(c: Compiler, program: Program, child: Program, creator: Node, node: Node, flags: int) -> None:
    """A task starts another, in the pid namespace that this one is in."""
    numbers = c.tree.numbers
    is_first, init = numbers.way(creator, node)
    if user := c.enters(node):
        _spawn_from_within(c, program, child, node, user)
        return
    if init:
        program.wait(c.inits[init], 1)
        for_children(program, init)
    flags |= FLAGS["pid"] if is_first else 0
    exit_signal = 0 if flags & _CLONE_PARENT else node.exit_signal
    spaces = numbers.space(node.pid)
    clone(c, program, child, flags, numbers.tids(node.pid), f"pid {node.pid}", exit_signal, spaces=spaces)
    if init:
        for_children(program, creator.pid)
        visited(c, program, init)


def _spawn_from_within(c: Compiler, program: Program, child: Program, node: Node, user: int) -> None:
    """The first process of a pid namespace that belongs to a user namespace: by one that goes there.

    That has all else by then that takes capabilities outside: namespaces, and the first process's ids.
    """
    numbers, pid = c.tree.numbers, program.caller.pid
    helper = c.program_of(f"helper in user namespace {user}", pid)
    tids, spaces = program.caller.passing(), numbers.space(pid)
    gone = clone(c, program, helper, 0, tids, "", node.exit_signal, spaces=spaces, stays=False)
    enter(c, node, helper)
    space = helper.sys("pidfd_getfd", OPENER_FD, c.opener.namespace("user", user), 0)
    proxy = helper.sys("pidfd_getfd", OPENER_FD, c.opener.proxies[user][0], 0)
    helper.sys("dup3", proxy, OPENER_FD, O_CLOEXEC, note="the opener, as it is in there")
    helper.sys("close", proxy)
    core = c.tasks[node.pid].core
    if core.HasField("thread_core"):
        if born := born_as(c, pid):
            creds.change(helper, core.thread_core.creds, born)
        else:
            creds.become(helper, core.thread_core.creds, c.creds)
    helper.sys("setns", space, FLAGS["user"], note=f"user namespace {user}")
    helper.sys("close", space)
    helper.sys("prctl", pr.PR_SET_DUMPABLE, 1, 0, 0, 0, note="or nobody in there could enter the pid namespace")
    flags = FLAGS["pid"] | _CLONE_PARENT
    spaces = numbers.space(node.pid)
    clone(c, helper, child, flags, numbers.tids(node.pid), f"pid {node.pid}", spaces=spaces, user=user)
    helper.sys("exit_group", 0)
    helper.park()
    program.sys("wait4", gone, 0, _WALL, 0)
