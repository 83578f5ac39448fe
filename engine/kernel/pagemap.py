"""Images in native code (native/pagemap.c): what protobuf can take at once, pagemaps as runs, where pages go."""

from __future__ import annotations

from engine.kernel._native import ffi, lib
from engine.kernel.call import check
from engine.kernel.memory import PAGE, Runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

RUN_SIZE = 24  # bytes of struct zd_run
PART_SIZE, OFFSET_SIZE = 16, 8  # bytes of a struct iovec, and of an offset
_BATCH = 1 << 14  # runs that are read at a time
_CHUNK = 1 << 18  # bytes that are written at a time
_WITHIN = 2 << 20  # shares differ by less than that many bytes
_SHARES_MAX = 8
_EFAULT = 14
HUGE_OFFSET = 1  # of an offset in a pages image: these pages were in huge ones


def fields(data: Any, pos: int) -> bytes:
    """The entries from offset `pos` on as one message: each its field 1. Empty if one is cut short, or very long."""
    size = len(data) - pos
    out = ffi.new("char[]", size)
    with ffi.from_buffer(data) as raw:
        is_whole = lib.zd_fields(raw + pos, size, out)
    return bytes(ffi.buffer(out, size)) if is_whole else b""


def entries(data: bytes) -> bytes:
    """The other way round: what `fields` has made one message of."""
    out = ffi.new("char[]", 2 * len(data))
    return bytes(ffi.buffer(out, lib.zd_entries(data, len(data), out)))


def encode(runs: Runs) -> Iterator[bytes]:
    """The entries of a pagemap image, each with its length, in pieces to be written one after the other."""
    done = ffi.new("unsigned long *")
    buf = ffi.new("char[]", min(_CHUNK, 64 * (runs.count + 1)))
    while done[0] < runs.count:
        yield bytes(ffi.buffer(buf, lib.zd_pagemap_encode(runs.raw, runs.count, done, buf, len(buf))))


def decode(data: Any, pos: int) -> tuple[bytes, int]:
    """Runs, packed, of ordinary entries from offset `pos` on; and the offset after them. None where one is odd."""
    at = ffi.new("unsigned long *", pos)
    with ffi.from_buffer(data) as raw:
        most = min(_BATCH, (len(data) - pos) // 8 + 1)  # no entry has less bytes
        runs = ffi.new("struct zd_run[]", most)
        count = lib.zd_pagemap_decode(raw, len(data), at, runs, most)
    return bytes(ffi.buffer(runs, count * RUN_SIZE)), int(at[0])


def total(data: bytearray) -> tuple[int, int]:
    """(pages that are stored, all flags) of packed runs."""
    out = ffi.new("struct zd_sum *")
    with ffi.from_buffer("struct zd_run[]", data) as runs:
        lib.zd_pagemap_sum(runs, len(data) // RUN_SIZE, out)
    return int(out.stored), int(out.flags)


def find(data: bytearray, addr: int) -> int:
    """The offset in the pages image, in bytes, of the page at `addr` in packed runs; -1 where it is not stored."""
    with ffi.from_buffer("struct zd_run[]", data) as runs:
        number = lib.zd_pagemap_find(runs, len(data) // RUN_SIZE, addr)
    return int(number) * PAGE if number >= 0 else -1


class Loads:
    """The parts of a task's memory that are read from a pages image: which they are, or what made them so.

    `filled` are the starts of the mappings that are read into, `bad` the address of a page that none has, or -1: of
    runs only. `count` is the number of parts, `size` that of bytes.
    """

    __slots__ = ("_areas", "_info", "_parts", "_runs", "bad", "count", "filled", "size")

    def __init__(
        self, runs: bytearray, areas: list[tuple[int, int, bool]], parts: list[tuple[int, int, int]] | None = None
    ) -> None:
        """A run and a mapping have one part in common: `areas` are (start, end, skipped) of all mappings, by address.

        Or, with `parts`, (address, bytes, offset in the image | HUGE_OFFSET) of each.
        """
        self._runs = runs
        self._areas = ffi.new("struct zd_range[]", max(len(areas), 1))
        for area, (start, end, skipped) in zip(self._areas, areas, strict=False):
            area.start, area.end, area.flags = start, end, skipped
        self._parts = None
        if parts is not None:
            self._parts = ffi.new("struct zd_part[]", len(parts))
            for part, (start, size, offset) in zip(self._parts, parts, strict=False):
                part.start, part.bytes, part.offset = start, size, offset
        self._info = ffi.new("struct zd_loads *")
        self.bad = -1
        self.count = self._plan(1, ffi.NULL, ffi.NULL, 0)
        self.size = int(self._info.bytes)
        self.filled = {int(a.start) for a in self._areas if a.pad}

    @classmethod
    def of(cls, parts: list[tuple[int, int, int]]) -> Loads:
        """Those of a list."""
        return cls(bytearray(), [], parts)

    def _plan(self, shares: int, vector: Any, offsets: Any, most: int) -> int:
        info = self._info
        size = int(info.bytes)
        info.share = -(-size // shares // _WITHIN) * _WITHIN if shares > 1 and size else 1 << 62
        if self._parts is not None:
            count = lib.zd_split_loads(self._parts, len(self._parts), vector, offsets, most, info)
        else:
            with ffi.from_buffer("struct zd_run[]", self._runs) as runs:
                number = len(self._runs) // RUN_SIZE
                count = lib.zd_plan_loads(runs, number, self._areas, len(self._areas), vector, offsets, most, info)
        if count == -_EFAULT:
            self.bad = int(info.bad)
            return 0
        return check(count, "planning loads")

    def split(self, shares: int) -> list[tuple[int, int]]:
        """(first part, number of parts) of about as many bytes each; no more than eight shares."""
        self.count = self._plan(min(shares, _SHARES_MAX), ffi.NULL, ffi.NULL, 0)
        first = [int(self._info.first[i]) for i in range(self._info.shares)]
        return [(a, b - a) for a, b in zip(first, [*first[1:], self.count], strict=True)]

    def write(self, shares: int, memory: Any, vector: int, offsets: int) -> None:
        """Write the parts to offset `vector` of `memory`, their offsets in the image to offset `offsets`."""
        with ffi.from_buffer(memory, require_writable=True) as raw:
            at = ffi.cast("char *", raw)
            self._plan(
                min(shares, _SHARES_MAX), at + vector, ffi.cast("unsigned long long *", at + offsets), self.count
            )
