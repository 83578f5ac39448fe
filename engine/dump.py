"""Dump in five steps: preflight, freeze, collect, pages, let go (docs/design.md)."""

from __future__ import annotations

import os
import time
from contextlib import closing

from engine.context import Context
from engine.errors import EngineError, Unsupported
from engine.files.fd import Descriptor
from engine.files.table import FileTable
from engine.images.files import Images
from engine.kernel import memory, proc, process
from engine.kernel.ptrace import Tracee, xstate_component
from engine.memory import mm as mm_kind
from engine.memory import vmas as vma_kind
from engine.plan.program import Arena, free_hole
from engine.preflight import preflight
from engine.stats import Clock, DumpStats
from engine.tasks import creds, freeze, identity, limits, restart, signals, threads, timers
from engine.tasks.inject import Graft, injected
from engine.tasks.questions import Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

PE_PRESENT, PE_LAZY = 4, 2
_FREEZES = 4  # attempts to freeze it where the rest of its sleep can be told
_ARENA_MAX = 1 << 20  # bytes; questions take a few KiB
# Identifiers of a task's kernel objects: 1 is the engine's own, as in CRIU's images.
_OWN_ID, _FIRST_ID = 1, 2
# The kinds that have something to ask of the task itself.
_ASKING = (signals, timers, creds, threads, identity, mm_kind)
_NS_IDS = {"pid": 1, "net": 2, "ipc": 3, "uts": 4, "time": 5, "mnt": 6, "user": 7, "cgroup": 8}


class Collected:
    """Everything of one task that goes into images."""

    __slots__ = ("core", "fdinfo", "files", "fs", "mm", "pagemap", "pid", "stat")

    def __init__(self, ctx: Context, pid: int) -> None:
        new = ctx.schema.message
        self.pid = pid
        self.core = new("core_entry")()
        self.mm = new("mm_entry")()
        self.fs = new("fs_entry")()
        self.files = FileTable(new)
        self.fdinfo: list[Any] = []
        self.pagemap: list[Any] = []
        self.stat: proc.Stat | None = None


def dump(ctx: Context) -> None:
    """Dump the task --tree into --images-dir. On any failure it runs on as before, and no image is left."""
    pid = ctx.options.tree
    ctx.log.info(f"Dumping process {pid} into {ctx.options.images_dir}")
    process.block_sigchld(True)
    try:
        mappings = preflight(ctx, pid)
        with closing(ctx.images()) as images:
            try:
                _dump(ctx, pid, images, DumpStats(), mappings)
            except BaseException:
                images.remove_created()
                raise
    finally:
        process.block_sigchld(False)


class Visit:
    """The questions to a task, compiled, and then its answers."""

    __slots__ = ("asked", "graft", "q")

    def __init__(self, ctx: Context, pid: int, vmas: list[proc.Vma]) -> None:
        arena = Arena(ctx.machine, free_hole([(v.start, v.end) for v in vmas], _ARENA_MAX))
        self.q = Questions(arena, f"questions to {pid}")
        self.asked: dict[ModuleType, Any] = {kind: kind.ask(self.q) for kind in _ASKING}
        self.q.program.park()
        self.graft = Graft(pid, vmas, arena, self.q.program)

    def make(self, ctx: Context, tracee: Tracee) -> None:
        """Ask. The answers stay here; the task is as before."""
        with injected(ctx.arch, tracee, self.graft) as parasite:
            parasite.run(self.q.program)
            self.q.memory = bytes(parasite.memory)


def _dump(ctx: Context, pid: int, images: Images, stats: DumpStats, mappings: list[proc.Vma]) -> None:
    """Steps two to five. Frozen at a moment when what is left of a sleep cannot be told, the task is let go again."""
    visit = Visit(ctx, pid, mappings)
    for attempt in range(_FREEZES):
        task = Collected(ctx, pid)
        before = restart.Sleep(ctx.machine, pid)
        clock = Clock()
        with freeze.frozen(pid, ctx.options.timeout * 1_000_000) as tracee:
            stats.freezing = clock.lap()
            if threads.leave_critical_section(ctx.arch, tracee):
                ctx.log.info(f"pid {pid}: left a restartable sequence for its abort handler")
            if not restart.dump(ctx.arch, ctx.machine, task.core, tracee, before):
                if attempt + 1 < _FREEZES:
                    ctx.log.debug(f"pid {pid}: in a system call whose rest is not known; once more")
                    continue
                ctx.log.warn(f"pid {pid}: its system call will return EINTR: what is left of its timeout is unknown")
            try:
                _frozen(ctx, task, visit, tracee, images, stats, clock)
            finally:
                task.files.ghosts.close()
            break
    ctx.log.info("Dumping finished successfully")


def _frozen(
    ctx: Context, task: Collected, visit: Visit, tracee: Tracee, images: Images, stats: DumpStats, clock: Clock
) -> None:
    """What is done while the task is frozen, and how it is left."""
    visit, status = _collect(ctx, task, visit, tracee)
    _pages(ctx, task, images, stats)
    if ctx.options.leave_running:
        freeze.thaw(tracee)
    stats.frozen = clock.total()
    ctx.log.info(f"Task {task.pid} was frozen in {stats.freezing} us, and for {stats.frozen} us")
    _digest(task, visit, status)
    _write(ctx, task, images, stats)
    if ctx.options.leave_stopped:
        freeze.thaw(tracee, stopped=True)
    elif not ctx.options.leave_running:
        freeze.kill(tracee)


