"""Step four of a restore: the programs run in the tasks. What the coordinator does about each meanwhile."""

from __future__ import annotations

import errno
import mmap
import struct
import time

from engine.context import Context
from engine.errors import EngineError, KernelError
from engine.images.files import Images
from engine.kernel import proc, process
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import ptrace as pt
from engine.namespaces.world import Outside
from engine.plan import abi
from engine.plan.program import Program, status
from engine.tasks.images import TreeImages
from engine.tasks.runners import Guard, Plan, Runner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.tasks.cgroup_restore import Cgroups
    from engine.tasks.owned import Turn
    from engine.tasks.steered import Steered


class World:
    """What a restore has made so far."""

    __slots__ = ("extended", "outside", "plan", "root", "states", "tracees", "tree", "view")

    def __init__(self, ctx: Context, images: Images, tree: TreeImages, plan: Plan, view: mmap.mmap) -> None:
        self.tree = tree
        self.outside = Outside(ctx, images, tree, plan, view, self.wait, tree.cgroups)
        self.plan = plan
        self.view = view
        self.root = 0
        self.extended = bytearray()
        self.states: dict[bytes, bytes] = {}
        self.tracees: dict[int, Tracee] = {}  # by what the tree calls them

    def seize(self, tid: int, timeout_us: int, options: int = 0, is_first: bool = True) -> Tracee:
        """`is_first`: of the threads of a process that are seized; if we die, its death is that of the others too."""
        tracee = self.tracees[tid] = Tracee(self.outside.outer(tid), timeout_us)
        tracee.seize(pt.PTRACE_O_TRACESYSGOOD | pt.PTRACE_O_EXITKILL * is_first | options)
        return tracee

    def wait(self, address: int, least: int) -> None:
        """Until a word of the arena is at least so much."""
        at = self.plan.arena.offset(address)
        while (seen := struct.unpack_from("<I", self.view, at)[0]) < least:
            if not process.futex_wait(self.view, at, seen, 20_000):
                self.alive()
                if self._has_ended() and struct.unpack_from("<I", self.view, at)[0] < least:
                    raise EngineError(f"pid {self.root}, the first of the tree, has ended: somebody has killed it")

    def _has_ended(self) -> bool:
        """Has the root task, or the cradle before it? The leader of other threads may."""
        if self.tree.root.leader_gone:
            return False
        try:
            return proc.Stat(self.root).state in ("Z", "X")
        except (FileNotFoundError, ProcessLookupError):
            return True

    def alive(self) -> None:
        """While programs run: raise the failure of any; a thread that something has stopped goes on."""
        self._check()
        for tracee in self.tracees.values():
            tracee.keep_going()

    def move(self) -> None:
        """Tasks come one after the other, and wait to be moved to their cgroups, or for clocks of their children's.

        Or for the numbers of their threads.
        """
        cgroups, arena, clocks, steered = self.tree.cgroups, self.plan.arena, self.plan.clocks, self.plan.steered
        waiting = self.plan.movers if cgroups else []
        turns = self.plan.turns
        shown = self.plan.shown
        at = arena.offset(self.plan.arrivals)
        while waiting or clocks or turns or shown or steered:
            (seen,) = struct.unpack_from("<I", self.view, at)
            here = [m for m in waiting if self._word(m.arrived)]
            for mover in here:
                if cgroups:
                    before = cgroups.begin() if mover.before is None else cgroups.paths(mover.before)
                    cgroups.enter(self.outside.outer(mover.pid), before, cgroups.paths(mover.after))
                self._post(mover.go)
            due = [maker for maker in clocks if self._word(maker[2])]
            for maker in due:
                self.outside.set_clocks(*maker)
            ready = [turn for turn in turns if self._word(turn.here)]
            for turn in ready:
                self._take_turn(turn)
            waiting = [m for m in waiting if m not in here]
            clocks = [maker for maker in clocks if maker not in due]
            turns = [turn for turn in turns if turn not in ready]
            asking = [one for one in steered if self._steer(one)]
            steered = [one for one in steered if not self._word(one.done)]
            if shown and all(self._word(word) for word in shown):
                self.outside.mount()
                self._post(self.plan.mounted)
                shown = []
                continue
            if here or due or ready or asking or not (waiting or clocks or turns or shown or steered):
                continue
            if not process.futex_wait(self.view, at, seen, 20_000):
                self.alive()

    def _steer(self, its: Steered) -> bool:
        """If a process has asked for the number of its next thread, have it get that, before anybody else asks."""
        asked, granted, tried, wanted = (
            its.words + abi.STEER.offset[name] for name in ("asked", "granted", "tried", "wanted")
        )
        count = self._word(asked)
        if count == self._word(granted):
            return False
        back = self.outside.next_pid(self._word(wanted))
        self._post(granted, count)
        self.wait(tried, count)
        process.set_last_pid(back)
        return True

    def _take_turn(self, turn: Turn) -> None:
        """A birth whose pid nobody who is there may choose: it has to be the next."""
        self.outside.choose(turn)
        self._post(turn.go)
        self.wait(turn.done, 1)
        if turn.stays and turn.pid not in self.outside.known():
            raise EngineError(f"pid {turn.pid}: another process was faster to take it; restore again")

    def _post(self, address: int, value: int = 1) -> None:
        at = self.plan.arena.offset(address)
        struct.pack_into("<I", self.view, at, value)
        process.futex_wake(self.view, at)

    def _word(self, address: int) -> int:
        return int(struct.unpack_from("<I", self.view, self.plan.arena.offset(address))[0])

    def move_threads(self, cgroups: Cgroups) -> None:
        """Those that are in other cgroups than their process."""
        for task in self.tree.live():
            number = cgroups.set_of(task)
            for tid, core in task.live:
                if (its := cgroups.set_of_thread(task, core)) != number:
                    cgroups.enter(self.outside.outer(tid), cgroups.paths(number), cgroups.paths(its), thread=True)

    def hold(self, guard: Guard, timeout_us: int) -> None:
        """Become the tracer of all threads of a process, and let it go on to what needs that; see it stop if so."""
        self.wait(guard.arrived, len(guard.runners))
        for runner in guard.runners:
            if runner.tid not in self.tracees:
                is_first = runner is guard.runners[0]
                self.seize(runner.tid, timeout_us, pt.PTRACE_O_SUSPEND_SECCOMP, is_first)
        at = self.plan.arena.offset(guard.held)
        struct.pack_into("<I", self.view, at, 1)
        process.futex_wake(self.view, at)
        for runner in guard.runners:
            if runner.stops:
                self._stop(guard, runner)

    def _stop(self, guard: Guard, runner: Runner) -> None:
        """The thread stops itself: the signal is passed on, and then all threads of its process stop."""
        tracee = self.tracees[runner.tid]
        for other in guard.runners:
            if other is not runner:
                self.run(other.program)
        while True:
            stop = tracee.wait_stop()
            if stop >> 8 == pt.PTRACE_EVENT_STOP:
                break
            tracee.cont(stop)
        for other in guard.runners:
            if other is not runner:
                self.tracees[other.tid].wait_event_stop()

    def run(self, program: Program) -> None:
        """Step four: wait until a program parks, or its thread is stopped as it was."""
        arena, view = self.plan.arena, self.view
        at = arena.offset(program.address) + abi.PROG.offset["state"]
        stopping = len(program.operations) - 2
        while status(view, arena, program)[0] == abi.STATE_RUNNING:
            if not process.futex_wait(view, at, abi.STATE_RUNNING, 20_000):
                if program.operations[stopping].note == "stop" and status(view, arena, program)[1] >= stopping - 1:
                    return
                self.alive()
                if self._has_ended():
                    raise EngineError(f"pid {self.root}, the first of the tree, has ended: somebody has killed it")
        if status(view, arena, program)[0] == abi.STATE_FAILED:
            self._check()

    def await_end(self, pid: int) -> None:
        """Until a leader that is to end has: before that it is in the arena, which is about to be unmapped."""
        while proc.Stat(self.outside.outer(pid)).state not in ("Z", "X"):
            self.alive()
            time.sleep(0.0005)

    def _check(self) -> None:
        """Raise the failure of any program of the arena, loader threads' included."""
        arena = self.plan.arena
        for program in arena.programs:
            state, pc, error = status(self.view, arena, program)
            if state == abi.STATE_FAILED:
                raise KernelError(program.failure(pc, error), -error if -4096 < error < 0 else errno.EINVAL)
