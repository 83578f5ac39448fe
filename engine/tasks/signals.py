"""Signals: actions, the alternative stack, blocked and pending ones (sigaction(2), sigaltstack(2), signal(7))."""

from __future__ import annotations

import struct

from engine.kernel.ptrace import Tracee
from engine.plan.program import Program
from engine.tasks.questions import Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGKILL, _SIGSTOP, _NSIG = 9, 19, 64
_ACTION = struct.Struct("<QQQQ")  # struct kernel_sigaction: handler, flags, restorer, mask
_STACK = struct.Struct("<QiiQ")  # stack_t: ss_sp, ss_flags, (padding), ss_size
_SS_DISABLE, _SS_ONSTACK = 2, 1
_SETTABLE = [n for n in range(1, _NSIG + 1) if n not in (_SIGKILL, _SIGSTOP)]


def ask(q: Questions) -> tuple[int, int]:
    """Every action, and the alternative stack."""
    actions = q.room(_ACTION.size * len(_SETTABLE))
    for i, signo in enumerate(_SETTABLE):
        q.ask("rt_sigaction", signo, 0, actions + i * _ACTION.size, 8)
    stack = q.room(_STACK.size)
    q.ask("sigaltstack", 0, stack)
    return actions, stack


def dump(core: Any, q: Questions, asked: tuple[int, int]) -> None:
    """Fill the actions and the alternative stack of core_entry."""
    actions, stack = asked
    for i in range(len(_SETTABLE)):
        handler, flags, restorer, mask = _ACTION.unpack(q.bytes(actions + i * _ACTION.size, _ACTION.size))
        core.tc.sigactions.add(sigaction=handler, flags=flags, restorer=restorer, mask=mask, compat_sigaction=False)
    sp, flags, _, size = _STACK.unpack(q.bytes(stack, _STACK.size))
    core.thread_core.sas.ss_sp = sp
    core.thread_core.sas.ss_size = size
    core.thread_core.sas.ss_flags = flags & 0xFFFFFFFF


def dump_pending(core: Any, tracee: Tracee) -> None:
    """The blocked and pending signals; before the parasite, which blocks them all."""
    core.tc.blk_sigset = tracee.sigmask()
    core.tc.signals_s.SetInParent()
    core.thread_core.signals_p.SetInParent()
    for shared, queue in ((True, core.tc.signals_s), (False, core.thread_core.signals_p)):
        for info in tracee.pending(shared):
            queue.signals.add(siginfo=info)


def plan(program: Program, core: Any, pid: int, ignored: int) -> None:
    """Actions, alternative stack and pending signals; the mask is set at the very end, from outside.

    `ignored` are the signals that the engine itself ignores: a child inherits that, so they are set in any case.
    """
    arena = program.arena
    for signo, action in zip(_SETTABLE, core.tc.sigactions, strict=False):
        if action.sigaction or action.flags or action.mask or ignored >> (signo - 1) & 1:
            raw = _ACTION.pack(action.sigaction, action.flags, action.restorer, action.mask)
            program.sys("rt_sigaction", signo, arena.put(raw), 0, 8, note=f"signal {signo}")
    sas = core.thread_core.sas
    if core.thread_core.HasField("sas") and not sas.ss_flags & _SS_DISABLE:
        # on it right now or not: the kernel derives SS_ONSTACK from the stack pointer
        raw = _STACK.pack(sas.ss_sp, sas.ss_flags & ~_SS_ONSTACK & 0x7FFFFFFF, 0, sas.ss_size)
        program.sys("sigaltstack", arena.put(raw), 0)
    for entry in core.thread_core.signals_p.signals:
        signo = int.from_bytes(entry.siginfo[:4], "little")
        program.sys("rt_tgsigqueueinfo", pid, pid, signo, arena.put(entry.siginfo), note="pending, thread")
    for entry in core.tc.signals_s.signals:
        signo = int.from_bytes(entry.siginfo[:4], "little")
        program.sys("rt_sigqueueinfo", pid, signo, arena.put(entry.siginfo), note="pending, process")


def mask_of(core: Any) -> int:
    """The blocked signals to set at the end."""
    thread = core.thread_core
    return int(thread.blk_sigset if thread.HasField("blk_sigset") else core.tc.blk_sigset)
