"""One frozen task into image entries: what only a frozen task tells now, what its answers say afterwards."""

from __future__ import annotations

import errno

from engine.context import Context
from engine.errors import Unsupported
from engine.files import fd, kinds
from engine.files.table import FileTable
from engine.kernel import memory, proc, process
from engine.memory import attributes, vdso
from engine.memory import mm as mm_kind
from engine.memory import vmas as vma_kind
from engine.tasks import compat, creds, identity, landlock, limits, restart, sched, seccomp, signals, threads, timers
from engine.tasks.freeze import Frozen, Task
from engine.tasks.inject import Graft, Parasite, Questionnaire, injected
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from engine.files.scope import Scope
    from engine.kernel.pids import Pids
    from engine.kernel.ptrace import Tracee
    from engine.plan.program import Arena

ARENA_MAX = 1 << 20  # bytes; questions take a few KiB
_PF_IO_WORKER = 0x10
_REGISTERED_RING = 1 << 4  # IORING_ENTER_REGISTERED_RING
ALIVE, DEAD, STOPPED = 1, 2, 3  # task_core_entry.task_state
# The kinds that have something to ask of a process, and of each of its threads.
_ASKING = (signals, timers, identity, mm_kind, attributes)
_ASKING_THREADS = (signals, creds, threads, identity)


class Interview:
    """All questions, compiled into an arena whose place is free in every task of the tree."""

    __slots__ = (
        *("_landlock", "_ring", "asked", "asked_first", "asked_thread", "first", "other", "probes", "sheet"),
        *("creds", "slack", "states", "vmas"),
    )

    def __init__(self, arena: Arena, probes: landlock.Probes, vmas: dict[tuple[str, str], proc.Vma]) -> None:
        self.probes = probes
        self.vmas = vmas  # those met so far
        self.states: dict[bytes, Any] = {}  # extended register states, as entries
        self.creds: dict[str, Any] = {}  # credentials, as entries
        self.other = Questions(arena, "questions to a thread")
        self.first = Questions(arena, "questions to a task")
        self.asked: dict[ModuleType, Any] = {kind: kind.ask(self.first) for kind in _ASKING}
        self.asked_first: dict[ModuleType, Any] = {kind: kind.ask_thread(self.first) for kind in _ASKING_THREADS}
        self.asked_thread: dict[ModuleType, Any] = {kind: kind.ask_thread(self.other) for kind in _ASKING_THREADS}
        self.slack = [sched.ask_thread(q) for q in (self.first, self.other)]
        # has it an io_uring without a descriptor? It answers by the first number of these, if there is any
        self._ring = [q.ask("io_uring_enter", 0, 0, 0, _REGISTERED_RING, 0, 0) for q in (self.first, self.other)]
        self._landlock = [landlock.ask_thread(q, probes) for q in (self.first, self.other)]
        self.sheet = Questionnaire(arena, self.first.done(), self.other.done())

    def landlocked(self, thread: CollectedThread, is_first: bool) -> str | None:
        """The blocker, if the thread is restricted by Landlock."""
        nth = self.probes.nth(thread.status)
        return landlock.blocker(thread.tid, thread.answers, self._landlock[not is_first], nth)

    def has_ring(self, thread: CollectedThread, is_first: bool) -> bool:
        """Has the thread an io_uring without a descriptor (io_uring_enter(2))? Nothing else shows that."""
        return thread.answers.result(self._ring[not is_first]) in (0, -errno.EBADFD)


class CollectedThread:
    """One thread's core_entry, and what will fill it."""

    __slots__ = ("answers", "area", "areas", "core", "extended", "inner", "mask", "queues", "regs", "status", "tid")

    def __init__(self, tid: int, core: Any, inner: int) -> None:
        self.tid = tid
        self.inner = inner  # as the tree calls it
        self.core = core
        self.regs = bytearray()
        self.mask = 0
        self.area: threads.Area | None = None
        self.areas: list[bytes] = []  # x86: entries of the GDT
        self.extended = bytearray()
        self.queues: tuple[list[bytes], list[bytes]] = ([], [])  # its own, its process's
        self.status: Any = None  # /proc/TID/status
        self.answers: Any = None  # of its visit


