"""A task's address space, made by its own program: mappings, pages, the vdso, what mm_entry says."""

from __future__ import annotations

from bisect import bisect_right

from engine.context import Context
from engine.errors import BadImage
from engine.images.validate import stored_pages
from engine.kernel.memory import PAGE
from engine.memory import load, mm, vdso, vmas
from engine.plan import abi
from engine.plan.program import Program, Ref
from engine.tasks.images import TaskImages
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXE = 1  # the lowest free descriptor while a task's memory is made: only the opener's pidfd is open


def plan(ctx: Context, opener: Opener, program: Program, task: TaskImages, pidfd: Ref) -> None:
    """All mappings and what is in them; `pidfd` is the opener's, the only descriptor that is open."""
    program.sys(
        "pidfd_getfd",
        pidfd,
        opener.file(task.mm.exe_file_id),
        0,
        expect=abi.EXPECT_EQUAL,
        want=_EXE,
        note=f"the executable {opener.name(task.mm.exe_file_id)}",
    )
    mapped = [v for v in task.mm.vmas if not v.status & (vmas.VDSO | vmas.VVAR | vmas.VSYSCALL)]
    loads = _loads(task, mapped)
    filled = {start for start, _, _, _ in loads}
    by_file: dict[tuple[int, int], list[Any]] = {}
    for v in mapped:
        if v.status & (vmas.FILE_PRIVATE | vmas.FILE_SHARED):
            by_file.setdefault((v.shmid, v.fdflags), []).append(v)
        else:
            vmas.plan_map(program, v, -1, v.start in filled)
    for (ident, flags), group in by_file.items():
        fd = program.sys("pidfd_getfd", pidfd, opener.file(ident, flags), 0, note=opener.name(ident))
        for v in group:
            vmas.plan_map(program, v, fd, v.start in filled)
        program.sys("close", fd)
    if loads:
        pages = _EXE + 1
        source = opener.raw("PAGES", task.pages_id)
        program.sys("pidfd_getfd", pidfd, source, 0, expect=abi.EXPECT_EQUAL, want=pages, note="pages")
        load.plan(program, [part[1:] for part in loads], pages)
        program.sys("close", pages)
    for v in mapped:
        vmas.plan_protect(program, v, v.start in filled)
    vdso.plan(ctx.arch, program, task)
    mm.plan(program, task.mm, _EXE)
    program.sys("close", _EXE)


def _loads(task: TaskImages, mapped: list[Any]) -> list[tuple[int, int, int, int]]:
    """(start of the mapping, address, bytes, offset in the pages image) of every part to load, in file order."""
    out = []
    offset = 0
    skipped = [v for v in task.mm.vmas if v.status & vmas.VDSO]
    by_page = sorted(mapped, key=lambda v: int(v.start))
    starts = [v.start for v in by_page]
    for entry in task.pagemap:
        at, count = entry.vaddr, stored_pages(entry)
        end = at + count * PAGE
        while at < end:
            i = bisect_right(starts, at) - 1
            if i >= 0 and by_page[i].end > at:
                part = min(end, by_page[i].end) - at
                out.append((by_page[i].start, at, part, offset))
                task.pages += part // PAGE
            else:
                vdso_area = next((v for v in skipped if v.start <= at < v.end), None)
                if vdso_area is None:
                    raise BadImage(
                        f"pagemap-{task.pid}.img",
                        0,
                        f"page {at:#x} lies in no mapping of mm-{task.pid}.img; dump again",
                    )
                part = min(end, vdso_area.end) - at
            at += part
            offset += part
    return out
