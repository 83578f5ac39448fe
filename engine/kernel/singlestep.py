"""One instruction at a time (PTRACE_SINGLESTEP of ptrace(2))."""

from __future__ import annotations

from engine.kernel._native import lib
from engine.kernel.call import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.ptrace import Tracee


def step_out(tracee: Tracee, budget_us: int, ip_at: int, start: int, end: int) -> bool:
    """Run a stopped thread until it is outside of [start, end), for so many microseconds at most; is it?

    All signals but SIGTRAP, which makes the stops, are to be blocked. What cannot be blocked is kept in
    tracee.signals. `ip_at` is where the general registers have the instruction pointer, in bytes. Raises TaskGone if
    the thread died.
    """
    while True:
        how = lib.zd_step_out(tracee.pid, budget_us, ip_at, start, end, tracee.deadline_us, tracee.status)
        if check(how, f"ptrace(PTRACE_SINGLESTEP, {tracee.pid})") < 2:
            return bool(how)
        stop = tracee.decode()
        if stop >> 8 == 0:
            tracee.signals.append(stop)
