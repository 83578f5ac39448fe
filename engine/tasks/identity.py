"""What a task calls itself and asks of the kernel: comm, personality, prctl attributes, OOM score, login uid."""

from __future__ import annotations

import os
from itertools import takewhile

from engine.errors import Unsupported
from engine.images.schema import set_text, text
from engine.kernel import proc
from engine.kernel.uapi import prctl as pr
from engine.kernel.uapi.signal import SIGCHLD
from engine.log import Log
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.files.scope import Scope

ASKED_MAX = 512  # bytes of an arena that the question about one child takes at most
_P_PID, _WNOHANG, _WSTOPPED, _WNOWAIT, _WALL = 1, 1, 2, 0x01000000, 0x40000000
_SI_PID = 16  # offset of si_pid in siginfo_t
NO_LOGINUID = 0xFFFFFFFF
_AT_FDCWD = -100 & 0xFFFFFFFFFFFFFFFF
# linux/membarrier.h: the registering commands, and the one that lists them
_MEMBARRIER_REGISTER = (1 << 2, 1 << 4, 1 << 6, 1 << 8)
_MEMBARRIER_CMD_GET_REGISTRATIONS = 1 << 9


def ask(q: Questions) -> dict[str, Ref | int]:
    """The prctl(2) attributes."""
    subreaper = q.room(8)
    q.ask("prctl", pr.PR_GET_CHILD_SUBREAPER, subreaper, 0, 0, 0)
    return {
        "subreaper": subreaper,
        "dumpable": q.ask("prctl", pr.PR_GET_DUMPABLE, 0, 0, 0, 0),
        "thp": q.ask("prctl", pr.PR_GET_THP_DISABLE, 0, 0, 0, 0),
        "membarrier": q.ask("membarrier", _MEMBARRIER_CMD_GET_REGISTRATIONS, 0),
    }


def ask_stopped(q: Questions, kids: list[int]) -> dict[int, int]:
    """Is the stop of these children still to be waited for? waitid(2) names them then."""
    rooms = {pid: q.room(128) for pid in kids}
    for pid, room in rooms.items():
        q.ask("waitid", _P_PID, pid, room, _WSTOPPED | _WNOHANG | _WNOWAIT | _WALL, 0)
    return {pid: room + _SI_PID for pid, room in rooms.items()}


def ask_thread(q: Questions) -> int:
    """The signal of the parent's death."""
    pdeath = q.room(8)
    q.ask("prctl", pr.PR_GET_PDEATHSIG, pdeath, 0, 0, 0)
    return pdeath


def dump(core: Any, pid: int, stat: proc.Stat, scope: Scope) -> None:
    """Fill what procfs tells of the process; `pid` is that of any of its threads."""
    tc = core.tc
    tc.task_state = 1
    tc.exit_code = 0
    digits = proc.read_text(f"/proc/{pid}/personality").strip()
    tc.personality = int("".join(takewhile(str.isdecimal, digits)) or "0")  # as CRIU reads it
    if int(digits, 16):
        tc.personality_bits = int(digits, 16)
    tc.flags = stat[9]
    set_text(tc, "comm", stat.comm)
    login = _number(pid, "loginuid", NO_LOGINUID)
    try:
        tc.loginuid = login if login == NO_LOGINUID else scope.uid(login)
    except Unsupported:  # who has logged in is nobody inside
        scope.log.warn(f"pid {pid}: its login uid {login} is not mapped in its user namespace: it will have another")
    tc.oom_score_adj = _number(pid, "oom_score_adj", 0)
    if stat[38] != SIGCHLD:
        tc.exit_signal = stat[38]


def dump_zombie(core: Any, stat: proc.Stat) -> None:
    """Fill what is left of a task that has ended."""
    set_text(core.tc, "comm", stat.comm)
    if stat[38] != SIGCHLD:
        core.tc.exit_signal = stat[38]


def dump_thread(core: Any, tid: int, name: str) -> None:
    """Fill what a thread calls itself; `name` is as /proc/TID/status has it."""
    if "\\" in name:  # escaped there
        name = proc.read_text(f"/proc/{tid}/comm").removesuffix("\n")
    set_text(core.thread_core, "comm", name)


