"""Interrupted calls with a timeout: nanosleep(2), clock_nanosleep(2), futex(2), poll(2) continue where they were.

The kernel keeps what is left of the timeout in the task's restart block (restart_syscall(2)), which nothing shows; CRIU
lets such calls return EINTR. We find the expiry as the timer that vanishes from /proc/timer_list when the task is
frozen, keep what is left in an extension of thread_core_entry (docs/images.md), and at restore let the kernel make the
restart block itself: the task makes the same call with the rest of the time, and is interrupted in it.
"""

from __future__ import annotations

import os
import struct
import time

from engine.kernel import memory, proc
from engine.kernel.ptrace import Tracee
from engine.plan.program import Arena, Machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    Timers = set[tuple[str, int]]

_TIMESPEC = struct.Struct("<qq")
_FUTEX_CMD_MASK = 0x7F
_FUTEX_WAIT, _FUTEX_WAIT_BITSET = 0, 9
_CALLS = ("nanosleep", "clock_nanosleep", "futex", "poll")
# calls that return EINTR after any stop; which argument is the timeout, -1 for none, and its value for no end
_ENDLESS = (
    ("rt_sigtimedwait", 2, 0),
    ("epoll_wait", 3, 0xFFFFFFFF),
    ("epoll_pwait", 3, 0xFFFFFFFF),
    ("epoll_pwait2", 3, 0),
    ("semop", -1, 0),
    ("semtimedop", 3, 0),
)
_SETTLE = 0.1  # seconds
_SLACK_NS = 1_000_000  # a timer that ended just before the freeze is the task's too


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
            # when it was asked for; how much later the kernel may wake it changes each time that it is set
            soft = next(lines).partition("-")[0].rpartition(" ")[2]
            out.add((address, int(soft)))
    return out


def settle(tids: list[int]) -> None:
    """Wait, but not for long, until threads that were let go a moment ago sleep again: only then they have a timer."""
    end = time.monotonic() + _SETTLE
    for tid in tids:
        try:
            while proc.read_text(f"/proc/{tid}/syscall").startswith("running") and time.monotonic() < end:
                time.sleep(0.0005)
        except OSError:
            continue  # ended, or not to be looked at: it will be found when it is frozen


class Sleep:
    """One thread's waiting, seen just before it is frozen and just after: the call, and the timers of both moments.

    `expiries` are those that may be its own: frozen again, in the same call, it has the same.
    """

    __slots__ = ("_machine", "after", "before", "expiries", "looked", "name", "now", "read", "tid")

    def __init__(self, machine: Machine, tid: int) -> None:
        self._machine = machine
        self.tid = tid
        self.name = ""
        self.before: Timers = set()
        self.after: Timers = set()
        self.now = self.read = 0  # when it was frozen, and when the timers had been read after that
        self.looked = False
        self.expiries: set[int] = set()

    def look(self) -> None:
        """Just before."""
        self.name = _call(self._machine, self.tid)
        self.before = timers() if self.name else set()
        self.looked = os.access("/proc/timer_list", os.R_OK)

    def look_again(self) -> None:
        """Just after."""
        self.now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.after = timers() if self.before else set()
        self.read = time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _call(machine: Machine, pid: int) -> str:
    """The call with a restart block that a task sleeps in, "" for none."""
    try:
        word, *args = proc.read_text(f"/proc/{pid}/syscall").split()
        if word == str(machine.nr["restart_syscall"]):
            stack = proc.read_text(f"/proc/{pid}/stack")
            if "do_restart_poll" in stack:
                return "poll"
            if "futex_wait_restart" in stack:
                return "futex"
            # both have a function that the kernel leaves out of stacks; one's first argument is a clock, not an address
            return "nanosleep" if 4096 <= int(args[0], 16) < 1 << 63 else "clock_nanosleep"
    except (OSError, IndexError, ValueError):
        return ""  # running, or a kernel that does not show it: the call will return EINTR, with a warning
    return next((name for name in _CALLS if word == str(machine.nr[name])), "")


def undo_interruption(arch: ModuleType, machine: Machine, regs: bytearray) -> None:
    """A wait without a timeout that our stop alone made return EINTR is made again, by the kernel at resume.

    No handler has run: then the registers would be its. These calls return EINTR themselves, unlike most (signal(7)).
    So is a wait until a time, not for one, which the kernel would continue from its restart block.
    """
    args = arch.syscall_args(regs)
    if needs(arch, regs) and arch.interrupted(regs)[0] == machine.nr["futex"] and _is_absolute(args):
        arch.repeat(regs, machine.nr["futex"])
    number = arch.failed_with_eintr(regs)
    if number is None:
        return
    for name, index, never in _ENDLESS:
        if number == machine.nr.get(name) and (index < 0 or args[index] & 0xFFFFFFFF == never):
            arch.repeat(regs, number)


def _is_absolute(args: list[int]) -> bool:
    return args[1] & _FUTEX_CMD_MASK == _FUTEX_WAIT_BITSET


def needs(arch: ModuleType, regs: bytes | bytearray) -> bool:
    """Is the frozen thread in a call whose rest is only in its restart block?"""
    needed: bool = arch.needs_restart_block(regs)
    return needed


def dump(arch: ModuleType, machine: Machine, core: Any, regs: bytes | bytearray, sleep: Sleep) -> bool:
    """Fill the extension of core_entry for a thread that `needs` it; False if the rest is not known."""
    nr = arch.interrupted(regs)[0]
    if sleep.name == "futex" and _is_absolute(arch.syscall_args(regs)):
        arch.repeat(regs, machine.nr["futex"])
        return True
    gone = [expiry for _, expiry in sleep.before - sleep.after]
    now = sleep.now
    if nr == machine.nr["restart_syscall"]:
        # others' timers end meanwhile too, but those have expired; one that was about to may be the task's
        gone = [e for e in gone if e > sleep.read] or [e for e in gone if e > now - _SLACK_NS]
        gone = [e for e in gone if e in sleep.expiries] or gone
        sleep.expiries = set(gone)
        if not sleep.name or len(gone) != 1:
            return False
        nr, left = machine.nr[sleep.name], max(gone[0] - now, 0)
    else:
        whole = _timeout_ns(machine, sleep.tid, nr, arch.syscall_args(regs))
        if whole is None or not sleep.looked:
            return False
        # never early: of several that fit the latest; of none, the call began after we looked, a moment ago
        left = max((e - now for e in gone if now - _SLACK_NS < e <= now + whole + _SLACK_NS), default=whole)
        left = max(left, 0)
    core.thread_core.restart.nr = nr
    core.thread_core.restart.left_ns = left
    return True


def _timeout_ns(machine: Machine, pid: int, nr: int, args: list[int]) -> int | None:
    """The timeout that a call was given, from its arguments; None if it is none of ours, or has none."""
    if nr == machine.nr["poll"]:
        return (args[2] & 0xFFFFFFFF) * 1_000_000
    at = {"nanosleep": 0, "clock_nanosleep": 2, "futex": 3}
    for name, index in at.items():
        if nr == machine.nr[name] and args[index]:
            seconds, ns = _TIMESPEC.unpack(memory.read(pid, args[index], _TIMESPEC.size))
            return int(seconds * 1_000_000_000 + ns)
    return None


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
