"""Loading pages: preadv(2) from the image straight to their final addresses, big ones by several threads.

The kernel faults in what is about to be read, 512 KiB at a time (MADV_POPULATE_WRITE), which is faster than taking a
fault a page inside preadv, and than populating whole mappings. Loader threads are gone before the task is finished.
"""

from __future__ import annotations

import os
import struct

from engine.plan import abi
from engine.plan.program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    # (address, bytes, offset in the pages image)
    Part = tuple[int, int, int]

PIECE = 512 << 10  # bytes populated and read at a time
_SMALL = 64 << 10  # bytes below which populating costs more than it saves
_PER_THREAD = 16 << 20  # bytes that make one more thread worth it
_IOV_MAX = 1024
_MADV_POPULATE_WRITE = 23
# CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM | CHILD_CLEARTID
_THREAD = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x200000
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)


def plan(program: Program, parts: list[Part], fd: int) -> None:
    """Read all parts through the descriptor `fd`; threads join in where there are processors and work for them."""
    total = sum(size for _, size, _ in parts)
    workers = max(1, min(len(os.sched_getaffinity(0)), total // _PER_THREAD))
    shares = _split(parts, total, workers)
    arena = program.arena
    waits: list[int] = []
    for share in shares[1:]:
        loader = arena.program(f"{program.name}, loader {len(waits) + 1}")
        _read(loader, share, fd)
        loader.sys("exit", 0)
        loader.park()
        alive = arena.put(b"\1\0\0\0\0\0\0\0")
        stack = arena.stack() - abi.STACK_SIZE
        args = _CLONE_ARGS.pack(_THREAD, 0, alive, 0, 0, stack, abi.STACK_SIZE, 0, 0, 0, 0)
        program.spawn(arena.put(args), len(args), loader)
        waits.append(alive)
    _read(program, shares[0], fd)
    for alive in waits:
        program.gone(alive)


def _split(parts: list[Part], total: int, workers: int) -> list[list[Part]]:
    """As many shares of about the same size, in order."""
    shares: list[list[Part]] = [[] for _ in range(workers)]
    done = 0
    for address, size, offset in parts:
        while size:
            i = min(done * workers // max(total, 1), workers - 1)
            end = total if i == workers - 1 else -(-(i + 1) * total // workers)
            take = min(size, end - done)
            take = min(size, take + -take % PIECE)
            shares[i].append((address, take, offset))
            address, size, offset, done = address + take, size - take, offset + take, done + take
    return shares


def _read(program: Program, parts: list[Part], fd: int) -> None:
    """Small parts that lie together in the image in one call; large ones piece by piece, populated first."""
    vector: list[int] = []
    first = last = 0

    def flush() -> None:
        if vector:
            size = sum(vector[1::2])
            _preadv(program, fd, vector, size, first)
            vector.clear()

    for address, size, offset in parts:
        if size >= _SMALL:
            flush()
            for at in range(0, size, PIECE):
                piece = min(PIECE, size - at)
                program.ask("madvise", address + at, piece, _MADV_POPULATE_WRITE)
                _preadv(program, fd, [address + at, piece], piece, offset + at)
            continue
        if vector and (offset != last or len(vector) >= 2 * _IOV_MAX):
            flush()
        if not vector:
            first = offset
        vector += (address, size)
        last = offset + size
    flush()


def _preadv(program: Program, fd: int, vector: list[int], size: int, offset: int) -> None:
    where = program.arena.put(struct.pack(f"<{len(vector)}Q", *vector))
    program.sys(
        "preadv",
        fd,
        where,
        len(vector) // 2,
        offset,
        0,
        expect=abi.EXPECT_EQUAL,
        want=size,
        note=f"{size} bytes of pages from {vector[0]:x} on",
    )
