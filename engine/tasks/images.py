"""The images of a tree, read and consistent with each other; what of them cannot be restored yet."""

from __future__ import annotations

from engine.errors import BadImage
from engine.files import ghost, kinds
from engine.images.files import Images
from engine.images.pagemap import OWNER, PE_PARENT, Pagemap
from engine.images.schema import text
from engine.memory import guard
from engine.memory import vmas as vma_kind
from engine.tasks import births, compat, timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.memfd import Memfds
    from engine.memory.aio import Ring
    from engine.memory.vdso import Proxy
    from engine.tasks.seccomp import Process

ALIVE, DEAD, STOPPED, ZOMBIE = 1, 2, 3, 6  # task_core_entry.task_state
_SIGCHLD = 17


class TaskImages:
    """One process."""

    __slots__ = (
        "core",
        "fdinfo",
        "fs",
        "ids",
        "mm",
        "node",
        "pagemap",
        "pages_id",
        "pid",
        "rings",
        "seccomp",
        "tells_frames",
        "threads",
        "tree",
        "vdso",
    )

    def __init__(self, images: Images, tree: Any) -> None:
        self.tree = tree
        self.pid: int = tree.pid
        self.core = images.read_one("CORE", self.pid)
        self.threads: list[tuple[int, Any]] = []
        self.node: births.Node = births.Node(0, 0, 0, None)
        self.pages_id = 0
        self.tells_frames = False
        self.rings: list[Ring] = []
        self.vdso: Proxy | None = None
        self.seccomp: Process | None = None
        self.ids: Any = None
        self.mm: Any = None
        self.fs: Any = None
        self.fdinfo: list[Any] = []
        self.pagemap: Pagemap
        if not self.core.HasField("tc"):
            raise BadImage(f"core-{self.pid}.img", 0, "field tc is missing; dump again")
        if not self.dead:
            self._read(images)

    def _read(self, images: Images) -> None:
        if not self.core.HasField("thread_core"):
            raise BadImage(f"core-{self.pid}.img", 0, "field thread_core is missing; dump again")
        self.threads = [(tid, images.read_one("CORE", tid)) for tid in self.tree.threads if tid != self.pid]
        for tid, core in self.threads:
            if not core.HasField("thread_core"):
                raise BadImage(f"core-{tid}.img", 0, "field thread_core is missing; dump again")
        self.mm = images.read_one("MM", self.pid)
        self.fs = images.read_one("FS", self.pid)
        self.ids = self.core.ids if self.core.HasField("ids") else images.read_one("IDS", self.pid)
        self.fdinfo = images.read("FDINFO", self.ids.files_id)
        head, self.pagemap = images.pagemap("PAGEMAP", self.pid)
        self.pages_id = head.pages_id
        self.tells_frames = head.tells_frames  # are shared pages marked?

    @property
    def dead(self) -> bool:
        """Is it a zombie?"""
        return self.core.tc.task_state in (DEAD, ZOMBIE)

    @property
    def leader_gone(self) -> bool:
        """Did its leader end before other threads?"""
        return bool(self.core.tc.HasField("leader_exit_code"))

    @property
    def live(self) -> list[tuple[int, Any]]:
        """(thread id, core_entry) of the threads that are to live on, the leader first."""
        return ([] if self.leader_gone else [(self.pid, self.core)]) + self.threads

    def kobj_ids(self) -> dict[str, int]:
        """The identifiers of what tasks may share, by kind."""
        return {kind: getattr(self.ids, f"{kind}_id") for kind in births.KINDS}

    def blockers(self, pids: list[int]) -> list[str]:
        """What of it cannot be restored yet, one line each."""
        out = compat.image_blockers(self.live)
        out += timers.image_blockers(self.core, self.tree.threads, pids)
        for v in self.mm.vmas:
            known = vma_kind.REGULAR | vma_kind.HEAP | vma_kind.FILE_PRIVATE | vma_kind.FILE_SHARED
            known |= vma_kind.ANON_PRIVATE | vma_kind.VDSO | vma_kind.VVAR | vma_kind.VSYSCALL | vma_kind.MEMFD | 2
            known |= vma_kind.AIORING | guard.STATUS
            if v.status & vma_kind.SYSVIPC:
                out.append(f"mapping {vma_kind.text(v)}: System V shared memory is not supported yet")
            elif v.status & ~known:
                out.append(f"mapping {vma_kind.text(v)}: status {v.status:#x} is not supported yet")
        if full := vma_kind.check_count(len(self.mm.vmas)):
            out.append(full)
        if self.pagemap.flags & PE_PARENT and any(f & PE_PARENT and not f >> OWNER for _, _, f in self.pagemap):
            out.append("pages in a parent image (incremental dumps) are not supported yet")
        return [f"pid {self.pid}: {line}" for line in out]


