"""A task waits for a child that we had it make and it knows nothing of: a second stop, of one thread, for 0.3 ms."""

from __future__ import annotations

import errno
import time

from engine.errors import KernelError
from engine.kernel import proc
from engine.kernel.pids import Pids
from engine.kernel.ptrace import TaskGone, Tracee
from engine.kernel.uapi import ptrace as pt
from engine.tasks import freeze, restart, threads
from engine.tasks.inject import Site, call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from engine.plan.program import Machine

_WNOHANG = 1
_WAIT_US = 1_000_000
_PAUSE = 0.002  # seconds until a thread is tried again that another tracer has
_STATE_GONE = (errno.ESRCH, errno.ENOENT)


def reap(
    arch: ModuleType, machine: Machine, pid: int, child: int, hand_over: Callable[[], None], patience: float
) -> str:
    """Let process `pid` (any of its threads) wait for its zombie `child`; "", or why that could not be.

    While the task is stopped `hand_over` is called, which makes the zombie one that its parent can see. Threads that
    wait for children at that time are stopped too: with __WALL (wait4(2)) they would be told of it. Where the parent
    has ended there is nothing to do: the child has been given to another. Patience in seconds.
    """
    end = time.monotonic() + patience
    while True:
        why = ""
        task = freeze.Task(pid)
        try:
            site = Site(pid, proc.maps(pid), machine)
            why = _stop(task, site.is_left)
            if any(site.holds(arch.get(tracee.general(), "ip")) for tracee in task.tracees):
                why = "it has not left our code yet"
            if not why and site.free:
                _wait_for(arch, machine, task, site, Pids(pid).inner(child), hand_over)
                return ""
        except (FileNotFoundError, ProcessLookupError, TaskGone):
            return ""
        except KernelError as e:
            if e.errno in _STATE_GONE:
                return ""
            why = str(e)
        finally:
            freeze.let_go([task], False)
        if time.monotonic() > end:
            return why or "its memory changes all the time"
        time.sleep(_PAUSE)


def _stop(task: freeze.Task, every: bool) -> str:
    """Stop `every` thread, or those that wait for children, or any other one; why not, if none can be."""
    tids = proc.threads(task.pid)
    waiting = [tid for tid in tids if len(tids) > 1 and _waits(tid)]
    why = ""
    for tid in tids if every else waiting or tids:
        tracee = Tracee(tid, _WAIT_US)
        try:
            _seize(tracee)
            task.tracees.append(tracee)
            tracee.interrupt()
        except KernelError as e:
            if e.errno == errno.ETIMEDOUT:
                task.tracees.append(tracee)  # perhaps
                raise
            why = str(e)  # it has ended, or another tracer has it
            continue
        if not (every or waiting):
            break
    for tracee in list(task.tracees):
        try:
            tracee.wait_event_stop(deliver=True)
        except TaskGone:
            task.tracees.remove(tracee)
        except KernelError as e:
            why = str(e)
            task.tracees.remove(tracee)  # in the kernel: let go when we end
    return why if not task.tracees else ""


def _waits(tid: int) -> bool:
    try:
        return proc.read_text(f"/proc/{tid}/wchan").startswith("do_wait")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _seize(tracee: Tracee) -> None:
    try:
        tracee.try_seize(pt.PTRACE_O_TRACESYSGOOD | pt.PTRACE_O_SUSPEND_SECCOMP)
    except KernelError as e:
        if e.errno != errno.EPERM:
            raise
        tracee.try_seize(pt.PTRACE_O_TRACESYSGOOD)


def _wait_for(
    arch: ModuleType, machine: Machine, task: freeze.Task, site: Site, child: int, hand_over: Callable[[], None]
) -> None:
    tracee = task.first
    threads.leave_critical_section(arch, tracee, tracee.rseq())
    regs = tracee.general()
    restart.undo_interruption(arch, machine, regs)
    mask = tracee.sigmask()
    hand_over()
    got = call(arch, tracee, site, regs, mask, machine.nr["wait4"], child, 0, _WNOHANG | pt.WALL, 0)
    if got not in (child, -errno.ECHILD):  # ECHILD: it has become somebody else's, or was waited for
        raise KernelError(f"wait4({child}) in task {task.pid}", -got if got < 0 else errno.EBUSY)