class Collected:
    """Everything of one process that goes into images. `ids` are those of its kernel objects (IDS image).

    `owns` are the kinds of which it is the first to have that object: the others in the tree that share it add nothing.
    """

    __slots__ = (
        "call_at",
        "core",
        "fdinfo",
        "for_children",
        "fs",
        "ids",
        "inner",
        "leader_gone",
        "listed",
        "mm",
        "namespaces",
        "owns",
        "pagemap",
        "seen",
        "stat",
        "task",
        "threads",
        "view",
        "vmas",
    )

    def __init__(
        self, ctx: Context, task: Task, ids: dict[str, int], owns: set[str], namespaces: dict[str, int], pids: Pids
    ) -> None:
        new = ctx.schema.message
        self.task = task
        self.inner = pids.inner(task.pid)  # as the tree calls it
        self.namespaces = namespaces
        self.for_children: dict[str, int] = {}  # fields of its IDS image: the namespaces of children to come
        # what holds after the thaw, too. `view` is the thread by whose directory procfs shows the process: a leader
        # that has ended shows nothing
        self.view = task.first.pid
        self.leader_gone = task.leader_gone
        self.call_at = 0  # of a system call in its vdso, where the leader has gone
        self.ids = ids
        self.owns = owns
        self.core = new("core_entry")()
        self.stat = proc.Stat(task.pid)
        self.threads: list[CollectedThread] = []
        self.mm = new("mm_entry")()
        self.fs = new("fs_entry")()
        self.fdinfo = ctx.schema.many("fdinfo_entry")()
        self.pagemap: Any = None  # (pagemap_head, memory.Runs)
        self.vmas: list[proc.Vma] = []
        self.seen: list[int] = []  # stopped children that it has waited for already
        self.listed: tuple[list[timers.Listed], Answers, list[timers.Asked]] | None = None

    @property
    def pid(self) -> int:
        """The process."""
        return self.task.pid

    @property
    def live(self) -> list[CollectedThread]:
        """The threads that have not ended, in the order of the task's tracees."""
        return self.threads[1:] if self.leader_gone else self.threads


def registers(ctx: Context, task: Collected, vdso_areas: list[tuple[int, int]], pids: Pids) -> None:
    """The first look at every thread: what any detour of it would change; outside of the vdso, if that can be."""
    new = ctx.schema.message("core_entry")
    if task.leader_gone:
        task.threads.append(CollectedThread(task.pid, task.core, task.inner))
    for tracee in task.task.tracees[:]:
        if tracee.pid != task.pid and _is_worker(ctx, tracee):
            task.task.tracees.remove(tracee)
            task.task.workers.append(tracee)
            continue
        core = task.core if tracee.pid == task.pid else new()
        thread = CollectedThread(tracee.pid, core, pids.inner(tracee.pid))
        task.threads.append(thread)
        core.mtype = ctx.arch.MARCH
        thread.area = tracee.rseq()
        if threads.leave_critical_section(ctx.arch, tracee, thread.area):
            ctx.log.info(f"pid {tracee.pid}: left a restartable sequence for its abort handler")
        thread.regs = tracee.general()
        # 32-bit code always is, in a system call, and is restored on this kernel only
        if not ctx.arch.is_compat(thread.regs) and any(
            start <= ctx.arch.get(thread.regs, "ip") < end for start, end in vdso_areas
        ):
            if not vdso.leave(ctx.arch, tracee, vdso_areas):
                ctx.log.warn(f"pid {tracee.pid}: is inside of the vdso: it can be restored on this kernel only")
            thread.regs = tracee.general()
        restart.undo_interruption(ctx.arch, ctx.machine, thread.regs)
        thread.mask = tracee.sigmask()


def _is_worker(ctx: Context, tracee: Tracee) -> bool:
    """Is it one of the kernel's own threads, which have no registers? (PF_IO_WORKER, linux/sched.h)"""
    regs = tracee.general()
    if ctx.arch.get(regs, "ip") or ctx.arch.get(regs, "sp"):
        return False
    return bool(proc.Stat(tracee.pid)[9] & _PF_IO_WORKER)


