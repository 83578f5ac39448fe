"""Rings of io_uring(7), by the programs of tasks: made, brought to where they were, mapped."""

from __future__ import annotations

import mmap
import os
import struct

from engine.errors import BadImage
from engine.files import kinds
from engine.kernel import proc, uring
from engine.memory import vmas
from engine.plan import abi
from engine.plan.program import Behind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.plan.program import Program, Ref

_PAGE = 4096
_F_SETFL = 4
_MAP_NORESERVE, _MAP_FIXED_NOREPLACE, _MAP_ABOVE4G = 0x4000, 0x100000, 0x80
_BUFFER, _WORD = struct.Struct("<2Q"), struct.Struct("<I")
_SLOT = struct.Struct("<2IQ")  # struct io_uring_rsrc_update
_CAPS, _CAP_VERSION_3 = struct.Struct("<6I"), 0x20080522


def plan_open(program: Program, entry: Any, lowest: int) -> Ref:
    """By the task itself: a new ring, brought to where the old one was, with what was in it and registered."""
    it, arena = entry.io_uring, program.arena
    poller = it.poller if it.HasField("poller") else None
    at = _geometry(entry)
    setup = it.setup | uring.CQSIZE | (uring.R_DISABLED if it.issuer else 0)
    cpu = poller.cpu if poller and poller.HasField("cpu") else 0
    params = arena.put(uring.PARAMS.pack(0, it.cq_entries, setup, cpu, *(0,) * 24))
    own = it.uid == os.geteuid() and it.gid == os.getegid()
    before = _become(program, poller, it.uid, it.gid) if poller or not own else 0
    note = f"flags {setup:#x}; ENOSYS, EPERM: see /proc/sys/kernel/io_uring_disabled"
    fd = program.sys("io_uring_setup", it.sq_entries, params, expect=abi.EXPECT_EQUAL, want=lowest, note=note)
    if before:
        program.sys("capset", _header(program), before)
        program.ask("setfsuid", os.geteuid())
        program.ask("setfsgid", os.getegid())
        _groups(program, os.getgroups() if poller else None)
    if it.flags & os.O_NONBLOCK:
        program.sys("fcntl", fd, _F_SETFL, it.flags & os.O_NONBLOCK)
    if not it.issuer:
        _plan_ring(program, fd, it, at)
    return fd


def of_threads(files: dict[int, Any]) -> dict[int, list[Any]]:
    """Those that only one thread may submit to which is not the first of its process, by its tid."""
    out: dict[int, list[Any]] = {}
    for entry in files.values():
        if entry.type == kinds.IO_URING and entry.io_uring.issuer:
            out.setdefault(entry.io_uring.issuer, []).append(entry)
    return out


def plan_thread(program: Program, core: Any, task: Any, entries: list[Any]) -> None:
    """By a thread that is not the first: those that only it may submit to; those that it has as numbers of its own."""
    for entry in entries:
        fd = next((e.fd for e in task.fdinfo if e.id == entry.id), -1)
        if fd < 0 or entry.io_uring.pid != task.pid:
            raise BadImage("files.img", 0, f"io_uring {entry.id:#x}: pid {task.pid} does not have it, its thread shall")
        program.wait(program.arena.word(f"ring {entry.id}"), 1)
        # who enables a ring is who may submit to it
        program.sys("io_uring_register", fd, uring.REGISTER_ENABLE_RINGS, 0, 0)
        _plan_ring(program, fd, entry.io_uring, _geometry(entry))
        program.add(program.arena.word(f"rings of threads of {task.pid}"), 1)
    if core.thread_core.rings:
        program.wait(_table(program, task), 1)
        _plan_slots(program, core)


def settle(program: Program, task: Any, owns_files: bool, owns_vm: bool, top: int, threads: int) -> None:
    """When a task has its descriptors: what else of rings it has. `threads` is how many its threads begin with."""
    if owns_files:
        program.add(_table(program, task), 1)
    else:
        program.wait(_table(program, task), 1)
    _plan_slots(program, task.core)
    if owns_vm and (rings := [v for v in task.mm.vmas if v.status & vmas.RING]):
        _plan_maps(program, task, rings, top, threads)


def _table(program: Program, task: Any) -> int:
    """A word: the descriptors are complete."""
    return program.arena.word(f"descriptors {task.node.ids['files']}")