class TreeImages:
    """All processes, parents first, and what they have in common."""

    __slots__ = ("files", "inventory", "memfds", "nodes", "remaps", "seccomp", "tasks")

    def __init__(self, images: Images) -> None:
        self.inventory = images.read_one("INVENTORY")
        if not (self.inventory.fdinfo_per_id and self.inventory.ns_per_id):
            raise BadImage("inventory.img", 0, "images of a CRIU older than 2.0 are not supported; dump again")
        entries = images.read("PSTREE")
        if not entries:
            raise BadImage("pstree.img", 0, "no task in it; dump again")
        self.tasks = [TaskImages(images, entry) for entry in entries]
        self.files = {entry.id: entry for entry in images.read("FILES")}
        self.remaps = images.read("REMAP_FPATH") if images.exists("REMAP_FPATH") else []
        self.seccomp = images.read_one("SECCOMP") if images.exists("SECCOMP") else None
        self.nodes = self._nodes()
        self.memfds: Memfds | None = None
        mapped = (v.status & vma_kind.ANON_SHARED for task in self.live() for v in task.mm.vmas)
        if any(entry.type == kinds.MEMFD for entry in self.files.values()) or any(mapped):
            from engine.files.memfd import Memfds

            self.memfds = Memfds(images, self.files, self.live())

    @property
    def root(self) -> TaskImages:
        """The task that the others descend from."""
        return self.tasks[0]

    def live(self) -> list[TaskImages]:
        """The processes that are not zombies."""
        return [task for task in self.tasks if not task.dead]

    def by_pid(self) -> dict[int, TaskImages]:
        """The processes by pid."""
        return {task.pid: task for task in self.tasks}

    def _nodes(self) -> list[births.Node]:
        """How they are to be started, helpers included."""
        by_pid: dict[int, births.Node] = {}
        for i, task in enumerate(self.tasks):
            tree = task.tree
            parent = by_pid.get(tree.ppid)
            if (parent is None) != (i == 0) or tree.pid in by_pid:
                what = (
                    f"pid {tree.pid}: its parent {tree.ppid} does not come before it" if i else "the root has a parent"
                )
                raise BadImage("pstree.img", 0, f"{what}, or the pid is there twice; dump again")
            signal = task.core.tc.exit_signal if task.core.tc.HasField("exit_signal") else _SIGCHLD
            node = task.node = by_pid[tree.pid] = births.Node(tree.pid, tree.sid, tree.pgid, parent, signal)
            node.dead = task.dead
            if not task.dead:
                node.ids = task.kobj_ids()
        if self.root.dead:
            raise BadImage("pstree.img", 0, f"pid {self.root.pid}: the root is dead; dump again")
        return births.plan([task.node for task in self.tasks])

    def blockers(self, march: int, shell_job: bool) -> list[str]:
        """What cannot be restored yet, or not with these options; one line each."""
        out = []
        pids = [task.pid for task in self.tasks]
        for task in self.tasks:
            if task.core.mtype != march:
                out.append(f"pid {task.pid}: the image is of another architecture ({task.core.mtype})")
        for task in self.live():
            if task.core.tc.task_state not in (ALIVE, STOPPED):
                out.append(f"pid {task.pid}: task state {task.core.tc.task_state} is unknown")
            out += task.blockers(pids)
            own = self.inventory.root_ids
            out += [
                f"pid {task.pid}: the task had its own {name.removesuffix('_ns_id')} namespace: "
                "namespaces are not supported yet"
                for name in (f.name for f in own.DESCRIPTOR.fields if f.name.endswith("_ns_id"))
                if getattr(own, name) != getattr(task.ids, name)
            ]
        out += [
            f"remap-fpath.img: file {r.orig_id:#x}: remap type {r.remap_type} is not supported yet"
            for r in self.remaps
            if r.remap_type != ghost.GHOST
        ]
        out += [
            f"files.img: file {entry.id:#x}: files of type {entry.type} are not supported yet"
            for entry in self.files.values()
            if kinds.by_type(entry.type) is None
        ]
        if births.OUTER in (self.root.node.sid, self.root.node.pgid) and not shell_job:
            out.append(f"pid {self.root.pid}: its session's leader is outside of the tree; use --shell-job")
        return out

    def comm(self, pid: int) -> str:
        """What a task was called, for messages."""
        task = self.by_pid().get(pid)
        return text(task.core.tc.comm) if task else "helper"
