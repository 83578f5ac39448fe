"""Interval timers (setitimer(2)): what is left of each, and its interval. POSIX timers: refused by the preflight."""

from __future__ import annotations

import struct

from engine.plan.program import Program
from engine.tasks.questions import Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WHICH = ("real", "virt", "prof")  # ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF
_ITIMERVAL = struct.Struct("<qqqq")  # interval, value: seconds and µs each


def ask(q: Questions) -> list[int]:
    """The three timers."""
    rooms = []
    for which in range(len(_WHICH)):
        rooms.append(q.room(_ITIMERVAL.size))
        q.ask("getitimer", which, rooms[which])
    return rooms


def dump(core: Any, q: Questions, rooms: list[int]) -> None:
    """Fill core_entry.tc.timers."""
    for name, room in zip(_WHICH, rooms, strict=True):
        isec, iusec, vsec, vusec = _ITIMERVAL.unpack(q.bytes(room, _ITIMERVAL.size))
        entry = getattr(core.tc.timers, name)
        entry.isec, entry.iusec, entry.vsec, entry.vusec = isec, iusec, vsec, vusec


def plan(program: Program, core: Any) -> None:
    """Arm the timers that ran, with what was left of them."""
    for which, name in enumerate(_WHICH):
        t = getattr(core.tc.timers, name)
        if t.vsec or t.vusec:
            raw = _ITIMERVAL.pack(t.isec, t.iusec, t.vsec, t.vusec)
            program.sys("setitimer", which, program.arena.put(raw), 0, note=f"{name}: {t.vsec}.{t.vusec:06} s left")
