"""Credentials: ids, groups, the five capability sets, securebits, no_new_privs (credentials(7), capabilities(7))."""

from __future__ import annotations

import os
import struct

from engine.kernel import proc, process
from engine.kernel.uapi import prctl as pr
from engine.plan.program import Program, Ref
from engine.tasks.questions import Answers, Questions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAP_VERSION_3 = 0x20080522
_SECBIT_NO_SETUID_FIXUP = 1 << 2


def ask_thread(q: Questions) -> Ref:
    """The securebits; everything else is in /proc/PID/status."""
    return q.ask("prctl", pr.PR_GET_SECUREBITS)


def dump_ids(core: Any, status: proc.Status) -> None:
    """Fill core_entry.thread_core.creds from /proc/PID/status, all but the secure bits."""
    core.thread_core.creds.secbits = 0
    creds = core.thread_core.creds
    creds.uid, creds.euid, creds.suid, creds.fsuid = (int(v) for v in status["Uid"].split())
    creds.gid, creds.egid, creds.sgid, creds.fsgid = (int(v) for v in status["Gid"].split())
    for field, key in (
        ("cap_inh", "CapInh"),
        ("cap_prm", "CapPrm"),
        ("cap_eff", "CapEff"),
        ("cap_bnd", "CapBnd"),
        ("cap_amb", "CapAmb"),
    ):
        value = int(status[key], 16)
        getattr(creds, field).extend((value & 0xFFFFFFFF, value >> 32))
    creds.groups.extend(int(g) for g in status["Groups"].split())
    if status.get("NoNewPrivs") == "1":
        creds.no_new_privs = 1


def dump_thread(core: Any, q: Answers, securebits: Ref, status: proc.Status, memo: dict[str, Any]) -> None:
    """Fill core_entry.thread_core.creds; `memo` keeps what was made of one thread's for others that have the same."""
    key = status.between("Uid", "NStgid") + status.between("CapInh", "Seccomp")
    known = memo.get(key)
    if known is None:
        dump_ids(core, status)
        memo[key] = core.thread_core.creds
    else:
        core.thread_core.creds.CopyFrom(known)
    core.thread_core.creds.secbits = q.result(securebits)


def _set(words: Any) -> int:
    return sum(word << 32 * i for i, word in enumerate(words))


class Inherited:
    """What every task begins with: the engine's own credentials, as fork(2) and execve(2) pass them on."""

    __slots__ = ("_entry", "bounding")

    def __init__(self, message: Any) -> None:
        status = proc.status(os.getpid())
        core = message("core_entry")(mtype=0)
        dump_ids(core, status)
        self._entry = core.thread_core.creds
        self._entry.secbits = process.securebits()
        self.bounding = int(status["CapBnd"], 16)

    def is_all(self, creds: Any) -> bool:
        """Is there nothing to change?"""
        return bool(creds == self._entry)


def plan(program: Program, core: Any, inherited: Inherited) -> None:
    """Become who the task was; the capabilities that this takes are given up last."""
    creds = core.thread_core.creds
    if inherited.is_all(creds):
        return
    own_bounding = inherited.bounding
    arena = program.arena
    inh, prm, eff = _set(creds.cap_inh), _set(creds.cap_prm), _set(creds.cap_eff)
    bnd, amb = _set(creds.cap_bnd), _set(creds.cap_amb)
    program.sys("prctl", pr.PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0, note="keep capabilities")
    groups = list(creds.groups)
    program.sys("setgroups", len(groups), arena.put(struct.pack(f"<{len(groups)}I", *groups)), note=f"{groups}")
    program.sys("setresgid", creds.gid, creds.egid, creds.sgid)
    program.sys("setfsgid", creds.fsgid)
    program.sys("setresuid", creds.uid, creds.euid, creds.suid)
    program.sys("setfsuid", creds.fsuid)
    for cap in range(64):
        if own_bounding >> cap & 1 and not bnd >> cap & 1:
            program.sys("prctl", pr.PR_CAPBSET_DROP, cap, 0, 0, 0)
    header = arena.put(struct.pack("<Ii", _CAP_VERSION_3, 0))

    def capset(effective: int, permitted: int, note: str) -> None:
        words = []
        for shift in (0, 32):
            words += [
                effective >> shift & 0xFFFFFFFF,
                permitted >> shift & 0xFFFFFFFF,
                inh >> shift & 0xFFFFFFFF,
            ]
        program.sys("capset", header, arena.put(struct.pack("<6I", *words)), note=note)

    if amb:
        capset(own_bounding, own_bounding, "inheritable set, for the ambient one")
        for cap in range(64):
            if amb >> cap & 1:
                program.sys("prctl", pr.PR_CAP_AMBIENT, pr.PR_CAP_AMBIENT_RAISE, cap, 0, 0)
    program.sys("prctl", pr.PR_SET_SECUREBITS, creds.secbits, 0, 0, 0)
    capset(eff, prm, f"effective {eff:#x}, permitted {prm:#x}, inheritable {inh:#x}")
    if creds.no_new_privs:
        program.sys("prctl", pr.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
