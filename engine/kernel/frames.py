"""Pages that several tasks have: the same frames (/proc/PID/pagemap), or the same content in images."""

from __future__ import annotations

from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.memory import PAGE, Runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_ENOSPC, _EOVERFLOW, _EPERM = -28, -75, -1


class Frames:
    """Who of the tasks asked so far had a frame first, at the same address."""

    __slots__ = ("_raw",)

    def __init__(self) -> None:
        self._raw = lib.zd_frames_new()
        if self._raw == ffi.NULL:
            raise MemoryError

    def split(self, pagemap: int, owner: int, runs: Runs) -> Runs | None:
        """The runs of task `owner`, split by who has their frames too: the first that has, in their flags
        from bit 32 on, 0 for nobody else.

        `pagemap` is a descriptor of /proc/PID/pagemap. None where that cannot be told: the kernel hides frames, or
        there are more shared pages than can be remembered.
        """
        limit = max(runs.count * 2, 4096)
        while True:
            out = ffi.new("struct zd_run[]", limit)
            n = lib.zd_frames_split(self._raw, pagemap, owner, runs.raw, runs.count, out, limit)
            if n == _ENOSPC:
                limit *= 4
            elif n in (_EOVERFLOW, _EPERM):
                return None
            else:
                return Runs(out, check(n, "reading /proc/PID/pagemap"))

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        lib.zd_frames_free(self._raw)
        self._raw = ffi.NULL


def same_pages(a: Sequence[tuple[int, int, int, int]], b: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """(start, end) of where stored pages have the same content at the same address.

    Both are (address, bytes, offset in the image, descriptor of the image) in order of address.
    """
    lists = [ffi.new("struct zd_part[]", max(len(parts), 1)) for parts in (a, b)]
    for native, parts in zip(lists, (a, b), strict=True):
        for one, (start, size, offset, fd) in zip(native, parts, strict=False):
            one.start, one.bytes, one.offset, one.fd = start, size, offset, fd
    limit = 4096
    while True:
        out = ffi.new("struct zd_run[]", limit)
        n = lib.zd_same_pages(lists[0], len(a), lists[1], len(b), out, limit)
        if n == _ENOSPC:
            limit *= 4
            continue
        check(n, "comparing pages of the images")
        return [(out[i].start, out[i].start + out[i].pages * PAGE) for i in range(n)]
