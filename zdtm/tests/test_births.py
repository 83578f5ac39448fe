"""births.plan as a pure function: its plans, run in a model of the kernel, end in exactly the wanted tree."""

from __future__ import annotations

import time
from random import Random

import pytest

from engine.errors import EngineError
from engine.tasks import births
from engine.tasks.births import KINDS, OUTER, SIGCHLD, Node
from zdtm.tests.kernel_model import Kernel, Restore, Shape, Task, nodes_of, shape

ROOT, SHELL = 100, 50  # the first task; the session that it may have from outside
HISTORIES = 2000
STEPS = 60  # of a history


class Story:
    """A tree that comes about: system calls of tasks that are named by their pids."""

    def __init__(self, sid: int = ROOT) -> None:
        self.kernel = Kernel(ROOT, sid)

    def _task(self, pid: int) -> Task:
        return self.kernel.tasks[pid]

    def fork(self, pid: int, *children: int, signal: int = SIGCHLD, shared: str = "") -> Story:
        for child in children:
            self.kernel.clone(self._task(pid), child, shared.split(), signal)
        return self

    def sibling(self, pid: int, child: int) -> Story:
        self.kernel.clone(self._task(pid), child, [], sibling=True)
        return self

    def setsid(self, *pids: int) -> Story:
        for pid in pids:
            self.kernel.setsid(self._task(pid))
        return self

    def setpgid(self, pid: int, pgid: int = 0) -> Story:
        self.kernel.setpgid(self._task(pid), pgid or pid)
        return self

    def subreaper(self, pid: int, on: bool = True) -> Story:
        self._task(pid).adopts = on
        return self

    def exec(self, pid: int) -> Story:
        self.kernel.exec(self._task(pid))
        return self

    def zombie(self, *pids: int) -> Story:
        for pid in pids:
            self.kernel.exit(self._task(pid))
        return self

    def gone(self, *pids: int) -> Story:
        self.zombie(*pids)
        for pid in pids:
            self.kernel.reap(self._task(pid))
        return self

    def shape(self) -> Shape:
        return shape(self.kernel.tree())


def check(wanted: Shape, random: Random) -> list[Node]:
    """Plan it and run the plan; returns the plan's nodes."""
    nodes = births.plan(nodes_of(wanted))
    root = wanted[0]
    assert {node.pid for node in nodes if not node.helper} == {task[0] for task in wanted}
    got = Restore(wanted, nodes, random).run()
    if root[2] != root[0] and root[3] not in {task[0] for task in wanted}:
        # its group's leader is outside of the tree, or gone: the engine's takes its place
        wanted = [(*task[:3], root[2] if task[3] == root[3] else task[3], *task[4:]) for task in wanted]
    assert got == wanted
    return nodes


