"""What a thread registered with the kernel: tid address, robust list, rseq area (set_tid_address(2), rseq(2))."""

from __future__ import annotations

import struct

from engine.blocks import suppress
from engine.errors import KernelError
from engine.kernel import memory
from engine.kernel.ptrace import Tracee
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program
from engine.tasks import compat
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    Area = tuple[int, int, int, int]

_ROBUST_HEAD = struct.Struct("<QqQ")  # struct robust_list_head: next, offset, pending
_ROBUST_HEAD_32 = struct.Struct("<IiI")  # struct compat_robust_list_head
_RSEQ_CS = struct.Struct("<IIQQQ")  # version, flags, start_ip, post_commit_offset, abort_ip
_RSEQ_CS_AT = 8  # offset of rseq_cs in struct rseq (linux/rseq.h)
_RSEQ_MIN = 32


def ask_thread(q: Questions) -> tuple[int, int, int]:
    """The tid address, the robust list, and that of 32-bit calls, where these can be made."""
    tid = q.room(8)
    q.ask("prctl", pr.PR_GET_TID_ADDRESS, tid, 0, 0, 0)
    robust = q.room(16)
    q.ask("get_robust_list", 0, robust, robust + 8)
    other = 0
    if q.arena.low:
        other = q.room(16)
        q.ask_compat("get_robust_list", 0, other, other + 8)
    return tid, robust, other


def dump_thread(core: Any, q: Answers, asked: tuple[int, int, int]) -> None:
    """Fill clear_tid_addr and futex_rla."""
    tid, robust, other = asked
    robust = other if compat.is_compat(core) else robust
    core.thread_info.clear_tid_addr = q.word(tid)
    core.thread_core.futex_rla = q.word(robust)
    core.thread_core.futex_rla_len = q.word(robust + 8)


def dump_rseq(core: Any, area: Area | None) -> None:
    """Fill rseq_entry from what Tracee.rseq() says."""
    if area:
        entry = core.thread_core.rseq_entry
        entry.rseq_abi_pointer, entry.rseq_abi_size, entry.signature, _ = area


def forget_robust(core: Any, tid: int) -> None:
    """Before a dumped thread is killed: what it holds it goes on to hold, in the images (set_robust_list(2)).

    The kernel would mark its locks as those of a dead owner, in files too, where the restored task finds that.
    """
    head = core.thread_core.futex_rla
    layout = _ROBUST_HEAD_32 if compat.is_compat(core) else _ROBUST_HEAD
    if not head or core.thread_core.futex_rla_len != layout.size:
        return
    with suppress(KernelError):  # a thread may say anything is its list; the kernel looks there no better than we
        first, offset, pending = layout.unpack(memory.read(tid, head, layout.size))
        if first != head or pending:
            memory.write(tid, head, layout.pack(head, offset, 0))


def leave_critical_section(arch: ModuleType, tracee: Tracee, area: Area | None) -> bool:
    """Move a thread that is inside a restartable sequence to its abort handler; True if it was.

    Any detour of the thread makes the kernel clear rseq_cs, and the abort would never come: neither in the images'
    restored task nor in the live one. So this comes before the first remote call.
    """
    if not area:
        return False
    cs = int.from_bytes(memory.read(tracee.pid, area[0] + _RSEQ_CS_AT, 8), "little")
    if not cs:
        return False
    _, _, start, length, abort = _RSEQ_CS.unpack(memory.read(tracee.pid, cs, _RSEQ_CS.size))
    regs = tracee.general()
    if not 0 <= arch.get(regs, "ip") - start < length:
        return False
    arch.put(regs, ip=abort, orig_ax=-1)
    tracee.set_general(regs)
    memory.write(tracee.pid, area[0] + _RSEQ_CS_AT, bytes(8))
    return True


def plan(program: Program, core: Any) -> None:
    """Register again what was registered."""
    program.sys("set_tid_address", core.thread_info.clear_tid_addr)
    thread = core.thread_core
    if thread.futex_rla:
        call = program.sys_compat if compat.is_compat(core) else program.sys
        call("set_robust_list", thread.futex_rla, thread.futex_rla_len)
    if thread.HasField("rseq_entry") and thread.rseq_entry.rseq_abi_pointer:
        rseq = thread.rseq_entry
        program.sys("rseq", rseq.rseq_abi_pointer, max(rseq.rseq_abi_size, _RSEQ_MIN), 0, rseq.signature)
