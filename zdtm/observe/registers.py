"""Registers of threads that are parked in the harness's own wait, through python-ptrace.

Only such threads are looked at, because attaching interrupts a system call. The wait (rt_sigsuspend, or pause)
is the one where this leaves no trace: the kernel starts it again by itself, with the same number and arguments,
while a sleep with a timeout would become restart_syscall, and the dump would meet something else than the test
made. Stopped there a thread shows rax = -ERESTARTNOHAND and orig_rax = the call's number, before a dump and,
having gone back to sleep in the call, after a restore: no register has to be exempted.
"""

import ctypes
import os
import platform

from ptrace.binding import ptrace_attach, ptrace_detach, ptrace_getregs  # type: ignore[import-untyped]
from ptrace.binding.func import ptrace_getfpregs  # type: ignore[import-untyped]

from zdtm.observe.proc import read, stat

PARKING = {"x86_64": ("34", "130", "29", "179")}  # pause, rt_sigsuspend; those of 32-bit programs
COMPAT_CS = 0x23  # of 32-bit code on x86-64, which has not all of the registers
NOT_COMPAT = {f"r{n}" for n in range(8, 16)}
WALL = 0x40000000  # __WALL of wait(2): threads that were cloned without SIGCHLD too


def parked(pid: int, tid: int) -> bool:
    """Whether a thread sleeps in a call where it can be looked at; one that is stopped has to stay just so."""
    if stat(tid)[3] not in "SD":
        return False
    return read(pid, f"task/{tid}/syscall").split(" ", 1)[0] in PARKING.get(platform.machine(), ())


def describe(tid: int) -> list[str]:
    """All general registers and, as hexadecimal words, the x87 and SSE state."""
    ptrace_attach(tid)
    if not os.WIFSTOPPED(os.waitpid(tid, WALL)[1]):
        raise ProcessLookupError(f"thread {tid} has ended")
    try:
        general = ptrace_getregs(tid)
        floating = ptrace_getfpregs(tid)
    finally:
        ptrace_detach(tid)
    names = [name for name, _ in general._fields_]
    if getattr(general, "cs", 0) == COMPAT_CS:
        names = [name for name in names if name not in NOT_COMPAT]
    lines = [f"{name}={getattr(general, name):x}" for name in names]
    words = bytes(ctypes.string_at(ctypes.addressof(floating), ctypes.sizeof(floating)))
    lines += [f"fp+{at:03x}={words[at : at + 16].hex()}" for at in range(0, len(words), 16)]
    return lines
