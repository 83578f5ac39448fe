"""Pagemaps as packed runs of pages: fragmented memory has too many for an object each."""

from __future__ import annotations

import struct

from engine.images import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

    from engine.images.schema import Schema
    from engine.images.table import Image

PE_PARENT, PE_LAZY, PE_PRESENT = 1 << 0, 1 << 1, 1 << 2
HUGE = 1 << 31  # flag of a run: the field `huge`; those below are the entry's
OWNER = 32  # the bits from which on the field `same_as` is
RUN = struct.Struct("<3Q")  # address, pages, flags


class Pagemap:
    """The runs of one pagemap image, in its order, checked. `data` is what native code takes as struct zd_run[]."""

    __slots__ = ("data", "flags", "stored")

    def __init__(self, data: bytearray, native: ModuleType | None = None) -> None:
        self.data = data
        self.stored = self.flags = 0
        if native:
            self.stored, self.flags = native.total(data)
        else:
            for _, pages, flags in self:
                self.stored += pages if flags & PE_PRESENT else 0
                self.flags |= flags

    # `stored`: pages that are in the pages image. `flags`: all that any run has.

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(address, pages, flags) of each run; old images' flags made up from what they have instead."""
        return RUN.iter_unpack(self.data)

    def __len__(self) -> int:
        return len(self.data) // RUN.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pagemap) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]


def parse(
    schema: Schema, image: Image, data: wire.Buffer, name: str, pos: int, native: ModuleType | None
) -> tuple[Any, Pagemap]:
    """The pagemap_head and the runs, from `pos` to the end of the image. Raises BadImage.

    `native` (engine/kernel/pagemap.py) reads ordinary entries; what it stops at, protobuf reads, or says what is wrong.
    """
    head, pos = wire.entry(schema, schema.message(image.message), data, pos, name)
    cls = schema.message("pagemap_entry")
    runs = bytearray()
    while pos < len(data):
        if native:
            more, pos = native.decode(data, pos)
            runs += more
        if pos < len(data) and not (native and more):
            entry, pos = wire.entry(schema, cls, data, pos, name)
            runs += RUN.pack(entry.vaddr, pages_in(entry), flags_of(entry))
    return head, Pagemap(runs, native)


def pages_in(entry: Any) -> int:
    """How many pages a pagemap_entry covers, in whichever of its two fields."""
    return int(entry.nr_pages if entry.HasField("nr_pages") else entry.compat_nr_pages)


def flags_of(entry: Any) -> int:
    """The flags of a run; old images have none, only `in_parent`."""
    parent = PE_PARENT if entry.in_parent else 0
    flags = int(entry.flags) if entry.HasField("flags") else parent or PE_PRESENT
    return flags & (HUGE - 1) | parent | (HUGE if entry.huge else 0) | int(entry.same_as) << OWNER
