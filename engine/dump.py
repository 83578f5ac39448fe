"""Dump in five steps: preflight, freeze, collect, pages, let go (docs/design.md)."""

from __future__ import annotations

import os

from engine import cpuinfo
from engine.blocks import closing, nullcontext, suppress
from engine.context import Context
from engine.errors import EngineError, KernelError, Unsupported
from engine.files.scope import Scope
from engine.files.table import FileTable
from engine.files.validation import Validation
from engine.images.files import Images
from engine.kernel import memory, pagemap, proc, process
from engine.kernel.uapi import ptrace as pt
from engine.memory import copying, vdso
from engine.memory import vmas as vma_kind
from engine.namespaces import timens
from engine.namespaces.table import FOR_CHILDREN, KINDS
from engine.options import NETWORK_LOCKS
from engine.plan.program import Arena, place
from engine.preflight import preflight, target
from engine.stats import Clock, DumpStats
from engine.tasks import cgroup_sets, collect, compat, freeze, fs, landlock, restart, sched, seccomp, threads
from engine.tasks.collect import Collected, Interview
from engine.tasks.inject import Graft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.memory.snapshot import Snapshot
    from engine.namespaces.table import Namespace
    from engine.network.lock import locked
    from engine.tasks.cgroup_freezer import Freezer

# Bytes of memory from which on a task that runs on is cloned; of less the copy takes no longer than the cloning.
_SNAPSHOT_MIN = 6 << 20
# Messages that a freeze makes the first of: their classes are made before.
_EARLY = ("core_entry", "mm_entry", "fs_entry", "file_entry", "fdinfo_entry", "pagemap_head")
_FREEZES = 4  # attempts to freeze it where the rest of a sleep can be told
# Identifiers of tasks' kernel objects: 1 is the engine's own, as in CRIU's images.
_OWN_ID, _FIRST_ID = 1, 2
_KOBJS = {
    "vm": process.KCMP_VM,
    "files": process.KCMP_FILES,
    "fs": process.KCMP_FS,
    "sighand": process.KCMP_SIGHAND,
}


class Dump:
    """One dump under way."""

    __slots__ = (
        *("cgroups", "files", "filters", "grafts", "images", "interview", "lock", "mappings", "namespaces", "run_id"),
        *("sched", "scope", "stats", "undoing"),
        *("tasks", "vdso", "zombies"),
    )

    def __init__(
        self,
        ctx: Context,
        images: Images,
        mappings: dict[int, list[proc.Vma]],
        probes: landlock.Probes,
        scope: Scope,
        vmas: dict[tuple[str, str], proc.Vma],
    ) -> None:
        self.images = images
        self.mappings = mappings
        self.scope = scope
        self.namespaces = scope.namespaces
        self.cgroups = cgroup_sets.Sets(ctx.options, self.namespaces.own["cgroup"])
        self.stats = DumpStats()
        self.files = FileTable(ctx.schema, scope, Validation(ctx.options, ctx.log, scope))
        taken = [(v.start, v.end) for its in mappings.values() for v in its]
        low = any(compat.is_small(its) for its in mappings.values())
        self.interview = Interview(Arena(ctx.machine, place(taken, collect.ARENA_MAX, low)), probes, vmas)
        self.grafts: dict[int, Graft] = {}
        for pid, its in mappings.items():
            with suppress(KernelError):  # it has ended meanwhile; what else there is is found when it is frozen
                self.grafts[pid] = Graft(pid, its, self.interview.sheet)
        self.vdso = {pid: vdso.areas(its) for pid, its in mappings.items()}
        self.sched = sched.Defaults()
        self.filters = seccomp.Filters(ctx.schema.message)
        self.tasks: list[Collected] = []
        self.zombies: dict[int, Any] = {}
        self.undoing: list[int] = []  # have used SEM_UNDO
        self.lock: locked | None = None  # of its network namespaces
        self.run_id = _run_id()


