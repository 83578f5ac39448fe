"""Namespaces for the tests of their kinds: made by a process that waits in them, entered by children that answer."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.kernel import namespaces
from engine.kernel.uapi import prctl as pr


def run_in(pid: int, names: tuple[str, ...], ask: Callable[[], Any]) -> Any:
    """What `ask` returns in a child in those namespaces of a process. "time" and "pid" hold for its own child only."""

    def enter() -> None:
        fds = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), namespaces.FLAGS[name]) for name in names]
        for fd, flag in fds:
            namespaces.setns(fd, flag)

    child, result = _child(enter, ask, False)
    os.waitpid(child, 0)
    return result


@contextmanager
def world(names: tuple[str, ...], setup: Callable[[], Any] = lambda: None) -> Iterator[tuple[int, Any]]:
    """(pid, what `setup` returned in it) of a process in new namespaces, where it stays until the end."""

    def enter() -> None:
        namespaces.unshare(sum(namespaces.FLAGS[name] for name in names))

    child, result = _child(enter, setup, True)
    try:
        yield child, result
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def waiting() -> int:
    """A child that waits until the end of this process; its pid."""
    parent, child = os.getpid(), os.fork()
    if not child:
        try:
            ctypes.CDLL(None).prctl(pr.PR_SET_PDEATHSIG, signal.SIGKILL)
            while os.getppid() == parent:
                signal.pause()
        finally:
            os._exit(0)
    return child


def _child(enter: Callable[[], None], work: Callable[[], Any], stay: bool) -> tuple[int, Any]:
    ours, its = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(ours)
            enter()
            answer: tuple[bool, Any] = (True, work())
        except BaseException as e:
            answer = (False, f"{type(e).__name__}: {e}\n{traceback.format_exc()}")
        raw = pickle.dumps(answer)
        os.write(its, len(raw).to_bytes(4, "little") + raw)
        while stay:
            signal.pause()
        os._exit(0)
    os.close(its)
    with os.fdopen(ours, "rb") as answers:  # its children may have the other end open for longer
        size = int.from_bytes(answers.read(4), "little")
        good, result = pickle.loads(answers.read(size))
    if not good:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise AssertionError(result)
    return child, result
