"""mm_entry: where code, data, heap, stack, arguments and environment are, the executable, the auxiliary vector.

Set again by prctl(PR_SET_MM, PR_SET_MM_MAP) (prctl(2)).
"""

from __future__ import annotations

import struct

from engine.kernel import proc
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Fields of proc_pid_stat(5) by number. start_brk is there, the present brk is not.
_STAT = {
    "mm_start_code": 26,
    "mm_end_code": 27,
    "mm_start_stack": 28,
    "mm_start_data": 45,
    "mm_end_data": 46,
    "mm_start_brk": 47,
    "mm_arg_start": 48,
    "mm_arg_end": 49,
    "mm_env_start": 50,
    "mm_env_end": 51,
}
# struct prctl_mm_map (linux/prctl.h): eleven addresses, auxv, auxv_size, exe_fd
_ORDER = [
    "mm_start_code",
    "mm_end_code",
    "mm_start_data",
    "mm_end_data",
    "mm_start_brk",
    "mm_brk",
    "mm_start_stack",
    "mm_arg_start",
    "mm_arg_end",
    "mm_env_start",
    "mm_env_end",
]
_MM_MAP = struct.Struct("<12QII")


def ask(q: Questions) -> Ref:
    """The present program break."""
    return q.ask("brk", 0)


def dump(mm: Any, q: Answers, brk: Ref, pid: int, stat: proc.Stat, is_compat: bool) -> None:
    """Fill all of mm_entry but the mappings, the executable and what identity.py knows.

    A 32-bit program's auxiliary vector has 32-bit words, of which each word of the image holds two.
    """
    for field, number in _STAT.items():
        setattr(mm, field, stat[number])
    mm.mm_brk = q.result(brk)
    words = proc.auxv(pid)
    while words[-2:] == [0, 0] and not is_compat:
        del words[-2:]  # AT_NULL, which PR_SET_MM_MAP adds again; CRIU takes no more than 44 words
    mm.mm_saved_auxv.extend(words)


def plan(program: Program, mm: Any, exe: int) -> None:
    """All of it in one call; `exe` is the task's descriptor of the executable, open at that moment."""
    arena = program.arena
    words = list(mm.mm_saved_auxv)
    auxv = arena.put(struct.pack(f"<{len(words)}Q", *words))
    room = arena.put(_MM_MAP.pack(*(getattr(mm, name) for name in _ORDER), auxv, len(words) * 8, exe))
    program.sys("prctl", pr.PR_SET_MM, pr.PR_SET_MM_MAP, room, _MM_MAP.size, 0, note="addresses, auxv, executable")