STORIES = {
    "alone": Story(),
    "forks": Story().fork(100, 101, 102).fork(101, 103),
    "sessions": Story().fork(100, 101).setsid(101).fork(101, 102).setsid(102).fork(102, 103),
    "children from before setsid": Story().fork(100, 101).fork(101, 102).setsid(101).fork(101, 103),
    "from before two setsids": Story().fork(100, 101).fork(101, 102).fork(102, 103).setsid(102, 101),
    "session leader gone": Story().subreaper(100).fork(100, 101).setsid(101).fork(101, 102).gone(101),
    "session leader a zombie": Story().subreaper(100).fork(100, 101).setsid(101).fork(101, 102, 103).zombie(101),
    "daemon": Story().subreaper(100).fork(100, 101).fork(101, 102).setsid(102).fork(102, 103).gone(102, 101),
    "adopted daemon with a child of its old session": (
        Story().subreaper(100).fork(100, 101).setsid(101).fork(101, 102).fork(102, 103).setsid(102).gone(101)
    ),
    "two of these": (
        Story()
        .subreaper(100)
        .fork(100, 101)
        .setsid(101)
        .fork(101, 102, 103)
        .fork(102, 104)
        .fork(103, 105)
        .setsid(102, 103)
        .gone(101)
    ),
    "orphan of a live session": (
        Story().subreaper(100).fork(100, 101).setsid(101).fork(101, 102).fork(102, 103).gone(102)
    ),
    "orphan from further down": (
        Story().subreaper(100).fork(100, 101).fork(101, 102).setsid(102).fork(102, 103).fork(103, 104).gone(103)
    ),
    "nested subreapers": (
        Story()
        .subreaper(100)
        .fork(100, 101)
        .setsid(101)
        .subreaper(101)
        .fork(101, 102)
        .setsid(102)
        .fork(102, 103, 104)
        .fork(103, 105)
        .gone(103)
        .subreaper(101, False)
        .fork(104, 106)
        .gone(104)
    ),
    "leader gone, members with two subreapers": (
        Story()
        .subreaper(100)
        .fork(100, 101)
        .setsid(101)
        .fork(101, 102)
        .setsid(102)
        .fork(102, 103, 104)
        .fork(103, 105)
        .gone(103)
        .subreaper(101)
        .fork(104, 106)
        .gone(104, 102)
    ),
    "orphans of orphans": (
        Story()
        .subreaper(100)
        .fork(100, 101)
        .setsid(101)
        .fork(101, 102)
        .fork(102, 103)
        .gone(102)
        .subreaper(103)
        .fork(103, 104)
        .setsid(104)
        .fork(104, 105)
        .fork(105, 106)
        .gone(105)
    ),
    "adopted subreaper that stays one": (
        Story().subreaper(100).fork(100, 101).fork(101, 102).setsid(102).fork(102, 103).subreaper(102).gone(101)
    ),
    "groups": Story().fork(100, 101, 102).setpgid(101).setpgid(102, 101).fork(102, 103),
    "group leader gone": Story().fork(100, 101, 102).setpgid(101).setpgid(102, 101).gone(101),
    "group leader a zombie": Story().fork(100, 101, 102).setpgid(101).setpgid(102, 101).zombie(101),
    "group of zombies": Story().fork(100, 101, 102).setpgid(101).setpgid(102, 101).gone(101).zombie(102),
    "group leader has left": Story().fork(100, 101).setpgid(101).fork(101, 102).setpgid(101, 100),
    "group leader is in another": (
        Story().fork(100, 101, 102).setpgid(101).setpgid(102).fork(101, 103).setpgid(101, 102).fork(102, 104)
    ),
    "group leaders have changed places": (
        Story()
        .fork(100, 101, 102)
        .setpgid(101)
        .setpgid(102)
        .fork(101, 103)
        .fork(102, 104)
        .setpgid(101, 102)
        .setpgid(102, 101)
    ),
    "group in a session without leader": (
        Story().subreaper(100).fork(100, 101).setsid(101).fork(101, 102).setpgid(102).fork(102, 103).gone(102, 101)
    ),
    "shell job": Story(SHELL).setpgid(100).fork(100, 101, 102).setpgid(101).fork(101, 103).setpgid(101, 100),
    "script": Story(SHELL).fork(100, 101).setsid(101).fork(101, 102),
    "script whose first task leads a group": Story(SHELL).fork(100, 101).setpgid(100).fork(100, 102),
    "shell job with a child from before setsid": Story(SHELL).fork(100, 101).fork(101, 102).setsid(101),
    "clone with CLONE_PARENT": Story().fork(100, 101, signal=10).sibling(101, 102).setsid(101).sibling(101, 103),
    "signals": Story().fork(100, 101, signal=0).fork(100, 102, signal=34).zombie(102),
    "shared": Story().fork(100, 101, shared="vm files").fork(101, 102, shared="vm fs").setsid(101),
    "shared with a sibling": Story().fork(100, 101).exec(100).sibling(101, 102),
    "shared orphan": (
        Story()
        .subreaper(100)
        .fork(100, 101)
        .setsid(101)
        .fork(101, 102, shared="vm fs")
        .fork(102, 103, shared="vm files fs")
        .gone(102)
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_plans_lead_to_the_tree(name: str) -> None:
    for seed in range(20):
        check(STORIES[name].shape(), Random(seed))


def history(random: Random, *, sharing: bool) -> Kernel:
    """A tree after random system calls of random tasks."""
    kernel = Kernel(ROOT, ROOT if random.random() < 0.8 else SHELL)
    kernel.root.adopts = random.random() < 0.6
    fresh = iter(range(ROOT + 1, ROOT + 1 + STEPS))
    for _ in range(STEPS):
        task = random.choice([task for task in kernel.tree() if not task.dead])
        others = list(kernel.tasks.values())
        call = random.choices(
            ("fork", "exit", "setsid", "setpgid", "subreaper", "wait", "sibling", "exec"), (40, 18, 9, 10, 4, 8, 3, 3)
        )[0]
        if call == "fork":
            kinds = random.choice(("vm", "files", "fs", "vm sighand", " ".join(KINDS)))
            shared = kinds.split() if sharing and random.random() < 0.3 else []
            signal = random.choice((0, 10)) if random.random() < 0.05 else SIGCHLD
            kernel.clone(task, next(fresh), shared, signal)
        elif call == "exit" and task is not kernel.root:
            kernel.exit(task)
        elif call == "setsid" and not any(other.pgid == task.pid for other in others):
            kernel.setsid(task)
        elif call == "setpgid":
            pgid = random.choice([task.pid, task.pid, *(other.pgid for other in others if other.sid == task.sid)])
            if kernel.may_join(task, pgid):
                kernel.setpgid(task, pgid)
        elif call == "subreaper":
            task.adopts = not task.adopts
        elif call == "wait" and (dead := [kid for kid in task.kids if kid.dead]):
            kernel.reap(random.choice(dead))
        elif call == "sibling" and task is not kernel.root:
            kernel.clone(task, next(fresh), [], sibling=True)
        elif call == "exec" and sharing:
            kernel.exec(task)
    if SHELL in kernel.tasks and random.random() < 0.5:
        kernel.exit(kernel.tasks[SHELL])
        kernel.reap(kernel.tasks[SHELL])
    return kernel


def is_whole(kernel: Kernel) -> bool:
    """Are no leaders outside of the tree but the root's own? What is there is refused before a dump."""
    tasks = kernel.tree()
    known = {task.pid for task in tasks} | {kernel.root.sid, kernel.root.pgid}
    return all(ident in known or ident not in kernel.tasks for task in tasks for ident in (task.sid, task.pgid))


@pytest.mark.parametrize("sharing", [False, True])
def test_random_histories(sharing: bool) -> None:
    """Every tree can be made again, but for the few that the messages name, and never comes out wrong."""
    refused = []
    done = orphans = helpers = 0
    for seed in range(HISTORIES if not sharing else HISTORIES // 2):
        random = Random(seed)
        kernel = history(random, sharing=sharing)
        if not is_whole(kernel):
            continue
        done += 1
        try:
            nodes = check(shape(kernel.tree()), random)
        except EngineError as e:
            refused.append(str(e))
            continue
        except AssertionError as e:
            raise AssertionError(f"seed {seed}") from e
        orphans += any(node.how == births.ORPHAN for node in nodes)
        helpers += any(node.helper for node in nodes)
    assert done > HISTORIES * 0.4
    assert min(orphans, helpers) > done * 0.03
    known = ("exit signal", "in each other's process groups") + (("none of those could start it",) if sharing else ())
    assert not [text for text in refused if not any(words in text for words in known)]
    assert len(refused) < done * (0.05 if sharing else 0.005)


def test_refusals() -> None:
    """What no means of ours can make, said by name."""
    swapped = Story().fork(100, 101, 102).setpgid(101).setpgid(102).fork(101, 103).setpgid(101, 102).setpgid(102, 101)
    with pytest.raises(EngineError, match=r"pids \[101, 102\] are in each other's process groups"):
        births.plan(nodes_of(swapped.gone(103).shape()))
    two = Story().subreaper(100).fork(100, 101).setsid(101).sibling(101, 102).fork(101, 103).gone(101)
    wanted = [(*t[:5], {102: 0, 103: 10}.get(t[0], t[5]), *t[6:]) for t in two.shape()]
    with pytest.raises(EngineError, match="its exit signal 10 cannot be set"):
        births.plan(nodes_of(wanted))
    shared = Story().fork(100, 101, shared="vm").fork(101, 102, shared="vm").exec(101)
    with pytest.raises(EngineError, match="pid 102: it shares its vm with pid 100, but none of those"):
        births.plan(nodes_of(shared.shape()))
    stranger = Story().fork(100, 101).setsid(101).fork(100, 102).shape()
    stranger = [(*t[:2], 101, 101, *t[4:]) if t[0] == 102 else t for t in stranger]
    births.plan(nodes_of(stranger))  # as by CLONE_PARENT
    lost = Story().fork(100, 101).fork(101, 102).setsid(102).fork(100, 103).fork(103, 104).shape()
    lost = [(*t[:2], 102, 102, *t[4:]) if t[0] == 104 else t for t in lost]
    with pytest.raises(EngineError, match="pid 104: nobody of its session 102"):
        births.plan(nodes_of(lost))


def big(kind: str, count: int) -> list[Node]:
    root = Node(ROOT, ROOT, ROOT, None)
    nodes = [root]
    for pid in range(ROOT + 1, ROOT + count):
        if kind == "chain":
            nodes.append(Node(pid, ROOT, ROOT, nodes[-1]))
        elif kind in ("chain of sessions", "chain from before setsid"):
            nodes.append(Node(pid, pid, pid, nodes[-1]))
        elif kind == "star":
            nodes.append(Node(pid, ROOT, ROOT, root))
        elif kind == "star of groups":
            nodes.append(Node(pid, ROOT, pid, root))
        elif kind == "orphans":
            nodes.append(Node(pid, 50, 50, root))
        else:
            nodes.append(Node(pid, ROOT if pid % 2 else pid, ROOT if pid % 2 else pid, nodes[(pid - ROOT) // 2]))
    if kind == "chain from before setsid":  # every leader above was born in the last one's session
        nodes[-1].sid = nodes[-1].pgid = ROOT
    for node in nodes:
        node.ids = dict.fromkeys(KINDS, node.pid)
    return nodes


@pytest.mark.parametrize(
    "kind",
    ["chain", "chain of sessions", "chain from before setsid", "star", "star of groups", "orphans", "binary"],
)
def test_planning_a_thousand_is_quick(kind: str) -> None:
    nodes = big(kind, 1000)
    start = time.process_time()
    planned = births.plan(nodes)
    stages = births.stages(planned)
    for node in planned:
        births.steps(node, stages)
    assert time.process_time() - start < 0.2
    assert OUTER not in {node.sid for node in planned}
