"""Freezing a tree (PTRACE_SEIZE, PTRACE_INTERRUPT of ptrace(2)): afterwards it runs on, is stopped, or dead."""

from __future__ import annotations

import errno
import os
import time

from engine.blocks import contextmanager, suppress
from engine.errors import EngineError, KernelError
from engine.kernel import proc, process
from engine.kernel.ptrace import TaskGone, Tracee, moving, see_off, set_options
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.signal import SIGKILL, SIGSTOP, SIGTRAP
from engine.tasks.restart import Sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator

    from engine.tasks.cgroup_freezer import Freezer

_DEAD = ("Z", "X")
_TURN = 1000  # µs to wait for one of several threads, before others have their turn
_ROUNDS = 1000  # looks for threads and children that were born meanwhile; each finds at least one


class Task:
    """A process of the tree: its frozen threads, by ascending id. Without any it is a zombie.

    `stop` is the signal that it is stopped by, 0 for none. `workers` are the kernel's own threads in it (io_uring(7)),
    once they have been told from the others: they never run a program. `ended` is the leader, if that was seized and
    has ended before the others: it can be reaped after them.
    """

    __slots__ = ("ended", "pid", "stop", "tracees", "workers")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.ended: Tracee | None = None
        self.tracees: list[Tracee] = []
        self.workers: list[Tracee] = []
        self.stop = 0

    @property
    def first(self) -> Tracee:
        """The thread that speaks for all: the leader, where that has not ended."""
        return self.tracees[0]

    @property
    def leader_gone(self) -> bool:
        """Did the leader end before other threads?"""
        return bool(self.tracees) and self.first.pid != self.pid


