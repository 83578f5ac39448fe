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
from engine.tasks import compat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    Timers = set[tuple[str, int]]

_TIMESPEC = struct.Struct("<qq")
_TIMESPEC_32 = struct.Struct("<ii")  # struct old_timespec32, of 32-bit calls but for those whose name ends in _TIME64
_TIME64 = "_time64"
_SECONDS_MAX = 0x7FFFFFFF  # 68 years: fits either
_FUTEX_CMD_MASK = 0x7F
_FUTEX_WAIT, _FUTEX_WAIT_BITSET = 0, 9
_CALLS = ("nanosleep", "clock_nanosleep", "futex", "poll")
# calls that return EINTR after any stop; which argument is the timeout, -1 for none, and its value for no end
_ENDLESS = (
    ("rt_sigtimedwait", 2, 0),
    ("epoll_wait", 3, 0xFFFFFFFF),
    ("epoll_pwait", 3, 0xFFFFFFFF),
    ("epoll_pwait2", 3, 0),
    ("io_getevents", 4, 0),
    ("io_pgetevents", 4, 0),
    ("semop", -1, 0),
    ("semtimedop", 3, 0),
    ("rt_sigtimedwait_time64", 2, 0),
    ("io_pgetevents_time64", 4, 0),
    ("semtimedop_time64", 3, 0),
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

    __slots__ = ("_compat", "_machine", "after", "before", "expiries", "looked", "name", "now", "read", "tid")

    def __init__(self, machine: Machine, tid: int) -> None:
        self._machine = machine
        self._compat = compat.is_program(tid)
        self.tid = tid
        self.name = ""
        self.before: Timers = set()
        self.after: Timers = set()
        self.now = self.read = 0  # when it was frozen, and when the timers had been read after that
        self.looked = False
        self.expiries: set[int] = set()

    def look(self) -> None:
        """Just before."""
        self.name = _call(_numbers(self._machine, self._compat), self.tid)
        self.before = timers() if self.name else set()
        self.looked = os.access("/proc/timer_list", os.R_OK)

    def look_again(self) -> None:
        """Just after."""
        self.now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.after = timers() if self.before else set()
        self.read = time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _numbers(machine: Machine, is_compat: bool) -> dict[str, int]:
    return machine.compat_nr if is_compat else machine.nr


def _basic(name: str) -> str:
    """Without what tells the layout of its times."""
    return name.removesuffix(_TIME64)


def _call(numbers: dict[str, int], pid: int) -> str:
    """The call with a restart block that a task sleeps in, "" for none.

    One that was restarted already may have been another with the same meaning: of 32-bit calls take the C library's.
    """
    try:
        word, *args = proc.read_text(f"/proc/{pid}/syscall").split()
        if word == str(numbers["restart_syscall"]):
            stack = proc.read_text(f"/proc/{pid}/stack")
            if "do_restart_poll" in stack:
                return "poll"
            if "futex_wait_restart" in stack:
                return "futex"
            # both have a function that the kernel leaves out of stacks; one's first argument is a clock, not an address
            if 4096 <= int(args[0], 16) < 1 << 63:
                return "nanosleep"
            return "clock_nanosleep" if "clock_nanosleep_time64" not in numbers else "clock_nanosleep_time64"
    except (OSError, IndexError, ValueError):
        return ""  # running, or a kernel that does not show it: the call will return EINTR, with a warning
    return next((name for name, nr in numbers.items() if word == str(nr) and _basic(name) in _CALLS), "")


def undo_interruption(arch: ModuleType, machine: Machine, regs: bytearray) -> None:
    """A wait without a timeout that our stop alone made return EINTR is made again, by the kernel at resume.

    No handler has run: then the registers would be its. These calls return EINTR themselves, unlike most (signal(7)).
    So is a wait until a time, not for one, which the kernel would continue from its restart block.
    """
    args = arch.syscall_args(regs)
    numbers = _numbers(machine, arch.is_compat(regs))
    if needs(arch, regs) and _is_absolute(args):
        nr = arch.interrupted(regs)[0]
        if nr in (numbers["futex"], numbers.get("futex" + _TIME64)):
            arch.repeat(regs, nr)
    number = arch.failed_with_eintr(regs)
    if number is None:
        return
    for name, index, never in _ENDLESS:
        if number == numbers.get(name) and (index < 0 or args[index] & 0xFFFFFFFF == never):
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
    numbers = _numbers(machine, arch.is_compat(regs))
    if _basic(sleep.name) == "futex" and _is_absolute(arch.syscall_args(regs)):
        arch.repeat(regs, numbers[sleep.name])
        return True
    gone = [expiry for _, expiry in sleep.before - sleep.after]
    now = sleep.now
    if nr == numbers["restart_syscall"]:
        # others' timers end meanwhile too, but those have expired; one that was about to may be the task's
        gone = [e for e in gone if e > sleep.read] or [e for e in gone if e > now - _SLACK_NS]
        gone = [e for e in gone if e in sleep.expiries] or gone
        sleep.expiries = set(gone)
        if not sleep.name or len(gone) != 1:
            return False
        nr, left = numbers[sleep.name], max(gone[0] - now, 0)
    else:
        whole = _timeout_ns(arch, numbers, sleep.tid, nr, regs)
        if whole is None or not sleep.looked:
            return False
        # never early: of several that fit the latest; of none, the call began after we looked, a moment ago
        left = max((e - now for e in gone if now - _SLACK_NS < e <= now + whole + _SLACK_NS), default=whole)
        left = max(left, 0)
    core.thread_core.restart.nr = nr
    core.thread_core.restart.left_ns = left
    return True


def _timespec(name: str, is_compat: bool) -> struct.Struct:
    return _TIMESPEC_32 if is_compat and not name.endswith(_TIME64) else _TIMESPEC


def _timeout_ns(arch: ModuleType, numbers: dict[str, int], pid: int, nr: int, regs: bytes | bytearray) -> int | None:
    """The timeout that a call was given, from its arguments; None if it is none of ours, or has none."""
    args = arch.syscall_args(regs)
    if nr == numbers["poll"]:
        return int(args[2] & 0xFFFFFFFF) * 1_000_000
    at = {"nanosleep": 0, "clock_nanosleep": 2, "futex": 3}
    name = next((name for name, number in numbers.items() if number == nr), "")
    index = at.get(_basic(name))
    if index is None or not args[index]:
        return None
    layout = _timespec(name, arch.is_compat(regs))
    seconds, ns = layout.unpack(memory.read(pid, args[index], layout.size))
    return int(seconds * 1_000_000_000 + ns)


def restore(arch: ModuleType, core: Any, tracee: Tracee, arena: Arena, room: int, view: Any) -> tuple[int, int] | None:
    """In a stopped task whose arena is still mapped: make the call, interrupt it. Returns (ax, orig_ax) to set.

    `room` is 16 free bytes of the arena. None where the image has no call to continue.
    """
    if not core.thread_core.HasField("restart"):
        return None
    nr, left = core.thread_core.restart.nr, core.thread_core.restart.left_ns
    at = arena.offset(room)
    args = arch.syscall_args(arch.general_of(core))
    is_compat = compat.is_compat(core)
    numbers = _numbers(arena.machine, is_compat)
    full = next((name for name, number in numbers.items() if number == nr), "")
    layout, name = _timespec(full, is_compat), _basic(full)
    seconds, ns = divmod(left, 1_000_000_000)
    view[at : at + layout.size] = layout.pack(min(seconds, _SECONDS_MAX), ns)
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
    call, instruction = arch.for_syscall, arena.syscall_instruction
    if is_compat:
        call, instruction = arch.for_syscall_compat, arena.compat_syscall_instruction
    tracee.set_general(call(tracee.general(), instruction, nr, *args))
    tracee.to_syscall_stop()
    tracee.interrupt()
    tracee.cont()
    tracee.wait_event_stop()
    return arch.syscall_result(tracee.general()), nr
