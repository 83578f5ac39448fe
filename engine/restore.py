"""Restore in five steps: read, build the world, open files, run the programs, finish from outside (docs/design.md)."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import struct
import time
from contextlib import ExitStack, closing, suppress

from engine import cpuinfo
from engine.context import Context
from engine.errors import EngineError, KernelError, Unsupported
from engine.files.validation import Validation
from engine.images.files import Images
from engine.images.validate import validate_all
from engine.kernel import proc, process
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.mman import MAP_HUGETLB
from engine.kernel.uapi.signal import SIGKILL, SIGSTOP
from engine.memory import uprobes, vdso
from engine.plan import abi
from engine.plan.program import Program, result, status
from engine.stats import RestoreStats
from engine.tasks import identity, restart, sched, seccomp, signals
from engine.tasks.compile import Compiler, Guard, Plan, Runner
from engine.tasks.images import TaskImages, TreeImages
from engine.tasks.opener import Opener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PID_RETRY_US = 2_000_000  # how long a pid may stay a zombie's before it counts as taken


def restore(ctx: Context) -> int:
    """Restore the images in --images-dir; returns the root task's pid. A failure leaves no process and no file."""
    stats = RestoreStats()
    # the task's descriptors may have higher numbers than we are allowed; its own limit comes back with the rest
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    process.block_sigchld(True)
    try:
        with closing(ctx.images()) as images:
            validate_all(images)
            cpuinfo.check(ctx, images)
            return _restore(ctx, images, read(ctx, images), stats)
    finally:
        process.block_sigchld(False)


def show_plan(ctx: Context) -> str:
    """What restore would do, as text; nothing is done."""
    with closing(ctx.images()) as images:
        validate_all(images)
        tree = read(ctx, images)
        with Opener(images, tree.files, tree.remaps, tree.memfds, dry=True) as opener:
            plan = Compiler(ctx, tree, opener, os.getpid()).compile()
    return "\n".join(program.listing() for program in plan.arena.programs)


def read(ctx: Context, images: Images) -> TreeImages:
    """Step one: everything that describes the tree, checked against what is supported, before any side effect."""
    tree = TreeImages(images)
    blockers = tree.blockers(ctx.arch.MARCH, ctx.options.shell_job)
    if blockers:
        raise Unsupported(blockers)
    uprobes.check(tree.inventory, ctx.options.allow_uprobes)
    entry = tree.seccomp if tree.seccomp is not None else ctx.schema.message("seccomp_entry")()
    kernels = vdso.Kernels()
    for task in tree.live():
        cores = {task.pid: task.core, **dict(task.threads)}
        task.vdso = vdso.prepare(task, images, cores, kernels)
        if task.mm.aios:
            from engine.memory import aio  # few tasks have any

            task.rings = aio.prepare(task, images)
        names = [f"core-{tid}.img" for tid in cores]
        task.seccomp = seccomp.Process(entry, task.core.tc, [c.thread_core for c in cores.values()], names)
        if task.seccomp.apart():
            ctx.log.warn(
                f"pid {task.pid}: some of its threads share seccomp filters that not all have: these are copied"
            )
    if any(v.flags & MAP_HUGETLB for task in tree.live() for v in task.mm.vmas):
        from engine.memory import hugetlb

        hugetlb.check(tree.live())
    return tree


class World:
    """What a restore has made so far."""

    __slots__ = ("extended", "plan", "root", "states", "tracees", "tree", "view")

    def __init__(self, tree: TreeImages, plan: Plan, view: mmap.mmap) -> None:
        self.tree = tree
        self.plan = plan
        self.view = view
        self.root = 0
        self.extended = bytearray()
        self.states: dict[bytes, bytes] = {}
        self.tracees: dict[int, Tracee] = {}