class Frozen:
    """A tree while it is frozen: `tasks`, parents before children.

    `sleeps` are of threads that are frozen one at a time, so that what is left of their timeouts can be told. With a
    `freezer` there are none: its cgroup stops first, and is left as it was found when the tree is let go.
    """

    __slots__ = ("_deadline", "_early", "_freezer", "_options", "_timeout", "sleeps", "tasks")

    def __init__(self, timeout_us: int, options: int, sleeps: dict[int, Sleep], freezer: Freezer | None) -> None:
        self._timeout = timeout_us
        self._deadline = time.monotonic() + timeout_us / 1_000_000
        self._options = options
        self.sleeps = sleeps
        self.tasks: list[Task] = []
        self._freezer = freezer
        self._early: dict[int, Task] = {}  # seized while their cgroup was frozen

    def _seize_early(self, root: int, freezer: Freezer) -> None:
        """Who is in the cgroup is asked to stop while nobody of it runs, and so has stopped when it could run again."""
        freezer.freeze(self._left_us())
        todo = [root]
        while todo:
            task = Task(todo.pop())
            if task.pid not in self._early:
                self._early[task.pid] = task
                tids, kids = self._scan(task)
                self._seize(task, tids)
                todo += kids
        freezer.thaw()

    def freeze(self, root: int) -> None:
        """Stop everything from `root` down, whatever is born meanwhile."""
        if self._freezer:
            self._seize_early(root, self._freezer)
        new = [root]
        known = {root}
        for _ in range(_ROUNDS):
            found = self._freeze_all(new)
            # nobody is left who could have children, but orphans may have come to a subreaper of ours
            if not found and len(self.tasks) > 1:
                found = [kid for task in self.tasks for kid in self._kids(task)]
            new = [pid for pid in dict.fromkeys(found) if pid not in known]
            if not new:
                self._place()
                return
            known.update(new)
        raise EngineError(f"the tree of pid {root} grows faster than it can be frozen; stop what forks without end")

    def _freeze_all(self, pids: list[int]) -> list[int]:
        """Freeze these processes, all of their threads; returns their children."""
        tasks = [self._early.pop(pid) if pid in self._early else Task(pid) for pid in pids]
        self.tasks += tasks
        waiting = [
            (task, tracee) for task in tasks for tracee in (task.tracees[:] or self._seize(task, self._scan(task)[0]))
        ]
        out: list[int] = []
        while True:  # once at least: who sleeps by a clock has been waited for already
            self._wait(waiting)
            waiting = []
            out.clear()
            for task in tasks:
                while True:
                    tids, kids = self._scan(task)
                    have = {t.pid for t in task.tracees}
                    new = [(task, t) for t in self._seize(task, [tid for tid in tids if tid not in have])]
                    if new or self._has_all(task):
                        break
                waiting += new
                out += kids
            if not waiting and not self._has_lost(tasks, waiting):
                break
        for task in tasks:
            task.tracees.sort(key=lambda t: t.pid != task.pid)
        return out

    def _scan(self, task: Task) -> tuple[list[int], list[int]]:
        try:
            return process.scan(task.pid)
        except KernelError as e:
            if e.errno not in (errno.ENOENT, errno.ESRCH):
                raise
            return [], []  # reaped meanwhile

    def _has_all(self, task: Task) -> bool:
        """Are its frozen threads all that it has? Reading /proc/PID/task ends early where a thread ends meanwhile."""
        if not task.tracees or not self._left_us():
            return True
        try:
            leader_gone = all(t.pid != task.pid for t in task.tracees)
            return proc.Stat(task.pid)[20] == len(task.tracees) + leader_gone
        except (FileNotFoundError, ProcessLookupError):
            return True  # reaped meanwhile

    def _kids(self, task: Task) -> list[int]:
        return self._scan(task)[1]

    def _seize(self, task: Task, tids: list[int]) -> list[Tracee]:
        """Seize those threads that live, and ask for their stop; threads that sleep by a clock come one by one."""
        out: list[Tracee] = []
        ours: list[Tracee] = []  # already, as is who executes a program as another thread
        for tid in tids:
            if task.ended and tid == task.pid:
                if _is_dead(tid):
                    continue
                task.ended = None  # another has executed a program
            tracee = Tracee(tid)
            try:
                self._seize_one(tracee)
            except KernelError as e:
                tracer = _tracer(tid)
                if tracer != os.getpid():
                    if _is_dead(tid):
                        continue
                    if tracer:
                        raise EngineError(f"pid {tid} is traced by pid {tracer} already; detach that one first") from e
                    raise
                ours.append(tracee)
            else:
                out.append(tracee)
            task.tracees.append(tracee)
        singles = [t for t in out if t.pid in self.sleeps]
        for tracee in out:
            if tracee not in singles:
                self._interrupt(tracee)
        for tracee in singles:
            sleep = self.sleeps[tracee.pid]
            sleep.look()
            self._interrupt(tracee)
            self._wait([(task, tracee)])
            sleep.look_again()
        return [t for t in out if t not in singles] + [t for t in ours if self._has_to_stop(t)]

    def _seize_one(self, tracee: Tracee) -> None:
        """PTRACE_O_SUSPEND_SECCOMP is denied to who is under seccomp itself, as in many a container."""
        options, tries = self._options, 3
        while True:
            try:
                tracee.try_seize(options)
                break
            except KernelError as e:
                if e.errno == errno.ETIMEDOUT:
                    self._check_time(tracee.pid)
                    self._reap_ended(())
                elif e.errno == errno.EPERM and options & pt.PTRACE_O_SUSPEND_SECCOMP:
                    options &= ~pt.PTRACE_O_SUSPEND_SECCOMP
                elif e.errno != errno.EPERM or tries == 0 or _is_dead(tracee.pid) or _tracer(tracee.pid):
                    raise
                else:  # its number was that of one that had ended: another thread has executed a program meanwhile
                    options, tries = self._options, tries - 1
        self._options = options

    @property
    def suspends(self) -> bool:
        """Do the tasks' seccomp filters leave alone what we have them do?"""
        return bool(self._options & pt.PTRACE_O_SUSPEND_SECCOMP)

    def _interrupt(self, tracee: Tracee) -> None:
        with suppress(KernelError):  # dead: waiting for it will tell
            tracee.interrupt()

    def _wait(self, waiting: list[tuple[Task, Tracee]]) -> None:
        """Until these have stopped, or ended: in turn, since a process that ends or executes a program stops only when
        threads of its are reaped, and the init of a pid namespace that ends, when all others in it are."""
        while waiting:
            late = []
            for task, tracee in waiting:
                if again := self._wait_a_turn(task, tracee):
                    late.append((task, again))
            waiting = list(dict.fromkeys(late))
            if waiting:
                self._check_time(waiting[0][1].pid)
                self._reap_ended({tracee for _, tracee in waiting})

    def _wait_a_turn(self, task: Task, tracee: Tracee) -> Tracee | None:
        """Who is to be waited for again: the tracee, or the leader that it has become."""
        tracee.deadline_us = min(self._left_us(), _TURN)
        try:
            stop = tracee.wait_event_stop(deliver=True)
        except TaskGone:
            task.tracees.remove(tracee)
            return None
        except KernelError as e:
            if e.errno == errno.ETIMEDOUT:
                return None if self._put_aside(task, tracee) else tracee
            if e.errno != errno.ECHILD:
                raise
            if tracee not in task.tracees:
                return None  # reaped
            task.tracees.remove(tracee)
            return self._successor(task, tracee)
        tracee.deadline_us = self._timeout
        if stop != SIGTRAP:
            task.stop = stop
        return None

    def _put_aside(self, task: Task, tracee: Tracee) -> bool:
        """Is it a leader that has ended? The kernel tells that when the others have, too."""
        if tracee.pid != task.pid or len(task.tracees) < 2 or not _is_dead(tracee.pid):
            return False
        task.tracees.remove(tracee)
        task.ended = tracee
        return True

    def _successor(self, task: Task, tracee: Tracee) -> Tracee | None:
        """A thread has executed a program, and has its leader's id now: who is to be waited for, if traced."""
        if tracee.pid == task.pid:
            return None
        task.ended = None  # the old leader is gone
        leader = next((t for t in task.tracees if t.pid == task.pid), None)
        if leader is None:
            leader = Tracee(task.pid)
            task.tracees.append(leader)
        return leader if self._has_to_stop(leader) else None

    def _has_to_stop(self, tracee: Tracee) -> bool:
        """One that we trace, and have asked to stop or not: it is then. False: that has been waited for."""
        if tracee.is_stopped():
            stop = tracee.news()
            if not stop or stop >> 8 == pt.PTRACE_EVENT_STOP:
                return bool(stop)
        self._interrupt(tracee)
        return True

    def _has_lost(self, tasks: list[Task], waiting: list[tuple[Task, Tracee]]) -> bool:
        """Is any of those that had stopped in no stop any more? A thread that ran on has ended its process, or executed
        a program: who goes on then is to be waited for, or, as another one, to be seized again."""
        left = moving([tracee.pid for task in tasks for tracee in task.tracees])
        for task in tasks if left else []:
            for tracee in [t for t in task.tracees if t.pid in left]:
                if tracee.has_ended():
                    task.tracees.remove(tracee)
                else:
                    self._interrupt(tracee)
                    waiting.append((task, tracee))
        return bool(left)

    def _reap_ended(self, waited: Collection[Tracee]) -> None:
        """Those of all tasks that have ended since they stopped; whoever is `waited` for is not asked."""
        for task in (*self.tasks, *self._early.values()):
            for tracee in [t for t in task.tracees if t not in waited]:
                if tracee.has_ended():
                    task.tracees.remove(tracee)

    def _check_time(self, pid: int) -> None:
        if not self._left_us():
            raise EngineError(f"pid {pid} does not stop within --timeout{_hindrance(pid)}")

    def _left_us(self) -> int:
        return max(int((self._deadline - time.monotonic()) * 1_000_000), 0)

    def _place(self) -> None:
        """Leave out who has ended and been reaped; put parents before children, by pid among siblings."""
        parents = {}
        for task in self.tasks:
            with suppress(FileNotFoundError, ProcessLookupError):
                parents[task.pid] = proc.Stat(task.pid).ppid
        by_pid = {task.pid: task for task in self.tasks if task.pid in parents}
        kids: dict[int, list[int]] = {}
        for pid in sorted(by_pid):
            kids.setdefault(parents[pid], []).append(pid)
        root = self.tasks[0].pid
        if root not in by_pid or not by_pid[root].tracees:
            raise EngineError(f"pid {root} has ended while it was being frozen")
        order, todo = [], [root]
        while todo:
            pid = todo.pop()
            order.append(by_pid[pid])
            todo += reversed(kids.get(pid, []))
        escaped = by_pid.keys() - {task.pid for task in order}
        for pid in sorted(escaped):  # its parent has ended, and somebody outside of the tree adopted it
            let_go([by_pid[pid]], False)
        self.tasks = order

    def thaw(self, stopped: bool = False) -> None:
        """Let all go, and send again what was kept back meanwhile. `stopped`: leave them in SIGSTOP."""
        freezer, self._freezer = self._freezer, None
        try:
            if freezer:
                freezer.settle()  # before they go: who was frozen does not run
        finally:
            let_go((*self.tasks, *self._early.values()), stopped)

    def kill(self, each: Callable[[int], None] | None = None, late: Container[int] = (), is_whole: bool = True) -> None:
        """SIGKILL, parents first, so that nobody sees a child's end; and wait until all are dead.

        With `each` one after the other, the root last, which may be the init of all: it is called with the pid of
        each process when that has ended. Those that are `late` end when others are reaped by who adopts them: by the
        root, where the tree `is_whole` (a pid namespace), and else by somebody outside, for whom nobody waits.

        First all are to die with us, which wakes nobody, and so takes no time: whoever kills us leaves all, or none.
        """
        set_options([task.first.pid for task in self.tasks if task.tracees], pt.PTRACE_O_EXITKILL)
        for task in self.tasks if not each else []:
            if task.tracees:
                os.kill(task.pid, SIGKILL)
        deferred: list[Tracee] = []
        for task in reversed(self.tasks):
            if each and task.tracees:
                os.kill(task.pid, SIGKILL)
            threads = list(reversed([*([task.ended] if task.ended else ()), *task.tracees, *task.workers]))
            if task.pid in late:
                deferred += threads if is_whole else []
            else:
                self._reap(threads + deferred if task is self.tasks[0] else threads)
            if each and task.tracees:
                each(task.pid)
            task.ended = None
            task.tracees.clear()
            task.workers.clear()

    def _reap(self, left: list[Tracee]) -> None:
        """Wait for the end of threads. The last one of a namespace's init waits for us to reap the others."""
        end = time.monotonic() + self._timeout / 1_000_000
        while left:
            tracee = left.pop(0)
            try:
                process.wait_exit(tracee.pid, _TURN if left else self._timeout)
            except KernelError as e:
                if e.errno != errno.ETIMEDOUT or not left or time.monotonic() > end:
                    raise
                left.append(tracee)


