"""Live snapshot: the memory of tasks that run on is copied after the thaw, from copy-on-write clones made before.

A clone is a child that the frozen task makes for us (clone3(2), by the parasite) and never hears of: without an exit
signal no ordinary wait(2) sees it, it is stopped at its birth and then waits in the executor, without descriptors, with
a pid out of the way where the task may choose one. When its memory has been copied it is killed, and the task is
stopped once more, for a moment, to wait for it (engine/tasks/reap.py). What fork(2) does not give is copied in time.

Should the engine be killed, the clones die with it (PTRACE_O_EXITKILL); the *janitor*, a process of the engine that
does nothing else, then has their parents wait for them.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import time

from engine.blocks import suppress
from engine.context import Context
from engine.errors import KernelError
from engine.kernel import memory, proc
from engine.kernel.pids import Pids
from engine.kernel.ptrace import Tracee, set_options
from engine.kernel.uapi import prctl
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.signal import SIGKILL
from engine.memory import vmas as vma_kind
from engine.plan import abi
from engine.plan.program import Arena, place, result
from engine.tasks import compat
from engine.tasks.inject import Graft, Questionnaire, injected
from engine.tasks.reap import reap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.tasks.collect import Collected
    from engine.tasks.freeze import Frozen

    Range = tuple[int, int, int]

KEPT_MAX = 32 << 20  # bytes that the engine holds of what a clone has not; of a task with more, all is copied in time
MARK = "criu-clone"  # a clone's name, by which the janitor knows it: 15 bytes at most
_ARENA_MAX = 64 << 10  # bytes
_CLONE_ARGS = struct.Struct("<11Q")  # struct clone_args (linux/sched.h)
_CLONE_FILES, _CLONE_PTRACE = 0x400, 0x2000
_ALL_FDS = 0xFFFFFFFF
_CLOSE_RANGE_UNSHARE = 2
_SET_TID_CAPS = 1 << 40 | 1 << 21  # CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN: either lets a task choose a child's pid
_EXIT_SIGNAL = 38  # field of proc_pid_stat(5)
_PATIENCE = 10.0  # seconds, of which a machine with much to do takes some


class Clone:
    """A clone `pid` of the task whose procfs directory is `view`."""

    __slots__ = ("graft", "kept", "kept_guards", "kept_runs", "pid", "view")

    def __init__(self, view: int, pid: int, graft: Graft) -> None:
        self.view = view
        self.pid = pid
        self.graft = graft
        self.kept = -1  # descriptor of what a clone has not, of `kept_runs`
        self.kept_runs: memory.Runs | None = None
        self.kept_guards: memory.Runs | None = None


class Snapshot:
    """The clones of one dump. `wanted` are the tasks, by view, that are to be cloned.

    It is `mistaken` when mappings had other flags than `known` said; all is to be done again then.
    """

    __slots__ = ("_assumed", "_ctx", "_exact", "_janitor", "_notes", "clones", "mistaken", "wanted")

    def __init__(self, ctx: Context, wanted: list[int]) -> None:
        self._ctx = ctx
        self.wanted = set(wanted)
        self.clones: dict[int, Clone] = {}
        self.mistaken = self._exact = False
        self._assumed: dict[int, list[proc.Vma]] = {}
        source, self._notes = os.pipe()
        self._janitor = os.fork()
        if not self._janitor:
            try:
                _watch(ctx, source)
            finally:
                os._exit(0)
        os.close(source)

    def close(self) -> None:
        """End all clones that are left, and the janitor."""
        self.discard()
        os.close(self._notes)
        os.kill(self._janitor, SIGKILL)
        os.waitpid(self._janitor, 0)

    def known(self, view: int, before: list[proc.Vma] | None) -> list[proc.Vma] | None:
        """The mappings of a frozen task, as they were seen `before`; None where they have to be looked at again.

        /proc/PID/smaps, the only one to tell VmFlags, looks at each page: 25 ms for 1 GiB. So unless the mappings
        themselves differ the flags are taken for what they were, and compared with the clone's when that is at hand.
        Of these only locks (VmLck of /proc/PID/status) are not inherited.
        """
        self._exact |= self.mistaken
        self.mistaken = False
        if view not in self.wanted or before is None or self._exact:
            return None
        now = proc.maps(view)
        if [_head(v) for v in now] != [_head(v) for v in before] or proc.status(view).get("VmLck", "0 kB") != "0 kB":
            return None
        self._assumed[view] = before
        return before

    def _compare(self, view: int, pid: int) -> None:
        """What was assumed of a task is what `pid`, itself or its clone, has."""
        flags = {(v.start, v.end): v.flags for v in proc.smaps(pid)}
        for v in self._assumed.pop(view, ()):
            got = flags.get((v.start, v.end))
            if got != v.flags and not (got is None and "dc" in v.flags and pid != view):
                self._ctx.log.info(f"pid {view}: mapping {v} has changed just before: the dump begins again")
                self.mistaken = True
                return

    def discard(self) -> None:
        """End all clones that are left."""
        self.kill()
        self.reap()

    def take(self, task: Collected, tree: Frozen, not_inherited: list[Range]) -> None:
        """Clone a frozen task that is wanted; where that cannot be its memory is to be copied while it is frozen.

        The (start, end, flags) ranges are those of which a child has nothing.
        """
        self._take(task, tree, not_inherited)
        if task.view not in self.clones:
            self._compare(task.view, task.view)

    def _take(self, task: Collected, tree: Frozen, not_inherited: list[Range]) -> None:
        view, log = task.view, self._ctx.log
        if view not in self.wanted or "vm" not in task.owns:
            return
        if vma_kind.has_uprobes(task.vmas):
            log.info(f"pid {view}: has met uprobes: its memory is copied while it is frozen")
            return
        runs = guards = None
        if not_inherited:
            runs, guards = _scan(view, not_inherited)
            size = sum(count for _, count, _ in runs) * memory.PAGE
            if size > KEPT_MAX:
                log.info(f"pid {view}: {size} bytes of its memory no clone would have: copied while it is frozen")
                return
        own = int(task.live[0].status["CapEff"], 16) & _SET_TID_CAPS
        for tid in [_free_pid(), 0] if own else [0]:
            try:
                clone = self._clone(task, tree, tid)
                break
            except KernelError as e:
                if not tid or e.errno not in (errno.EEXIST, errno.EPERM):
                    log.warn(f"pid {view}: no clone ({e}): its memory is copied while it is frozen")
                    return
        self.clones[view] = clone
        clone.kept_guards = guards
        if runs and runs.count:
            clone.kept = os.memfd_create("kept", os.MFD_CLOEXEC)
            clone.kept_runs = _copy(view, clone.kept, runs)
        log.debug(f"pid {view}: its memory is copied later, from its clone {clone.pid}")

    def _clone(self, task: Collected, tree: Frozen, tid: int) -> Clone:
        """Have the task make the clone, with pid `tid` if that is not 0. Raises KernelError."""
        ctx, view = self._ctx, task.view
        arena = Arena(ctx.machine, place([(v.start, v.end) for v in task.vmas], _ARENA_MAX, compat.is_small(task.vmas)))
        born = arena.program(f"clone of {view}")
        born.sys("close_range", 0, _ALL_FDS, _CLOSE_RANGE_UNSHARE)
        born.sys("prctl", prctl.PR_SET_NAME, arena.text(MARK), 0, 0, 0)
        born.park()
        makes = arena.program(f"cloning {view}")
        stack = arena.stack() - abi.STACK_SIZE
        choice = (arena.put(struct.pack("<q", tid)), 1) if tid else (0, 0)
        args = _CLONE_ARGS.pack(_CLONE_FILES | _CLONE_PTRACE, 0, 0, 0, 0, stack, abi.STACK_SIZE, 0, *choice, 0)
        made = makes.spawn(arena.put(args), len(args), born)
        makes.park()
        nothing = arena.program("nothing to do")
        nothing.park()
        graft = Graft(view, task.vmas, Questionnaire(arena, makes, nothing))
        first = task.live[0]
        self._note("arena", view, arena.base)
        with injected(ctx.arch, task.task.first, graft, first.regs, first.mask) as parasite:
            parasite.run()
            pid = _seen(view, result(parasite.memory, arena, makes, made))
            self._note("clone", view, pid)
            tracee = Tracee(pid)
            tracee.wait_event_stop()
            suspended = pt.PTRACE_O_SUSPEND_SECCOMP if tree.suspends else 0
            set_options([tracee.pid], pt.PTRACE_O_EXITKILL | suspended)
            tracee.cont()
        return Clone(view, pid, graft)

    def _note(self, what: str, view: int, value: int) -> None:
        """Tell the janitor."""
        os.write(self._notes, f"{what} {view} {value}\n".encode())

    def prepare(self) -> None:
        """After the thaw: nothing of ours in the clones' memory; and to be killed first where memory is short."""
        for clone in self.clones.values():
            try:
                with open(f"/proc/{clone.pid}/oom_score_adj", "w") as f:
                    f.write("1000")
                mem = os.open(f"/proc/{clone.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            except (OSError, ProcessLookupError) as e:
                raise _died(clone) from e
            try:
                os.pwrite(mem, bytes(clone.graft.size), clone.graft.place)
            finally:
                os.close(mem)
            self._compare(clone.view, clone.pid)

    def check(self) -> None:
        """Raise KernelError if a clone has died, for which copying its memory may fail."""
        for clone in self.clones.values():
            if _state(clone.pid) in ("Z", "X", ""):
                raise _died(clone)

    def kill(self) -> None:
        """All has been copied: the clones may end, which takes a while."""
        for clone in self.clones.values():
            if clone.kept >= 0:
                os.close(clone.kept)
                clone.kept = -1
            os.kill(clone.pid, SIGKILL)  # ours until we wait for it, so its pid is not another's

    def reap(self) -> None:
        """Have the tasks wait for their clones."""
        for view, clone in list(self.clones.items()):
            os.waitid(os.P_PID, clone.pid, os.WEXITED | os.WNOWAIT | pt.WALL)
            seen = _once(clone.pid)
            try:
                why = reap(self._ctx.arch, self._ctx.machine, view, clone.pid, seen, _PATIENCE)
            finally:
                seen()
                del self.clones[view]
            if why:
                self._ctx.log.warn(
                    f"pid {view}: cannot be made to wait for the dead clone {clone.pid}, which stays its child: {why}"
                )


def _seen(view: int, pid: int) -> int:
    """The pid by which the engine knows the child that a task calls `pid`; KernelError where there is none."""
    pids = Pids(view)
    if not pids.foreign or pid < 0:
        return pid
    for kid in proc.children(view):
        if pids.inner(kid) == pid:
            return kid
    raise KernelError(f"finding child {pid} of task {view}", errno.ESRCH)


def _head(vma: proc.Vma) -> tuple[int | str, ...]:
    return vma.start, vma.end, vma.prot, vma.shared, vma.pgoff, vma.dev, vma.ino, vma.path


def _once(pid: int) -> Callable[[], None]:
    """What lets go of a dead tracee of ours, when it is called first."""
    todo = [pid]

    def hand_over() -> None:
        if todo:
            os.waitpid(todo.pop(), pt.WALL)

    return hand_over


def _died(clone: Clone) -> KernelError:
    remedy = f"the clone of pid {clone.view} was killed, for want of memory perhaps: use --no-snapshot"
    return KernelError(f"reading the memory of clone {clone.pid}", errno.ESRCH, remedy)


def _scan(pid: int, ranges: list[Range]) -> tuple[memory.Runs, memory.Runs]:
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memory.scan_pages(pagemap, ranges, memory.PageStats())
    finally:
        os.close(pagemap)


def _copy(pid: int, out: int, runs: memory.Runs) -> memory.Runs:
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return memory.dump_pages(pid, mem, pagemap, out, "memory", runs, memory.PageStats())
    finally:
        os.close(mem)
        os.close(pagemap)


def _free_pid() -> int:
    """The highest pid that nobody has: new processes get there last."""
    pid = int(proc.read_text("/proc/sys/kernel/pid_max")) - 1
    while os.path.exists(f"/proc/{pid}"):
        pid -= 1
    return pid


def _state(pid: int) -> str:
    try:
        return proc.Stat(pid).state
    except (FileNotFoundError, ProcessLookupError):
        return ""


# The janitor.


def _watch(ctx: Context, notes: int) -> None:
    """Wait for the engine's end, by SIGKILL: it kills us otherwise. Nobody is to wait for what we hold open."""
    os.setsid()  # what is sent to the engine's process group or terminal is not for us
    os.closerange(0, notes)
    os.closerange(notes + 1, max(notes + 1, os.sysconf("SC_OPEN_MAX")))
    text = b""
    while select.select([notes], [], [])[0] and (part := os.read(notes, 4096)):
        text += part
    arenas, clones = [], set()
    for line in text.decode().splitlines():
        what, view, value = line.split()
        if what == "arena":
            arenas.append((int(view), int(value)))
        else:
            clones.add(int(value))
    end = time.monotonic() + _PATIENCE
    while arenas and time.monotonic() < end:
        arenas = [(view, at) for view, at in arenas if not _is_clean(ctx, view, at, clones)]
        time.sleep(0.002)


def _is_clean(ctx: Context, view: int, arena: int, clones: set[int]) -> bool:
    """Has the task left our code, without a clone of ours? Those that have died it is made to wait for."""
    with suppress(FileNotFoundError, ProcessLookupError, KernelError):
        if any(start == arena for start, _ in proc.ranges(view)):
            return False
        left = [kid for kid in proc.children(view) if _is_clone(kid, arena, clones)]
        for kid in left:
            if _state(kid) == "Z":
                reap(ctx.arch, ctx.machine, view, kid, lambda: None, _PATIENCE)
        return not left
    return not os.path.exists(f"/proc/{view}")


def _is_clone(pid: int, arena: int, clones: set[int]) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        stat = proc.Stat(pid)
        if stat[_EXIT_SIGNAL]:
            return False
        return pid in clones or stat.comm == MARK or any(start == arena for start, _ in proc.ranges(pid))
    return False