def collect(
    ctx: Context,
    task: Collected,
    interview: Interview,
    graft: Graft | None,
    tree: Frozen,
    filters: seccomp.Filters,
    scope: Scope,
    known: list[proc.Vma] | None = None,
) -> None:
    """All that a frozen process tells; `graft` is where one was found before the freeze, `known` are its mappings."""
    pid, view, core = task.pid, task.view, task.core
    late: list[str] = []
    task.vmas = proc.smaps(view, interview.vmas) if known is None else known
    own_ipc = task.namespaces["ipc"] > len(task.namespaces)  # the engine's own are numbered first
    late += vma_kind.blockers(task.vmas, ctx.options.allow_uprobes, own_ipc)
    listed = timers.listed(view, scope.pids)
    if listed:
        tids, pids = ([t.tid for t in task.threads], [t.pid for t in tree.tasks])
        late += timers.blockers(listed, *(scope.pids.all_called(view, its) for its in (tids, pids)))
    late += shared_by_threads(task)
    small = interview.sheet.arena.low and compat.is_small(task.vmas)
    late += compat.blockers(ctx.arch, view, [(t.tid, t.regs) for t in task.live], small)
    if late:
        raise Unsupported([f"pid {pid}: {b}" for b in late])
    core.tc.SetInParent()
    live = task.live
    for thread, tracee in zip(live, task.task.tracees, strict=True):
        thread.areas = ctx.arch.areas(tracee)
        thread.extended = tracee.extended(ctx.arch.EXTENDED_SET)
        thread.status = proc.status(thread.tid)
        if not interview.probes.suits(thread.status):
            raise landlock.Unprobed(thread.tid, thread.status)
        if not tree.suspends and thread.status.get("Seccomp", "0") != "0":
            late.append("has seccomp filters, and the engine is under seccomp itself: run it outside of that")
        filters.collect(pid, thread.core.thread_core, tracee, thread.status)
    if late:
        raise Unsupported([f"pid {pid}: {b}" for b in late])
    if graft is None or not graft.fits(task.vmas):
        ctx.log.debug(f"pid {pid}: a place for the graft is looked for in the frozen task")
        graft = Graft(view, task.vmas, interview.sheet)
    # only a stopped task has SIGSTOP in a queue, and nothing keeps it there on a visit
    stops = [signals.stops(tracee) if task.task.stop else ([], []) for tracee in task.task.tracees]
    _visit(ctx, task, live, interview, graft)
    if late := [b for t in live if (b := interview.landlocked(t, t is live[0]))]:
        raise Unsupported([f"pid {pid}: {b}" for b in late])
    stopped = {
        scope.pids.called(view, t.pid): scope.pids.inner(t.pid)
        for t in tree.tasks
        if t.stop and proc.Stat(t.pid).ppid == pid
    }
    if listed or stopped:
        _visit_again(ctx, task, listed, stopped)
    ringed = [t.tid for t in live if interview.has_ring(t, t is live[0])]
    seen = scope.seen.get(view)
    before = [fd for pid, fd in scope.rings if pid == view]
    numbers = before if seen is None else [d.fd for d in seen.values() if d.link == kinds.RING]
    if ringed or numbers:
        from engine.tasks import rings  # few tasks have any

        if not numbers:
            raise Unsupported([f"pid {pid}: {rings.refusal(tid)}" for tid in ringed])
        rings.visit(ctx, task, numbers, scope)
    if task.leader_gone:
        task.call_at = _find_call(ctx, task)
    # after all visits: what expired or arrived meanwhile is queued now
    for thread, tracee, (own, shared) in zip(live, task.task.tracees, stops, strict=True):
        tracee.directed = len(own)
        is_first = thread is live[0]
        thread.queues = signals.queued(tracee, False, own), signals.queued(tracee, True, shared) if is_first else []
    identity.dump(core, view, task.stat, scope)
    core.tc.task_state = STOPPED if task.task.stop else ALIVE
    if task.task.stop:
        core.tc.stop_signo = task.task.stop
    limits.dump(core, view)


