"""Preflight: look at the whole tree before anything is frozen, and name every object that cannot be dumped."""

from __future__ import annotations

import os

from engine.blocks import suppress
from engine.context import Context
from engine.errors import EngineError, KernelError, Unsupported
from engine.files import table, validation
from engine.files.scope import Scope
from engine.kernel import proc, process
from engine.memory import vmas as vma_kind
from engine.namespaces.table import FOR_CHILDREN, KINDS, Namespaces
from engine.tasks import landlock, timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.namespaces.table import Namespace

_RLIMIT_AS = 9
_ARENA = 128 << 10  # bytes, more than questions take
# in the name of the kernel function that such a parent waits in
_VFORK = "vfork"


class Seen:
    """A process as the preflight saw it; `vmas` is empty for a zombie."""

    __slots__ = ("apart", "kids", "pid", "stat", "tids", "view", "vmas")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.stat = proc.Stat(pid)
        self.tids, self.kids = process.scan(pid)
        self.view = pid if self.stat.state not in process.ENDED else process.view(pid)
        self.vmas: list[proc.Vma] = []
        self.apart: dict[int, dict[str, Namespace]] = {}  # threads with namespaces of their own


def preflight(
    ctx: Context, root: int, probes: landlock.Probes, scope: Scope, vmas: dict[tuple[str, str], proc.Vma]
) -> dict[int, list[proc.Vma]]:
    """The mappings of every task, by pid. Raises Unsupported with all blockers."""
    namespaces = Namespaces()
    blockers: list[str] = []
    seen: dict[int, Seen] = {}
    survey = table.Survey(scope)
    todo = [root]
    while todo:
        pid = todo.pop()
        # whoever ends meanwhile is a zombie, or gone, when the tree is frozen
        with suppress(FileNotFoundError, ProcessLookupError):
            try:
                task = seen[pid] = Seen(pid)
            except KernelError:
                continue
            todo += reversed(task.kids)
            if task.view:
                try:
                    blockers += _task(ctx, task, namespaces, probes, survey, scope, vmas)
                except PermissionError:  # so say the links of one that is gone; another may have its pid by now
                    blockers += _task(ctx, task, namespaces, probes, survey, scope, vmas)
    for task in seen.values():
        if task.view:
            with suppress(FileNotFoundError, ProcessLookupError):
                if not (listed := timers.listed(task.view, scope.pids)):
                    continue
                tids, pids = (scope.pids.all_called(task.view, its) for its in (task.tids, seen))
                found = timers.blockers(listed, tids, pids)
                blockers += [f"pid {task.pid}: {b}" for b in found]
    blockers += survey.blockers({tid for task in seen.values() for tid in (task.pid, *task.tids)})
    blockers += _sessions(ctx, seen, root)
    scope.note_held(namespaces)  # with mounts of their own
    blockers += namespaces.held_by_mounts(ctx, scope)
    scope.note_held(namespaces)
    blockers += namespaces.blockers(ctx, root)
    apart = {task.pid: task.apart for task in seen.values() if task.apart}
    if apart:
        from engine.namespaces import of_threads

        views = {task.pid: task.view for task in seen.values() if task.view}
        with suppress(FileNotFoundError, ProcessLookupError):
            blockers += of_threads.time_blockers(apart, views, namespaces)
    if namespaces.nested("user", root):
        from engine.namespaces import user

        threads = {task.view: task.tids for task in seen.values() if task.view}
        its_own = {tid: its for task in apart.values() for tid, its in task.items()}
        blockers += user.tree_blockers(threads, its_own, scope, root)
    if namespaces.nested("pid", root):
        from engine.namespaces import pid as pidns

        blockers += pidns.tree_blockers([*seen, *(tid for its in apart.values() for tid in its)], scope, namespaces)
    if blockers:
        raise Unsupported(blockers)
    validation.look_ahead(scope)
    return {task.view: task.vmas for task in seen.values() if task.vmas}


def _task(
    ctx: Context,
    task: Seen,
    namespaces: Namespaces,
    probes: landlock.Probes,
    survey: table.Survey,
    scope: Scope,
    seen: dict[tuple[str, str], proc.Vma],
) -> list[str]:
    """What of one live process cannot be dumped."""
    pid, view = task.pid, task.view
    out = []
    status = proc.status(view)
    if status.get("TracerPid", "0") != "0":
        out.append(f"is traced by pid {status['TracerPid']}: detach that one first")
    if task.stat.state == "D" and (waits := _vfork(pid, task.kids)):
        out.append(waits)
    if frozen := _cgroup_freezer(view, ctx.options.freeze_cgroup):
        out.append(frozen)
    for kind in KINDS:
        namespaces.of(kind, view)
    for kind in FOR_CHILDREN:
        namespaces.for_children(kind, view)
    task.vmas = proc.smaps(view, seen)
    if len(task.tids) > 1:
        from engine.namespaces import of_threads

        task.apart = of_threads.look(pid, view, task.tids, namespaces)
        out += of_threads.blockers(task.apart, view, task.vmas)
    own_ipc = namespaces.of("ipc", view) is not namespaces.own["ipc"]
    out += vma_kind.blockers(task.vmas, ctx.options.allow_uprobes, own_ipc)
    for v in task.vmas:
        if v.uffd:
            survey.registered(view, v)
    if full := vma_kind.check_count(len(task.vmas)):
        out.append(full)
    out += _room(status, proc.limits(view)[_RLIMIT_AS][0])
    probes.add(status)  # threads that differ in that are noticed when they are frozen
    out += table.blockers(view, survey, scope)
    out += table.mapped_blockers(view, task.vmas, survey, scope)
    return [b if b.startswith("pid ") else f"pid {pid}: {b}" for b in out]


