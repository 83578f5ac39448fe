"""Freezing (PTRACE_SEIZE, PTRACE_INTERRUPT of ptrace(2)): afterwards the task runs on, is stopped, or dead."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from engine.errors import EngineError, KernelError
from engine.kernel import proc, process
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.signal import SIGKILL, SIGSTOP, SIGTRAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def frozen(pid: int, deadline_us: int) -> Iterator[Tracee]:
    """A stopped task. Whatever happens inside, it is resumed at the end, unless it was let go or killed."""
    tracee = Tracee(pid, deadline_us)
    try:
        tracee.seize(pt.PTRACE_O_TRACESYSGOOD)
    except KernelError as e:
        tracer = proc.status(pid).get("TracerPid", "0")
        if tracer != "0":
            raise EngineError(f"pid {pid} is traced by pid {tracer} already; detach that one first") from e
        raise
    try:
        tracee.interrupt()
        if tracee.wait_event_stop(deliver=True) != SIGTRAP:
            raise EngineError(f"pid {pid} was stopped while it was being frozen: stopped tasks are not supported yet")
        yield tracee
    finally:
        with suppress(KernelError, ProcessLookupError):  # dead, or let go already
            thaw(tracee)


def thaw(tracee: Tracee, stopped: bool = False) -> None:
    """Detach, and send again what was kept back meanwhile. `stopped`: leave it in SIGSTOP."""
    if stopped:
        os.kill(tracee.pid, SIGSTOP)
    for sig in tracee.signals:
        os.kill(tracee.pid, sig)
    tracee.signals.clear()
    tracee.detach()


def kill(tracee: Tracee) -> None:
    """SIGKILL, and wait until the task is dead (a zombie of its own parent)."""
    os.kill(tracee.pid, SIGKILL)
    process.wait_exit(tracee.pid, tracee.deadline_us)
