"""The parasite: the executor, mapped into a frozen task for one program of questions, and removed without trace.

The way in and out is the graft (blobs/arch/): a few instructions in dead bytes of one of the task's executable pages.
From the moment the task's registers point there it can go home by itself, so whoever kills the engine, at whatever
moment, leaves a task that runs on as it was.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

from engine.blocks import contextmanager
from engine.errors import Bug, KernelError
from engine.kernel import memory, proc, process
from engine.kernel.ptrace import Tracee, Visit
from engine.kernel.uapi import mman as mm
from engine.plan import abi
from engine.plan.program import Arena, Machine, Program, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_PROT_RWX = 7
_LOOK_US = 100_000  # how often to see whether something has stopped a task that runs for us
_MAP_SHARED_ANON_NOREPLACE = 0x100021
_REMEDY = {
    errno.ENOMEM: "it has as many mappings, or as much address space, as it may: raise /proc/sys/vm/max_map_count",
    errno.EAGAIN: "its new mappings are locked, for which RLIMIT_MEMLOCK leaves no room: raise it (prlimit(1))",
}


class Questionnaire:
    """An arena that is ready for every task of a tree: `first` is for a task's first thread, `other` for each other."""

    __slots__ = ("arena", "first", "image", "inside", "other", "other_stack", "size", "stack")

    def __init__(self, arena: Arena, first: Program, other: Program) -> None:
        self.arena = arena
        self.first = first
        self.other = other
        self.inside = arena.reserve(8)  # 1 while another thread than the first is in the arena
        self.stack = arena.stack()
        self.other_stack = arena.stack()
        self.image = arena.image(first, self.stack)
        self.size = len(self.image)


class Site:
    """Where code of ours can go in a task: that can be found before the task is frozen."""

    __slots__ = ("_blob", "code", "pid", "place", "size")

    def __init__(self, pid: int, vmas: list[proc.Vma], machine: Machine) -> None:
        blob = self._blob = machine.blob
        self.pid = pid
        self.code = machine.executor[blob["graft"] : blob["graft"] + blob["graft_size"]]
        self.size = len(self.code) + -len(self.code) % 16
        self.place = self._find(pid, vmas)

    def at(self, name: str) -> int:
        """The address of a part of the graft in the task."""
        return self.place + self._blob[name]

    @property
    def free(self) -> bool:
        """Are the bytes still nobody's?"""
        return self._is_dead(self.pid, self.place)

    @property
    def is_left(self) -> bool:
        """Is there a graft that an engine killed half-way has left, by which threads may still be on their way home?"""
        return memory.read(self.pid, self.place, self.size) != bytes(self.size)

    def holds(self, address: int) -> bool:
        """Is this address in there?"""
        return self.place <= address < self.place + self.size

    def _is_dead(self, pid: int, address: int) -> bool:
        """Are these bytes nobody's: zeroes, or a graft that an engine killed half-way has left there?"""
        there = memory.read(pid, address, self.size)
        return there == bytes(self.size) or there.startswith(self.code[: self._blob["graft_tail"]])

    def _find(self, pid: int, vmas: list[proc.Vma]) -> int:
        """The address of dead bytes at the end of an executable page, the vdso's before any other's.

        Raises KernelError ENOEXEC when no executable mapping ends in that many.
        """
        for vma in sorted(filter(_can_hold, vmas), key=lambda v: v.path != "[vdso]"):
            if self._is_dead(pid, vma.end - self.size):
                return vma.end - self.size
        raise KernelError(f"placing code in task {pid}", errno.ENOEXEC, "no executable mapping ends in unused bytes")


class Graft(Site):
    """Where a task's graft goes, and what for."""

    __slots__ = ("what",)

    def __init__(self, pid: int, vmas: list[proc.Vma], what: Questionnaire) -> None:
        super().__init__(pid, vmas, what.arena.machine)
        self.what = what

    def fits(self, vmas: list[proc.Vma]) -> bool:
        """Now that the task is frozen: is the place still there, and the arena's address still free?"""
        start, end = self.what.arena.base, self.what.arena.base + 2 * self.what.size
        free = all(v.end <= start or v.start >= end for v in vmas)
        there = any(_can_hold(v) and v.end == self.place + self.size for v in vmas)
        return free and there and self.free


def _can_hold(vma: proc.Vma) -> bool:
    return bool(vma.prot & 4 and vma.prot & 1) and vma.path != "[vsyscall]" and not vma.shared