def dump(ctx: Context) -> None:
    """Dump the tree of --tree into --images-dir. On any failure it runs on as before, and no image is left."""
    pid = ctx.options.tree
    ctx.log.info(f"Dumping process {pid} into {ctx.options.images_dir}")
    process.block_sigchld(True)
    target(pid)
    try:
        scope = Scope(ctx.options, ctx.log, pid)
        freezer = _freezer(ctx)
        with (
            closing(freezer) if freezer else nullcontext(),
            landlock.Probes(pid, scope) as probes,
            closing(scope),
            closing(ctx.images()) as images,
        ):
            vmas: dict[tuple[str, str], proc.Vma] = {}
            mappings = preflight(ctx, pid, probes, scope, vmas)
            snapshot = None if freezer and freezer.was_frozen else _snapshot(ctx, mappings)
            try:
                with closing(snapshot) if snapshot else nullcontext():
                    _dump(ctx, pid, images, mappings, probes, scope, vmas, snapshot, freezer)
            except BaseException:
                images.remove_created()
                raise
    finally:
        process.block_sigchld(False)


def _freezer(ctx: Context) -> Freezer | None:
    """That of --freeze-cgroup."""
    if not ctx.options.freeze_cgroup:
        return None
    from engine.tasks.cgroup_freezer import Freezer

    return Freezer(ctx.options.freeze_cgroup)


def _snapshot(ctx: Context, views: Iterable[int]) -> Snapshot | None:
    """What clones the tasks with much memory, if they are to run on and there are any."""
    if not ctx.options.leave_running or not ctx.options.snapshot:
        return None
    wanted = []
    for view in views:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            if proc.private_memory(view) >= _SNAPSHOT_MIN:
                wanted.append(view)
    if not wanted:
        return None
    from engine.memory.snapshot import Snapshot

    return Snapshot(ctx, wanted)


def _dump(
    ctx: Context,
    root: int,
    images: Images,
    mappings: dict[int, list[proc.Vma]],
    probes: landlock.Probes,
    scope: Scope,
    vmas: dict[tuple[str, str], proc.Vma],
    snapshot: Snapshot | None,
    freezer: Freezer | None,
) -> None:
    """Steps two to five. Frozen at a moment when what is left of a sleep cannot be told, the tree is let go again."""
    sleeps: dict[int, restart.Sleep] = {}
    for name in _EARLY:
        ctx.schema.message(name)()
    for attempt in range(_FREEZES + 1):
        if snapshot:
            snapshot.discard()
        state = Dump(ctx, images, mappings, probes, scope, vmas)
        restart.settle(list(sleeps))
        clock = Clock()
        # which stops all at once: who is to be seen going to sleep is stopped by itself
        with freeze.frozen(
            root, ctx.options.timeout * 1_000_000, pt.PTRACE_O_SUSPEND_SECCOMP, sleeps, None if sleeps else freezer
        ) as tree:
            state.stats.freezing = clock.lap()
            _look(ctx, state, tree)
            unknown = collect.sleeps_left(ctx, state.tasks, sleeps)
            held = freezer is not None and freezer.was_frozen  # and is not to run in between
            if astray := _astray(ctx, state):
                if attempt + 1 >= _FREEZES:
                    raise EngineError(f"{astray} runs code of an engine that was killed half-way; dump again")
                ctx.log.debug(f"{astray} is in code of an engine that was killed half-way; once more")
                continue
            if unknown and attempt + 1 < _FREEZES and not held:
                ctx.log.debug(f"in a system call whose rest is not known: {unknown}; once more, one after the other")
                for tid in unknown:
                    sleeps.setdefault(tid, restart.Sleep(ctx.machine, tid))
                continue
            for tid in unknown:
                ctx.log.warn(f"pid {tid}: its system call will return EINTR: what is left of its timeout is unknown")
            try:
                state.lock = state.namespaces.lock(ctx)
                with state.lock or nullcontext():
                    left = _frozen(ctx, state, tree, clock, snapshot, probes, freezer)
                if not left:
                    images.remove_created()
                    continue
            except landlock.Unprobed as e:
                if attempt + 1 >= _FREEZES:
                    raise
                probes.add(e.status)
                images.remove_created()
                continue
            finally:
                state.files.close()
            break
    ctx.log.info("Dumping finished successfully")