def _restore(ctx: Context, images: Images, tree: TreeImages, stats: RestoreStats) -> int:
    """Steps three to five, for a tree on the host."""
    options, log = ctx.options, ctx.log
    with ExitStack() as undo:
        opener = Opener(
            images,
            tree.files,
            tree.remaps,
            tree.memfds,
            not options.skip_file_rwx_check,
            validation=Validation(options, log),
        )
        undo.enter_context(opener)
        compiler = Compiler(ctx, tree, opener, os.getpid())
        plan = compiler.compile()
        image = plan.arena.image(plan.root, plan.arena.stack())
        memfd = _high(os.memfd_create("criu-arena", os.MFD_CLOEXEC))
        undo.callback(os.close, memfd)
        os.truncate(memfd, plan.arena.size)
        view = mmap.mmap(memfd, plan.arena.size)
        undo.callback(view.close)
        view[: len(image)] = image
        for table in plan.arena.tables:
            table.fill(view, plan.arena.offset(table.address))
        world = World(tree, plan, view)
        seed = _high(os.open(f"{ctx.machine.path}/seed", os.O_RDONLY | os.O_CLOEXEC))
        undo.callback(os.close, seed)
        process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
        undo.callback(process.keeper_disarm)
        _await_pids(tree)
        process.subreaper(True)
        undo.callback(process.subreaper, False)
        undo.callback(_kill, world)
        world.root = _spawn(ctx, seed, memfd, tree.root.pid)
        timeout = options.timeout * 1_000_000
        if not tree.root.leader_gone:  # that one ends when it has made the others, maybe before we get there
            _seize(world, world.root, timeout, pt.PTRACE_O_SUSPEND_SECCOMP if plan.guards else 0)
        stats.forking = stats.clock.total()
        for guard in plan.guards:
            _hold(world, guard, timeout)
        for program in plan.programs:
            _run(world, program)
        for task in tree.live():
            if task.leader_gone:
                _await_end(world, task.pid)
        for program, limits in plan.limits:
            for name, ref in limits:
                if result(view, plan.arena, program, ref) < 0:
                    log.warn(f"{program.name}: cannot set {name}: raising a hard limit needs CAP_SYS_RESOURCE")
        for task in tree.live():
            identity.restore_from_outside(task.core, task.pid, log)
            sched.restore_coredump_filter(task.mm, task.pid, compiler.inherited)
        _finish(ctx, world, timeout)
        if options.pidfile:
            _write_pidfile(options.pidfile, world.root)
            undo.callback(os.unlink, options.pidfile)
        stats.pages_compared, stats.pages_skipped_cow, stats.pages_restored = compiler.spaces.counts()
        stats.write(ctx)
        opener.settle()
        opener.close()  # an end of a pipe that we hold as well is not closed when the tasks close theirs
        log.info("Restore finished successfully. Tasks resumed.")  # the next call is the one that cannot be undone
        _let_go(world, options.leave_stopped)
        undo.pop_all()
        process.subreaper(False)
        for fd in (memfd, seed):
            os.close(fd)
        process.keeper_disarm()
    return world.root


def _await_pids(tree: TreeImages) -> None:
    """Every pid must be free; a zombie's becomes so when it is reaped."""
    pids = [node.pid for node in tree.nodes[1:]] + [tid for task in tree.tasks for tid, _ in task.threads]
    waited = 0
    for pid in pids:
        while os.path.exists(f"/proc/{pid}"):
            if waited >= _PID_RETRY_US or not _is_passing(pid):
                raise EngineError(f"pid {pid} is taken: {_holder(pid)}; the task needs the pid it had")
            time.sleep(0.01)
            waited += 10_000


def _high(fd: int) -> int:
    """The same file at a number that the seed leaves alone."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
    finally:
        os.close(fd)


def _spawn(ctx: Context, seed: int, memfd: int, pid: int) -> int:
    waited = 0
    while True:
        try:
            return process.spawn_seed(seed, memfd, pid, ctx.options.restore_sibling)
        except KernelError as e:
            if e.errno != errno.EEXIST:
                raise
            if waited >= _PID_RETRY_US or not _is_passing(pid):
                raise EngineError(f"pid {pid} is taken: {_holder(pid)}; the task needs the pid it had") from e
        time.sleep(0.01)
        waited += 10_000


def _is_passing(pid: int) -> bool:
    """Is the pid that of a zombie, which some parent will reap soon?"""
    try:
        return proc.Stat(pid).state in ("Z", "X")
    except OSError:
        return not any(_named_after(pid))


def _named_after(pid: int) -> Iterator[tuple[str, str]]:
    """(pid, comm) of those whose session or process group is `pid`."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                stat = proc.Stat(int(name))
                if pid in (stat.pgid, stat.sid):
                    yield name, stat.comm


def _holder(pid: int) -> str:
    """Who has a pid: a process, a thread, or a session or group that is named after it."""
    with suppress(OSError):
        stat, state = proc.Stat(pid), proc.status(pid)
        if int(state["Tgid"]) != pid:
            return f"it is a thread of process {state['Tgid']} ({stat.comm})"
        what = "is a zombie whose parent has not reaped it" if stat.state == "Z" else f"has state {stat.state}"
        return f"'{stat.comm}' has it (parent {stat.ppid}; it {what})"
    for name, comm in _named_after(pid):
        return f"it is the session or process group of pid {name} ('{comm}')"
    return "its holder is not visible from here"


