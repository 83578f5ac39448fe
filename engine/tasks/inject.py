"""The parasite: the executor, mapped into a frozen task for one program of questions, and removed without trace.

The way in and out is the graft (blobs/arch/): a few instructions in dead bytes of one of the task's executable pages.
From the moment the task's registers point there it can go home by itself, so whoever kills the engine, at whatever
moment, leaves a task that runs on as it was.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import contextmanager

from engine.errors import Bug, KernelError
from engine.kernel import memory, proc, process
from engine.kernel.ptrace import Tracee
from engine.plan import abi
from engine.plan.program import Arena, Program, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_PROT_RWX = 7
_MAP_SHARED_ANON_NOREPLACE = 0x100021


class Graft:
    """Where a task's graft goes and what the arena will hold: all that can be made ready before the task is frozen."""

    __slots__ = ("arena", "code", "image", "place", "size", "stack")

    def __init__(self, pid: int, vmas: list[proc.Vma], arena: Arena, first: Program) -> None:
        blob = arena.machine.blob
        self.arena = arena
        self.code = arena.machine.executor[blob["graft"] : blob["graft"] + blob["graft_size"]]
        self.size = len(self.code) + -len(self.code) % 16
        self.place = self._find(pid, vmas)
        self.stack = arena.stack()
        self.image = arena.image(first, self.stack, orphan=self.place + blob["graft_leave"])

    def _is_dead(self, pid: int, address: int) -> bool:
        """Are these bytes nobody's: zeroes, or a graft that an engine killed half-way has left there?"""
        there = memory.read(pid, address, self.size)
        return there == bytes(self.size) or there.startswith(self.code[: self.arena.machine.blob["graft_data"]])

    def _find(self, pid: int, vmas: list[proc.Vma]) -> int:
        """The address of dead bytes at the end of an executable page, the vdso's before any other's.

        Raises KernelError ENOEXEC when no executable mapping ends in that many.
        """
        for vma in sorted(filter(_can_hold, vmas), key=lambda v: v.path != "[vdso]"):
            if self._is_dead(pid, vma.end - self.size):
                return vma.end - self.size
        raise KernelError(f"placing code in task {pid}", errno.ENOEXEC, "no executable mapping ends in unused bytes")

    def fits(self, pid: int, vmas: list[proc.Vma]) -> bool:
        """Now that the task is frozen: is the place still there, and the arena's address still free?"""
        start, end = self.arena.base, self.arena.base + len(self.image)
        free = all(v.end <= start or v.start >= end for v in vmas)
        there = any(_can_hold(v) and v.end == self.place + self.size for v in vmas)
        return free and there and self._is_dead(pid, self.place)


def _can_hold(vma: proc.Vma) -> bool:
    return bool(vma.prot & 4 and vma.prot & 1) and vma.path != "[vsyscall]" and not vma.shared


class Parasite:
    """A task that runs a program of ours. `memory` is the arena as the engine sees it."""

    __slots__ = ("arena", "memory", "tracee")

    def __init__(self, tracee: Tracee, arena: Arena, view: mmap.mmap) -> None:
        self.tracee = tracee
        self.arena = arena
        self.memory = view

    def run(self, program: Program) -> None:
        """Let the task run until the program parks; KernelError names the operation that failed, if one did."""
        self.tracee.cont()
        at = self.arena.offset(program.address) + abi.PROG.offset["state"]
        waited = 0
        while status(self.memory, self.arena, program)[0] == abi.STATE_RUNNING:
            if not process.futex_wait(self.memory, at, abi.STATE_RUNNING, 100_000):
                waited += 100_000
                self.tracee.keep_going()
            if waited > self.tracee.deadline_us:
                raise KernelError(f"running {program.name}", errno.ETIMEDOUT, "the task makes no progress")
        state, pc, error = status(self.memory, self.arena, program)
        if state == abi.STATE_FAILED:
            raise KernelError(program.failure(pc, error), -error)


@contextmanager
def injected(arch: ModuleType, tracee: Tracee, graft: Graft) -> Iterator[Parasite]:
    """Map the arena into a stopped task; on exit, an exception included, it is as before, and stopped again.

    Registers, signal mask, memory, and the system call that the stop interrupted are all put back.
    """
    pid, arena, image, place = tracee.pid, graft.arena, graft.image, graft.place
    first = arena.programs[0]
    regs = tracee.general()
    mask = tracee.sigmask()
    blob = arena.machine.blob
    code = bytearray(graft.code)
    fields = (0, graft.stack, first.address, arena.base, len(image), mask)
    abi.GRAFT.codec.pack_into(code, blob["graft_data"], *fields)
    home = arch.graft_registers(regs)
    at = blob["graft_data"] + abi.GRAFT.size
    code[at : at + len(home)] = home
    mem = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.pwrite(mem, code, place)
        nr = arena.machine.nr
        grafted = arch.for_syscall(
            regs, place, nr["mmap"], arena.base, len(image), _PROT_RWX, _MAP_SHARED_ANON_NOREPLACE, -1, 0
        )
        try:
            tracee.set_general(grafted)
            tracee.block_all()  # after set_general: the graft puts the mask back, nothing else would
            tracee.to_syscall_stop()
            tracee.to_syscall_stop()
            got = arch.syscall_result(tracee.general())
            if got != arena.base:
                raise KernelError(f"mmap({arena.base:#x}, {len(image)}) in task {pid}", -got)
            with _view(pid, arena.base, image) as view:
                process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
                try:
                    entry = arena.entry.to_bytes(8, "little")
                    os.pwrite(mem, entry, place + blob["graft_data"] + abi.GRAFT.offset["entry"])
                    yield Parasite(tracee, arena, view)
                finally:
                    _unmap(arch, tracee, arena, len(image), place)
                    process.keeper_disarm()
        finally:
            tracee.set_sigmask(mask)
            tracee.set_general(regs)
    finally:
        os.pwrite(mem, bytes(len(code)), place)
        os.close(mem)


@contextmanager
def _view(pid: int, base: int, image: bytes) -> Iterator[mmap.mmap]:
    """The task's new shared mapping, mapped here as well (proc_pid_map_files(5)) and filled."""
    fd = os.open(f"/proc/{pid}/map_files/{base:x}-{base + len(image):x}", os.O_RDWR | os.O_CLOEXEC)
    try:
        view = mmap.mmap(fd, len(image))
    finally:
        os.close(fd)
    try:
        view[:] = image
        yield view
    finally:
        view.close()


def _unmap(arch: ModuleType, tracee: Tracee, arena: Arena, size: int, place: int) -> None:
    """Stop the task wherever it is in our code, and let it unmap the arena with the graft's system call."""
    general = tracee.general
    if not _is_stopped(tracee):
        tracee.interrupt()
        tracee.wait_event_stop()
    leave = arch.for_syscall(
        general(), place + arena.machine.blob["graft_leave"], arena.machine.nr["munmap"], arena.base, size
    )
    tracee.set_general(leave)
    tracee.to_syscall_stop()
    tracee.to_syscall_stop()
    left = arch.syscall_result(general())
    if left != 0:
        raise Bug(f"munmap({arena.base:#x}, {size}) in task {tracee.pid}: errno {-left}")


def _is_stopped(tracee: Tracee) -> bool:
    return proc.Stat(tracee.pid).state == "t"