def _astray(ctx: Context, state: Dump) -> str:
    """A thread on its way home by what an engine that was killed has left where our own code is to go."""
    for task in state.tasks:
        if graft := state.grafts.get(task.view):
            for thread in task.live:
                if graft.holds(ctx.arch.get(thread.regs, "ip")):
                    return f"pid {thread.tid}"
    return ""


def _look(ctx: Context, state: Dump, tree: freeze.Frozen) -> None:
    """Who is there, who shares what with whom, and every thread's registers."""
    live = [task for task in tree.tasks if task.tracees]
    views = [task.first.pid for task in live]
    ids = {name: process.kcmp_ids(views, kind) for name, kind in _KOBJS.items()}
    seen: set[tuple[str, int]] = set()
    for i, task in enumerate(live):
        its = {name: ids[name][i] + _FIRST_ID - 1 for name in _KOBJS}
        owns = {name for name, ident in its.items() if (name, ident) not in seen}
        seen.update(its.items())
        namespaces = {kind: state.namespaces.of(kind, task.first.pid).ident for kind in KINDS}
        one = Collected(ctx, task, its, owns, namespaces, state.scope.pids)
        for kind in FOR_CHILDREN:
            if other := state.namespaces.for_children(kind, task.first.pid):
                one.for_children[f"{kind}_for_children_ns_id"] = other.ident
        collect.registers(ctx, one, state.vdso.get(one.view, []), state.scope.pids)
        apart: dict[int, dict[str, Namespace]] = {}
        if len(one.threads) > 1:
            from engine.namespaces import of_threads

            tids = [thread.tid for thread in one.live]
            apart = of_threads.look(task.pid, one.view, tids, state.namespaces)
            if late := of_threads.blockers(apart, one.view, state.mappings.get(one.view, [])):
                raise Unsupported([f"pid {task.pid}: {b}" for b in late])
        ns = state.namespaces.of("cgroup", task.first.pid)
        for thread in one.live:
            own = apart.get(thread.tid, {})
            thread.core.thread_core.cg_set = state.cgroups.number(task.pid, thread.tid, own.get("cgroup", ns))
            if own:
                of_threads.dump(thread.core, own)
        state.tasks.append(one)
    state.scope.note_held(state.namespaces)
    for ns in state.namespaces.foreign() if state.scope.held else ():
        if ns.kind == "cgroup" and ns.is_held:
            state.cgroups.hold(ns, ctx.options.cgroup_yard)
    for task in tree.tasks:
        if not task.tracees:
            state.zombies[state.scope.pids.inner(task.pid)] = collect.zombie(ctx, task.pid, state.scope)