def _room(status: proc.Status, limit: int) -> list[str]:
    """The parasite takes some address space, for which RLIMIT_AS has to leave room."""
    size = int(status.get("VmSize", "0 kB").split()[0]) * 1024  # of one that is ending: nothing
    if size + _ARENA <= limit:
        return []
    return [f"its limit of {limit} bytes of address space (RLIMIT_AS) leaves no {_ARENA} for the dump: raise it"]


def _vfork(pid: int, kids: list[int]) -> str:
    """A parent that waits for its vfork(2) child cannot be stopped."""
    with suppress(OSError):
        if _VFORK in proc.read_text(f"/proc/{pid}/stack"):
            return f"waits for its vfork(2) child {kids} to exec or end: dump when that has happened"
    return ""


def _cgroup_freezer(pid: int, given: str) -> str:
    """A frozen cgroup (v1 freezer, v2 cgroup.freeze): its tasks cannot answer, unless --freeze-cgroup thaws it."""
    for line in proc.read_text(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "freezer" in controllers.split(","):
            names, frozen = [f"/sys/fs/cgroup/freezer{path}/freezer.state"], {"FROZEN", "FREEZING"}
        elif not controllers:
            names, frozen = [f"/sys/fs/cgroup/{top}{path}/cgroup.events" for top in ("unified", "")], {"frozen 1"}
        else:
            continue
        for name in names:
            with suppress(OSError):
                if frozen & set(proc.read_text(name).splitlines()) and not _is_below(name, given):
                    return f"is in the frozen cgroup {path}: thaw it first ({name}), or dump with --freeze-cgroup"
    return ""


def _is_below(path: str, directory: str) -> bool:
    """Is a file in a directory, or further below, whatever names lead there?"""
    while directory and len(path) > 1:
        path = os.path.dirname(path)
        if os.path.samefile(path, directory):
            return True
    return False


def _sessions(ctx: Context, seen: dict[int, Seen], root: int) -> list[str]:
    """Sessions and process groups that are not the tree's own need --shell-job, and only the root's can be that."""
    out = []
    top = seen[root].stat
    for task in seen.values():
        for what, ident in (("session", task.stat.sid), ("process group", task.stat.pgid)):
            if ident in seen or (_is_free(ident) and ident not in (top.sid, top.pgid)):
                continue
            if ident not in (top.sid, top.pgid):
                out.append(f"pid {task.pid}: {what} {ident} is of processes outside of the tree: dump them together")
            elif not ctx.options.shell_job:
                out.append(
                    f"pid {task.pid}: {what} {ident} has its leader outside of the tree: "
                    "dump the leader, or use --shell-job"
                )
    return out


def _is_free(pid: int) -> bool:
    """Is there no task of that number any more?"""
    return not os.path.exists(f"/proc/{pid}")


def target(pid: int) -> None:
    """Can --tree be dumped at all? EngineError if not."""
    try:
        stat = proc.Stat(pid)
        leader = proc.status(pid)["Tgid"]
    except (FileNotFoundError, ProcessLookupError) as e:
        raise EngineError(f"pid {pid} does not exist; give --tree the pid of a running process") from e
    if stat.is_kernel_thread:
        raise EngineError(f"pid {pid} ({stat.comm}) is a kernel thread; only user processes can be dumped")
    if int(leader) != pid:
        raise EngineError(f"pid {pid} is a thread of process {leader}; give --tree {leader}")
    if stat.state in process.ENDED and len(proc.threads(pid)) == 1:
        raise Unsupported([f"pid {pid}: is a zombie: there is nothing of it to dump but its exit status"])
    ancestor = os.getpid()
    while ancestor > 0:
        if ancestor == pid:
            who = "the engine itself" if pid == os.getpid() else "an ancestor of the engine"
            raise EngineError(f"pid {pid} ({stat.comm}) is {who}; start criu from outside of the tree to dump")
        ancestor = proc.Stat(ancestor).ppid
