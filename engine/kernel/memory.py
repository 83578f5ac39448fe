"""Another task's memory: process_vm_readv(2), /proc/PID/mem, and the page mover's two steps."""

from __future__ import annotations

from engine.errors import KernelError
from engine.kernel._native import ffi, lib
from engine.kernel.call import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PAGE = 4096
# Flags of ranges, handed on to their runs, and of runs; native/native.h says what they mean.
WHOLE: int = lib.ZD_WHOLE
LAZY: int = lib.ZD_LAZY
GUARDS: int = lib.ZD_GUARDS
HUGE: int = lib.ZD_HUGE
SPARSE: int = lib.ZD_SPARSE
ZEROES: int = lib.ZD_ZEROES
KEPT: int = lib.ZD_KEPT
ELSEWHERE: int = lib.ZD_ELSEWHERE
SHARED = 1 << 8  # flag of a range, of scan_changed: pages of shared memory, which look like a file's, count too


class PageStats:
    """What the page mover did: pages and µs."""

    __slots__ = ("raw",)

    def __init__(self) -> None:
        self.raw = ffi.new("struct zd_pages *")

    @property
    def scanned(self) -> int:
        """Pages looked at."""
        return int(self.raw.scanned)

    @property
    def written(self) -> int:
        """Pages copied into the image."""
        return int(self.raw.written)

    @property
    def zero(self) -> int:
        """Pages that were all zeroes, and are not in the image."""
        return int(self.raw.zero)

    @property
    def write_us(self) -> int:
        """µs spent copying."""
        return int(self.raw.write_time)