def _dump_dead_leader(ctx: Context, task: Collected, thread: CollectedThread) -> None:
    """The leader has ended: its core_entry holds what belongs to the process, and how it ended."""
    core = task.core
    core.mtype = thread.core.mtype
    core.thread_info.CopyFrom(thread.core.thread_info)
    core.thread_core.CopyFrom(thread.core.thread_core)
    core.thread_core.ClearField("signals_p")
    core.thread_core.ClearField("rseq_entry")
    core.thread_info.clear_tid_addr = 0
    core.thread_core.futex_rla = core.thread_core.futex_rla_len = 0
    core.tc.leader_exit_code = task.stat[52]
    if task.call_at:  # a reader that does not know the field has it end at once
        ctx.arch.dump_exit(core, task.call_at, task.stat[52] >> 8)
    signals.dump_shared(core, thread.mask, thread.queues[1])


def _find_call(ctx: Context, task: Collected) -> int:
    """Where in a process's vdso there is a system call instruction; 0 for nowhere."""
    for start, end in vdso.areas(task.vmas):
        code = memory.read(task.view, start, end - start)
        if ctx.arch.SYSCALL in code:
            return start + code.index(ctx.arch.SYSCALL)
    return 0


def _visit(ctx: Context, task: Collected, live: list[CollectedThread], interview: Interview, graft: Graft) -> None:
    """Ask every thread. The answers stay here; the task is as before."""
    first = live[0]
    with injected(ctx.arch, task.task.first, graft, first.regs, first.mask) as parasite:
        parasite.run()
        first.answers = interview.first.answers(parasite.memory)
        _visit_others(task, live, interview, parasite)


def _visit_others(task: Collected, live: list[CollectedThread], interview: Interview, parasite: Parasite) -> None:
    for thread, tracee in zip(live[1:], task.task.tracees[1:], strict=True):
        parasite.visit(tracee, thread.regs, thread.mask)
        thread.answers = interview.other.answers(parasite.memory)


def _visit_again(ctx: Context, task: Collected, listed: list[timers.Listed], stopped: dict[int, int]) -> None:
    """A second visit, for POSIX timers and stopped children: which there are is known only now.

    `stopped`: what the task calls them, and what the tree does.
    """
    from engine.plan.program import Arena, place

    size = ARENA_MAX + len(listed) * timers.ASKED_MAX + len(stopped) * identity.ASKED_MAX
    arena = Arena(ctx.machine, place([(v.start, v.end) for v in task.vmas], size, compat.is_small(task.vmas)))
    other = Questions(arena, "nothing to ask")
    q = Questions(arena, f"more questions to {task.pid}")
    asked = timers.ask_listed(q, listed)
    seen = identity.ask_stopped(q, list(stopped))
    sheet = Questionnaire(arena, q.done(), other.done())
    first = task.live[0]
    graft = Graft(task.view, task.vmas, sheet)
    with injected(ctx.arch, task.task.first, graft, first.regs, first.mask) as parasite:
        parasite.run()
        answers = q.answers(parasite.memory)
    task.listed = (listed, answers, asked)
    task.seen = [stopped[pid] for pid, room in seen.items() if not answers.word(room, 4)]


def shared_by_threads(task: Collected) -> list[str]:
    """What every thread of a process is to share with the first: nothing in an image could tell otherwise."""
    tids = [t.pid for t in task.task.tracees]
    out = []
    if len(tids) > 1:
        for kind, what in ((process.KCMP_FILES, "file descriptors"), (process.KCMP_FS, "root, directory and umask")):
            ids = process.kcmp_ids(tids, kind)
            own = [tid for tid, ident in zip(tids, ids, strict=True) if ident != 1]
            if own:
                out.append(f"thread {own[0]} has {what} of its own (unshare(2)): not supported")
    return out


