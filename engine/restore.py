"""Restore in five steps: read, build the world, open files, run the programs, finish from outside (docs/design.md)."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import time
from contextlib import ExitStack, closing, suppress

from engine.context import Context
from engine.errors import BadImage, EngineError, KernelError, Unsupported
from engine.files import kinds
from engine.images.files import Images
from engine.images.validate import validate_all
from engine.kernel import proc, process
from engine.kernel.ptrace import Tracee, xstate_component
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.signal import SIGKILL
from engine.memory import vdso
from engine.plan import abi
from engine.plan.program import Arena, Program, Ref, free_hole, result, status
from engine.stats import RestoreStats
from engine.tasks import freeze, identity, restart, signals
from engine.tasks.compile import ARENA_ROOM, TaskImages, compile_task
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
            return _restore(ctx, images, read(ctx, images), stats)
    finally:
        process.block_sigchld(False)


def show_plan(ctx: Context) -> str:
    """What restore would do, as text; nothing is done."""
    with closing(ctx.images()) as images:
        validate_all(images)
        task = read(ctx, images)
        with Opener(images, task.files, task.remaps, dry=True) as opener:
            arena, _, _ = _compile(ctx, task, opener, os.getpid())
    return "\n".join(program.listing() for program in arena.programs)


def read(ctx: Context, images: Images) -> TaskImages:
    """Step one: everything that describes the task, checked against what is supported, before any side effect."""
    inventory = images.read_one("INVENTORY")
    if not (inventory.fdinfo_per_id and inventory.ns_per_id):
        raise BadImage("inventory.img", 0, "images of a CRIU older than 2.0 are not supported; dump again")
    tree = images.read("PSTREE")
    blockers = []
    if len(tree) != 1:
        blockers.append(f"pstree.img holds {len(tree)} tasks: only single tasks are supported yet")
    if not tree:
        raise BadImage("pstree.img", 0, "no task in it; dump again")
    pid = tree[0].pid
    if len(tree[0].threads) > 1:
        blockers.append(f"pid {pid}: {len(tree[0].threads)} threads: only single-threaded tasks are supported yet")
    task = TaskImages(images, tree[0], inventory)
    if task.core.tc.task_state != 1:
        blockers.append(f"pid {pid}: task state {task.core.tc.task_state}: only running tasks are supported yet")
    if task.core.mtype != ctx.arch.MARCH:
        blockers.append(f"pid {pid}: the image is of another architecture ({task.core.mtype})")
    blockers += task.blockers()
    own = inventory.root_ids
    blockers += [
        f"pid {pid}: the task had its own {name.removesuffix('_ns_id')} namespace: namespaces are not supported yet"
        for name in (f.name for f in own.DESCRIPTOR.fields if f.name.endswith("_ns_id"))
        if getattr(own, name) != getattr(task.ids, name)
    ]
    for entry in task.files.values():
        if kinds.by_type(entry.type) is None:
            blockers.append(f"files.img: file {entry.id:#x}: files of type {entry.type} are not supported yet")
    if tree[0].sid != pid and not ctx.options.shell_job:
        blockers.append(f"pid {pid}: its session's leader is outside of the tree; use --shell-job")
    if blockers:
        raise Unsupported(blockers)
    vdso.check(task, images)
    return task


def _compile(
    ctx: Context, task: TaskImages, opener: Opener, coordinator: int
) -> tuple[Arena, Program, list[tuple[str, Ref]]]:
    taken = [(v.start, v.end) for v in task.mm.vmas]
    arena = Arena(ctx.machine, free_hole(taken, ARENA_ROOM))
    program, limits = compile_task(ctx, arena, task, opener, coordinator)
    return arena, program, limits


def _restore(ctx: Context, images: Images, task: TaskImages, stats: RestoreStats) -> int:
    """Steps three to five for one task on the host."""
    options, log = ctx.options, ctx.log
    with ExitStack() as undo:
        opener = undo.enter_context(Opener(images, task.files, task.remaps, not options.skip_file_rwx_check))
        arena, program, limits = _compile(ctx, task, opener, os.getpid())
        room = arena.reserve(16)
        image = arena.image(program, arena.stack())
        memfd = _high(os.memfd_create("criu-arena", os.MFD_CLOEXEC))
        undo.callback(os.close, memfd)
        os.truncate(memfd, len(image))
        view = mmap.mmap(memfd, len(image))
        undo.callback(view.close)
        view[:] = image
        seed = _high(os.open(f"{ctx.machine.path}/seed", os.O_RDONLY | os.O_CLOEXEC))
        undo.callback(os.close, seed)
        process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
        undo.callback(process.keeper_disarm)
        pid = _spawn(ctx, seed, memfd, task.pid)
        tracee = Tracee(pid, options.timeout * 1_000_000)
        undo.callback(_kill, pid, options.restore_sibling)
        tracee.seize(pt.PTRACE_O_TRACESYSGOOD | pt.PTRACE_O_EXITKILL)
        stats.forking = stats.clock.total()
        _run(tracee, view, arena, program)
        for name, ref in limits:
            if result(view, arena, program, ref) < 0:
                log.warn(f"pid {pid}: cannot set {name}: raising a hard limit needs CAP_SYS_RESOURCE")
        identity.restore_from_outside(task.core, pid, log)
        _finish(ctx, task, tracee, arena, room, view)
        if options.pidfile:
            _write_pidfile(options.pidfile, pid)
            undo.callback(os.unlink, options.pidfile)
        stats.pages_restored = task.pages
        stats.write(ctx)
        log.info("Restore finished successfully. Tasks resumed.")  # the next call is the one that cannot be undone
        freeze.thaw(tracee, stopped=options.leave_stopped)
        undo.pop_all()
        for fd in (memfd, seed):
            os.close(fd)
        process.keeper_disarm()
        opener.close()
    return pid


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


def _run(tracee: Tracee, view: mmap.mmap, arena: Arena, program: Program) -> None:
    """Step four: wait until the program parks."""
    at = arena.offset(program.address) + abi.PROG.offset["state"]
    while status(view, arena, program)[0] == abi.STATE_RUNNING:
        if not process.futex_wait(view, at, abi.STATE_RUNNING, 20_000):
            tracee.keep_going()
            _check(view, arena)
    _check(view, arena)


def _check(view: mmap.mmap, arena: Arena) -> None:
    """Raise the failure of any program of the arena, loader threads' included."""
    for program in arena.programs:
        state, pc, error = status(view, arena, program)
        if state == abi.STATE_FAILED:
            raise KernelError(program.failure(pc, error), -error if -4096 < error < 0 else errno.EINVAL)


