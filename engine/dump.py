"""Dump in five steps: preflight, freeze, collect, pages, let go (docs/design.md)."""

from __future__ import annotations

import os
import time
from contextlib import closing, nullcontext, suppress

from engine import cpuinfo
from engine.context import Context
from engine.errors import KernelError
from engine.files.table import FileTable
from engine.files.validation import Validation
from engine.images.files import Images
from engine.kernel import memory, pagemap, proc, process
from engine.kernel.frames import Frames
from engine.kernel.uapi import ptrace as pt
from engine.memory import guard, uprobes, vdso
from engine.memory import vmas as vma_kind
from engine.plan.program import Arena, place
from engine.preflight import preflight
from engine.stats import Clock, DumpStats
from engine.tasks import collect, compat, freeze, landlock, restart, sched, seccomp, threads
from engine.tasks.collect import Collected, Interview
from engine.tasks.inject import Graft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.memory.snapshot import Clone, Snapshot

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
_NS_IDS = {"pid": 1, "net": 2, "ipc": 3, "uts": 4, "time": 5, "mnt": 6, "user": 7, "cgroup": 8}


class Dump:
    """One dump under way."""

    __slots__ = (
        *("files", "filters", "grafts", "images", "interview", "mappings", "sched", "stats", "tasks", "vdso"),
        "zombies",
    )

    def __init__(
        self,
        ctx: Context,
        images: Images,
        mappings: dict[int, list[proc.Vma]],
        probes: landlock.Probes,
        vmas: dict[tuple[str, str], proc.Vma],
    ) -> None:
        self.images = images
        self.mappings = mappings
        self.stats = DumpStats()
        self.files = FileTable(ctx.schema.message, Validation(ctx.options, ctx.log))
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


def dump(ctx: Context) -> None:
    """Dump the tree of --tree into --images-dir. On any failure it runs on as before, and no image is left."""
    pid = ctx.options.tree
    ctx.log.info(f"Dumping process {pid} into {ctx.options.images_dir}")
    process.block_sigchld(True)
    try:
        with landlock.Probes() as probes, closing(ctx.images()) as images:
            vmas: dict[tuple[str, str], proc.Vma] = {}
            mappings = preflight(ctx, pid, probes, vmas)
            snapshot = _snapshot(ctx, mappings)
            try:
                with closing(snapshot) if snapshot else nullcontext():
                    _dump(ctx, pid, images, mappings, probes, vmas, snapshot)
            except BaseException:
                images.remove_created()
                raise
    finally:
        process.block_sigchld(False)


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
    vmas: dict[tuple[str, str], proc.Vma],
    snapshot: Snapshot | None,
) -> None:
    """Steps two to five. Frozen at a moment when what is left of a sleep cannot be told, the tree is let go again."""
    sleeps: dict[int, restart.Sleep] = {}
    for name in _EARLY:
        ctx.schema.message(name)()
    for attempt in range(_FREEZES + 1):
        if snapshot:
            snapshot.discard()
        state = Dump(ctx, images, mappings, probes, vmas)
        restart.settle(list(sleeps))
        clock = Clock()
        with freeze.frozen(root, ctx.options.timeout * 1_000_000, pt.PTRACE_O_SUSPEND_SECCOMP, sleeps) as tree:
            state.stats.freezing = clock.lap()
            _look(ctx, state, tree)
            unknown = collect.sleeps_left(ctx, state.tasks, sleeps)
            if unknown and attempt + 1 < _FREEZES:
                ctx.log.debug(f"in a system call whose rest is not known: {unknown}; once more, one after the other")
                for tid in unknown:
                    sleeps.setdefault(tid, restart.Sleep(ctx.machine, tid))
                continue
            for tid in unknown:
                ctx.log.warn(f"pid {tid}: its system call will return EINTR: what is left of its timeout is unknown")
            try:
                if not _frozen(ctx, state, tree, clock, snapshot):
                    images.remove_created()
                    continue
            except landlock.Unprobed as e:
                if attempt + 1 >= _FREEZES:
                    raise
                probes.add(e.status)
                images.remove_created()
                continue
            finally:
                state.files.ghosts.close()
            break
    ctx.log.info("Dumping finished successfully")


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
        one = Collected(ctx, task, its, owns)
        collect.registers(ctx, one, state.vdso.get(one.view, []))
        state.tasks.append(one)
    for task in tree.tasks:
        if not task.tracees:
            state.zombies[task.pid] = collect.zombie(ctx, task.pid)


