"""What a compiled tree consists of, for the coordinator: who runs which program, and who waits for whom."""

from __future__ import annotations

from engine.plan.program import Arena, Program, Ref
from engine.tasks.images import TaskImages, TreeImages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.namespaces.cradle import Cradle
    from engine.tasks.owned import Turn
    from engine.tasks.steered import Steered


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

    __slots__ = ("arrived", "held", "runners", "task", "together")

    def __init__(self, arena: Arena, task: TaskImages) -> None:
        self.task = task
        self.arrived = arena.reserve(4)
        self.held = arena.reserve(8)
        self.together = self.held + 4  # the word of those who install filters together
        self.runners: list[Runner] = []


class Mover:
    """A task that the coordinator moves to its cgroups before it goes on: it has `arrived`, and waits for `go`.

    `before` and `after` are numbers of sets; the root task has none before.
    """

    __slots__ = ("after", "arrived", "before", "go", "pid")

    def __init__(self, arena: Arena, pid: int, before: int | None, after: int) -> None:
        self.pid = pid
        self.before = before
        self.after = after
        self.arrived = arena.reserve(4)
        self.go = arena.reserve(4)


class Plan:
    """Everything compiled."""

    __slots__ = (
        *("arena", "arrivals", "clocks", "cradle", "guards", "limits", "movers", "opened", "programs", "root"),
        *("mounted", "runners", "shown", "steered", "turns"),
    )

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self.root: Program
        self.cradle: Cradle | None = None  # where the root task's namespaces are not the engine's
        self.opened: Ref  # the root program's operation that opens the opener
        self.runners: dict[int, list[Runner]] = {}  # by pid, the first thread first
        self.guards: list[Guard] = []
        self.movers: list[Mover] = []
        self.arrivals = arena.reserve(4)  # how many of these have come
        # who has made a time namespace for its children: pid, its number, two words: it is there, its clocks are set
        self.clocks: list[tuple[int, int, int, int]] = []
        self.steered: list[Steered] = []  # who asks for the numbers of its threads
        # the first processes of pid namespaces whose procfs is mounted are there; it is mounted
        self.shown: list[int] = []
        self.mounted = 0
        self.turns: list[Turn] = []  # births whose pids the coordinator sees to
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
