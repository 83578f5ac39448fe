"""Objects of shared memory, by a descriptor: shmem(5) and hugetlbfs inodes, whatever they are called."""

from __future__ import annotations

from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.memory import Runs

PAGE = 4096


def make(size: int, huge: int, flags: int) -> int:
    """Shared anonymous memory of `size` bytes that nobody maps; a descriptor for reading and writing.

    `huge` is the size of its huge pages in bytes, else 0; `flags` are more of mmap(2). Takes CAP_CHECKPOINT_RESTORE
    (proc_pid_map_files(5)).
    """
    what = "there are not enough huge pages (vm.nr_hugepages)" if huge else ""
    call = f"mmap(MAP_SHARED | MAP_ANONYMOUS | {flags:#x}, {size} bytes) and opening it"
    return check(lib.zd_shmem_make(size, huge, flags), call, what)


def runs(fd: int, size: int, huge: int) -> Runs:
    """The runs of pages that exist (offset in bytes, pages of 4 KiB), in memory or swapped out: SEEK_DATA, SEEK_HOLE.

    `huge` is the size in bytes of its pages where it is of hugetlbfs, else 0: of these, all but what is only zeroes.
    """
    limit = 1024
    while True:
        found = ffi.new("struct zd_run[]", limit)
        n = lib.zd_object_runs(fd, size, huge, found, limit)
        if n != -28:
            return Runs(found, check(n, "lseek(SEEK_DATA)" if not huge else "reading huge pages"))
        limit *= 4


def dump(fd: int, size: int, huge: int, out: int, found: Runs, name: str) -> None:
    """Write the pages of the runs to the empty file `out`; `name` is the object's, for errors."""
    _copy((fd, out, size, huge, 0), found, False, f"copying the contents of {name}")


def load(fd: int, size: int, huge: int, source: int, offset: int, parts: list[tuple[int, int]], name: str) -> None:
    """Fill an object of `size` bytes with `parts` (offset in bytes, pages), which begin at `offset` of the image.

    What no part covers stays a hole. Peak memory is 64 KiB a thread, and one huge page.
    """
    native = ffi.new("struct zd_run[]", max(len(parts), 1))
    for run, (start, pages) in zip(native, parts, strict=False):
        run.start, run.pages = start, pages
    _copy((fd, source, size, huge, offset), Runs(native, len(parts)), True, f"filling {name}")


def _copy(object: tuple[int, int, int, int, int], found: Runs, load: bool, call: str) -> None:
    native = ffi.new("struct zd_object *", object)
    check(lib.zd_object_copy(native, found.raw, found.count, load), call)