def _frozen(ctx: Context, state: Dump, tree: freeze.Frozen, clock: Clock, snapshot: Snapshot | None) -> bool:
    """What is done while the tree is frozen, and how it is left. False: it was let go, and is to be frozen again."""
    options, stats = ctx.options, state.stats
    for task in state.tasks:
        known = snapshot.known(task.view, state.mappings.get(task.view)) if snapshot else None
        collect.collect(ctx, task, state.interview, state.grafts.get(task.view), tree, state.filters, known)
        collect.collect_memory(ctx, task, state.interview, state.files)
        collect.collect_sched(task, state.interview, state.sched)
        if "files" in task.owns:
            collect.collect_files(ctx, task, state.files)
        collect.collect_fs(task, state.files)
    state.files.settle(state.images, {tid for task in tree.tasks for tid in (task.pid, *(t.pid for t in task.tracees))})
    tree_entries = _pstree(ctx, state, tree)
    if snapshot:
        for task in state.tasks:
            snapshot.take(task, tree, _ranges(task, False))
        if snapshot.mistaken:
            return False
    clones = snapshot.clones if snapshot else {}
    pages = memory.PageStats()
    _pages(ctx, state, pages, [(task, None) for task in state.tasks if task.view not in clones])
    _shared(state)
    if options.leave_running:
        tree.thaw()
    stats.frozen = clock.total()
    ctx.log.info(f"{len(tree.tasks)} tasks were frozen in {stats.freezing} us, and for {stats.frozen} us")
    if snapshot and clones:
        snapshot.prepare()
        if snapshot.mistaken:
            return False
        try:
            _pages(ctx, state, pages, [(task, clones[task.view]) for task in state.tasks if task.view in clones])
        finally:
            snapshot.check()
        snapshot.kill()
    for task in state.tasks:
        collect.digest(ctx, task, state.interview)
    _write(ctx, state, tree_entries)
    if options.leave_stopped:
        tree.thaw(stopped=True)
    elif not options.leave_running:
        for task in state.tasks:
            for thread in task.live:
                threads.forget_robust(thread.core, thread.tid)
        tree.kill()
    return True


def _pages(ctx: Context, state: Dump, pages: memory.PageStats, tasks: list[tuple[Collected, Clone | None]]) -> None:
    """Step four: find the pages and copy them, in native code; one pages image an address space."""
    clock = Clock()
    owners = [task for task in state.tasks if "vm" in task.owns]
    now = [(task, clone) for task, clone in tasks if "vm" in task.owns]
    with Frames() as frames:
        told = len(now) == len(owners) > 1  # frames of a task that runs may be another's a moment later
        for task, clone in now:
            told = _pages_of(ctx, state.images, task, owners.index(task) + 1, pages, frames if told else None, clone)
    for task in owners if told else []:
        task.pagemap[0].tells_frames = True
    state.stats.pages_scanned = pages.scanned
    state.stats.pages_written = pages.written
    state.stats.memdump += clock.total()
    state.stats.memwrite = pages.write_us
    ctx.log.info(f"{pages.written} pages written, {pages.zero} left out that are all zeroes")


def _shared(state: Dump) -> None:
    """The contents of shared memory, while nobody can write to it."""
    if state.files.memfds:
        clock = Clock()
        contents = state.files.memfds.contents
        contents.dump(state.images, sum("vm" in task.owns for task in state.tasks) + 1)
        state.stats.shpages_scanned, state.stats.shpages_written = contents.scanned, contents.written
        state.stats.memdump += clock.total()


def _ranges(task: Collected, inherited: bool | None) -> list[tuple[int, int, int]]:
    """(start, end, flags) of what has pages of the task's own, or guards: all, or what a clone has or has not."""
    own = [
        (v.start, v.end, vma_kind.page_flags(v))
        for v in task.mm.vmas
        if vma_kind.has_pages(v) and (inherited is None or vma_kind.is_inherited(v) == inherited)
    ]
    shared = [v for v in task.mm.vmas if v.status & vma_kind.FILE_SHARED] if not inherited else []
    return own + [(v.start, v.end, memory.GUARDS) for v in shared]


