"""Proxies of the opener: who is in a user namespace below the tree's may take files only of somebody who is there too.

Each has its descriptors in common with the opener (CLONE_FILES), so that numbers are the same.
"""

from __future__ import annotations

import os
from functools import partial
from select import select

from engine.errors import EngineError, KernelError
from engine.kernel import process
from engine.kernel.namespaces import CLONE_FILES, FLAGS, fork, setns
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.tasks.opener import Opener


def start(opener: Opener) -> list[Callable[[], None]]:
    """All that the opener has promised: pidfds of them at these numbers. Returns what ends them. EngineError."""
    out: list[Callable[[], None]] = []
    for ident, (number, wanted) in opener.proxies.items():
        out.append(partial(_end, _start(opener.namespace_fd("user", ident), ident, number, wanted)))
    return out


def _start(space: int, ident: int, number: int, wanted: int) -> int:
    source, answers = os.pipe()
    pid = fork([wanted] if wanted else (), CLONE_FILES)
    if not pid:
        try:
            setns(space, FLAGS["user"])
            process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
            process.prctl(pr.PR_SET_DUMPABLE, 1)
            os.write(answers, b"\0")
            select([], [], [])
        except KernelError as e:
            os.write(answers, bytes([e.errno & 0xFF]))
        finally:
            os._exit(1)
    said = os.read(source, 1)[0]
    os.close(source)
    os.close(answers)
    if said:
        process.wait_exit(pid)
        raise EngineError(f"user namespace {ident} cannot be entered: {os.strerror(said)}")
    pidfd = process.pidfd_open(pid)
    os.dup2(pidfd, number, inheritable=False)
    os.close(pidfd)
    return pid


def _end(pid: int) -> None:
    os.kill(pid, SIGKILL)
    process.wait_exit(pid)
