"""Resource limits (prlimit(2)): read from /proc/PID/limits, set from inside the task."""

from __future__ import annotations

import os
import struct

from engine.kernel import proc
from engine.plan.program import Program, Ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RLIMIT = struct.Struct("<QQ")
NAMES = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
]


def dump(core: Any, pid: int) -> None:
    """Fill core_entry.tc.rlimits, in the order of RLIMIT_*."""
    for soft, hard in proc.limits(pid):
        core.tc.rlimits.rlimits.add(cur=soft, max=hard)


_SIGPENDING = 11


def own() -> list[tuple[int, int]]:
    """The engine's own limits now, which every task begins with; in the order of RLIMIT_*."""
    return proc.limits(os.getpid())


def plan(program: Program, core: Any, inherited: list[tuple[int, int]]) -> list[tuple[str, Ref]]:
    """Set every limit that differs. Raising a hard one needs CAP_SYS_RESOURCE: the caller looks at the results."""
    out = []
    for i, limit in enumerate(core.tc.rlimits.rlimits):
        if i == _SIGPENDING or (limit.cur, limit.max) == inherited[i]:
            continue
        raw = program.arena.put(_RLIMIT.pack(limit.cur, limit.max))
        name = f"RLIMIT_{NAMES[i] if i < len(NAMES) else i} to {limit.cur}, at most {limit.max}"
        out.append((name, program.ask("prlimit64", 0, i, raw, 0, note=name)))
    return out


def plan_last(program: Program, core: Any, inherited: list[tuple[int, int]]) -> None:
    """RLIMIT_SIGPENDING: what is pending is queued as the task's own user, before there is room for no more."""
    if len(core.tc.rlimits.rlimits) > _SIGPENDING:
        limit = core.tc.rlimits.rlimits[_SIGPENDING]
        if (limit.cur, limit.max) == inherited[_SIGPENDING]:
            return
        raw = program.arena.put(_RLIMIT.pack(limit.cur, limit.max))
        program.ask("prlimit64", 0, _SIGPENDING, raw, 0, note=f"RLIMIT_SIGPENDING to {limit.cur}")
