"""Loading pages: preadv(2) from the image straight to their final addresses, big ones by several threads.

The executor walks a table of what goes where (OP_LOAD). The kernel faults in what is about to be read, 512 KiB at a
time (MADV_POPULATE_WRITE), which is faster than taking a fault a page inside preadv, and than populating whole
mappings. What was in huge pages gets them before it is read. Loader threads are gone before the task is finished.
"""

from __future__ import annotations

import os
import struct

from engine.kernel.pagemap import OFFSET_SIZE, PART_SIZE, Loads
from engine.plan import abi
from engine.plan.program import PAGE, Place, Program

_CUTS = 8  # parts that are two, at most: one is another thread's
_PER_THREAD = 16 << 20  # bytes that make one more thread worth it
# CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | CHILD_CLEARTID
_THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x200000
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)


def table_size(parts: int, tables: int = 1) -> int:
    """Bytes of the arena that loading so many parts takes, at most, in so many tables."""
    return (PART_SIZE + OFFSET_SIZE) * (parts + tables * _CUTS) + tables * PAGE


def plan(program: Program, loads: Loads, fd: int) -> None:
    """Read all parts through the descriptor `fd`; threads join in where there are processors and work for them."""
    workers = max(1, min(len(os.sched_getaffinity(0)), loads.size // _PER_THREAD))
    if program.caller.alone:
        workers = 1
    shares = loads.split(workers)
    behind = loads.count * PART_SIZE
    arena = program.arena
    table = arena.table(
        behind + loads.count * OFFSET_SIZE, lambda memory, at: loads.write(workers, memory, at, at + behind)
    )

    def read(reader: Program, share: tuple[int, int]) -> None:
        first, count = share
        parts, offsets = Place(table, first * PART_SIZE), Place(table, behind + first * OFFSET_SIZE)
        reader.load(fd, parts, offsets, count, f"{count} parts of {loads.size} bytes of pages in all")

    waits: list[int] = []
    for share in shares[1:]:
        loader = arena.program(f"{program.name}, loader {len(waits) + 1}")
        read(loader, share)
        loader.sys("exit", 0)
        loader.park()
        alive = arena.put(b"\1\0\0\0\0\0\0\0")
        stack = arena.stack() - abi.STACK_SIZE
        tids = program.caller.passing()  # in a pid namespace of the tree the next free one may be another's to be
        chosen = (arena.put(struct.pack(f"<{len(tids)}i", *tids)), len(tids)) if tids else (0, 0)
        args = _CLONE_ARGS.pack(_THREAD, 0, alive, 0, 0, stack, abi.STACK_SIZE, 0, *chosen, 0)
        program.spawn(arena.put(args), len(args), loader)
        waits.append(alive)
    read(program, shares[0])
    for alive in waits:
        program.gone(alive)
