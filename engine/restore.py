"""Restore in five steps: read, build the world, open files, run the programs, finish from outside (docs/design.md)."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import time

from engine import cpuinfo
from engine.blocks import ExitStack, closing, suppress
from engine.context import Context
from engine.errors import EngineError, KernelError, Unsupported
from engine.files.validation import Validation
from engine.images.files import Images
from engine.images.validate import validate_all
from engine.kernel import proc, process
from engine.kernel.uapi import ptrace as pt
from engine.kernel.uapi.mman import MAP_HUGETLB
from engine.kernel.uapi.signal import SIGKILL
from engine.memory import vdso
from engine.plan import abi
from engine.plan.program import result
from engine.stats import RestoreStats
from engine.tasks import identity, sched, seccomp
from engine.tasks.compile import Compiler
from engine.tasks.finish import finish, let_go
from engine.tasks.images import TreeImages
from engine.tasks.opener import Opener
from engine.tasks.running import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


_REAP_S = 5.0  # how long a failed restore waits for the end of what it has made
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
        with Opener(images, tree, Validation(ctx.options, ctx.log)) as opener:
            plan = Compiler(ctx, tree, opener, os.getpid()).compile()
    return "\n".join(program.listing() for program in plan.arena.programs)


def read(ctx: Context, images: Images) -> TreeImages:
    """Step one: everything that describes the tree, checked against what is supported, before any side effect."""
    tree = TreeImages(images, ctx.options)
    blockers = tree.blockers(ctx.arch.MARCH, ctx.options.shell_job)
    if ctx.options.outer_pids and "pid" in tree.namespaces:
        if "user" in tree.namespaces:
            blockers.append(
                "--outer-pids: pids outside of a tree's user namespace cannot be chosen in it: leave it out"
            )
        if any(task.threads and task.namespace("user") in tree.users for task in tree.live()):
            blockers.append("--outer-pids: those of threads in user namespaces cannot be chosen: leave it out")
        tree.numbers.keep_outer([task.tree for task in tree.tasks])
    if blockers:
        raise Unsupported(blockers)
    if tree.inventory.allow_uprobes:
        from engine.memory import uprobes

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
    if images.exists("CGROUP"):
        from engine.tasks import cgroup_restore

        tree.cgroups = cgroup_restore.read(ctx, images, tree)
    if any(v.flags & MAP_HUGETLB for task in tree.live() for v in task.mm.vmas):
        from engine.memory import hugetlb

        hugetlb.check(tree.live())
    return tree


def _restore(ctx: Context, images: Images, tree: TreeImages, stats: RestoreStats) -> int:
    """Steps three to five, for a tree on the host."""
    options, log = ctx.options, ctx.log
    with ExitStack() as undo:
        if tree.existing:
            undo.callback(tree.existing.close)
        opener = Opener(images, tree, Validation(options, log), not options.skip_file_rwx_check)
        undo.enter_context(opener)
        if options.inherit_fds or options.externals:
            from engine.files.external import Given

            opener.accept(Given(options.inherit_fds, options.externals, log))
        compiler = Compiler(ctx, tree, opener, os.getpid())
        plan = compiler.compile()
        if tree.cgroups:
            undo.callback(tree.cgroups.undo)
            tree.cgroups.make()
        if not plan.cradle:
            opener.open_all()
        image = plan.arena.image(plan.cradle.first if plan.cradle else plan.root, plan.arena.stack())
        memfd = _high(os.memfd_create("criu-arena", os.MFD_CLOEXEC))
        undo.callback(os.close, memfd)
        os.truncate(memfd, plan.arena.size)
        view = mmap.mmap(memfd, plan.arena.size)
        undo.callback(view.close)
        view[: len(image)] = image
        for table in plan.arena.tables:
            table.fill(view, plan.arena.offset(table.address))
        world = World(ctx, images, tree, plan, view)
        seed = _high(os.open(f"{ctx.machine.path}/seed", os.O_RDONLY | os.O_CLOEXEC))
        undo.callback(os.close, seed)
        process.keeper_arm(view, abi.HEAD.offset["keeper_node"], abi.HEAD.offset["keeper"])
        undo.callback(process.keeper_disarm)
        if "pid" not in tree.namespaces:
            _await_pids(tree, plan.cradle is None)
        process.subreaper(True)
        undo.callback(process.subreaper, False)
        undo.callback(_kill, world)
        world.root = _spawn(ctx, seed, memfd, 0 if plan.cradle else tree.root.pid)
        undo.callback(world.outside.close)
        world.root = world.outside.make(world.root)
        world.outside.build(opener)
        timeout = options.timeout * 1_000_000
        if not tree.root.leader_gone:  # that one ends when it has made the others, maybe before we get there
            world.seize(tree.root.pid, timeout, pt.PTRACE_O_SUSPEND_SECCOMP if plan.guards else 0)
        world.move()
        stats.forking = stats.clock.total()
        for guard in plan.guards:
            world.hold(guard, timeout)
        for program in plan.programs:
            world.run(program)
        for task in tree.live():
            if task.leader_gone:
                world.await_end(task.pid)
        for program, limits in plan.limits:
            for name, ref in limits:
                if result(view, plan.arena, program, ref) < 0:
                    log.warn(f"{program.name}: cannot set {name}: raising a hard limit needs CAP_SYS_RESOURCE")
        for task in tree.live():
            pid = world.outside.outer(task.pid)
            identity.restore_from_outside(task.core, pid, log)
            sched.restore_coredump_filter(task.mm, pid, compiler.inherited)
        if tree.cgroups:
            world.move_threads(tree.cgroups)
        finish(ctx, world, timeout)
        if options.pidfile:
            pidfile = os.path.join(options.work_dir, options.pidfile)
            _write_pidfile(pidfile, world.root)
            undo.callback(os.unlink, pidfile)
        stats.pages_compared, stats.pages_skipped_cow, stats.pages_restored = compiler.spaces.counts()
        stats.write(ctx)
        world.outside.settle(opener)
        if tree.cgroups:
            tree.cgroups.settle()
        log.info("Restore finished successfully. Tasks resumed.")  # the next call is the one that cannot be undone
        let_go(world, options.leave_stopped)
        undo.pop_all()
        world.outside.done()
        process.subreaper(False)
        if tree.cgroups:
            tree.cgroups.close()
        for fd in (memfd, seed):
            os.close(fd)
        if tree.existing:
            tree.existing.close()
        process.keeper_disarm()
    return world.root


def _await_pids(tree: TreeImages, spawned: bool) -> None:
    """Every pid must be free; a zombie's becomes so when it is reaped. The root's too, unless it is `spawned` by us."""
    pids = [node.pid for node in tree.nodes[spawned:]] + [tid for task in tree.tasks for tid, _ in task.threads]
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


def _kill(world: World) -> None:
    """A failed restore leaves nothing: kill what is below the root, and reap what is ours to reap."""
    if world.root <= 0:
        return
    pids = {world.root}
    pid_namespace = world.tree.namespaces.get("pid")
    if pid_namespace is None:
        pids.update(node.pid for node in world.tree.nodes if _is_below(node.pid, world.root))
        pids.update(world.outside.below())  # who has another pid than it should
    elif world.tree.exists("pid", pid_namespace):  # else all of it dies with the first
        pids.update(world.outside.below())
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    _reap({tracee.pid for tracee in world.tracees.values()} | pids)


def _reap(pids: set[int]) -> None:
    """Wait for the end of these: whoever has come to us goes too, for whom a pid namespace's first process may wait."""
    end = time.monotonic() + _REAP_S
    while pids and time.monotonic() < end:
        try:
            pid = os.waitpid(-1, os.WNOHANG | pt.WALL)[0]
        except ChildProcessError:
            return
        pids.discard(pid)
        if not pid:
            time.sleep(0.001)


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
