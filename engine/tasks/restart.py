"""Interrupted calls with a timeout: nanosleep(2), clock_nanosleep(2), futex(2), poll(2) continue where they were.

The kernel keeps what is left of the timeout in the task's restart block (restart_syscall(2)), which nothing shows; CRIU
lets such calls return EINTR. We find the expiry as the timer that vanishes from /proc/timer_list when the task is
frozen, keep what is left in an extension of thread_core_entry (docs/images.md), and at restore let the kernel make the
restart block itself: the task makes the same call with the rest of the time, and is interrupted in it.
"""

import struct
import time
from types import ModuleType
from typing import Any

from engine.errors import KernelError
from engine.kernel import memory, proc
from engine.kernel.ptrace import Tracee
from engine.plan.program import Arena, Machine

_TIMESPEC = struct.Struct("<qq")
_FUTEX_CMD_MASK = 0x7F
_FUTEX_WAIT = 0
_CALLS = ("nanosleep", "clock_nanosleep", "futex", "poll")
Timers = set[tuple[str, int]]


def timers() -> Timers:
    """(address, expiry in ns of CLOCK_MONOTONIC) of all sleepers' timers; empty where /proc/timer_list is not there."""
    out: Timers = set()
    try:
        text = proc.read_text("/proc/timer_list")
    except OSError:
        return out
    lines = iter(text.splitlines())
    monotonic = False
    for line in lines:
        if line.startswith(" clock "):
            monotonic = line == " clock 0:"
        elif monotonic and "hrtimer_wakeup" in line:
            address = line[line.index("<") : line.index(">")]
            hard = next(lines).split("-", 1)[1].split(None, 1)[0]
            out.add((address, int(hard)))
    return out


def may_wait(machine: Machine, pid: int) -> bool:
    """Is the task (not yet frozen) in a call that may need `timers`?"""
    try:
        word = proc.read_text(f"/proc/{pid}/syscall").split()[0]
    except OSError:
        return False
    return word in {str(machine.nr[name]) for name in (*_CALLS, "restart_syscall")}


def dump(arch: ModuleType, machine: Machine, core: Any, tracee: Tracee, before: Timers) -> bool:
    """Fill the extension, if the frozen task's call is one of these and what is left of it is known."""
    regs = tracee.general()
    if not arch.needs_restart_block(regs):
        return True
    nr = arch.interrupted(regs)[0]
    if nr == machine.nr["restart_syscall"]:
        nr = _original(arch, machine, tracee.pid, arch.get(regs, "ip"))
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    gone = [expiry for _, expiry in before - timers() if expiry > now - 1_000_000]
    if nr < 0 or len(gone) != 1:
        return False
    core.thread_core.restart.nr = nr
    core.thread_core.restart.left_ns = max(gone[0] - now, 0)
    return True


def _original(arch: ModuleType, machine: Machine, pid: int, ip: int) -> int:
    """Which call restart_syscall continues: the number loaded just before the system call instruction; -1: unknown."""
    try:
        code = memory.read(pid, ip - 32, 32)
    except KernelError:
        return -1
    numbers = {machine.nr[name] for name in _CALLS}
    found: int = arch.number_loaded(code, numbers)
    return found


def restore(arch: ModuleType, core: Any, tracee: Tracee, arena: Arena, room: int, view: Any) -> tuple[int, int] | None:
    """In a stopped task whose arena is still mapped: make the call, interrupt it. Returns (ax, orig_ax) to set.

    `room` is 16 free bytes of the arena. None where the image has no call to continue.
    """
    if not core.thread_core.HasField("restart"):
        return None
    nr, left = core.thread_core.restart.nr, core.thread_core.restart.left_ns
    at = arena.offset(room)
    view[at : at + 16] = _TIMESPEC.pack(*divmod(left, 1_000_000_000))
    args = arch.syscall_args(arch.general_of(core))
    names = {number: name for name, number in arena.machine.nr.items() if name in _CALLS}
    name = names.get(nr)
    if name == "nanosleep":
        args[0] = room
    elif name == "clock_nanosleep":
        args[1:3] = 0, room
    elif name == "futex" and args[1] & _FUTEX_CMD_MASK == _FUTEX_WAIT:
        args[3] = room
    elif name == "poll":
        args[2] = -(-left // 1_000_000)
    else:
        return None
    tracee.set_general(arch.for_syscall(tracee.general(), arena.syscall_instruction, nr, *args))
    tracee.to_syscall_stop()
    tracee.interrupt()
    tracee.cont()
    tracee.wait_event_stop()
    return arch.syscall_result(tracee.general()), nr
