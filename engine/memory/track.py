"""Tracking: which pages a task has changed since a given moment, while it runs on.

By soft-dirty bits where the kernel has them (clear_refs of proc(5)), else by asynchronous write-protection: a
userfaultfd of the task's memory, in which a write costs a fault that nobody is told of, and PAGEMAP_SCAN, which finds
the pages that were written to and protects them again in one step. What there is is found out by trying.

The userfaultfd has to be made by the task itself. Its parasite does, we take it (pidfd_getfd(2)), and the task's own
descriptor is closed again before it runs on; the mappings are registered from outside. Whoever holds it keeps tracking
alive: when the last one closes it, or dies, nothing is left of it.

A mapping that is made, or moved by mremap(2), later on is not registered: all its pages count as changed. A child of
fork(2) is not tracked, nor is a task after exec.
"""

from __future__ import annotations

import errno
import os

from engine.errors import EngineError, KernelError, Unsupported
from engine.kernel import memory, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.context import Context
    from engine.kernel import proc
    from engine.kernel.ptrace import Tracee

    # (start, end, flags as of memory.scan_pages, and memory.SHARED), one a mapping at least
    Ranges = list[tuple[int, int, int]]

_UFFD_USER_MODE_ONLY = 1  # writes of the kernel's own on the task's behalf are told all the same: nothing has to wait
_ARENA_MAX = 1 << 16  # bytes
_NONE = -1


class Tracker:
    """The tracking of one task. `start` it while the task is frozen."""

    __slots__ = ("_pidfd", "_uffd", "pid")

    def __init__(self, pid: int, uffd: int) -> None:
        """Of process `pid`, by this userfaultfd, or by soft-dirty bits for -1; both descriptors are the tracker's."""
        self.pid = pid
        self._uffd = uffd
        self._pidfd = process.pidfd_open(pid)

    @classmethod
    def start(
        cls,
        ctx: Context,
        pid: int,
        tracee: Tracee,
        regs: bytes | bytearray,
        mask: int,
        vmas: list[proc.Vma],
        ranges: Ranges,
        soft_dirty: bool | None = None,
    ) -> Tracker:
        """Consider all pages of the ranges unchanged, from now on.

        The task is frozen; `tracee` is a thread of it, which has these registers and this signal mask. `vmas` are all
        mappings, `ranges` those to be tracked. `soft_dirty`: as the kernel has them, if not said.
        Unsupported for a kernel that has neither way, or a task that has no room for a descriptor.
        """
        if soft_dirty is None:
            from engine.kernel.features import Features

            soft_dirty = Features.load().has("mem_dirty_track")
        tracker = cls(pid, _NONE if soft_dirty else _userfaultfd(ctx, pid, tracee, regs, mask, vmas))
        try:
            if not soft_dirty:
                _agree(pid, tracker._uffd)
            tracker.changed(ranges, again=True)
        except BaseException:
            tracker.stop()
            raise
        return tracker

    def changed(self, ranges: Ranges, again: bool = False) -> memory.Runs:
        """The runs of pages with data of the task's own (memory.scan_pages) that it has changed since the last `again`.

        `again`: from now on, all count as unchanged, those of mappings that are new, too. By userfaultfd no write of a
        task that runs meanwhile is missed; by soft-dirty bits it has to be frozen. EngineError when it has ended.
        """
        try:
            pagemap = os.open(f"/proc/{self.pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            raise EngineError(f"pid {self.pid} has ended while its memory was tracked") from None
        try:
            self._check_alive()  # after opening: the pid may be another's
            runs = memory.scan_changed(pagemap, self._uffd, ranges, again)
        except KernelError as e:
            if e.errno == errno.ESRCH:
                raise EngineError(
                    f"pid {self.pid} has executed another program or ended while its memory was tracked: start anew"
                ) from e
            if e.errno == errno.EBUSY:
                raise Unsupported(
                    [f"pid {self.pid}: has registered memory with userfaultfd itself: it cannot be tracked"]
                ) from e
            raise
        finally:
            os.close(pagemap)
        if again and self._uffd == _NONE:
            with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as f:
                f.write("4")
        return runs

    def _check_alive(self) -> None:
        if not process.pidfd_kill(self._pidfd, 0):
            raise EngineError(f"pid {self.pid} has ended while its memory was tracked")

    def stop(self) -> None:
        """No more tracking; nothing of it is left in the task."""
        for fd in (self._uffd, self._pidfd):
            if fd != _NONE:
                os.close(fd)
        self._uffd = self._pidfd = _NONE


def _agree(pid: int, uffd: int) -> None:
    try:
        memory.uffd_async(uffd)
    except KernelError as e:
        if e.errno != errno.EINVAL:
            raise
        raise _no_way(pid) from e


def _no_way(pid: int) -> Unsupported:
    return Unsupported(
        [
            f"pid {pid}: this kernel cannot tell which pages it changes: that takes CONFIG_MEM_SOFT_DIRTY, "
            "or CONFIG_USERFAULTFD from Linux 6.7 on"
        ]
    )


def _userfaultfd(
    ctx: Context, pid: int, tracee: Tracee, regs: bytes | bytearray, mask: int, vmas: list[proc.Vma]
) -> int:
    """A new userfaultfd of the task's memory, in our hands only (userfaultfd(2))."""
    from engine.plan import abi
    from engine.plan.program import Arena, place
    from engine.tasks import compat
    from engine.tasks.inject import Graft, Questionnaire, injected
    from engine.tasks.questions import Questions

    arena = Arena(ctx.machine, place([(v.start, v.end) for v in vmas], _ARENA_MAX, compat.is_small(vmas)))
    other = Questions(arena, "nothing to ask")
    q = Questions(arena, f"userfaultfd of {pid}")
    arrived, go = q.room(8), q.room(8)
    made = q.ask("userfaultfd", os.O_CLOEXEC | os.O_NONBLOCK | _UFFD_USER_MODE_ONLY)
    q.program.add(arrived, 1)
    q.program.wait(go, 1, expect=abi.EXPECT_ANY)  # closed also when we die meanwhile
    q.ask("close", made)
    graft = Graft(tracee.pid, vmas, Questionnaire(arena, q.done(), other.done()))
    pidfd = process.pidfd_open(pid)
    got: list[int] = []
    try:
        with injected(ctx.arch, tracee, graft, regs, mask) as parasite:

            def fetch() -> None:
                result = q.answers(parasite.memory).result(made)
                got.append(result if result < 0 else process.pidfd_getfd(pidfd, result))

            parasite.run_around(arrived, fetch, go)
    except BaseException:
        if got and got[0] >= 0:
            os.close(got[0])
        raise
    finally:
        os.close(pidfd)
    if got[0] in (-errno.EMFILE, -errno.ENFILE):
        raise Unsupported(
            [
                f"pid {pid}: has as many descriptors as it may have, and tracking needs one more for a moment: "
                "raise its RLIMIT_NOFILE"
            ]
        )
    if got[0] < 0:
        raise _no_way(pid)
    return got[0]