def _seize(world: World, tid: int, timeout_us: int, options: int = 0, is_first: bool = True) -> Tracee:
    """`is_first`: of the threads of a process that are seized; if we die, its death is that of the others too."""
    tracee = world.tracees[tid] = Tracee(tid, timeout_us)
    tracee.seize(pt.PTRACE_O_TRACESYSGOOD | pt.PTRACE_O_EXITKILL * is_first | options)
    return tracee


def _wait(world: World, address: int, least: int) -> None:
    """Until a word of the arena is at least so much."""
    at = world.plan.arena.offset(address)
    while (seen := struct.unpack_from("<I", world.view, at)[0]) < least:
        if not process.futex_wait(world.view, at, seen, 20_000):
            _alive(world)


def _alive(world: World) -> None:
    """While programs run: raise the failure of any; a thread that something has stopped goes on."""
    _check(world)
    for tracee in world.tracees.values():
        tracee.keep_going()


def _hold(world: World, guard: Guard, timeout_us: int) -> None:
    """Become the tracer of all threads of a process, and let it go on to what needs that; see it stop if it does."""
    _wait(world, guard.arrived, len(guard.runners))
    for runner in guard.runners:
        if runner.tid not in world.tracees:
            is_first = runner is guard.runners[0]
            _seize(world, runner.tid, timeout_us, pt.PTRACE_O_SUSPEND_SECCOMP, is_first)
    at = world.plan.arena.offset(guard.held)
    struct.pack_into("<I", world.view, at, 1)
    process.futex_wake(world.view, at)
    for runner in guard.runners:
        if runner.stops:
            _stop(world, guard, runner)


def _stop(world: World, guard: Guard, runner: Runner) -> None:
    """The thread stops itself: the signal is passed on, and then all threads of its process stop."""
    tracee = world.tracees[runner.tid]
    for other in guard.runners:
        if other is not runner:
            _run(world, other.program)
    while True:
        stop = tracee.wait_stop()
        if stop >> 8 == pt.PTRACE_EVENT_STOP:
            break
        tracee.cont(stop)
    for other in guard.runners:
        if other is not runner:
            world.tracees[other.tid].wait_event_stop()


def _run(world: World, program: Program) -> None:
    """Step four: wait until a program parks, or its thread is stopped as it was."""
    arena, view = world.plan.arena, world.view
    at = arena.offset(program.address) + abi.PROG.offset["state"]
    stopping = len(program.operations) - 2
    while status(view, arena, program)[0] == abi.STATE_RUNNING:
        if not process.futex_wait(view, at, abi.STATE_RUNNING, 20_000):
            if program.operations[stopping].note == "stop" and status(view, arena, program)[1] >= stopping - 1:
                return
            _alive(world)
    if status(view, arena, program)[0] == abi.STATE_FAILED:
        _check(world)


def _await_end(world: World, pid: int) -> None:
    """Until a leader that is to end has: before that it is in the arena, which is about to be unmapped."""
    while proc.Stat(pid).state not in ("Z", "X"):
        _alive(world)
        time.sleep(0.0005)


def _check(world: World) -> None:
    """Raise the failure of any program of the arena, loader threads' included."""
    arena = world.plan.arena
    for program in arena.programs:
        state, pc, error = status(world.view, arena, program)
        if state == abi.STATE_FAILED:
            raise KernelError(program.failure(pc, error), -error if -4096 < error < 0 else errno.EINVAL)


def _finish(ctx: Context, world: World, timeout_us: int) -> None:
    """Step five: take the parked threads over, remove the arena, set registers and signal masks."""
    plan = world.plan
    stopped = {runner.tid for guard in plan.guards for runner in guard.runners if guard.runners[0].stops}
    for runners in plan.runners.values():
        for runner in runners:
            if runner.tid not in world.tracees:
                _seize(world, runner.tid, timeout_us, is_first=runner is runners[0])
            if runner.tid not in stopped:
                world.tracees[runner.tid].interrupt()
    for runners in plan.runners.values():
        for runner in runners:
            if runner.tid not in stopped:
                world.tracees[runner.tid].wait_event_stop()
    mms: dict[int, list[tuple[Runner, bytearray]]] = {}
    for task in world.tree.live():
        final = [(runner, _registers(ctx, world, runner)) for runner in plan.runners[task.pid]]
        mms.setdefault(task.ids.vm_id, []).extend(final)
    for users in mms.values():
        first, regs = users[0]
        for runner, other in users[1:]:
            _settle(world, runner, other)
        _unmap(ctx, world, first)
        _settle(world, first, regs)