def _plan_ring(program: Program, fd: Ref | int, it: Any, at: uring.Geometry) -> None:
    how = mmap.MAP_SHARED | mmap.MAP_POPULATE
    access = mmap.PROT_READ | mmap.PROT_WRITE
    rings = program.sys("mmap", 0, at.rings, access, how, fd, uring.OFF_SQ_RING)
    sqes = program.sys("mmap", 0, at.sqes, access, how, fd, uring.OFF_SQES)
    _plan_counters(program, fd, rings, it, at)
    _plan_contents(program, rings, sqes, it, at)
    program.sys("munmap", rings, at.rings)
    program.sys("munmap", sqes, at.sqes)
    _plan_registered(program, fd, it)


def _geometry(entry: Any) -> uring.Geometry:
    """Of what an entry describes; BadImage for what contradicts itself."""
    if not entry.HasField("io_uring"):
        raise BadImage("files.img", 0, f"file {entry.id:#x} is an io_uring without an entry of that; dump again")
    it = entry.io_uring
    at = uring.Geometry(it.sq_entries, it.cq_entries, it.setup)
    unread = it.requests - it.cq_head & 0xFFFFFFFF
    whole = len(it.sqes) <= at.sqes and len(it.sq_array) == (4 * it.sq_entries if at.sq_array else 0)
    slots = all(e.slot < it.file_slots for e in it.files) and all(e.slot < it.buffer_slots for e in it.buffers)
    if not whole or not slots or unread > it.cq_entries or len(it.cqes) > it.cq_entries * at.cqe:
        raise BadImage("files.img", 0, f"io_uring {entry.id:#x}: contents that do not fit its size; dump again")
    return at


def _header(program: Program) -> int:
    return program.arena.put(struct.pack("<Ii", _CAP_VERSION_3, 0))


def _become(program: Program, poller: Any, uid: int, gid: int) -> int:
    """Have the rights that the polling thread is to have, and the ids that the inode is to have.

    Returns where the capabilities of now are kept.
    """
    before = program.arena.reserve(_CAPS.size)
    program.sys("capget", _header(program), before)
    _groups(program, list(poller.groups) if poller else None)
    program.ask("setfsgid", poller.fsgid if poller else gid)
    program.ask("setfsuid", poller.fsuid if poller else uid)
    if poller:
        now = program.arena.reserve(_CAPS.size)
        program.sys("capget", _header(program), now)
        low, high = poller.cap_eff & 0xFFFFFFFF, poller.cap_eff >> 32
        program.copy(now, 0, _WORD.pack(low), "effective capabilities")
        program.copy(now, 12, _WORD.pack(high))
        program.sys("capset", _header(program), now)
    return before


def _groups(program: Program, groups: list[int] | None) -> None:
    """Where a user namespace denies that, everybody has the same."""
    if groups is not None:
        listed = program.arena.put(struct.pack(f"<{len(groups)}I", *groups))
        program.ask("setgroups", len(groups), listed, note=f"{groups}")