def _finish(ctx: Context, task: TaskImages, tracee: Tracee, arena: Arena, room: int, view: mmap.mmap) -> None:
    """Step five: take the parked task over, remove the arena, set registers and signal mask."""
    arch = ctx.arch
    size = len(view)
    tracee.interrupt()
    tracee.wait_event_stop()
    final = bytearray(arch.general_of(task.core))
    continued = restart.restore(arch, task.core, tracee, arena, room, view)
    if continued:
        arch.put(final, ax=continued[0], orig_ax=continued[1])
    regs = tracee.general()
    tracee.set_general(arch.for_syscall(regs, arena.syscall_instruction, arena.machine.nr["munmap"], arena.base, size))
    tracee.to_syscall_stop()
    tracee.to_syscall_stop()
    left = arch.syscall_result(tracee.general())
    if left:
        raise KernelError(f"munmap({arena.base:#x}, {size})", -left)
    state, missing = arch.extended_of(task.core, tracee.extended(arch.EXTENDED_SET), xstate_component)
    if missing:
        raise EngineError(f"pid {task.pid}: this CPU lacks the registers {', '.join(missing)} that the task used")
    tracee.set_extended(state, arch.EXTENDED_SET)
    tracee.set_general(final)
    tracee.set_sigmask(signals.mask_of(task.core))


def _kill(pid: int, sibling: bool) -> None:
    """A failed restore leaves nothing: kill, and reap what is ours to reap."""
    with suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)
    with suppress(KernelError):
        process.wait_exit(pid, 5_000_000)


def _write_pidfile(path: str, pid: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, str(pid).encode())
    finally:
        os.close(fd)