class Parasite:
    """A task that runs programs of ours. `memory` is the arena as the engine sees it."""

    __slots__ = ("_arch", "_entry", "_graft", "_mem", "_visits", "arena", "memory", "tracee")

    def __init__(self, arch: ModuleType, tracee: Tracee, graft: Graft, mem: int, view: mmap.mmap, entry: int) -> None:
        self._arch = arch
        self._graft = graft
        self._mem = mem
        self._entry = entry  # of the executor
        self.arena = graft.what.arena
        self.memory = view
        self.tracee = tracee
        self._visits: Visit | None = None

    def run(self) -> None:
        """Let the first thread run its program until it parks; KernelError names the operation that failed."""
        self.tracee.cont()
        self._wait(self.tracee, self._graft.what.first)

    def run_around(self, arrived: int, act: Callable[[], None], go: int) -> None:
        """`run`, and `act` when the program has added to the word `arrived`; it then waits for the word `go`."""
        self.tracee.cont()
        at, waited = self.arena.offset(arrived), 0
        while not self.memory[at]:
            if not process.futex_wait(self.memory, at, 0, _LOOK_US):
                waited += _LOOK_US
                self.tracee.keep_going()
            if waited > self.tracee.deadline_us:
                raise KernelError(
                    f"running {self._graft.what.first.name}", errno.ETIMEDOUT, "the task makes no progress"
                )
        try:
            act()
        finally:
            self.memory[self.arena.offset(go)] = 1
        self._wait(self.tracee, self._graft.what.first)

    def _wait(self, tracee: Tracee, program: Program) -> None:
        at = self.arena.offset(program.address) + abi.PROG.offset["state"]
        waited = 0
        while status(self.memory, self.arena, program)[0] == abi.STATE_RUNNING:
            if not process.futex_wait(self.memory, at, abi.STATE_RUNNING, _LOOK_US):
                waited += _LOOK_US
                tracee.keep_going()
            if waited > tracee.deadline_us:
                raise KernelError(f"running {program.name}", errno.ETIMEDOUT, "the task makes no progress")
        state, pc, error = status(self.memory, self.arena, program)
        if state == abi.STATE_FAILED:
            raise KernelError(program.failure(pc, error), -error)

    def visit(self, tracee: Tracee, regs: bytes | bytearray, mask: int) -> None:
        """Let another thread of the task run the program `other`, and go home; `regs` and `mask` are its own.

        Wherever the engine dies in here, the thread finds home: it is first sent to the graft's way out, and the first
        thread keeps the arena until it is there.
        """
        graft = self._graft
        what, program = graft.what, graft.what.other
        home = _home(self._arch, regs, mask, graft.at("graft_thread_tail"))
        if self._visits is None:
            start = self.arena.offset(program.address)
            prog = bytearray(what.image[start : start + abi.PROG.size])
            struct.pack_into("<Q", prog, abi.PROG.offset["orphan"], graft.at("graft_thread_leave"))
            data = graft.at("graft_data")
            self._visits = Visit(
                self._mem,
                self.memory,
                bytes(prog),
                {
                    "prog": start,
                    "state": start + abi.PROG.offset["state"],
                    "inside": self.arena.offset(what.inside),
                },
                {"home": data + abi.GRAFT.size + len(home), "entry": data + abi.GRAFT.offset["thread_entry"]},
                self._entry,
            )
        there, leave = bytearray(regs), bytearray(regs)
        self._arch.jump(there, graft.at("graft_thread"))
        self._arch.jump(leave, graft.at("graft_thread_leave"))
        self._visits.make(tracee, home, there, leave, regs, mask)
        state, pc, error = status(self.memory, self.arena, program)
        if state == abi.STATE_FAILED:
            raise KernelError(program.failure(pc, error), -error)


def _home(arch: ModuleType, regs: bytes | bytearray, mask: int, tail: int) -> bytes:
    return bytes(abi.HOME.codec.pack(mask, tail) + arch.graft_registers(regs))


def _code(arch: ModuleType, site: Site, regs: bytes | bytearray, mask: int, fields: tuple[int, ...]) -> bytearray:
    """The graft for a thread with these registers and signal mask; `fields` are those of struct graft."""
    code = bytearray(arch.graft_of(regs, site.code))
    at = site.at("graft_data") - site.place
    abi.GRAFT.codec.pack_into(code, at, *fields)
    home = _home(arch, regs, mask, site.at("graft_tail"))
    code[at + abi.GRAFT.size : at + abi.GRAFT.size + len(home)] = home
    return code


