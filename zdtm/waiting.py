"""Waiting with a limit, and the processes that the harness waits for."""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from zdtm.observe.proc import children, tree

T = TypeVar("T")

PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37


def poll(probe: Callable[[], T | None], seconds: float) -> T | None:
    """The probe's first answer that is not None, asked again and again; None when time is up."""
    end = time.monotonic() + seconds
    pause = 0.001
    while True:
        answer = probe()
        if answer is not None or time.monotonic() >= end:
            return answer
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def reap(pid: int, seconds: float) -> int | None:
    """Wait for a child; its wait status, or None when it lives on."""

    def ended() -> int | None:
        got, status = os.waitpid(pid, os.WNOHANG)
        return status if got else None

    return poll(ended, seconds)


@contextmanager
def adopting_orphans() -> Iterator[set[int]]:
    """While this lasts, orphans below this process become its children: what an engine leaves is found and reaped.

    Yields the children that were there before. At the end all others, with what is below them, are killed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    was = ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was))
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    before = set(children(os.getpid()))
    try:
        yield before
    finally:
        kill_all(before)
        libc.prctl(PR_SET_CHILD_SUBREAPER, was.value)


def strays(before: set[int]) -> list[int]:
    """Children of this process that were not there before, dead or alive."""
    return [pid for pid in children(os.getpid()) if pid not in before]


def kill_all(before: set[int]) -> None:
    """Kill and reap every stray, and what becomes one by that.

    None is waited for alone: the first process of a pid namespace ends when others, strays too, have been reaped.
    """
    while found := strays(before):
        for pid in found:
            with suppress(OSError):
                for task in reversed(tree(pid)):
                    os.kill(task, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)