class Runs:
    """Runs of pages, in native memory."""

    __slots__ = ("count", "raw")

    def __init__(self, raw: Any, count: int) -> None:
        self.raw = raw
        self.count = count

    @classmethod
    def of(cls, runs: list[tuple[int, int, int]]) -> Runs:
        """Those of a list."""
        raw = ffi.new("struct zd_run[]", max(len(runs), 1))
        for native, (start, pages, flags) in zip(raw, runs, strict=False):
            native.start, native.pages, native.flags = start, pages, flags
        return cls(raw, len(runs))

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(address, pages, flags of the range) of each run."""
        raw = self.raw
        for i in range(self.count):
            yield raw[i].start, raw[i].pages, raw[i].flags


def read(pid: int, addr: int, size: int) -> bytes:
    """Read memory that the task itself could read; KernelError EFAULT otherwise, also where only a part is there."""
    buf = bytearray(size)
    n = check(
        lib.zd_read_memory(pid, addr, ffi.from_buffer(buf), size),
        f"process_vm_readv({pid}, {addr:#x}, {size})",
    )
    if n != size:
        raise KernelError(f"process_vm_readv({pid}, {addr:#x}, {size})", 14, f"only {n} bytes are mapped")
    return bytes(buf)


def write(pid: int, addr: int, data: bytes) -> None:
    """Write memory that the task itself could write."""
    n = check(
        lib.zd_write_memory(pid, addr, ffi.from_buffer(data), len(data)),
        f"process_vm_writev({pid}, {addr:#x}, {len(data)})",
    )
    if n != len(data):
        raise KernelError(f"process_vm_writev({pid}, {addr:#x}, {len(data)})", 14, f"only {n} bytes are mapped")


def scan_pages(pagemap: int, ranges: list[tuple[int, int, int]], stats: PageStats) -> tuple[Runs, Runs]:
    """The runs of pages in (start, end, flags) ranges that hold data of the task's own, and of guards (PAGEMAP_SCAN).

    `pagemap` is a descriptor of /proc/PID/pagemap. See native/memory.c for what counts.
    """
    native = ffi.new("struct zd_range[]", max(len(ranges), 1))
    for r, (start, end, flags) in zip(native, ranges, strict=False):
        r.start, r.end, r.flags = start, end, flags
    out, guards, nguards = ffi.new("struct zd_run **"), ffi.new("struct zd_run **"), ffi.new("unsigned long *")
    n = lib.zd_scan_pages(pagemap, native, len(ranges), out, guards, nguards, stats.raw)
    count = check(n, "ioctl(PAGEMAP_SCAN)", "the kernel must be 6.7 or newer")
    return Runs(_owned(out[0]), count), Runs(_owned(guards[0]), int(nguards[0]))


def merge(runs: Runs, others: Runs, flag: int) -> Runs:
    """Both in address order, the others with a flag: KEPT, ELSEWHERE."""
    out = ffi.new("struct zd_run[]", max(runs.count + others.count, 1))
    return Runs(out, lib.zd_merge_runs(runs.raw, runs.count, others.raw, others.count, flag, out))


def apart(runs: Runs) -> tuple[Runs, Runs]:
    """Of runs that are split by who has their frames (Frames.split): its own, and those whose contents others have."""
    own, others = ffi.new("struct zd_run[]", max(runs.count, 1)), ffi.new("struct zd_run[]", max(runs.count, 1))
    count = lib.zd_own_runs(runs.raw, runs.count, own, others)
    return Runs(own, count), Runs(others, runs.count - count)


def dump_pages(
    pid: int, mem: int, pagemap: int, out: int, name: str, runs: Runs, stats: PageStats, kept: int = -1
) -> Runs:
    """Write the contents of the runs to the empty file or the pipe `out`; `name` is its name in errors.

    Returns what was written: of SPARSE runs, pages that are all zeroes are left out. `mem` and `pagemap` are
    descriptors of /proc/PID/mem, for pages that the task itself may not read or that it shares since a fork (with `pid`
    0, for all), and of /proc/PID/pagemap; `kept` is one of a file with the pages of KEPT runs.
    """
    made = ffi.new("struct zd_run **")
    count = check(
        lib.zd_dump_pages(pid, mem, pagemap, kept, out, runs.raw, runs.count, made, stats.raw),
        f"copying the pages of task {pid or ''} into {name}",
    )
    return Runs(_owned(made[0]), count)


def _owned(runs: Any) -> Any:
    """Memory that native code has made, to be freed when nobody needs it any more."""
    return ffi.gc(runs, lib.zd_free_runs)


def uffd_async(uffd: int) -> None:
    """Agree with a new userfaultfd on asynchronous write-protection of all kinds of memory (ioctl_userfaultfd(2)).

    KernelError EINVAL for a kernel that has it not.
    """
    check(lib.zd_uffd_async(uffd), "ioctl(UFFDIO_API, UFFD_FEATURE_WP_ASYNC)")


def scan_changed(pagemap: int, uffd: int, ranges: list[tuple[int, int, int]], protect: bool) -> Runs:
    """The runs of pages of scan_pages() that were written to since they were protected, or cannot be told from such.

    `uffd` is a userfaultfd after uffd_async(), -1 for soft-dirty bits. `protect`: from now on, everything is unchanged;
    what the userfaultfd does not know yet is registered with it. No range spans several mappings then. KernelError
    EBUSY where another userfaultfd has a mapping, ESRCH when the task has ended or executed another program.
    """
    native = ffi.new("struct zd_range[]", max(len(ranges), 1))
    for r, (start, end, flags) in zip(native, ranges, strict=False):
        r.start, r.end, r.flags = start, end, flags
    cursor = ffi.new("struct zd_cursor *")
    limit, n = 4096, 0
    runs = ffi.new("struct zd_run[]", limit)
    while True:
        n = lib.zd_scan_changed(pagemap, uffd, protect, native, len(ranges), runs, n, limit, cursor)
        check(n, "searching for changed pages")
        if cursor.range == len(ranges):
            return Runs(runs, n)
        # what was found is protected again: it is not found a second time
        limit *= 4
        more = ffi.new("struct zd_run[]", limit)
        ffi.memmove(more, runs, n * ffi.sizeof("struct zd_run"))
        runs = more
