"""One instruction at a time (PTRACE_SINGLESTEP of ptrace(2))."""

from __future__ import annotations

from engine.kernel._native import lib
from engine.kernel.call import check
from engine.kernel.uapi.signal import SIGTRAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.kernel.ptrace import Tracee

_PTRACE_SINGLESTEP = 9


def step(tracee: Tracee) -> None:
    """Run one instruction of a stopped thread; all signals but SIGTRAP, which makes the stop, are to be blocked.

    What cannot be blocked is kept in tracee.signals. Raises TaskGone if it died.
    """
    while True:
        check(lib.zd_ptrace(_PTRACE_SINGLESTEP, tracee.pid, 0, 0), f"ptrace(PTRACE_SINGLESTEP, {tracee.pid})")
        stop = tracee.wait_stop()
        if stop == SIGTRAP:
            return
        if stop >> 8 == 0:
            tracee.signals.append(stop)
