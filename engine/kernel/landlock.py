"""Landlock (landlock(7)): whether the kernel has it, and processes that nothing else keeps a task from looking at."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from engine.errors import KernelError
from engine.kernel._native import lib
from engine.kernel.call import check
from engine.kernel.process import wait_exit
from engine.kernel.uapi.signal import SIGKILL


def abi() -> int:
    """The version of the kernel's Landlock, 0 for a kernel without it or with it switched off."""
    r = lib.zd_landlock_abi()
    if r in (-errno.ENOSYS, -errno.EOPNOTSUPP):
        return 0
    return check(r, "landlock_create_ruleset(LANDLOCK_CREATE_RULESET_VERSION)")


def start_bystander(uid: int, gid: int) -> int:
    """Start a dumpable process with these ids and no capabilities, which does nothing; returns its pid.

    It dies with this thread; see end_bystander.
    """
    return check(lib.zd_bystander(uid, gid), f"starting a process with uid {uid} and gid {gid}")


def end_bystander(pid: int) -> None:
    """Kill it and reap it."""
    # ProcessLookupError, ECHILD: somebody else's kill came first, and SIGCHLD is ignored, so the kernel has reaped it
    with suppress(ProcessLookupError, KernelError):
        os.kill(pid, SIGKILL)
        wait_exit(pid)
