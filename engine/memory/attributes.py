"""What an address space does by itself: lock what is mapped, merge pages, refuse new code, leave huge pages alone.

mlockall(2), prctl(2) with PR_SET_MEMORY_MERGE, PR_SET_MDWE and PR_SET_THP_DISABLE, and mseal(2) of single mappings.
"""

from __future__ import annotations

from engine.kernel.memory import PAGE
from engine.kernel.uapi import mman as mm
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EAGAIN, _EINVAL = 11, 22
_ANONYMOUS = 1 << 9  # vma_entry.status


def ask(q: Questions) -> dict[str, Ref | int]:
    """What prctl(2) tells; and whether a new mapping is locked, which nothing tells: a page of the arena is made anew.

    Locked pages may not be dropped, and are there before they are touched, unless that was to wait (MCL_ONFAULT).
    """
    page, seen = q.pages(1), q.room(8)
    flags = mm.MAP_PRIVATE | mm.MAP_ANONYMOUS | mm.MAP_FIXED
    return {
        "mapped": q.ask("mmap", page, PAGE, mm.PROT_READ | mm.PROT_WRITE, flags, -1, 0),
        "page": page,
        "mincore": q.ask("mincore", page, PAGE, seen),
        "seen": seen,
        "dropped": q.ask("madvise", page, PAGE, mm.MADV_DONTNEED),
        "merge": q.ask("prctl", pr.PR_GET_MEMORY_MERGE, 0, 0, 0, 0),
        "mdwe": q.ask("prctl", pr.PR_GET_MDWE, 0, 0, 0, 0),
        "thp": q.ask("prctl", pr.PR_GET_THP_DISABLE, 0, 0, 0, 0),
    }


def dump(entry: Any, q: Answers, asked: dict[str, Any]) -> None:
    """Fill the mm_entry, with what is not as in a new process."""
    if q.result(asked["mapped"]) == -_EAGAIN:  # it would be locked, for which RLIMIT_MEMLOCK leaves no room
        entry.lock_future = mm.MCL_FUTURE
    elif q.result(asked["mapped"]) == asked["page"] and q.result(asked["dropped"]) == -_EINVAL:
        entry.lock_future = mm.MCL_FUTURE | (0 if q.word(asked["seen"], 1) & 1 else mm.MCL_ONFAULT)
    if q.result(asked["merge"]) > 0:
        entry.memory_merge = True
    if (mdwe := q.result(asked["mdwe"])) > 0:
        entry.mdwe = mdwe
    if q.result(asked["thp"]) > 0 and q.result(asked["thp"]) & pr.PR_THP_DISABLE_EXCEPT_ADVISED:
        entry.thp_advised = True


def plan_last(program: Program, entry: Any) -> None:
    """When nothing more is mapped or changed but the arena, which is unmapped at the very end."""
    if entry.memory_merge:
        program.sys("prctl", pr.PR_SET_MEMORY_MERGE, 1, 0, 0, 0)
        for v in entry.vmas:
            if v.status & _ANONYMOUS and not v.madv >> mm.MADV_MERGEABLE & 1:
                program.ask("madvise", v.start, v.end - v.start, mm.MADV_UNMERGEABLE)
    if entry.lock_future:
        program.sys("mlockall", entry.lock_future)
    for v in entry.vmas:
        if v.sealed:
            program.sys("mseal", v.start, v.end - v.start, 0)
    if entry.mdwe:
        program.sys("prctl", pr.PR_SET_MDWE, entry.mdwe, 0, 0, 0)
