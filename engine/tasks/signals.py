"""Signals: actions, the alternative stack, blocked and pending ones (sigaction(2), sigaltstack(2), signal(7))."""

from __future__ import annotations

import struct

from engine.kernel.ptrace import Tracee
from engine.plan.program import Program
from engine.tasks import compat, timers
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_SIGKILL, _SIGSTOP, _NSIG = 9, 19, 64
_SIG_UNBLOCK = 1
_ACTION = struct.Struct("<QQQQ")  # struct kernel_sigaction: handler, flags, restorer, mask
_ACTION_32 = struct.Struct("<IIIQ")  # struct compat_sigaction, in that order too
_STACK = struct.Struct("<QiiQ")  # stack_t: ss_sp, ss_flags, (padding), ss_size
_SS_DISABLE, _SS_ONSTACK = 2, 1
_SETTABLE = [n for n in range(1, _NSIG + 1) if n not in (_SIGKILL, _SIGSTOP)]


def ask(q: Questions) -> int:
    """Every action."""
    actions = q.room(_ACTION.size * len(_SETTABLE))
    for i, signo in enumerate(_SETTABLE):
        q.ask("rt_sigaction", signo, 0, actions + i * _ACTION.size, 8)
    return actions


def ask_thread(q: Questions) -> int:
    """The alternative stack."""
    stack = q.room(_STACK.size)
    q.ask("sigaltstack", 0, stack)
    return stack


def dump(core: Any, q: Answers, actions: int) -> None:
    """Fill the actions of core_entry. A 32-bit program's are set by it, and are to be set by such calls again."""
    its = compat.is_compat(core)
    for i in range(len(_SETTABLE)):
        handler, flags, restorer, mask = _ACTION.unpack(q.bytes(actions + i * _ACTION.size, _ACTION.size))
        core.tc.sigactions.add(sigaction=handler, flags=flags, restorer=restorer, mask=mask, compat_sigaction=its)


def dump_thread(core: Any, q: Answers, stack: int) -> None:
    """Fill the alternative stack of core_entry."""
    sp, flags, _, size = _STACK.unpack(q.bytes(stack, _STACK.size))
    core.thread_core.sas.ss_sp = sp
    core.thread_core.sas.ss_size = size
    core.thread_core.sas.ss_flags = flags & 0xFFFFFFFF


def stops(tracee: Tracee) -> tuple[list[bytes], list[bytes]]:
    """The SIGSTOP that wait in the queues of a frozen thread, and of its process: only a stopped one has any."""
    own, shared = (
        [info for info in tracee.pending(of) if int.from_bytes(info[:4], "little") == _SIGSTOP] for of in (False, True)
    )
    return own, shared


def queued(tracee: Tracee, shared: bool, lost: list[bytes]) -> list[bytes]:
    """What is queued for a thread, or its process, oldest first; `lost` is what has left the queue since."""
    have = tracee.pending(shared)
    return [*(info for info in lost if info not in have), *have]


def dump_pending(core: Any, mask: int, own: list[bytes], shared: list[bytes]) -> None:
    """The blocked and pending signals of a thread, and of its process where the core_entry is the leader's."""
    if core.HasField("tc"):
        core.tc.blk_sigset = mask
        _dump_queue(core.tc.signals_s, shared)
    else:
        core.thread_core.blk_sigset = mask
    _dump_queue(core.thread_core.signals_p, own)


def dump_shared(core: Any, mask: int, shared: list[bytes]) -> None:
    """The same for a process whose leader has ended."""
    core.tc.blk_sigset = mask
    core.thread_core.signals_p.SetInParent()
    _dump_queue(core.tc.signals_s, shared)


def _dump_queue(queue: Any, infos: list[bytes]) -> None:
    queue.SetInParent()
    for info in infos:
        queue.signals.add(siginfo=info)


def plan_actions(program: Program, core: Any, ignored: int) -> None:
    """The actions; the mask is set at the very end, from outside.

    `ignored` are the signals that the engine itself ignores: a child inherits that, so they are set in any case.
    """
    arena = program.arena
    for signo, action in zip(_SETTABLE, core.tc.sigactions, strict=False):
        if action.sigaction or action.flags or action.mask or ignored >> (signo - 1) & 1:
            values = (action.sigaction, action.flags, action.restorer, action.mask)
            if action.compat_sigaction:  # by which the kernel knows which kind of frame the handler expects
                where = arena.put(_ACTION_32.pack(*values))
                program.sys_compat("rt_sigaction", signo, where, 0, 8, note=f"signal {signo}")
            else:
                program.sys("rt_sigaction", signo, arena.put(_ACTION.pack(*values)), 0, 8, note=f"signal {signo}")


def plan_stack(program: Program, core: Any) -> None:
    """The alternative stack of a thread."""
    sas = core.thread_core.sas
    if core.thread_core.HasField("sas") and not sas.ss_flags & _SS_DISABLE:
        # on it right now or not: the kernel derives SS_ONSTACK from the stack pointer
        raw = _STACK.pack(sas.ss_sp, sas.ss_flags & ~_SS_ONSTACK & 0x7FFFFFFF, 0, sas.ss_size)
        program.sys("sigaltstack", program.arena.put(raw), 0)


def plan_pending(program: Program, core: Any, leader: Any, pid: int, tid: int) -> None:
    """What is queued for a thread, by itself: nobody else may queue what looks like the kernel's (rt_sigqueueinfo(2)).

    What is queued for its process comes with the `leader`'s core_entry. Signals of timers come with those.
    """
    arena = program.arena
    for signo, siginfo in _queue(core.thread_core.signals_p, leader):
        program.sys("rt_tgsigqueueinfo", pid, tid, signo, arena.put(siginfo), note="pending, thread")
    if core is leader:
        for signo, siginfo in _queue(core.tc.signals_s, leader):
            program.sys("rt_sigqueueinfo", pid, signo, arena.put(siginfo), note="pending, process")


def _queue(queue: Any, leader: Any) -> Iterator[tuple[int, bytes]]:
    """(number, siginfo) of what the task queues itself: not what comes with a timer, nor what cannot be blocked."""
    for entry in queue.signals:
        signo = int.from_bytes(entry.siginfo[:4], "little")
        if signo != _SIGSTOP and not timers.is_own_timer_signal(leader, entry.siginfo):
            yield signo, entry.siginfo


def pending_stops(queue: Any) -> int:
    """How many SIGSTOP wait in the queue of a stopped task; sent to it again at the very end, from outside."""
    return sum(int.from_bytes(entry.siginfo[:4], "little") == _SIGSTOP for entry in queue.signals)


def mask_of(core: Any) -> int:
    """The blocked signals to set at the end."""
    thread = core.thread_core
    return int(thread.blk_sigset if thread.HasField("blk_sigset") else core.tc.blk_sigset)


def plan_stop(program: Program, core: Any, pid: int) -> None:
    """Stop, by the signal that had stopped it, where that still can; by SIGSTOP where its group is orphaned."""
    sig = core.tc.stop_signo or _SIGSTOP
    if sig != _SIGSTOP:
        mask = program.arena.put((1 << sig - 1).to_bytes(8, "little"))
        program.sys("rt_sigprocmask", _SIG_UNBLOCK, mask, 0, 8)
        program.ask("tgkill", pid, pid, sig, note="stop")
    program.sys("tgkill", pid, pid, _SIGSTOP, note="stop")
