"""Rings of asynchronous I/O (io_setup(2)): mappings that the kernel alone can make, with a header that it goes by.

A context is known by the address of its ring, and its events are found by `head` and `tail`. The kernel has a tail of
its own, and counts what is unread: it gets both by as many empty reads as the old context has had requests, of which
those up to `head` are reaped. Then the ring is moved where it was (mremap(2)), and filled with what was in it.
"""

from __future__ import annotations

import os
import struct
import time

from engine.errors import BadImage, EngineError
from engine.kernel import memory, pagemap, proc
from engine.kernel.uapi import mman as mm
from engine.memory.vmas import AIO, AIORING
from engine.plan import abi
from engine.plan.program import Program, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.images.files import Images
    from engine.tasks.images import TaskImages

HEADER = struct.Struct("<8I")  # struct aio_ring: id, nr, head, tail, magic, compat and incompat features, header_length
_MAGIC = 0xA10A10A1
_EVENT = 32  # bytes of struct io_event (linux/aio_abi.h)
_IOCB = struct.Struct("<QIIHhIQQqQII")  # struct iocb
_PREAD = 0  # IOCB_CMD_PREAD
_BATCH = 256
_SETTLED, _LOOKS, _PAUSE_S = 3, 50, 0.001


class Ring:
    """One context as it is to be again: address and size in bytes, the rest in events."""

    __slots__ = ("head", "nr", "size", "start", "tail")

    def __init__(self, start: int, size: int, raw: bytes) -> None:
        """Raises ValueError when `raw`, its first bytes, is not the header of a ring of that size."""
        fields: tuple[int, ...] = HEADER.unpack(raw)
        _, self.nr, self.head, self.tail, magic, _, _, header = fields
        self.start = start
        self.size = size
        if magic != _MAGIC or header != HEADER.size or self.nr != (size - header) // _EVENT:
            raise ValueError(f"{self.nr} events in {size} bytes")
        if max(self.head, self.tail) >= self.nr:
            raise ValueError(f"events {self.head} to {self.tail} of {self.nr}")

    @property
    def requests(self) -> int:
        """What io_setup(2) has to be asked for, for a ring of this size: the kernel makes twice as much, and two."""
        return self.nr // 2 - 1


def dump(entry: Any, vma: proc.Vma, pid: int) -> None:
    """Add a mapping's vma_entry and aio_ring_entry to a mm_entry. EngineError for a header that makes no sense."""
    try:
        ring = Ring(vma.start, vma.end - vma.start, memory.read(pid, vma.start, HEADER.size))
    except ValueError as e:
        raise EngineError(f"pid {pid}: mapping {vma}: the task has damaged this AIO ring, or cut it up: {e}") from e
    added = entry.vmas.add(start=vma.start, end=vma.end, pgoff=0, shmid=0, prot=vma.prot, fd=-1)
    added.flags, added.status, added.fdflags = mm.MAP_SHARED, AIORING, os.O_RDWR
    entry.aios.add(id=vma.start, nr_req=ring.requests, ring_len=ring.size)


def settle(pid: int, vmas: list[proc.Vma]) -> None:
    """Wait, a short while, until no more requests of a frozen task complete.

    How many are under way nobody is told; reads and writes of files are over soon, what waits in IOCB_CMD_POLL is lost.
    """
    starts = [v.start for v in vmas if v.path == AIO]
    last: list[bytes] = []
    same = 0
    for _ in range(_LOOKS if starts else 0):
        now = [memory.read(pid, start, HEADER.size) for start in starts]
        same = same + 1 if now == last else 0
        if same == _SETTLED:
            break
        last = now
        time.sleep(_PAUSE_S)


def prepare(task: TaskImages, images: Images) -> list[Ring]:
    """The rings of a task's images. BadImage for one that contradicts itself, EngineError for one too small here."""
    out = []
    name = images.name("PAGES", task.pages_id)
    least = 2 * 4 * (os.sysconf("SC_NPROCESSORS_CONF") or 1) + 2
    rings = {v.start: v for v in task.mm.vmas if v.status & AIORING}
    if {a.id for a in task.mm.aios} != rings.keys():
        raise BadImage(f"mm-{task.pid}.img", 0, "its AIO rings are not those among its mappings; dump again")
    for v in rings.values():
        raw = _stored(task, images, v.start)
        try:
            ring = Ring(v.start, v.end - v.start, raw)
        except (ValueError, struct.error) as e:
            raise BadImage(name, 0, f"the AIO ring at {v.start:#x} of pid {task.pid}: {e}; dump again") from e
        if ring.nr < least:
            raise EngineError(
                f"pid {task.pid}: its AIO ring of {ring.nr} events is smaller than any on this machine, for the number"
                " of its processors: restore it on one with fewer"
            )
        out.append(ring)
    return out


def _stored(task: TaskImages, images: Images, at: int) -> bytes:
    """The header at an address, from the pages image; less than that where it is not stored."""
    offset = pagemap.find(task.pagemap.data, at)
    if offset < 0:
        return b""
    fd = images.open_raw("PAGES", task.pages_id)
    try:
        return os.pread(fd, HEADER.size, offset)
    finally:
        os.close(fd)


def plan(program: Program, rings: list[Ring], readable: int, scratch: int) -> None:
    """Make the contexts, before anything else is mapped. `readable` is a descriptor of any regular file.

    `scratch` is an address with room for the largest; a ring is moved there first, because the kernel may happen to
    put it over a part of where it belongs.
    """
    for ring in rings:
        room = program.arena.reserve(8)
        program.sys(
            "io_setup",
            ring.requests,
            room,
            note=f"AIO ring at {ring.start:x}; EAGAIN: raise /proc/sys/fs/aio-max-nr",
        )
        context = Word(room)
        unread = (ring.tail - ring.head) % ring.nr
        _submit(program, context, ring.head, readable, reap=True)
        _submit(program, context, unread, readable, reap=False)
        how = mm.MREMAP_MAYMOVE | mm.MREMAP_FIXED
        for at, to in ((context, scratch), (scratch, ring.start)):
            program.sys("mremap", at, ring.size, ring.size, how, to, expect=abi.EXPECT_EQUAL, want=to)


def _submit(program: Program, context: Word, count: int, fd: int, reap: bool) -> None:
    """`count` reads of nothing, each of which is an event at once."""
    if not count:
        return
    arena = program.arena
    iocb = arena.put(_IOCB.pack(0, 0, 0, _PREAD, 0, fd, 0, 0, 0, 0, 0, 0))
    many = min(count, _BATCH)
    pointers = arena.put(struct.pack("<Q", iocb) * many)
    events = arena.reserve(many * _EVENT) if reap else 0
    while count:
        many = min(count, _BATCH)
        program.sys("io_submit", context, many, pointers, expect=abi.EXPECT_EQUAL, want=many)
        if reap:
            program.sys("io_getevents", context, many, many, events, 0, expect=abi.EXPECT_EQUAL, want=many)
        count -= many
