"""Namespaces that no task of the tree is in: descriptors or bind mounts of nsfs keep them (namespaces(7)).

While a tree is dumped a process of the engine's is in each of them, by which they are looked at like any other.
"""

from __future__ import annotations

import os
from select import select

from engine.errors import KernelError
from engine.kernel import process
from engine.kernel.namespaces import FLAGS, setns
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_USERNS = 0xB701  # NS_GET_USERNS (ioctl_ns(2))
# Kinds that can be restored without a task in them; mounts only where the tree has its own.
KINDS = ("net", "uts", "ipc", "time", "user", "cgroup", "mnt")


class Held:
    """Those of one dump: who is in them, by kind and inode of nsfs."""

    __slots__ = ("_ends", "pids")

    def __init__(self) -> None:
        self.pids: dict[tuple[str, int], int] = {}
        self._ends: list[Callable[[], None]] = []

    def hold(self, kind: str, inode: int, fd: int) -> int:
        """Start a process in the one that a descriptor is of; its pid. KernelError if it cannot be entered."""
        if (kind, inode) not in self.pids:
            self.pids[kind, inode], end = _start(kind, fd)
            self._ends.append(end)
        return self.pids[kind, inode]

    def close(self) -> None:
        """End the processes."""
        while self._ends:
            self._ends.pop()()
        self.pids.clear()


def _start(kind: str, fd: int) -> tuple[int, Callable[[], None]]:
    source, answers = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)
            if kind == "mnt":
                _enter_owner(fd)
            setns(fd, FLAGS[kind])
            process.prctl(pr.PR_SET_PDEATHSIG, SIGKILL)  # which other credentials reset
            os.write(answers, b"\0")
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))  # nobody is to wait for what we hold open
            select([], [], [])
        except KernelError as e:
            os.write(answers, bytes([e.errno & 0xFF]))
        finally:
            os._exit(1)
    os.close(answers)

    def end() -> None:
        os.kill(pid, SIGKILL)
        process.wait_exit(pid)

    with open(source, "rb") as f:
        said = f.read(1)
    if said != b"\0":
        end()
        raise KernelError(f"setns({kind})", said[0] if said else 1)
    return pid, end


def _enter_owner(fd: int) -> None:
    """Ids of files are those of the user namespace that mounts belong to, for whoever is in that. KernelError."""
    from fcntl import ioctl

    owner = ioctl(fd, _USERNS)
    if os.fstat(owner).st_ino != os.stat("/proc/self/ns/user").st_ino:
        setns(owner, FLAGS["user"])
    os.close(owner)