def call(arch: ModuleType, tracee: Tracee, site: Site, regs: bytes | bytearray, mask: int, nr: int, *args: int) -> int:
    """One system call by a stopped thread, whose registers and signal mask these are; -errno included.

    Afterwards it is as before, and stopped. Whenever the engine dies, it goes on by itself.
    """
    code = _code(arch, site, regs, mask, (0,) * len(abi.GRAFT.fields))  # no arena: `munmap` has nothing to do
    mem = os.open(f"/proc/{tracee.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    before = os.pread(mem, len(code), site.place)
    try:
        os.pwrite(mem, code, site.place)
        try:
            tracee.set_general(arch.for_syscall(regs, site.place, nr, *args))
            tracee.block_all()
            tracee.to_syscall_stop()
            tracee.to_syscall_stop()
            got: int = arch.syscall_result(tracee.general())
            return got
        finally:
            tracee.set_sigmask(mask)
            tracee.set_general(regs)
    finally:
        os.pwrite(mem, before, site.place)
        os.close(mem)


@contextmanager
def injected(arch: ModuleType, tracee: Tracee, graft: Graft, regs: bytes | bytearray, mask: int) -> Iterator[Parasite]:
    """Map the arena into a stopped task by its first thread, whose registers and signal mask these are.

    On exit, an exception included, the task is as before, and stopped again: registers, signal mask, memory, and the
    system call that the stop interrupted are all put back.
    """
    pid, what, place = tracee.pid, graft.what, graft.place
    arena = what.arena
    nr = arena.machine.nr
    fields = (0, what.stack, what.first.address, arena.base, what.size, what.inside)
    others = (0, what.other_stack, what.other.address)
    code = _code(arch, graft, regs, mask, fields + others)
    mem = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    before = os.pread(mem, len(code), place)  # zeroes, or an old graft: a signal's handler may return there
    try:
        os.pwrite(mem, code, place)
        grafted = arch.for_syscall(
            regs, place, nr["mmap"], arena.base, what.size, _PROT_RWX, _MAP_SHARED_ANON_NOREPLACE, -1, 0
        )
        try:
            tracee.set_general(grafted)
            tracee.block_all()  # after set_general: the graft puts the mask back, nothing else would
            tracee.to_syscall_stop()
            tracee.to_syscall_stop()
            got = arch.syscall_result(tracee.general())
            start = arena.entry
            if got == -errno.EACCES:
                got = _map_apart(arch, tracee, graft, regs, mem)
                start += what.size
            if got != arena.base:
                raise KernelError(f"mmap({arena.base:#x}, {what.size}) in task {pid}", -got, _REMEDY.get(-got, ""))
            with _view(pid, arena, what) as view:
                orphan = arena.offset(what.first.address) + abi.PROG.offset["orphan"]
                struct.pack_into("<Q", view, orphan, graft.at("graft_leave"))
                process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
                try:
                    entry = start.to_bytes(8, "little")
                    os.pwrite(mem, entry, graft.at("graft_data") + abi.GRAFT.offset["entry"])
                    yield Parasite(arch, tracee, graft, mem, view, start)
                finally:
                    _unmap(arch, tracee, graft)
                    process.keeper_disarm()
        finally:
            tracee.set_sigmask(mask)
            tracee.set_general(regs)
    finally:
        os.pwrite(mem, before, place)
        os.close(mem)


def _map_apart(arch: ModuleType, tracee: Tracee, graft: Graft, regs: bytes | bytearray, mem: int) -> int:
    """The arena for a task that may have no memory that is both writable and executable (PR_SET_MDWE, prctl(2)).

    Its code is in a second mapping of the same object, right behind; the way home unmaps both. Returns the arena's
    address or -errno, with nothing mapped then.
    """
    base, size, nr = graft.what.arena.base, graft.what.size, graft.what.arena.machine.nr
    os.pwrite(mem, (2 * size).to_bytes(8, "little"), graft.at("graft_data") + abi.GRAFT.offset["size"])

    def call(name: str, *args: int) -> int:
        tracee.set_general(arch.for_syscall(regs, graft.place, nr[name], *args))
        tracee.to_syscall_stop()
        tracee.to_syscall_stop()
        got: int = arch.syscall_result(tracee.general())
        return got

    # what once was executable may become writable, and of shared memory another mapping can be had (mremap(2))
    for name, args in (
        ("mmap", (base + size, size, mm.PROT_READ | mm.PROT_EXEC, _MAP_SHARED_ANON_NOREPLACE, -1, 0)),
        ("mremap", (base + size, 0, size, mm.MREMAP_MAYMOVE | mm.MREMAP_FIXED, base)),
        ("mprotect", (base, size, mm.PROT_READ | mm.PROT_WRITE)),
    ):
        got = call(name, *args)
        if got < 0:
            if name != "mmap":
                call("munmap", base, 2 * size)
            return got
    return base


@contextmanager
def _view(pid: int, arena: Arena, what: Questionnaire) -> Iterator[mmap.mmap]:
    """The task's new shared mapping, mapped here as well (proc_pid_map_files(5)) and filled."""
    link = f"/proc/{pid}/map_files/{arena.base:x}-{arena.base + what.size:x}"
    fd = os.open(link, os.O_RDWR | os.O_CLOEXEC)
    try:
        view = mmap.mmap(fd, what.size)
    finally:
        os.close(fd)
    try:
        view[:] = what.image
        yield view
    finally:
        view.close()


def _unmap(arch: ModuleType, tracee: Tracee, graft: Graft) -> None:
    """Stop the first thread wherever it is in our code, and let it unmap the arena with the graft's system call."""
    arena, size = graft.what.arena, graft.what.size
    if tracee.running:
        tracee.interrupt()
        tracee.wait_event_stop()
    leave = tracee.general()
    arch.jump(leave, graft.at("graft_leave"))
    tracee.set_general(leave)
    tracee.to_syscall_stop()
    tracee.to_syscall_stop()
    left = arch.syscall_result(tracee.general())
    if left != 0:
        raise Bug(f"munmap({arena.base:#x}, {size}) in task {tracee.pid}: errno {-left}")