def _plan_counters(program: Program, fd: Ref | int, rings: Ref, it: Any, at: uring.Geometry) -> None:
    """No-ops until as many have been done as there had been requests.

    The kernel looks once in each round of the completions how much room there is to its end: in the last one their head
    must not be further than it was, or those that are unread would be written over.
    """
    offsets = at.sq_tail, at.cq_head
    last = it.requests % it.cq_entries
    program.laps(fd, rings, offsets, it.sq_entries, (it.requests - last) // it.sq_entries, abi.LAPS_READ)
    unread = it.requests - it.cq_head & 0xFFFFFFFF
    kept = max(unread - last, 0)
    if kept:
        program.copy(rings, at.cq_head, _WORD.pack(it.requests - last - kept & 0xFFFFFFFF))
    program.laps(fd, rings, offsets, it.sq_entries, last // it.sq_entries, kept)
    rest = last % it.sq_entries
    program.laps(fd, rings, offsets, rest, 1, kept + last - rest)


def _plan_contents(program: Program, rings: Ref, sqes: Ref, it: Any, at: uring.Geometry) -> None:
    program.copy(sqes, 0, it.sqes, "submissions")
    program.copy(rings, at.sq_array, it.sq_array, "their order")
    program.copy(rings, at.cqes, it.cqes, "completions")
    for value, where in (
        (it.cq_head, at.cq_head),
        (it.sq_dropped, at.dropped),
        (it.cq_overflow, at.overflow),
        (it.cq_flags, at.cq_flags),
        *([] if _is_polled(it) else [(it.sq_tail, at.sq_tail)]),
    ):
        program.copy(rings, where, _WORD.pack(value))


def _is_polled(it: Any) -> bool:
    """Are its submissions taken by a thread of the kernel's, whether the task is complete or not?"""
    return bool(it.setup & uring.SQPOLL and not it.issuer)


def plan_after(program: Program, entry: Any, fd: int) -> None:
    """All descriptors are there: its thread may go on with it, or who polls it take what has been submitted."""
    it = entry.io_uring
    if it.issuer:
        program.add(program.arena.word(f"ring {entry.id}"), 1)
    elif _is_polled(it) and it.sq_tail != it.requests:
        at = _geometry(entry)
        rings = program.sys(
            "mmap", 0, at.rings, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, uring.OFF_SQ_RING
        )
        program.copy(rings, at.sq_tail, _WORD.pack(it.sq_tail))
        program.sys("munmap", rings, at.rings)
        program.sys("io_uring_enter", fd, 0, 0, uring.ENTER_SQ_WAKEUP, 0, 0)


def _plan_registered(program: Program, fd: Ref | int, it: Any) -> None:
    if it.HasField("file_slots"):
        slots = [-1] * it.file_slots
        for e in it.files:
            slots[e.slot] = e.fd
        what = program.arena.put(struct.pack(f"<{len(slots)}i", *slots))
        note = f"files, {len(it.files)} of {len(slots)}"
        program.sys("io_uring_register", fd, uring.REGISTER_FILES, what, len(slots), note=note)
    if it.HasField("buffer_slots"):
        table = bytearray(_BUFFER.size * it.buffer_slots)
        for e in it.buffers:
            _BUFFER.pack_into(table, e.slot * _BUFFER.size, e.address, e.length)
        what = program.arena.put(table)
        note = f"buffers, {len(it.buffers)} of {it.buffer_slots}"
        program.sys("io_uring_register", fd, uring.REGISTER_BUFFERS, what, it.buffer_slots, note=note)


def _plan_slots(program: Program, core: Any) -> None:
    """Of the thread itself, when the task has its descriptors: the rings that it calls by numbers of its own."""
    for e in core.thread_core.rings:
        what = program.arena.put(_SLOT.pack(e.slot, 0, e.fd))
        how = {"expect": abi.EXPECT_EQUAL, "want": 1}
        note = f"the ring is number {e.slot} of the thread"
        program.sys("io_uring_register", e.fd, uring.REGISTER_RING_FDS, what, 1, note=note, **how)


def _plan_maps(program: Program, task: Any, maps: list[Any], top: int, threads: int) -> None:
    """Map rings where they were, when the task has everything else, up to the address `top`.

    The kernel lets nobody say where (io_uring_get_unmapped_area()): so all other places are taken for a moment.
    """
    numbers = {e.id: e.fd for e in task.fdinfo}
    for v in maps:
        if v.shmid not in numbers:
            what = f"{v.start:#x} is of the io_uring {v.shmid:#x}, of which the task has no descriptor; dump again"
            raise BadImage(f"mm-{task.pid}.img", 0, what)
    arena = program.arena
    program.wait(arena.word(f"rings of threads of {task.pid}"), threads)  # which map them too, for a while
    there = [(v.start, min(v.end, top)) for v in task.mm.vmas if not v.status & vmas.RING and v.start < top]
    there.append((arena.base, arena.base + arena.room))
    holes = []
    at = _PAGE
    for start, end in [*sorted(there), (top, top)]:
        if start > at:
            holes.append((at, start))
        at = max(at, end)
    how = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED_NOREPLACE
    lowest = _min_address()
    taken = [(max(start, lowest), end) for start, end in holes if end > lowest]
    for start, end in taken:
        program.sys("mmap", start, end - start, 0, how, -1, 0, expect=abi.EXPECT_EQUAL, want=start, note="taken")
    behind = Behind(arena, False), Behind(arena, True)
    program.sys("mmap", *behind, 0, how, -1, 0, note="taken, behind the arena")
    for v in maps:
        size = v.end - v.start
        program.sys("munmap", v.start, size)
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE | (_MAP_ABOVE4G if v.start >> 32 else 0)
        note = f"{v.start:x}-{v.end:x} of the io_uring {v.shmid:#x}"
        program.sys(
            "mmap", 0, size, v.prot, flags, numbers[v.shmid], v.pgoff, expect=abi.EXPECT_EQUAL, want=v.start, note=note
        )
        for bit in range(64):
            if v.madv >> bit & 1:
                program.sys("madvise", v.start, size, bit)
    program.sys("munmap", *behind)
    rings = sorted((v.start, v.end) for v in maps)
    for start, end in taken:
        for low, high in rings:
            if start <= low < end:
                if start < low:
                    program.sys("munmap", start, low - start)
                start = high
        if start < end:
            program.sys("munmap", start, end - start)


def _min_address() -> int:
    return max(int(proc.read_text("/proc/sys/vm/mmap_min_addr")), _PAGE)