def dump_thread_answers(core: Any, q: Answers, pdeath: int) -> None:
    """Fill the signal of the parent's death."""
    if signo := q.word(pdeath, 4):
        core.thread_core.pdeath_sig = signo


def dump_answers(core: Any, mm: Any, q: Answers, asked: dict[str, Any]) -> None:
    """Fill the prctl(2) attributes."""
    tc = core.tc
    tc.child_subreaper = bool(q.word(asked["subreaper"], 4))
    if (mask := q.result(asked["membarrier"])) > 0:
        tc.membarrier_registration_mask = mask
    mm.dumpable = q.result(asked["dumpable"])
    mm.thp_disabled = q.result(asked["thp"]) > 0


def _number(pid: int, name: str, otherwise: int) -> int:
    try:
        return int(proc.read_text(f"/proc/{pid}/{name}"))
    except FileNotFoundError:
        return otherwise  # a kernel built without it


def plan(program: Program, core: Any, mm: Any, personality: int) -> None:
    """The attributes that credentials do not touch."""
    tc, arena = core.tc, program.arena
    if tc.child_subreaper:
        program.sys("prctl", pr.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if mm.thp_disabled:
        program.sys("prctl", pr.PR_SET_THP_DISABLE, 1, pr.PR_THP_DISABLE_EXCEPT_ADVISED * mm.thp_advised, 0, 0)
    if tc.membarrier_registration_mask:
        for command in _MEMBARRIER_REGISTER:
            if tc.membarrier_registration_mask & command:
                program.sys("membarrier", command, 0)
    own = _number(os.getpid(), "loginuid", NO_LOGINUID)
    if tc.HasField("loginuid") and tc.loginuid != own:
        # only a task itself may write it (needs CAP_AUDIT_CONTROL once it is set)
        value = str(tc.loginuid).encode() if tc.loginuid != NO_LOGINUID else b"-1"
        fd = program.sys("openat", _AT_FDCWD, arena.text("/proc/self/loginuid"), os.O_WRONLY)
        program.sys("write", fd, arena.put(value), len(value), note=f"login uid {tc.loginuid}")
        program.sys("close", fd)
    plan_thread(program, core, core, personality)


def plan_thread(program: Program, core: Any, leader: Any, personality: int) -> None:
    """What every thread has of its own: name and, of which images know one for all of them, personality.

    `personality` is the engine's, which all begin with.
    """
    tc = leader.tc
    wanted = tc.personality_bits if tc.HasField("personality_bits") else int(str(tc.personality), 16)
    if wanted != personality:
        program.sys("personality", wanted)
    plan_name(program, core.thread_core.comm if core.thread_core.HasField("comm") else leader.tc.comm)


def plan_name(program: Program, name: str) -> None:
    """What /proc/PID/comm says."""
    program.sys("prctl", pr.PR_SET_NAME, program.arena.text(text(name)), 0, 0, 0)


def plan_last(program: Program, core: Any, mm: Any) -> None:
    """The attributes that a change of credentials resets."""
    if mm.HasField("dumpable") and mm.dumpable in (0, 1):
        program.sys("prctl", pr.PR_SET_DUMPABLE, mm.dumpable, 0, 0, 0)


def restore_from_outside(core: Any, pid: int, log: Log) -> None:
    """OOM score: /proc/PID/oom_score_adj, written where it differs. Below the inherited one needs CAP_SYS_RESOURCE."""
    wanted = core.tc.oom_score_adj
    path = f"/proc/{pid}/oom_score_adj"
    if not core.tc.HasField("oom_score_adj") or _number(pid, "oom_score_adj", wanted) == wanted:
        return
    try:
        proc.write_text(path, str(wanted))
    except PermissionError as e:
        log.warn(f"pid {pid}: oom_score_adj stays {_number(pid, 'oom_score_adj', 0)}, wanted {wanted}: {e.strerror}")
