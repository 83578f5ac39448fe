"""Landlock (landlock(7)): whether the kernel has it, and processes that nothing else keeps a task from looking at."""

from __future__ import annotations

import errno
import os

from engine.blocks import suppress
from engine.errors import KernelError
from engine.kernel._native import lib
from engine.kernel.call import check
from engine.kernel.process import pidfd_open, same_namespace, wait_exit
from engine.kernel.uapi.signal import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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


def start_inside(task: int, uid: int, gid: int) -> tuple[int, Callable[[], None]]:
    """The same in the pid and user namespaces of a task, with ids of there: its pid as the engine sees it, and its end.

    Its parent is a process of the engine's, so that nobody inside is told of its end; it ends with the engine, too.
    """
    from engine.kernel.namespaces import FLAGS, setns

    lifeline, held = os.pipe()
    source, answers = os.pipe()
    parent = os.fork()
    if not parent:
        try:
            os.close(held)
            flags = sum(FLAGS[kind] for kind in ("pid", "user") if not same_namespace(task, kind))
            setns(pidfd_open(task), flags)
            pid = lib.zd_bystander(uid, gid)
            os.write(answers, b"%d" % pid)
            os.close(answers)
            if pid > 0:  # kill(2) takes -1, an errno like others, for all processes there are
                os.read(lifeline, 1)
                end_bystander(pid)
        finally:
            os._exit(0)
    for fd in (lifeline, answers):
        os.close(fd)

    def end() -> None:
        os.close(held)
        wait_exit(parent)

    with open(source, "rb") as f:
        text = f.read(32)
    if not text or int(text) < 0:
        end()
        what = f"starting a process with uid {uid} and gid {gid} in the namespaces of pid {task}"
        raise KernelError(what, -int(text) if text else errno.EPERM)
    return int(text), end


def end_bystander(pid: int) -> None:
    """Kill it and reap it."""
    # ProcessLookupError, ECHILD: somebody else's kill came first, and SIGCHLD is ignored, so the kernel has reaped it
    with suppress(ProcessLookupError, KernelError):
        os.kill(pid, SIGKILL)
        wait_exit(pid)