def digest(ctx: Context, task: Collected, interview: Interview, scope: Scope) -> None:
    """The task's answers, into entries: nothing for which it has to be frozen."""
    core = task.core
    live = task.live
    for thread in live:
        answers: Answers = thread.answers
        ctx.arch.dump_areas(thread.core, thread.areas, interview.states)
        try:
            ctx.arch.dump_registers(thread.core, thread.regs, thread.extended, ctx.xstate, interview.states)
        except Unsupported as e:
            raise Unsupported([f"pid {thread.tid}: {b}" for b in e.blockers]) from e
        threads.dump_rseq(thread.core, thread.area)
        signals.dump_pending(thread.core, thread.mask, *thread.queues)
        asked = interview.asked_first if thread is live[0] else interview.asked_thread
        status = thread.status
        signals.dump_thread(thread.core, answers, asked[signals])
        creds.dump_thread(thread.core, answers, asked[creds], status, interview.creds, scope)
        threads.dump_thread(thread.core, answers, asked[threads])
        identity.dump_thread(thread.core, thread.tid, status["Name"])
        identity.dump_thread_answers(thread.core, answers, asked[identity])
    first = live[0].answers
    if task.leader_gone:
        _dump_dead_leader(ctx, task, live[0])
    signals.dump(core, first, interview.asked[signals])
    timers.dump(core, first, interview.asked[timers])
    if task.listed:
        timers.dump_listed(core, *task.listed)
    identity.dump_answers(core, task.mm, first, interview.asked[identity])


def collect_memory(ctx: Context, task: Collected, interview: Interview, files: FileTable) -> None:
    """Mappings and the addresses of the process."""
    first = task.live[0].answers
    stat = proc.Stat(task.view) if task.leader_gone else task.stat
    mm_kind.dump(task.mm, first, interview.asked[mm_kind], task.view, stat, ctx.arch.is_compat(task.live[0].regs))
    sched.dump_coredump_filter(task.mm, task.view)
    if any(v.path == vma_kind.AIO for v in task.vmas):
        from engine.memory import aio  # few tasks have any

        aio.settle(task.view, task.vmas)
    attributes.dump(task.mm, first, interview.asked[attributes])
    task.mm.exe_file_id = files.path(task.view, "exe")
    vma_kind.dump(task.mm, task.vmas, (task.mm.mm_start_brk, task.mm.mm_brk), task.view, files)


def collect_files(ctx: Context, task: Collected, files: FileTable) -> None:
    """Descriptors: which number is which description."""
    view = task.view
    add = task.fdinfo.all.add
    for d in fd.again(view, files.scope.seen.pop(view, {}), files.looking()):
        ident, kind = files.opened(d)
        add(id=ident, flags=d.cloexec, type=kind, fd=d.fd)


def collect_sched(task: Collected, interview: Interview, defaults: sched.Defaults) -> None:
    """How its threads are scheduled."""
    live = task.live
    for thread in live:
        slack = thread.answers.result(interview.slack[thread is not live[0]])
        sched.dump(thread.core.thread_core, thread.tid, defaults, slack)


def zombie(ctx: Context, pid: int, scope: Scope) -> Any:
    """The core_entry of a task that has ended and waits to be reaped."""
    stat = proc.Stat(pid)
    core = ctx.schema.message("core_entry")(mtype=ctx.arch.MARCH)
    tc = core.tc
    tc.task_state, tc.exit_code = DEAD, stat[52]
    tc.personality = tc.flags = tc.blk_sigset = 0
    identity.dump_zombie(core, stat)
    core.thread_core.futex_rla = core.thread_core.futex_rla_len = 0
    creds.dump_ids(core, proc.status(pid), scope)
    return core


def sleeps_left(ctx: Context, tasks: list[Collected], sleeps: dict[int, restart.Sleep]) -> list[int]:
    """Fill what is left of interrupted calls; returns the threads of which it is not known."""
    unknown = []
    for task in tasks:
        for thread in task.live:
            if not restart.needs(ctx.arch, thread.regs):
                continue
            sleep = sleeps.get(thread.tid)
            if sleep is None or not restart.dump(ctx.arch, ctx.machine, thread.core, thread.regs, sleep):
                unknown.append(thread.tid)
    return unknown