def _frozen(
    ctx: Context,
    state: Dump,
    tree: freeze.Frozen,
    clock: Clock,
    snapshot: Snapshot | None,
    probes: landlock.Probes,
    freezer: Freezer | None,
) -> bool:
    """What is done while the tree is frozen, and how it is left. False: it was let go, and is to be frozen again."""
    options, stats = ctx.options, state.stats
    state.scope.frozen = True
    state.files.look([task.view for task in state.tasks if "files" in task.owns])
    for task in state.tasks:
        known = snapshot.known(task.view, state.mappings.get(task.view)) if snapshot else None
        collect.collect(
            ctx, task, state.interview, state.grafts.get(task.view), tree, state.filters, state.scope, known
        )
        collect.collect_memory(ctx, task, state.interview, state.files)
        collect.collect_sched(task, state.interview, state.sched)
        if "files" in task.owns:
            collect.collect_files(ctx, task, state.files)
        fs.dump(task, state.files)
    state.files.settle(state.images, {tid for task in tree.tasks for tid in (task.pid, *(t.pid for t in task.tracees))})
    process.forget_undo()
    state.undoing = [task.pid for task in state.tasks if process.kcmp(task.view, os.getpid(), process.KCMP_SYSVSEM)]
    outside = {task.pid for task in state.tasks if task.namespaces["ipc"] == state.namespaces.own["ipc"].ident}
    if outside and not process.has_semaphores():
        state.undoing = [pid for pid in state.undoing if pid not in outside]
    live_on = options.leave_running or options.leave_stopped
    if lost := [pid for pid in state.undoing if live_on or pid in outside]:
        why = "the kernel tells it only when they end" if live_on else "it is in the engine's own IPC namespace"
        ctx.log.warn(f"pids {lost}: what is to be undone to semaphores at their end (SEM_UNDO) is lost: {why}")
    shmids = state.files.memfds.shmids if state.files.memfds else ()
    stats.shpages_scanned, stats.shpages_written = state.namespaces.dump(ctx, state.images, shmids)
    if state.tasks[0].namespaces["time"] == state.namespaces.own["time"].ident:
        timens.dump_own(ctx, state.images)
    if state.cgroups.foreign:
        from engine.tasks import cgroups

        cgroups.dump(ctx, state.images, state.cgroups, freezer)
    tree_entries = _pstree(ctx, state, tree)
    if snapshot:
        for task in state.tasks:
            snapshot.take(task, tree, copying.ranges(task, False))
        if snapshot.mistaken:
            return False
    clones = snapshot.clones if snapshot else {}
    pages = memory.PageStats()
    copying.pages(ctx, state, pages, [(task, None) for task in state.tasks if task.view not in clones])
    copying.shared(state)
    if options.leave_running:
        _unlock(state)
        tree.thaw()
    stats.frozen = clock.total()
    ctx.log.info(f"{len(tree.tasks)} tasks were frozen in {stats.freezing} us, and for {stats.frozen} us")
    if snapshot and clones:
        snapshot.prepare()
        if snapshot.mistaken:
            return False
        try:
            copying.pages(ctx, state, pages, [(task, clones[task.view]) for task in state.tasks if task.view in clones])
        finally:
            snapshot.check()
        snapshot.kill()
    for task in state.tasks:
        collect.digest(ctx, task, state.interview, state.scope)
    _write(ctx, state, tree_entries)
    if not options.leave_running:
        state.files.keep()
    if options.leave_stopped:
        _unlock(state)
        tree.thaw(stopped=True)
    elif not options.leave_running:
        probes.close()  # a pid namespace ends when nobody is left in it
        for task in state.tasks:
            for thread in task.live:
                threads.forget_robust(thread.core, thread.tid)
        _kill(ctx, state, tree)
    return True


def _unlock(state: Dump) -> None:
    if state.lock:
        state.lock.unlock()


def _kill(ctx: Context, state: Dump, tree: freeze.Frozen) -> None:
    """End the tree; and where its semaphores are dumped, see what its processes undo then."""
    if state.lock:
        state.lock.leave(state.run_id)
    late: set[int] = set()
    if state.namespaces.nested("pid", tree.tasks[0].pid):
        from engine.namespaces import pid as pidns

        late = pidns.waiting([task.pid for task in tree.tasks], state.scope)
    if not state.undoing or not any(ns.kind == "ipc" for ns in state.namespaces.foreign()):
        tree.kill(None, late, state.scope.pids.foreign)
        return
    from engine.namespaces import ipc

    undone = ipc.Undone(state.images, state.namespaces, state.scope, {task.pid: task.view for task in state.tasks})
    tree.kill(undone.ended, late, state.scope.pids.foreign)
    undone.write()


