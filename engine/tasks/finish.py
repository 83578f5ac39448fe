"""Step five of a restore: registers and signal masks, from outside; then all tasks go on at once."""

from __future__ import annotations

import errno
import os

from engine.blocks import suppress
from engine.context import Context
from engine.errors import EngineError, KernelError, Unsupported
from engine.kernel import process
from engine.kernel.ptrace import Tracee, see_off, set_options
from engine.kernel.uapi.signal import SIGSTOP
from engine.tasks import restart, signals
from engine.tasks.images import TaskImages
from engine.tasks.runners import Runner
from engine.tasks.running import World


def finish(ctx: Context, world: World, timeout_us: int) -> None:
    """Step five: take the parked threads over, remove the arena, set registers and signal masks."""
    plan = world.plan
    stopped = {runner.tid for guard in plan.guards for runner in guard.runners if guard.runners[0].stops}
    for runners in plan.runners.values():
        for runner in runners:
            if runner.tid not in world.tracees:
                world.seize(runner.tid, timeout_us, is_first=runner is runners[0])
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


def let_go(world: World, stopped: bool) -> None:
    """All at once; with --leave-stopped in SIGSTOP.

    First none is to die with us any more (PTRACE_O_EXITKILL). This wakes nobody, and so takes no time: whoever kills
    us after that leaves a tree that runs. Nothing may fail any more, since who goes on may end others, or itself.
    """
    set_options([world.tracees[runners[0].tid].pid for runners in world.plan.runners.values()], 0)
    left = [tracee for task in world.tree.live() for tracee in _release(world, task, stopped)]
    root = world.outside.outer(world.tree.root.pid)
    see_off([tracee for tracee in left if tracee.pid != root])  # whose end is for whoever waits for the restored tree


def _release(world: World, task: TaskImages, stopped: bool) -> list[Tracee]:
    """Who could not be let go."""
    left = []
    pid = world.outside.outer(task.pid)
    if stopped or signals.pending_stops(task.core.tc.signals_s):
        with suppress(ProcessLookupError):
            os.kill(pid, SIGSTOP)
    for runner in world.plan.runners[task.pid]:
        tracee = world.tracees[runner.tid]
        try:
            if signals.pending_stops(runner.core.thread_core.signals_p):
                process.tgkill(pid, tracee.pid, SIGSTOP)
            for sig in tracee.signals:
                os.kill(pid, sig)
            tracee.detach()
        except ProcessLookupError:
            left.append(tracee)
        except KernelError as e:
            if e.errno != errno.ESRCH:
                raise
            left.append(tracee)
    return left