@contextmanager
def frozen(
    root: int, timeout_us: int, options: int, sleeps: dict[int, Sleep], freezer: Freezer | None = None
) -> Iterator[Frozen]:
    """A stopped tree. Whatever happens inside, it is resumed at the end, unless it was let go or killed."""
    tree = Frozen(timeout_us, options | pt.PTRACE_O_TRACESYSGOOD, sleeps, freezer)
    try:
        tree.freeze(root)
        yield tree
    finally:
        tree.thaw()


def let_go(tasks: Iterable[Task], stopped: bool) -> None:
    """Let them go; whoever has died meanwhile is reaped: others may wait for that."""
    see_off([tracee for task in tasks for tracee in _let_go(task, stopped)])


def _let_go(task: Task, stopped: bool) -> list[Tracee]:
    """Who could not be let go."""
    left = []
    tracees, task.tracees = task.tracees, []
    if stopped and tracees and not task.stop:
        with suppress(ProcessLookupError):
            os.kill(task.pid, SIGSTOP)
    workers, task.workers = task.workers, []
    for tracee in (*tracees, *workers):
        for i, sig in enumerate(tracee.signals):
            with suppress(ProcessLookupError, KernelError):
                if i < tracee.directed:
                    process.tgkill(task.pid, tracee.pid, sig)
                else:
                    os.kill(task.pid, sig)
        try:
            tracee.detach()
        except KernelError:
            left.append(tracee)
    return [*left, task.ended] if task.ended and len(left) == len(tracees) else left


def _tracer(tid: int) -> int:
    """Who traces it; 0 for nobody, or if it is gone."""
    try:
        return int(proc.status(tid).get("TracerPid", "0"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _is_dead(tid: int) -> bool:
    try:
        return proc.Stat(tid).state in _DEAD
    except (FileNotFoundError, ProcessLookupError):
        return True


def _hindrance(pid: int) -> str:
    """What is known of a task that does not stop."""
    try:
        kids = process.scan(pid)[1]
        if "vfork" in proc.read_text(f"/proc/{pid}/wchan") or "wait_for_vfork" in proc.read_text(f"/proc/{pid}/stack"):
            return f": it waits for its vfork(2) child {kids} to exec or end; dump when that has happened"
    except (OSError, KernelError):
        return ""  # it has gone meanwhile
    return ": it hangs in the kernel (state D?)"
