"""The pages of a dump: found and copied in native code, from tasks that are frozen or from clones of those that run."""

from __future__ import annotations

import os

from engine.blocks import nullcontext
from engine.context import Context
from engine.images.files import Images
from engine.kernel import memory
from engine.memory import vmas as vma_kind
from engine.stats import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.dump import Dump
    from engine.kernel.frames import Frames
    from engine.memory.snapshot import Clone
    from engine.tasks.collect import Collected


def pages(ctx: Context, state: Dump, stats: memory.PageStats, tasks: list[tuple[Collected, Clone | None]]) -> None:
    """Step four: find the pages and copy them, in native code; one pages image an address space."""
    clock = Clock()
    owners = [task for task in state.tasks if "vm" in task.owns]
    now = [(task, clone) for task, clone in tasks if "vm" in task.owns]
    told = len(now) == len(owners) > 1  # frames of a task that runs may be another's a moment later
    with _frames() if told else nullcontext() as frames:
        for task, clone in now:
            told = _pages_of(ctx, state.images, task, owners.index(task) + 1, stats, frames if told else None, clone)
    for task in owners if told else []:
        task.pagemap[0].tells_frames = True
    state.stats.pages_scanned = stats.scanned
    state.stats.pages_written = stats.written
    state.stats.memdump += clock.total()
    state.stats.memwrite = stats.write_us
    ctx.log.info(f"{stats.written} pages written, {stats.zero} left out that are all zeroes")


def _frames() -> Frames:
    from engine.kernel.frames import Frames  # a single task has nothing in common with others

    return Frames()


def shared(state: Dump) -> None:
    """The contents of shared memory, while nobody can write to it."""
    if state.files.memfds:
        clock = Clock()
        contents = state.files.memfds.contents
        contents.dump(state.images, sum("vm" in task.owns for task in state.tasks) + 1)
        state.stats.shpages_scanned += contents.scanned
        state.stats.shpages_written += contents.written
        state.stats.memdump += clock.total()


def ranges(task: Collected, inherited: bool | None) -> list[tuple[int, int, int]]:
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
    stats: memory.PageStats,
    frames: Frames | None,
    clone: Clone | None,
) -> bool:
    """One address space. Says whether its pagemap tells which `frames` it has in common with others before it.

    The task is frozen, or runs on: then its clone has the pages, and `kept` are those that the clone has not.
    """
    pid = clone.pid if clone else task.view
    wanted = ranges(task, True if clone else None)
    if vma_kind.has_uprobes(task.vmas):
        from engine.memory import uprobes

        wanted = uprobes.without_breakpoints(pid, task.vmas, wanted)
    where = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    out = images.create_raw("PAGES", number)
    try:
        runs, guards = memory.scan_pages(where, wanted, stats)
        for found in (guards, clone and clone.kept_guards):
            if found and found.count:
                from engine.memory import guard

                guard.dump(task.mm, found)
        if clone and clone.kept_runs:
            runs = memory.merge(runs, clone.kept_runs, memory.KEPT)
        told = frames.split(where, task.inner, runs) if frames else None
        name = f"{images.path}/{images.name('PAGES', number)}"
        runs, shared = memory.apart(told) if told and ctx.options.share_pages else (told or runs, None)
        runs = memory.dump_pages(pid, mem, where, out, name, runs, stats, clone.kept if clone else -1)
        if shared:
            runs = memory.merge(runs, shared, memory.ELSEWHERE)
    finally:
        for fd in (where, mem, out):
            os.close(fd)
    task.pagemap = (ctx.schema.message("pagemap_head")(pages_id=number), runs)
    return told is not None