def _pstree(ctx: Context, state: Dump, tree: freeze.Frozen) -> list[Any]:
    """The pstree_entry of every task, parents first."""
    new = ctx.schema.message("pstree_entry")
    by_pid = {task.pid: task for task in state.tasks}
    out: list[Any] = []
    for task in tree.tasks:
        known = by_pid.get(task.pid)
        stat = known.stat if known else proc.Stat(task.pid)
        pid = state.scope.pids.inner(task.pid)
        tids = [t.tid for t in known.threads] if known else [task.pid]
        threads = [t.inner for t in known.threads] if known else [pid]
        ppid = state.scope.pids.inner(stat.ppid) if out else 0
        sid, pgid = state.scope.pids.session(task.pid, stat.sid, stat.pgid)
        outer = tids if state.scope.pids.foreign else []
        out.append(new(pid=pid, ppid=ppid, pgid=pgid, sid=sid, threads=threads, outer_pids=outer))
        if state.scope.pids.is_nested(task.pid):
            from engine.namespaces import pid as pidns

            pidns.dump_task(out[-1], task.pid, tids, state.scope)
    return out


def _write(ctx: Context, state: Dump, tree: list[Any]) -> None:
    """Serialise and write all images. The tree need not be frozen for this."""
    new, images = ctx.schema.message, state.images
    filters = state.filters.entry()  # before the threads' images: it says which are whose
    seen = {pid for task in state.tasks for pid in task.seen}
    for task in state.tasks:
        if task.inner in seen:
            task.core.tc.stop_seen = True
    own = {f"{kind}_id": _OWN_ID for kind in _KOBJS}
    own.update((f"{kind}_ns_id", ns.ident) for kind, ns in state.namespaces.own.items())
    for pid, core in state.zombies.items():
        images.write("CORE", (pid,), [core])
    mms = {task.ids["vm"]: task for task in state.tasks if "vm" in task.owns}
    for task in state.tasks:
        for thread in task.threads:
            images.write("CORE", (thread.inner,), [thread.core])
        memory_of = mms[task.ids["vm"]]
        images.write("MM", (task.inner,), [task.mm])
        head, runs = memory_of.pagemap
        images.write_chunks("PAGEMAP", (task.inner,), head, pagemap.encode(runs))
        ids = {f"{kind}_id": ident for kind, ident in task.ids.items()}
        ids.update((f"{kind}_ns_id", ident) for kind, ident in task.namespaces.items())
        ids.update(task.for_children)
        images.write("IDS", (task.inner,), [new("task_kobj_ids_entry")(**ids)])
        images.write("FS", (task.inner,), [task.fs])
        if "files" in task.owns:
            images.write_all("FDINFO", (task.ids["files"],), task.fdinfo)
    state.files.write(images)
    if state.files.memfds:
        state.files.memfds.write(images)
    images.write("PSTREE", (), tree)
    images.write("SECCOMP", (), [filters])
    inventory = new("inventory_entry")(
        img_version=2,
        fdinfo_per_id=True,
        ns_per_id=True,
        root_cg_set=cgroup_sets.OWN,
        lsmtype=0,
        network_lock_method=NETWORK_LOCKS.index(ctx.options.network_lock),
        dump_criu_run_id=state.run_id,
    )
    inventory.root_ids.CopyFrom(new("task_kobj_ids_entry")(**own))
    inventory.plugins_entry.SetInParent()
    if any(vma_kind.has_uprobes(task.vmas) for task in state.tasks):
        inventory.allow_uprobes = True
    images.write("INVENTORY", (), [inventory])
    cpuinfo.dump(ctx, images)
    state.stats.write(ctx)


def _run_id() -> str:
    """A random UUID (RFC 9562 version 4); the uuid module costs 4 ms of start-up."""
    raw = int.from_bytes(os.urandom(16), "big") & ~(0xF << 76 | 0x3 << 62) | 4 << 76 | 2 << 62
    text = f"{raw:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
