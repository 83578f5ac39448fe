"""What a task calls itself and asks of the kernel: comm, personality, prctl attributes, OOM score, login uid."""

from __future__ import annotations

import os

from engine.images.schema import set_text, text
from engine.kernel import proc
from engine.kernel.process import sched_attr
from engine.kernel.uapi import prctl as pr
from engine.log import Log
from engine.plan.program import Program, Ref
from engine.tasks.questions import Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_LOGINUID = 0xFFFFFFFF
_AT_FDCWD = -100 & 0xFFFFFFFFFFFFFFFF
# linux/membarrier.h: the registering commands, and the one that lists them
_MEMBARRIER_REGISTER = (1 << 2, 1 << 4, 1 << 6, 1 << 8)
_MEMBARRIER_CMD_GET_REGISTRATIONS = 1 << 9


def ask(q: Questions) -> dict[str, Ref | int]:
    """The prctl(2) attributes."""
    subreaper, pdeath = q.room(8), q.room(8)
    q.ask("prctl", pr.PR_GET_CHILD_SUBREAPER, subreaper, 0, 0, 0)
    q.ask("prctl", pr.PR_GET_PDEATHSIG, pdeath, 0, 0, 0)
    return {
        "subreaper": subreaper,
        "pdeath": pdeath,
        "dumpable": q.ask("prctl", pr.PR_GET_DUMPABLE, 0, 0, 0, 0),
        "thp": q.ask("prctl", pr.PR_GET_THP_DISABLE, 0, 0, 0, 0),
        "membarrier": q.ask("membarrier", _MEMBARRIER_CMD_GET_REGISTRATIONS, 0),
    }


def dump(core: Any, pid: int, stat: proc.Stat) -> None:
    """Fill what procfs and sched_getattr(2) tell of the task."""
    tc, thread = core.tc, core.thread_core
    tc.task_state = 1
    tc.exit_code = 0
    tc.personality = int(proc.read_text(f"/proc/{pid}/personality"), 16)
    tc.flags = stat[9]
    set_text(tc, "comm", stat.comm)
    set_text(thread, "comm", stat.comm)
    thread.cg_set = 1
    tc.loginuid = _number(pid, "loginuid", NO_LOGINUID)
    tc.oom_score_adj = _number(pid, "oom_score_adj", 0)
    policy, _, nice, priority = sched_attr(pid)
    thread.sched_policy = policy
    thread.sched_nice = nice
    if priority:
        thread.sched_prio = priority


def dump_answers(core: Any, mm: Any, q: Questions, asked: dict[str, Any]) -> None:
    """Fill the prctl(2) attributes."""
    tc, thread = core.tc, core.thread_core
    tc.child_subreaper = bool(q.word(asked["subreaper"], 4))
    if pdeath := q.word(asked["pdeath"], 4):
        thread.pdeath_sig = pdeath
    if (mask := q.result(asked["membarrier"])) > 0:
        tc.membarrier_registration_mask = mask
    mm.dumpable = q.result(asked["dumpable"])
    mm.thp_disabled = q.result(asked["thp"]) > 0


def _number(pid: int, name: str, otherwise: int) -> int:
    try:
        return int(proc.read_text(f"/proc/{pid}/{name}"))
    except FileNotFoundError:
        return otherwise  # a kernel built without it


def plan(program: Program, core: Any, mm: Any) -> None:
    """The attributes that credentials do not touch."""
    tc, thread, arena = core.tc, core.thread_core, program.arena
    if tc.child_subreaper:
        program.sys("prctl", pr.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if mm.thp_disabled:
        program.sys("prctl", pr.PR_SET_THP_DISABLE, 1, 0, 0, 0)
    if tc.membarrier_registration_mask:
        for command in _MEMBARRIER_REGISTER:
            if tc.membarrier_registration_mask & command:
                program.sys("membarrier", command, 0)
    policy, _, nice, priority = sched_attr(os.getpid())
    if (thread.sched_policy, thread.sched_nice, thread.sched_prio) != (policy, nice, priority):
        # struct sched_attr: size, policy, flags, nice, priority, then deadline fields
        raw = b"".join(
            value.to_bytes(size, "little", signed=signed)
            for value, size, signed in (
                (48, 4, False),
                (thread.sched_policy, 4, False),
                (0, 8, False),
                (thread.sched_nice, 4, True),
                (thread.sched_prio, 4, False),
            )
        )
        program.sys("sched_setattr", 0, arena.put(raw + bytes(24)), 0, note=f"nice {thread.sched_nice}")
    own = _number(os.getpid(), "loginuid", NO_LOGINUID)
    if tc.HasField("loginuid") and tc.loginuid != own:
        # only a task itself may write it (needs CAP_AUDIT_CONTROL once it is set)
        value = str(tc.loginuid).encode() if tc.loginuid != NO_LOGINUID else b"-1"
        fd = program.sys("openat", _AT_FDCWD, arena.text("/proc/self/loginuid"), os.O_WRONLY)
        program.sys("write", fd, arena.put(value), len(value), note=f"login uid {tc.loginuid}")
        program.sys("close", fd)
    program.sys("personality", tc.personality)
    program.sys("prctl", pr.PR_SET_NAME, arena.text(text(tc.comm)), 0, 0, 0)


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
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(wanted).encode())
        finally:
            os.close(fd)
    except PermissionError as e:
        log.warn(f"pid {pid}: oom_score_adj stays {_number(pid, 'oom_score_adj', 0)}, wanted {wanted}: {e.strerror}")