def _collect(ctx: Context, task: Collected, visit: Visit, tracee: Tracee) -> tuple[Visit, dict[str, str]]:
    """Step three: all that only a frozen task tells. Returns the answered questions and /proc/PID/status."""
    pid, core, mm = task.pid, task.core, task.mm
    vmas = proc.smaps(pid)
    status = proc.status(pid)
    late = vma_kind.blockers(vmas)
    if status["Threads"] != "1" or proc.children(pid):
        late.append("threads or children were born while it was being frozen: only single tasks are supported yet")
    if late:
        raise Unsupported([f"pid {pid}: {b}" for b in late])
    task.stat = proc.Stat(pid)
    regs = tracee.general()
    if ctx.arch.is_compat(regs):
        raise Unsupported([f"pid {pid}: 32-bit tasks are not supported yet"])
    core.mtype = ctx.arch.MARCH
    ctx.arch.dump_areas(core, tracee)
    ctx.arch.dump_registers(core, regs, tracee.extended(ctx.arch.EXTENDED_SET), xstate_component)
    signals.dump_pending(core, tracee)
    threads.dump_rseq(core, tracee)
    if not visit.graft.fits(pid, vmas):
        ctx.log.debug(f"pid {pid}: its mappings have changed meanwhile; the questions are compiled again")
        visit = Visit(ctx, pid, vmas)
    visit.make(ctx, tracee)
    limits.dump(core, pid)
    identity.dump(core, pid, task.stat)
    mm_kind.dump(mm, visit.q, visit.asked[mm_kind], pid, task.stat)
    mm.exe_file_id = task.files.path(pid, "exe")
    vma_kind.dump(mm, vmas, (mm.mm_start_brk, mm.mm_brk), pid, task.files)
    _collect_files(ctx, task, status)
    return visit, status


def _digest(task: Collected, visit: Visit, status: dict[str, str]) -> None:
    """The task's answers, into entries: nothing for which it has to be frozen."""
    core, q, asked = task.core, visit.q, visit.asked
    signals.dump(core, q, asked[signals])
    timers.dump(core, q, asked[timers])
    threads.dump(core, q, asked[threads])
    creds.dump(core, q, asked[creds], status)
    identity.dump_answers(core, task.mm, q, asked[identity])


def _collect_files(ctx: Context, task: Collected, status: dict[str, str]) -> None:
    pid = task.pid
    new = ctx.schema.message("fdinfo_entry")
    for fd in proc.fds(pid):
        d = Descriptor(pid, fd)
        ident, kind = task.files.opened(d)
        task.fdinfo.append(new(id=ident, flags=d.cloexec, type=kind, fd=fd))
    task.fs.cwd_id = task.files.path(pid, "cwd")
    task.fs.root_id = task.files.path(pid, "root")
    task.fs.umask = int(status["Umask"], 8)


def _pages(ctx: Context, task: Collected, images: Images, stats: DumpStats) -> None:
    """Step four: find the pages and copy them, in native code."""
    pid = task.pid
    clock = Clock()
    ranges = [
        (v.start, v.end, memory.WHOLE if v.status & vma_kind.VDSO else memory.LAZY * vma_kind.can_be_lazy(v))
        for v in task.mm.vmas
        if vma_kind.has_pages(v)
    ]
    pages = memory.PageStats()
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    out = images.create_raw("PAGES", 1)
    try:
        runs = memory.scan_pages(pagemap, ranges, pages)
        memory.dump_pages(pid, mem, out, f"{images.path}/{images.name('PAGES', 1)}", runs, pages)
    finally:
        for fd in (pagemap, mem, out):
            os.close(fd)
    new = ctx.schema.message("pagemap_entry")
    for start, count, flags in runs:
        how = PE_PRESENT | (PE_LAZY if flags & memory.LAZY else 0)
        task.pagemap.append(new(vaddr=start, compat_nr_pages=0, flags=how, nr_pages=count))
    stats.pages_scanned = pages.scanned
    stats.pages_written = pages.written
    stats.memdump = clock.total()
    stats.memwrite = pages.write_us


def _write(ctx: Context, task: Collected, images: Images, stats: DumpStats) -> None:
    """Serialise and write all images. The task need not be frozen for this."""
    pid, new = task.pid, ctx.schema.message
    stat = task.stat
    if stat is None:
        raise EngineError(f"task {pid} was not collected")
    ids = {f"{kind}_id": _FIRST_ID for kind in ("vm", "files", "fs", "sighand")}
    own = dict.fromkeys(ids, _OWN_ID)
    ns = {f"{name}_ns_id": ident for name, ident in _NS_IDS.items()}
    images.write("CORE", (pid,), [task.core])
    images.write("MM", (pid,), [task.mm])
    images.write_pagemap("PAGEMAP", pid, new("pagemap_head")(pages_id=1), task.pagemap)
    images.write("FS", (pid,), [task.fs])
    images.write("IDS", (pid,), [new("task_kobj_ids_entry")(**ids, **ns)])
    images.write("FDINFO", (_FIRST_ID,), task.fdinfo)
    images.write("FILES", (), task.files.entries)
    task.files.ghosts.write(images)
    images.write("PSTREE", (), [new("pstree_entry")(pid=pid, ppid=0, pgid=stat.pgid, sid=stat.sid, threads=[pid])])
    images.write("SECCOMP", (), [new("seccomp_entry")()])
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
    images.write("INVENTORY", (), [inventory])
    stats.write(ctx)


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
