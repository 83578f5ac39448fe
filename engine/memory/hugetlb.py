"""Huge pages (MAP_HUGETLB, Documentation/admin-guide/mm/hugetlbpage): of which size, and whether there are enough."""

from __future__ import annotations

from engine.errors import EngineError
from engine.images.pagemap import PE_PRESENT
from engine.kernel import proc
from engine.kernel.memory import PAGE
from engine.kernel.uapi import mman as mm
from engine.memory.vmas import ANON_PRIVATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_POOL = "/sys/kernel/mm/hugepages/hugepages-{}kB"


def flags_of(vma: proc.Vma) -> int:
    """MAP_HUGETLB with the size of its pages."""
    return mm.MAP_HUGETLB | (vma.page.bit_length() - 1) << mm.MAP_HUGE_SHIFT


def page_of(vma: Any) -> int:
    """The size of the huge pages of a vma_entry in bytes, 0 for the kernel's default, -1 where it has none."""
    if not vma.flags & mm.MAP_HUGETLB:
        return -1
    shift = vma.flags >> mm.MAP_HUGE_SHIFT & mm.MAP_HUGE_MASK
    return 1 << shift if shift else 0


def check(tasks: list[Any]) -> None:
    """Are there enough huge pages for the private mappings of these tasks? EngineError with the remedy if not."""
    needed: dict[int, int] = {}
    for task in {task.ids.vm_id: task for task in tasks}.values():
        for v in task.mm.vmas:
            page = page_of(v)
            if page >= 0 and v.status & ANON_PRIVATE:
                page = page or _default()
                needed[page] = needed.get(page, 0) + _needed(task, v, page)
    for page, count in needed.items():
        pool = _POOL.format(page >> 10)
        try:
            free = _number(pool, "free_hugepages") - _number(pool, "resv_hugepages")
            more = _number(pool, "nr_overcommit_hugepages") - _number(pool, "surplus_hugepages")
        except FileNotFoundError:
            raise EngineError(f"this machine has no huge pages of {page >> 10} kB; {count} are needed") from None
        if count > free + max(more, 0):
            total = _number(pool, "nr_hugepages")
            raise EngineError(
                f"not enough huge pages of {page >> 10} kB: {count} are needed, {free} are free;"
                f" echo {total + count - free} > {pool}/nr_hugepages"
            )


def _needed(task: Any, vma: Any, page: int) -> int:
    """Huge pages that a mapping takes: all of it is reserved, or, without a reservation, what it holds."""
    if not vma.flags & mm.MAP_NORESERVE:
        return int(vma.end - vma.start) // page
    held: set[int] = set()
    for at, pages, flags in task.pagemap:
        start, end = max(at, vma.start), min(at + pages * PAGE if flags & PE_PRESENT else 0, vma.end)
        held.update(range(start // page, -(-end // page)) if start < end else ())
    return len(held)


def _default() -> int:
    """Bytes of a huge page of the size that nobody asked for."""
    for line in proc.read_text("/proc/meminfo").splitlines():
        if line.startswith("Hugepagesize:"):
            return int(line.split()[1]) << 10
    raise EngineError("this kernel has no huge pages (CONFIG_HUGETLBFS); the images need them")


def _number(pool: str, name: str) -> int:
    return int(proc.read_text(f"{pool}/{name}"))
