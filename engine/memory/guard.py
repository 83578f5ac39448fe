"""Guard regions: pages of a mapping that no access may touch (MADV_GUARD_INSTALL, madvise(2)).

In a mm_entry they are vma_entries of a status of their own behind those of the mappings, as in CRIU's images.
"""

from __future__ import annotations

from engine.errors import BadImage
from engine.kernel.memory import PAGE, Runs
from engine.kernel.uapi import mman as mm
from engine.plan.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATUS = 1 << 16  # vma_entry.status


def dump(entry: Any, guards: Runs) -> None:
    """Add to a mm_entry the runs of guard pages that were found in its mappings."""
    for start, pages, _ in guards:
        end = start + pages * PAGE
        entry.vmas.add(start=start, end=end, pgoff=0, shmid=0, prot=0, flags=0, status=STATUS, fd=-1)


def by_mapping(entry: Any, image: str) -> dict[int, list[tuple[int, int]]]:
    """(start, end) of the guards in each mapping, by its start. BadImage for one outside of all mappings."""
    out: dict[int, list[tuple[int, int]]] = {}
    guards = sorted((v.start, v.end) for v in entry.vmas if v.status == STATUS)
    if not guards:
        return out
    vmas = iter(sorted((v.start, v.end) for v in entry.vmas if v.status != STATUS))
    start, end = next(vmas, (0, 0))
    for at, last in guards:
        while at < last:
            while end and end <= at:
                start, end = next(vmas, (0, 0))
            if at % PAGE or not start <= at < end:
                raise BadImage(image, 0, f"guard pages at {at:#x} lie in no mapping; dump again")
            out.setdefault(start, []).append((at, min(last, end)))
            at = min(last, end)
    return out


def plan(program: Program, guards: list[tuple[int, int]]) -> None:
    """Install those of a mapping that holds its pages, and is not locked yet."""
    for start, end in guards:
        program.sys("madvise", start, end - start, mm.MADV_GUARD_INSTALL, note="guard pages")


def plan_lock(program: Program, vma: Any, guards: list[tuple[int, int]], how: int) -> None:
    """Lock a mapping, with every page that is not a guard: of the whole, the kernel gives up at the first that is."""
    at = vma.start
    for start, end in guards:
        if at < start:
            program.sys("mlock2", at, start - at, how)
        at = end
    if at < vma.end:
        program.sys("mlock2", at, vma.end - at, how)
    if guards:
        program.ask("mlock2", vma.start, vma.end - vma.start, how, note="ENOMEM for the guards, which are locked too")
