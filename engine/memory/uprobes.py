"""Uprobes: breakpoints that the kernel keeps in a file's text, for whoever maps it (Documentation/trace/uprobetracer).

A task that has met one has a mapping [uprobes], where the replaced instructions run. With --allow-uprobes it stays out
of the images, and so do the pages that differ from their file by breakpoints only: mapped again, the file's text gets
those that are still wanted from the kernel, and without the rest it runs on. (CRIU dumps such pages. A task that it
restores after the probe was removed dies of SIGTRAP.)
"""

from __future__ import annotations

import os

from engine.errors import EngineError
from engine.kernel import proc
from engine.memory.vmas import UPROBES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PAGE = 4096
_BREAKPOINT = 0xCC  # int3 of x86
_PRESENT, _SWAPPED, _OF_FILE = 1 << 63, 1 << 62, 1 << 61  # of an entry of /proc/PID/pagemap


def refusal(vma: proc.Vma) -> str:
    """Why a mapping of uprobes cannot be dumped."""
    if vma.path == UPROBES:
        return "has met uprobes; use --allow-uprobes, if what set them can do without this task for a while"
    return "its code calls into this mapping of an optimised uprobe: not supported; remove the probe first"


def check(inventory: Any, allowed: bool) -> None:
    """Raise EngineError when the images need --allow-uprobes, and it was not given."""
    if inventory.allow_uprobes and not allowed:
        raise EngineError("these images were dumped with --allow-uprobes: give it for the restore too")


def without_breakpoints(
    pid: int, vmas: list[proc.Vma], ranges: list[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """The (start, end, flags) ranges of a frozen task, less the pages of text that only breakpoints made its own."""
    clean = [page for v in vmas if _is_text(v) for page in _broken(pid, v)]
    out = []
    for start, end, flags in ranges:
        for page in clean:
            if start <= page < end:
                if start < page:
                    out.append((start, page, flags))
                start = page + PAGE
        if start < end:
            out.append((start, end, flags))
    return out


def _is_text(vma: proc.Vma) -> bool:
    """Where the kernel puts breakpoints: executable, private, of a file, and not writable."""
    return bool(vma.ino) and not vma.shared and vma.prot & 6 == 4


def _broken(pid: int, vma: proc.Vma) -> list[int]:
    """The pages of a mapping that differ from the file, and in nothing but breakpoints, in address order."""
    own = _own_pages(pid, vma)
    if not own:
        return []
    out = []
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        file = os.open(f"/proc/{pid}/map_files/{vma.start:x}-{vma.end:x}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for page in own:
                here = os.pread(mem, PAGE, page)
                there = os.pread(file, PAGE, vma.pgoff + page - vma.start).ljust(PAGE, b"\0")
                if all(a in (b, _BREAKPOINT) for a, b in zip(here, there, strict=True)):
                    out.append(page)
        finally:
            os.close(file)
    finally:
        os.close(mem)
    return out


def _own_pages(pid: int, vma: proc.Vma) -> list[int]:
    """The pages that are no longer the file's."""
    first = vma.start // PAGE
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        raw = os.pread(pagemap, (vma.end // PAGE - first) * 8, first * 8)
    finally:
        os.close(pagemap)
    words = (int.from_bytes(raw[i : i + 8], "little") for i in range(0, len(raw), 8))
    return [(first + i) * PAGE for i, w in enumerate(words) if w & _SWAPPED or (w & _PRESENT and not w & _OF_FILE)]
