"""The kernel's rules about parents, sessions, groups and shared objects, as a model: enough to try plans of births."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from engine.tasks import births
from engine.tasks.births import ADOPT, BEAR, BEAR_ORPHAN, KINDS, ORPHAN, OUTER, SETSID, SIBLING, SIGCHLD, Node

INIT = 1


class Task:
    """A process. `adopts`: is it a subreaper? `ids` names the kernel objects that it has."""

    def __init__(self, pid: int, parent: Task | None, sid: int, pgid: int) -> None:
        self.pid = pid
        self.parent = parent
        self.sid = sid
        self.pgid = pgid
        self.exit_signal = SIGCHLD
        self.adopts = False
        self.dead = False
        self.kids: list[Task] = []
        self.ids: dict[str, int] = {}


class Kernel:
    """Processes by pid, and system calls that assert what the kernel would refuse. INIT adopts what nobody else does.

    A session that is not the root's own is that of a shell.
    """

    def __init__(self, root: int, sid: int) -> None:
        self.init = Task(INIT, None, INIT, INIT)
        self.init.adopts = True
        self.tasks = {INIT: self.init}
        self._objects = 0
        if sid not in (root, INIT):
            self._add(sid, self.init, sid, sid)
        self.root = self._add(root, self.init, sid, sid)
        self.root.ids = dict.fromkeys(KINDS, self._objects)

    def _add(self, pid: int, parent: Task, sid: int, pgid: int) -> Task:
        assert pid not in self.tasks, f"{pid}: EEXIST"
        assert not any(pid in (task.sid, task.pgid) for task in self.tasks.values()), f"{pid}: EEXIST, a group's"
        task = self.tasks[pid] = Task(pid, parent, sid, pgid)
        parent.kids.append(task)
        return task

    def clone(self, creator: Task, pid: int, shared: list[str], signal: int = SIGCHLD, sibling: bool = False) -> Task:
        assert not creator.dead
        parent = creator.parent if sibling else creator
        assert parent is not None
        task = self._add(pid, parent, creator.sid, creator.pgid)
        task.exit_signal = creator.exit_signal if sibling else signal
        for kind in KINDS:
            self._objects += 1
            task.ids[kind] = creator.ids[kind] if kind in shared else self._objects
        return task

    def setsid(self, task: Task) -> None:
        assert not any(other.pgid == task.pid for other in self.tasks.values()), f"setsid of {task.pid}: EPERM"
        task.sid = task.pgid = task.pid

    def may_join(self, task: Task, pgid: int) -> bool:
        there = pgid == task.pid or any(o.pgid == pgid and o.sid == task.sid for o in self.tasks.values())
        return there and task.sid != task.pid

    def setpgid(self, task: Task, pgid: int) -> None:
        assert self.may_join(task, pgid), f"setpgid of {task.pid} to {pgid}: EPERM"
        task.pgid = pgid

    def exec(self, task: Task) -> None:
        """It has what it shared for itself, and tells its end as everybody does."""
        task.exit_signal = SIGCHLD
        for kind in ("vm", "files", "sighand"):
            self._objects += 1
            task.ids[kind] = self._objects

    def exit(self, task: Task) -> None:
        task.dead = True
        reaper = task.parent
        while reaper is not None and not reaper.adopts:
            reaper = reaper.parent
        assert reaper is not None
        for kid in task.kids:
            kid.parent = reaper
            kid.exit_signal = SIGCHLD
            reaper.kids.append(kid)
        task.kids = []

    def reap(self, task: Task) -> None:
        assert task.dead and task.parent is not None
        task.parent.kids.remove(task)
        del self.tasks[task.pid]

    def tree(self) -> list[Task]:
        """Root and all below, parents first, by pid among siblings."""
        out, todo = [], [self.root]
        while todo:
            task = todo.pop()
            out.append(task)
            todo += sorted(task.kids, key=lambda kid: -kid.pid)
        return out


Shape = list[tuple[int, int, int, int, bool, int, bool, tuple[int, ...]]]


def shape(tasks: list[Task]) -> Shape:
    """What there is to restore: pid, parent, session, group, dead, exit signal, subreaper, shared objects by kind."""
    first: dict[tuple[str, int], int] = {}
    out = []
    for task in tasks:
        ids = () if task.dead else tuple(first.setdefault((kind, task.ids[kind]), task.pid) for kind in KINDS)
        ppid = task.parent.pid if task.parent and task is not tasks[0] else 0
        adopts = task.adopts and not task.dead
        out.append((task.pid, ppid, task.sid, task.pgid, task.dead, task.exit_signal, adopts, ids))
    return out


def nodes_of(wanted: Shape) -> list[Node]:
    """The input of births.plan, as images give it."""
    by_pid: dict[int, Node] = {}
    for pid, ppid, sid, pgid, dead, signal, _, ids in wanted:
        node = by_pid[pid] = Node(pid, sid, pgid, by_pid.get(ppid), signal)
        node.dead = dead
        node.ids = dict(zip(KINDS, ids, strict=False))
    return list(by_pid.values())


class Restore:
    """Runs a plan in the model, tasks taking turns at random. AssertionError for whatever goes wrong."""

    def __init__(self, wanted: Shape, nodes: list[Node], random: Random) -> None:
        root = nodes[0]  # of the nodes that births.plan returned
        outer = wanted[0][2] if root.sid == OUTER else INIT
        self.outer = outer
        self.kernel = Kernel(root.pid, outer)
        self.adopts = {pid for pid, *_, adopts, _ in wanted if adopts}
        self.stages = births.stages(nodes)
        self.counts = [0] * len(self.stages)
        self.stage = self.groups = self.joined = 0
        self.joiners = sum(node.joins for node in nodes)
        self.led = {node.pgid for node in nodes if node.joins} - {OUTER}
        self.random = random
        self.spare = 1 << 20  # pids of those in between
        self.running = [self._live(root, self.kernel.root)]

    def run(self) -> Shape:
        """The shape of what has come about."""
        waiting: list[tuple[Callable[[], bool], Iterator[Callable[[], bool]]]] = []
        while self.running or waiting:
            if not self.running:
                self.running = [life for check, life in waiting if check()]
                waiting = [(check, life) for check, life in waiting if life not in self.running]
                assert self.running, "all wait for each other"
            at = self.random.randrange(len(self.running))
            life = self.running[at]
            self.running[at] = self.running[-1]
            self.running.pop()
            check = next(life, None)
            if check is not None:
                waiting.append((check, life))
            if waiting and self.random.random() < 0.3:
                check, life = waiting.pop(self.random.randrange(len(waiting)))
                if check():
                    self.running.append(life)
                else:
                    waiting.append((check, life))
        return shape(self.kernel.tree())

    def _live(self, node: Node, task: Task) -> Iterator[Callable[[], bool]]:
        kernel = self.kernel
        for op, other, number in births.steps(node, self.stages):
            yield lambda: True
            if op == SETSID:
                kernel.setsid(task)
                self.groups += node.pid in self.led
            elif op == BEAR:
                shared = other.shares_with(node)
                child = kernel.clone(task, other.pid, shared, other.exit_signal, other.how == SIBLING)
                self.running.append(self._live(other, child))
            elif op == ADOPT:
                yield lambda n=number: self.stage >= 2 * n
                task.adopts = True
                self.stage += 1
                yield lambda n=number: self.counts[n] >= len(self.stages[n].orphans)
                task.adopts = False
                self.stage += 1
            elif op == BEAR_ORPHAN:
                assert other.how == ORPHAN
                yield lambda n=number: self.stage >= 2 * n + 1
                self.spare += 1
                shared = other.shares_with(node)
                between = kernel.clone(task, self.spare, shared, 0)
                yield lambda: True
                self.running.append(self._live(other, kernel.clone(between, other.pid, shared, other.exit_signal)))
                yield lambda: True
                kernel.exit(between)
                kernel.reap(between)
                self.counts[number] += 1
        yield lambda: True
        if node.leads_group or (node.joins and node.pid in self.led):
            kernel.setpgid(task, node.pid)
            self.groups += node.pid in self.led
        if node.joins:
            yield lambda: self.joined >= node.turn
            yield lambda: self.groups >= len(self.led)
            kernel.setpgid(task, node.pgid or self.outer)
            self.joined += 1
        yield lambda: self.joined >= self.joiners if node.dead else True
        if node.dead:
            kernel.exit(task)
            return
        for kid in node.kids:
            if kid.dead:
                yield lambda k=kid.pid: k in kernel.tasks and kernel.tasks[k].dead
            if kid.helper:
                kernel.reap(kernel.tasks[kid.pid])
        yield lambda: self.stage >= 2 * len(self.stages)
        task.adopts = node.pid in self.adopts
