"""Descriptors of processes (pidfd_open(2)), and of threads (PIDFD_THREAD), which CRIU does not have.

Those of live tasks are opened by the tasks that have them, when all of the tree are there. All pidfds of a process that
has ended show the same inode: the opener makes them together, of a short-lived child.
"""

from __future__ import annotations

import os

from engine.errors import BadImage, KernelError
from engine.files.fd import O_CLOEXEC, Descriptor
from engine.kernel import pidfd
from engine.plan import abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope
    from engine.files.table import FileTable
    from engine.images.files import Images
    from engine.plan.program import Program, Ref
    from engine.tasks.opener import Opener

TYPE = 20  # fd_types.PIDFD
PIDFD_THREAD = os.O_EXCL
_OPEN = os.O_NONBLOCK | PIDFD_THREAD  # flags of pidfd_open(2)
_F_SETFL = 4
_ENDED = -1


def check(d: Descriptor, scope: Scope) -> None:
    """Whose it is, is for `Survey` to say."""


def dump(entry: Any, d: Descriptor, files: FileTable) -> None:
    """Fill a file_entry; of a process that has ended, with how it did."""
    entry.type = TYPE
    it = entry.pidfd
    it.id = entry.id
    it.ino = d.stat.st_ino & 0xFFFFFFFF
    it.flags = d.flags & ~(os.O_ACCMODE | O_CLOEXEC)
    it.nspid = int(d.info["NSpid"].split()[-1])  # the pid in the namespace of its own
    if it.nspid != _ENDED:
        it.nspid = files.scope.pids.inner(int(d.info["Pid"]))  # of those below the tree's, the pid in that
    if it.nspid != _ENDED:
        return
    code = pidfd.exit_code(d.pid, d.fd)
    if code is not None:
        it.exit_code = code
    told = "its cgroup and what had dumped core are" if code is not None else "how it ended is"
    files.scope.log.info(f"{d}: its process has ended: {told} not kept (PIDFD_GET_INFO)")


class Survey:
    """Whose processes they are: those outside of the tree are others after a restore."""

    __slots__ = ("_alive",)

    def __init__(self, scope: Scope) -> None:
        self._alive: list[Descriptor] = []

    def add(self, d: Descriptor) -> None:
        """One more descriptor."""
        if int(d.info["Pid"]) != _ENDED:
            self._alive.append(d)

    def blockers(self, pids: set[int]) -> list[str]:
        """What leads out of the tree; `pids` are those of all its threads."""
        remedy = "is outside of the tree: dump both together, or close it before the dump"
        return [f"{d}: pid {d.info['Pid']} {remedy}" for d in self._alive if int(d.info["Pid"]) not in pids]

    def write(self, images: Images, message: Any) -> None:
        """There is no image of their own."""


def task_behind(entry: Any) -> int:
    """The pid of the process, or the thread, that it is of; 0 for one that has ended."""
    nspid: int = entry.pidfd.nspid
    return max(nspid, 0)


def plan_open(program: Program, entry: Any, proc: int, lowest: int) -> Ref:
    """Let a task open it, when the tasks of the tree are there."""
    it = entry.pidfd
    got = program.sys("pidfd_open", program.called(it.nspid), it.flags & _OPEN, expect=abi.EXPECT_EQUAL, want=lowest)
    if it.flags & ~_OPEN:
        program.sys("fcntl", got, _F_SETFL, it.flags)
    return got


class Objects:
    """Those of processes that have ended, by inode."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._by_inode: dict[int, list[Any]] = {}
        for entry in opener.files.values():
            if entry.type == TYPE and entry.HasField("pidfd") and not task_behind(entry):
                self._by_inode.setdefault(entry.pidfd.ino, []).append(entry)

    def make(self, entry: Any, flags: int | None) -> dict[int, int]:
        """All of the same process: descriptors by file id."""
        if not entry.HasField("pidfd"):
            raise BadImage(self._opener.image, 0, f"file {entry.id:#x} is a pidfd without a pidfd_entry")
        import fcntl

        same = self._by_inode[entry.pidfd.ino]
        codes = [e.pidfd.exit_code for e in same if e.pidfd.HasField("exit_code")]
        fds = pidfd.of_dead([e.pidfd.flags & _OPEN for e in same], codes[0] if codes else 0)
        for other, fd in zip(same, fds, strict=True):
            if rest := other.pidfd.flags & ~_OPEN:
                try:
                    fcntl.fcntl(fd, fcntl.F_SETFL, other.pidfd.flags)
                except OSError as e:
                    raise KernelError(f"fcntl(F_SETFL, {rest:#o})", e.errno or 0, f"file {other.id:#x}") from e
        return {other.id: fd for other, fd in zip(same, fds, strict=True)}