def _registers(ctx: Context, world: World, runner: Runner) -> bytearray:
    """The general registers to go on with; the extended ones are set."""
    arch, tracee = ctx.arch, world.tracees[runner.tid]
    final = bytearray(arch.general_of(runner.core))
    continued = restart.restore(arch, runner.core, tracee, world.plan.arena, runner.room, world.view)
    if continued:
        arch.put(final, ax=continued[0], orig_ax=continued[1])
    arch.restore_areas(runner.core, tracee)
    if not world.extended:  # its size and what the kernel reserves in it are the same for all
        world.extended = tracee.extended(arch.EXTENDED_SET)
    tracee.set_extended(_extended(ctx, world, runner), arch.EXTENDED_SET)
    return final


def _extended(ctx: Context, world: World, runner: Runner) -> bytes:
    """The extended register set; most threads of a tree have the same."""
    key = ctx.arch.extended_key(runner.core)
    if key not in world.states:
        try:
            state, missing = ctx.arch.extended_of(runner.core, world.extended, ctx.xstate)
        except Unsupported as e:
            raise Unsupported([f"pid {runner.tid}: {b}" for b in e.blockers]) from e
        if missing:
            raise EngineError(f"pid {runner.tid}: this CPU lacks the registers {', '.join(missing)} that the task used")
        world.states[key] = state
    return world.states[key]


def _settle(world: World, runner: Runner, regs: bytearray) -> None:
    tracee = world.tracees[runner.tid]
    tracee.set_general(regs)
    tracee.set_sigmask(signals.mask_of(runner.core))


def _unmap(ctx: Context, world: World, runner: Runner) -> None:
    """Have the last user of an address space remove the arena from it."""
    arch, tracee, arena = ctx.arch, world.tracees[runner.tid], world.plan.arena
    size = len(world.view)
    nr = arena.machine.nr["munmap"]
    tracee.set_general(arch.for_syscall(tracee.general(), arena.syscall_instruction, nr, arena.base, size))
    tracee.to_syscall_stop()
    tracee.to_syscall_stop()
    left = arch.syscall_result(tracee.general())
    if left:
        raise KernelError(f"munmap({arena.base:#x}, {size})", -left)


def _let_go(world: World, stopped: bool) -> None:
    """All at once; with --leave-stopped in SIGSTOP.

    First none is to die with us any more (PTRACE_O_EXITKILL). This wakes nobody, and so takes no time: whoever kills
    us after that leaves a tree that runs. Nothing may fail any more, since who goes on may end others, or itself.
    """
    for runners in world.plan.runners.values():
        world.tracees[runners[0].tid].set_options(0)
    for task in world.tree.live():
        with suppress(ProcessLookupError):
            _release(world, task, stopped)


def _release(world: World, task: TaskImages, stopped: bool) -> None:
    pid = task.pid
    if stopped or signals.pending_stops(task.core.tc.signals_s):
        os.kill(pid, SIGSTOP)
    for runner in world.plan.runners[pid]:
        tracee = world.tracees[runner.tid]
        try:
            if signals.pending_stops(runner.core.thread_core.signals_p):
                process.tgkill(pid, runner.tid, SIGSTOP)
            for sig in tracee.signals:
                os.kill(pid, sig)
            tracee.detach()
        except KernelError as e:
            if e.errno != errno.ESRCH:
                raise


def _kill(world: World) -> None:
    """A failed restore leaves nothing: kill what is below the root, and reap what is ours to reap."""
    if not world.root:
        return
    pids = {world.root, *(node.pid for node in world.tree.nodes if _is_below(node.pid, world.root))}
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    for tid in (*world.tracees, *pids):
        with suppress(KernelError):
            process.wait_exit(tid, 5_000_000)


def _is_below(pid: int, root: int) -> bool:
    """Is it a descendant of the root, or an orphan that came to us?"""
    with suppress(OSError):
        while pid > 1:
            pid = proc.Stat(pid).ppid
            if pid in (root, os.getpid()):
                return True
    return False


def _write_pidfile(path: str, pid: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)
