"""What tests share that SIGKILL the engine: timing a command, killing it at some moment, who is left afterwards."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator

import pytest

from engine.arch import this_machine
from engine.context import built
from engine.kernel import proc
from engine.plan.program import Arena, Machine, place
from engine.tasks import compat, freeze, inject

PR_SET_CHILD_SUBREAPER = 36
KILLED = -signal.SIGKILL


def wait_until(what: str, check: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"timeout: {what}"
        time.sleep(0.002)


def run_and_kill(command: list[str], delay: float) -> int:
    """Start a command, SIGKILL it after `delay` seconds; its status (KILLED where the kill came in time)."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay)
    child.kill()
    return child.wait()


def duration(command: list[str]) -> float:
    """Seconds that a command takes, which must succeed."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - start


def alive(pid: int) -> bool:
    """Is there such a process? A dead one that was handed to us is reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return os.path.exists(f"/proc/{pid}")


def strays(before: set[int]) -> list[str]:
    """Live children of ours that we had not `before`: their parents have died; those that have ended are reaped."""
    out = []
    for pid in children() - before:
        if alive(pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                out.append(f"{pid} ({proc.Stat(pid).comm})")
    return out


def children() -> set[int]:
    return set(proc.children(os.getpid()))


def end(pids: list[int]) -> None:
    """Kill processes, and wait until their pids are free: all of them, as one may wait for us to reap another."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(f"pids {pids} are free", lambda: not [pid for pid in pids if alive(pid)])


def visited_and_killed(pid: int, at: int, seconds: float) -> bool:
    """Visit every thread of a task with the parasite, as a dump does, in a child that gets SIGKILL before the
    `at`-th line of the modules that stop the task and work in it, `seconds` later. False: there are fewer lines.
    """
    child = os.fork()
    if child == 0:
        _visit_and_die(pid, at, seconds)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"the visit failed by itself: wait status {status:#x}"
    return status != 0


def _visit_and_die(pid: int, at: int, seconds: float) -> None:
    files = (freeze.__file__, inject.__file__)
    left = at

    def step(frame: object, event: str, arg: object) -> object:
        nonlocal left
        if event == "line":
            if left == 0:
                time.sleep(seconds)
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return step

    code = 1
    try:
        arch = this_machine()
        machine = Machine(built(), arch.NAME)
        vmas = proc.smaps(pid)
        arena = Arena(machine, place([(v.start, v.end) for v in vmas], 1 << 20, compat.is_small(vmas)))
        programs = [arena.program("to the first"), arena.program("to another")]
        for program in programs:
            program.ask("gettid")
            program.park()
        graft = inject.Graft(pid, vmas, inject.Questionnaire(arena, *programs))
        sys.settrace(lambda frame, event, arg: step if frame.f_code.co_filename in files else None)  # type: ignore[arg-type,return-value]
        with freeze.frozen(pid, 5_000_000, 0, {}) as tree:
            threads = [(t, t.general(), t.sigmask()) for t in tree.tasks[0].tracees]
            with inject.injected(arch, threads[0][0], graft, *threads[0][1:]) as parasite:
                parasite.run()
                for thread in threads[1:]:
                    parasite.visit(*thread)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.fixture
def reaper() -> Iterator[None]:
    """Restored tasks become orphans: they come to us, since not every machine's pid 1 is quick to reap them."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
