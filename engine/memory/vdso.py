"""The vdso: it may be mapped by the kernel again only if the dumped one has this kernel's layout and code."""

from __future__ import annotations

import os

from engine.errors import EngineError
from engine.images.files import Images
from engine.images.validate import stored_pages
from engine.kernel import proc
from engine.memory.vmas import VDSO, VVAR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.tasks.compile import TaskImages

PAGE = 4096


def check(task: TaskImages, images: Images) -> None:
    """Raise EngineError when the task's vdso is not this kernel's."""
    had = [(v.status, v.end - v.start) for v in task.mm.vmas if v.status & (VDSO | VVAR)]
    if not had:
        return
    own = [v for v in proc.smaps(os.getpid()) if v.path in ("[vdso]", "[vvar]", "[vvar_vclock]")]
    vvar = sum(v.end - v.start for v in own if v.path != "[vdso]")
    code = next((v for v in own if v.path == "[vdso]"), None)
    had_vvar = sum(size for status, size in had if status & VVAR)
    had_code = sum(size for status, size in had if status & VDSO)
    if code is None or (vvar, code.end - code.start) != (had_vvar, had_code):
        raise EngineError(
            f"pid {task.pid}: its vdso ({had_code} bytes, vvar {had_vvar}) is not this kernel's: restoring on another"
            " kernel is not supported yet"
        )
    dumped = _pages(task, images, next(v.start for v in task.mm.vmas if v.status & VDSO), had_code)
    fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        here = os.pread(fd, had_code, code.start)
    finally:
        os.close(fd)
    if dumped is not None and dumped != here:
        raise EngineError(
            f"pid {task.pid}: its vdso is not this kernel's: restoring on another kernel is not supported yet"
        )


def _pages(task: TaskImages, images: Images, start: int, size: int) -> bytes | None:
    """The dumped contents of a range, if the pages image has all of it."""
    offset = 0
    for entry in task.pagemap:
        at, count = entry.vaddr, stored_pages(entry)
        if at <= start and start + size <= at + count * PAGE:
            fd = images.open_raw("PAGES", task.pages_id)
            try:
                return os.pread(fd, size, offset + start - at)
            finally:
                os.close(fd)
        offset += count * PAGE
    return None