def _pages_of(
    ctx: Context,
    images: Images,
    task: Collected,
    number: int,
    pages: memory.PageStats,
    frames: Frames | None,
    clone: Clone | None,
) -> bool:
    """One address space. Says whether its pagemap tells which `frames` it has in common with others before it.

    The task is frozen, or runs on: then its clone has the pages, and `kept` are those that the clone has not.
    """
    pid = clone.pid if clone else task.view
    ranges = _ranges(task, True if clone else None)
    if uprobes.present(task.vmas):
        ranges = uprobes.without_breakpoints(pid, task.vmas, ranges)
    where = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    out = images.create_raw("PAGES", number)
    try:
        runs, guards = memory.scan_pages(where, ranges, pages)
        guard.dump(task.mm, guards)
        if clone and clone.kept_runs:
            runs = memory.merge(runs, clone.kept_runs, memory.KEPT)
        if clone and clone.kept_guards:
            guard.dump(task.mm, clone.kept_guards)
        told = frames.split(where, task.pid, runs) if frames else None
        name = f"{images.path}/{images.name('PAGES', number)}"
        runs, shared = memory.apart(told) if told and ctx.options.share_pages else (told or runs, None)
        runs = memory.dump_pages(pid, mem, where, out, name, runs, pages, clone.kept if clone else -1)
        if shared:
            runs = memory.merge(runs, shared, memory.ELSEWHERE)
    finally:
        for fd in (where, mem, out):
            os.close(fd)
    task.pagemap = (ctx.schema.message("pagemap_head")(pages_id=number), runs)
    return told is not None


def _pstree(ctx: Context, state: Dump, tree: freeze.Frozen) -> list[Any]:
    """The pstree_entry of every task, parents first."""
    new = ctx.schema.message("pstree_entry")
    by_pid = {task.pid: task for task in state.tasks}
    out: list[Any] = []
    for task in tree.tasks:
        known = by_pid.get(task.pid)
        stat = known.stat if known else proc.Stat(task.pid)
        threads = [t.tid for t in known.threads] if known else [task.pid]
        ppid = stat.ppid if out else 0
        out.append(new(pid=task.pid, ppid=ppid, pgid=stat.pgid, sid=stat.sid, threads=threads))
    return out


def _write(ctx: Context, state: Dump, tree: list[Any]) -> None:
    """Serialise and write all images. The tree need not be frozen for this."""
    new, images = ctx.schema.message, state.images
    filters = state.filters.entry()  # before the threads' images: it says which are whose
    seen = {pid for task in state.tasks for pid in task.seen}
    for task in state.tasks:
        if task.pid in seen:
            task.core.tc.stop_seen = True
    own = {f"{kind}_id": _OWN_ID for kind in _KOBJS}
    ns = {f"{name}_ns_id": ident for name, ident in _NS_IDS.items()}
    for pid, core in state.zombies.items():
        images.write("CORE", (pid,), [core])
    mms = {task.ids["vm"]: task for task in state.tasks if "vm" in task.owns}
    for task in state.tasks:
        for thread in task.threads:
            images.write("CORE", (thread.tid,), [thread.core])
        memory_of = mms[task.ids["vm"]]
        images.write("MM", (task.pid,), [task.mm])
        head, runs = memory_of.pagemap
        images.write_chunks("PAGEMAP", (task.pid,), head, pagemap.encode(runs))
        ids = {f"{kind}_id": ident for kind, ident in task.ids.items()}
        images.write("IDS", (task.pid,), [new("task_kobj_ids_entry")(**ids, **ns)])
        images.write("FS", (task.pid,), [task.fs])
        if "files" in task.owns:
            images.write("FDINFO", (task.ids["files"],), task.fdinfo)
    images.write("FILES", (), state.files.entries)
    state.files.ghosts.write(images)
    if state.files.memfds:
        state.files.memfds.write(images)
    images.write("PSTREE", (), tree)
    images.write("SECCOMP", (), [filters])
    images.write("TIMENS", (0,), [_timens(ctx)])
    inventory = new("inventory_entry")(
        img_version=2,
        fdinfo_per_id=True,
        ns_per_id=True,
        root_cg_set=1,
        lsmtype=0,
        network_lock_method=0,
        dump_criu_run_id=_run_id(),
    )
    inventory.root_ids.CopyFrom(new("task_kobj_ids_entry")(**own, **ns))
    inventory.plugins_entry.SetInParent()
    if any(uprobes.present(task.vmas) for task in state.tasks):
        inventory.allow_uprobes = True
    images.write("INVENTORY", (), [inventory])
    cpuinfo.dump(ctx, images)
    state.stats.write(ctx)


def _run_id() -> str:
    """A random UUID (RFC 9562 version 4); the uuid module costs 4 ms of start-up."""
    raw = int.from_bytes(os.urandom(16), "big") & ~(0xF << 76 | 0x3 << 62) | 4 << 76 | 2 << 62
    text = f"{raw:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _timens(ctx: Context) -> Any:
    entry = ctx.schema.message("timens_entry")()
    for field, clock in (("monotonic", time.CLOCK_MONOTONIC), ("boottime", time.CLOCK_BOOTTIME)):
        seconds, ns = divmod(time.clock_gettime_ns(clock), 1_000_000_000)
        part = getattr(entry, field)
        part.tv_sec, part.tv_nsec = seconds, ns
    return entry
