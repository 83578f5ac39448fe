"""The images of a tree, read and consistent with each other; what of them cannot be restored yet."""

from __future__ import annotations

from engine.errors import BadImage
from engine.files import kinds
from engine.images.files import Images
from engine.images.pagemap import OWNER, PE_PARENT, Pagemap
from engine.images.schema import text
from engine.kernel.namespaces import FLAGS
from engine.memory import guard
from engine.memory import vmas as vma_kind
from engine.namespaces import timens
from engine.namespaces.table import KINDS, MOUNTS, can_nest, is_supported
from engine.tasks import births, compat, timers
from engine.tasks.numbers import Numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.locks import Locks
    from engine.files.memfd import Memfds
    from engine.memory.aio import Ring
    from engine.memory.vdso import Proxy
    from engine.namespaces.join import Existing
    from engine.options import Options
    from engine.tasks.cgroup_restore import Cgroups
    from engine.tasks.seccomp import Process

ALIVE, DEAD, STOPPED, ZOMBIE = 1, 2, 3, 6  # task_core_entry.task_state
_PID_MAX = 1 << 22  # PID_MAX_LIMIT of include/linux/threads.h
_SIGCHLD = 17


class TaskImages:
    """One process."""

    __slots__ = (
        "apart",
        "core",
        "fdinfo",
        "fs",
        "has_fdinfo",
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
        self.apart: dict[int, dict[str, int]] = {}  # by tid: what namespaces a thread has by itself (of_threads.py)
        self.node: births.Node = births.Node(0, 0, 0, None)
        self.pages_id = 0
        self.tells_frames = False
        self.rings: list[Ring] = []
        self.vdso: Proxy | None = None
        self.seccomp: Process | None = None
        self.ids: Any = None
        self.mm: Any = None
        self.fs: Any = None
        self.has_fdinfo = True
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
            if core.thread_core.HasField("ns_ids"):
                from engine.namespaces import of_threads  # few have any

                self.apart[tid] = of_threads.of_image(core)
        self.mm = images.read_one("MM", self.pid)
        self.fs = images.read_one("FS", self.pid)
        self.ids = self.core.ids if self.core.HasField("ids") else images.read_one("IDS", self.pid)
        # CRIU writes none for a table without descriptors
        self.has_fdinfo = images.exists("FDINFO", self.ids.files_id)
        self.fdinfo = images.read("FDINFO", self.ids.files_id) if self.has_fdinfo else []
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

    def namespace(self, kind: str) -> int:
        """The number of its namespace of a kind."""
        return int(getattr(self.ids, f"{kind}_ns_id"))

    def thread_namespace(self, kind: str, tid: int) -> int:
        """The same of one of its threads, which may have some by itself."""
        return self.apart[tid].get(kind, self.namespace(kind)) if tid in self.apart else self.namespace(kind)

    def for_children(self, kind: str) -> int | None:
        """The number of the namespace of its children to come, where that is another; 0: one without processes."""
        field = f"{kind}_for_children_ns_id"
        return int(getattr(self.ids, field)) if self.ids.HasField(field) else None

    def kobj_ids(self) -> dict[str, int]:
        """The identifiers of what tasks may share, by kind."""
        return {kind: getattr(self.ids, f"{kind}_id") for kind in births.KINDS}

    def blockers(self, tids: list[int], pids: list[int]) -> list[str]:
        """What of it cannot be restored yet, one line each. What it calls its threads, and the tasks of the tree."""
        out = compat.image_blockers(self.live)
        out += timers.image_blockers(self.core, tids, pids)
        for v in self.mm.vmas:
            known = vma_kind.REGULAR | vma_kind.HEAP | vma_kind.FILE_PRIVATE | vma_kind.FILE_SHARED
            known |= vma_kind.ANON_PRIVATE | vma_kind.VDSO | vma_kind.VVAR | vma_kind.VSYSCALL | vma_kind.MEMFD | 2
            known |= vma_kind.AIORING | vma_kind.SECRETMEM | vma_kind.RING | guard.STATUS
            if v.status & ~known and not v.status & vma_kind.SYSVIPC:
                out.append(f"mapping {vma_kind.text(v)}: status {v.status:#x} is not supported yet")
        if full := vma_kind.check_count(len(self.mm.vmas)):
            out.append(full)
        if self.pagemap.flags & PE_PARENT and any(f & PE_PARENT and not f >> OWNER for _, _, f in self.pagemap):
            out.append("pages in a parent image (incremental dumps) are not supported yet")
        return [f"pid {self.pid}: {line}" for line in out]


class TreeImages:
    """All processes, parents first, and what they have in common."""

    __slots__ = (
        *("cgroups", "existing", "files", "held", "inventory", "joined", "locks", "memfds", "namespaces", "nodes"),
        *("numbers", "remaps", "seccomp", "tasks", "users"),
    )

    def __init__(self, images: Images, options: Options | None = None) -> None:
        self.existing: Existing | None = None  # namespaces that are there before
        self.joined: frozenset[str] = frozenset()  # kinds of those that --join-ns gives to the root task
        self.inventory = images.read_one("INVENTORY")
        if not (self.inventory.fdinfo_per_id and self.inventory.ns_per_id):
            raise BadImage("inventory.img", 0, "images of a CRIU older than 2.0 are not supported; dump again")
        entries = images.read("PSTREE")
        if not entries:
            raise BadImage("pstree.img", 0, "no task in it; dump again")
        self.tasks = [TaskImages(images, entry) for entry in entries]
        self.numbers = Numbers(entries)
        self.files: dict[int, Any] = {}
        for entry in images.read("FILES"):
            if entry.type == kinds.TUNF and entry.id in self.files:  # its path comes before it
                entry.reg.CopyFrom(self.files[entry.id].reg)
            self.files[entry.id] = entry
        self.remaps = images.read("REMAP_FPATH") if images.exists("REMAP_FPATH") else []
        self.seccomp = images.read_one("SECCOMP") if images.exists("SECCOMP") else None
        self._check_fdinfo(images)
        self.held = self._held(images)  # namespaces that files or mounts are of, and perhaps no task is in
        self.nodes = self._nodes()
        if options:
            self._join(images, options)
        self.namespaces = self._foreign(self.root)  # of the root task: kind -> number in the images
        self.cgroups: Cgroups | None = None
        if "time" not in self.namespaces and timens.is_ahead(images):
            self.namespaces["time"] = timens.OWN
        self.users: dict[int, Any] = {}  # user namespaces below the root task's: userns_entry, parents first
        for ident in sorted(ident for kind, ident in self.nested() if kind == "user"):
            from engine.namespaces import user

            self.users[ident] = user.check(images, ident)
        self._check_parents(images)
        self.memfds: Memfds | None = None
        self.locks: Locks | None = None
        if images.exists("FILE_LOCKS") and images.read("FILE_LOCKS"):
            from engine.files.locks import Locks

            self.locks = Locks(images, self.files, self.live(), bool(self.namespaces))
        shared = vma_kind.ANON_SHARED | vma_kind.SYSVIPC
        mapped = (v.status & shared == vma_kind.ANON_SHARED for task in self.live() for v in task.mm.vmas)
        if any(entry.type == kinds.MEMFD for entry in self.files.values()) or any(mapped):
            from engine.files.memfd import Memfds

            self.memfds = Memfds(images, self.files, self.live())

    def _join(self, images: Images, options: Options) -> None:
        nested = self.nested()
        if not (options.join_ns or nested or self._foreign(self.root)):
            return
        from engine.namespaces import join

        self.joined = frozenset(join.joined(options))
        self.existing = join.existing(options, images, self.root_namespaces(), nested)

    def _check_parents(self, images: Images) -> None:
        """BadImage for user namespaces that are in each other."""
        for ident in self.users:
            at, seen = ident, set[int]()
            while at in self.users:
                if at in seen:
                    raise BadImage(images.name("USERNS", ident), 0, f"it is in itself, by {len(seen)}; dump again")
                seen.add(at)
                at = self.users[at].parent

    def exists(self, kind: str, ident: int) -> bool:
        """Is this namespace there before the restore, and joined?"""
        return self.existing is not None and (kind, ident) in self.existing

    def further(self) -> list[tuple[str, int]]:
        """Those that are there before the restore, and not the root task's."""
        return [key for key in self.nested() if self.exists(*key)]

    def _check_fdinfo(self, images: Images) -> None:
        """BadImage if one that is missing has had entries: then there are files that nobody uses."""
        missing = [task for task in self.live() if not task.has_fdinfo]
        if not missing:
            return
        used = {e.id for task in self.live() for e in task.fdinfo}
        for task in self.live():
            used |= {task.mm.exe_file_id, task.fs.cwd_id, task.fs.root_id, *(v.shmid for v in task.mm.vmas)}
        used |= {r.remap_id for r in self.remaps if r.remap_type == kinds.LINKED}
        if self.files.keys() - used:
            images.read("FDINFO", missing[0].ids.files_id)

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
            # in pid namespaces CRIU has no number for the thread of a zombie, but something
            threads = () if task.dead else tree.threads
            if max(tree.pid, tree.sid, tree.pgid, *threads) > _PID_MAX:
                what = f"session {tree.sid}, group {tree.pgid}, threads {list(threads)}"
                raise BadImage("pstree.img", 0, f"pid {tree.pid}: {what}: there are no such numbers; dump again")
            signal = task.core.tc.exit_signal if task.core.tc.HasField("exit_signal") else _SIGCHLD
            node = task.node = by_pid[tree.pid] = births.Node(tree.pid, tree.sid, tree.pgid, parent, signal)
            node.dead = task.dead
            if not task.dead:
                node.ids = task.kobj_ids()
        if self.root.dead:
            raise BadImage("pstree.img", 0, f"pid {self.root.pid}: the root is dead; dump again")
        gone = {r.remap_id for r in self.remaps if r.remap_type == kinds.PROCFS}
        return births.plan([task.node for task in self.tasks], gone)

    def blockers(self, march: int, shell_job: bool) -> list[str]:
        """What cannot be restored yet, or not with these options; one line each."""
        out: list[str] = []
        pids = [task.pid for task in self.tasks]
        fs_sharers: dict[int, int] = {}
        for task in self.live() if self.users else ():
            fs_sharers[task.ids.fs_id] = fs_sharers.get(task.ids.fs_id, 0) + 1
        for task in self.tasks:
            if task.core.mtype != march:
                out.append(f"pid {task.pid}: the image is of another architecture ({task.core.mtype})")
        for task in self.live():
            if task.core.tc.task_state not in (ALIVE, STOPPED):
                out.append(f"pid {task.pid}: task state {task.core.tc.task_state} is unknown")
            out += task.blockers(*(self.numbers.known(task.pid, its) for its in (task.tree.threads, pids)))
            if "ipc" not in self.namespaces and any(v.status & vma_kind.SYSVIPC for v in task.mm.vmas):
                out.append(
                    f"pid {task.pid}: its System V shared memory is of no IPC namespace in the images: dump again"
                )
            own = self._foreign(task)
            out += [
                f"pid {task.pid}: its {kind} namespace is not the root task's: nested ones are not supported yet"
                for kind in KINDS
                if own.get(kind) != self.namespaces.get(kind) and not can_nest(kind, MOUNTS in self.namespaces)
            ]
            if task.namespace("user") in self.users:
                from engine.tasks import steered

                what = steered.blocker(task)
                if fs_sharers[task.ids.fs_id] > 1:
                    what = "shares its root and directory with another task"
                if what:
                    out.append(f"pid {task.pid}: {what}, in a user namespace below the root task's: not supported yet")
        out += [
            f"{kind} namespace {ident}: this kind is not supported yet"
            for kind, ident in self.namespaces.items()
            if not is_supported(kind) and not self.exists(kind, ident)
        ]
        if "user" in self.joined and "pid" not in self.namespaces:
            out.append(
                "--join-ns user: pids are chosen by who owns their namespace: add --join-ns pid:PID of one in it"
            )
        if MOUNTS in self.joined and any(kind == MOUNTS for kind, _ in self.nested()):
            out.append("--join-ns mnt: the tree has further mount namespaces, whose mounts are those of the first")
        out += [
            f"remap-fpath.img: file {r.orig_id:#x}: remap type {r.remap_type} is not supported yet"
            for r in self.remaps
            if r.remap_type not in (kinds.LINKED, kinds.GHOST, kinds.PROCFS)
        ]
        unknown = {kind for kind in {entry.type for entry in self.files.values()} if kinds.by_type(kind) is None}
        out += [
            f"files.img: file {entry.id:#x}: files of type {entry.type} are not supported yet"
            for entry in (self.files.values() if unknown else ())
            if entry.type in unknown
        ]
        for kind, name in ((kinds.INETSK, "inet"), (kinds.UNIXSK, "unix")):
            if its := [entry for entry in self.files.values() if entry.type == kind]:
                out += kinds.module(name).blockers(its)
        if births.OUTER in (self.root.node.sid, self.root.node.pgid) and not shell_job:
            out.append(f"pid {self.root.pid}: its session's leader is outside of the tree; use --shell-job")
        return out

    def free_pid(self) -> int:
        """A pid that nobody of the tree has."""
        pids = [node.pid for node in self.nodes] + [int(tid) for task in self.live() for tid in task.tree.threads]
        return max(pids) + 1

    def nested(self) -> list[tuple[str, int]]:
        """The further namespaces, those that the root task is not in: kind and number, each once."""
        root, own = self.root_namespaces(), self.inventory.root_ids
        made = self.clocks()
        out: dict[tuple[str, int], None] = {}
        for task in self.live():
            for kind in (kind for kind in KINDS if kind != "pid"):  # those are their first processes'
                for ident in {task.namespace(kind), *(its[kind] for its in task.apart.values() if kind in its)}:
                    if ident not in (root[kind], getattr(own, f"{kind}_ns_id")) and (
                        kind != "time" or ident not in made
                    ):
                        out[kind, ident] = None
        if self.held:
            out.update(dict.fromkeys(key for key in self.held if key[1] != root[key[0]]))
        return list(out)

    def _held(self, images: Images) -> list[tuple[str, int]]:
        entries = [
            entry.nsf for entry in self.files.values() if entry.type == kinds.NS and not entry.nsf.HasField("pid")
        ]
        own = {kind: getattr(self.inventory.root_ids, f"{kind}_ns_id") for kind in KINDS}
        names = {flag: kind for kind, flag in FLAGS.items()}
        spaces = {task.namespace(MOUNTS) for task in self.live()}
        spaces |= {entry.ns_id for entry in entries if names.get(entry.ns_cflag) == MOUNTS}
        for ident in sorted(spaces - {own[MOUNTS]}):
            if images.exists("MNTS", ident):  # else it is there at the restore
                entries += [entry for entry in images.read("MNTS", ident) if entry.HasField("ns_id")]
        found = [(names.get(entry.ns_cflag, ""), entry.ns_id) for entry in entries]
        # of a socket without one CRIU says nothing
        found += [("net", entry.isk.ns_id or own["net"]) for entry in self.files.values() if entry.type == kinds.INETSK]
        found += [("net", entry.usk.ns_id or own["net"]) for entry in self.files.values() if entry.type == kinds.UNIXSK]
        return list(dict.fromkeys(key for key in found if key[0] and key[1] != own[key[0]] and key[0] != "pid"))

    def owners(self, kind: str) -> dict[int, int]:
        """The user namespaces below the root task's that namespaces of a kind belong to, by the numbers of these."""
        its = self.users.items()
        return {ns.ns_id: ident for ident, entry in its for ns in entry.owned if ns.ns_cflag == FLAGS[kind]}

    def spaces(self, kind: str) -> dict[int, dict[str, int]]:
        """By the number of each namespace of a kind: all namespaces of the first task in it."""
        return {
            task.namespace(kind): {other: task.namespace(other) for other in KINDS} for task in reversed(self.live())
        }

    def clocks(self) -> dict[int, int]:
        """The time namespaces that tasks have made for children to come, which these make again: number -> pid."""
        kids = [(task.for_children("time"), task.pid) for task in self.live()]
        kids += [(its.get("time_for_children"), tid) for task in self.live() for tid, its in task.apart.items()]
        return {ident: pid for ident, pid in kids if ident is not None}

    def root_namespaces(self) -> dict[str, int]:
        """The numbers of the namespaces that the root task is in."""
        return {kind: self.root.namespace(kind) for kind in KINDS}

    def _foreign(self, task: TaskImages) -> dict[str, int]:
        own, its = self.inventory.root_ids, task.ids
        names = {kind: f"{kind}_ns_id" for kind in KINDS}
        return {
            kind: getattr(its, name)
            for kind, name in names.items()
            if getattr(its, name) != getattr(own, name) or kind in self.joined
        }

    def comm(self, pid: int) -> str:
        """What a task was called, for messages."""
        task = self.by_pid().get(pid)
        return text(task.core.tc.comm) if task else "helper"
